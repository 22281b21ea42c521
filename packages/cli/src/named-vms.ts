/** The named VMs as commands see them: how their processes are started, and which one a line is about. */
import type { Io } from "./command.ts";
import type { ParsedLine } from "./options.ts";
import { flag } from "./options.ts";
import { ProgressLine } from "./progress-line.ts";
import { formatAge } from "./quantities.ts";
import { UsageError } from "./usage-error.ts";
import type { NamedVms, StartVmOptions, VmObservation } from "./vm-library.ts";

export const JSON_FLAG = flag("json", "Print one JSON object.");

export const VM_PROCESS_NAME = "vm-process";

/** This program, without a command: absolute paths. */
export function ownProgram(): readonly [program: string, ...args: string[]] {
  const [, script = ""] = process.argv;
  return [process.execPath, ...process.execArgv, script];
}

export function namedVms(io: Io): NamedVms {
  const [program, ...args] = ownProgram();
  const vms = new io.library.NamedVms((name) => ({ program, args: [...args, VM_PROCESS_NAME, name] }));
  vms.onWait = (name, pid) => {
    io.stderr.write(`twinmetal: waiting for process ${pid ?? "unknown"}, which works on VM ${name}\n`);
  };
  return vms;
}

export const LIFE_IS_OVER = "its time to live is over";

/** Of its time to live. */
export function lifeText(expiresAt: string): string {
  const leftMs = Date.parse(expiresAt) - Date.now();
  return leftMs > 0 ? `${formatAge(leftMs)} left` : LIFE_IS_OVER;
}

/** All operands are names of VMs, at least one. Throws UsageError. */
export function vmNames({ operands, rest }: Pick<ParsedLine<never>, "operands" | "rest">): readonly string[] {
  if (operands.length === 0) throw new UsageError("which VM? Give its name; see: twinmetal ls");
  if (rest !== undefined) throw new UsageError(`"--" is one word too many.`);
  return operands;
}

/** Starts something that takes long: with progress, and given up by Ctrl-C. */
export async function whileStarting<T>(io: Io, action: (options: StartVmOptions) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const stops = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((name) =>
    io.onSignal(name, () => abort.abort(new UsageError(`given up by ${name}; nothing runs.`))),
  );
  const line = new ProgressLine(io);
  try {
    return await action({ signal: abort.signal, onProgress: (progress) => line.report(progress) });
  } finally {
    line.clear();
    for (const stop of stops) stop();
  }
}

/** The same for each of several VMs: what went wrong with one does not keep it from the others, and is told at the end. */
export async function forEachVm(
  io: Io,
  line: Pick<ParsedLine<never>, "operands" | "rest"> & { readonly values: { readonly json?: boolean | undefined } },
  action: (vms: NamedVms, name: string) => Promise<VmObservation | { readonly name: string; readonly state: string }>,
): Promise<number> {
  const vms = namedVms(io);
  const troubles: unknown[] = [];
  for (const name of vmNames(line)) {
    try {
      const seen = await action(vms, name);
      io.stdout.write(line.values.json ? `${JSON.stringify(seen)}\n` : `${seen.name}: ${seen.state}\n`);
    } catch (error) {
      if (line.operands.length === 1) throw error;
      troubles.push(error);
      io.stderr.write(`twinmetal: ${(error as Error).message}\n`);
    }
  }
  return troubles.length === 0 ? 0 : 125;
}
