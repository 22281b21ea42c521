/**
 * One command in the guest, through its agent: standard input, output and error are the program's own, byte for byte;
 * the guest's console stays out of sight.
 */
import { AGENT_TIMEOUT_MS } from "@twinmetal/host";
import { ByteOutput } from "./byte-output.ts";
import type { Io } from "./command.ts";
import type { Ending } from "./ending.ts";
import { EXIT } from "./exit-status.ts";
import type { ProgressLine } from "./progress-line.ts";
import { type Outcome, orTrouble } from "./session.ts";
import { CommandError } from "./usage-error.ts";
import type { AgentInfo, Vm } from "./vm-library.ts";

const FLUSH_MS = 1000;

export interface CommandOptions {
  readonly command: readonly string[];
  readonly progress: ProgressLine;
  /** Resolves when the run has to end for a reason beside the guest. */
  readonly trouble: Promise<Error>;
}

/** Starts the VM. Resolves with undefined when `ending` came first. */
export async function runCommand(
  io: Io,
  vm: Vm,
  ending: Ending,
  options: CommandOptions,
): Promise<Outcome | undefined> {
  const { command, progress } = options;
  const stdout = new ByteOutput(io.stdout);
  const stderr = new ByteOutput(io.stderr);
  const take = (output: ByteOutput) => (bytes: Uint8Array) => {
    progress.clear();
    return output.write(bytes);
  };
  const outcomes = new Promise<Outcome>((resolve, reject) => {
    stdout.onGone = (code) => resolve({ kind: "output-gone", code });
    vm.wait().then((exit) => resolve({ kind: "guest", exit }), reject);
    start(vm, progress)
      .then(({ kind }) => {
        // QEMU's agent has a command's input before it starts it: one that is typed would be waited for without end.
        const stdin = kind === "qemu" && io.stdin.isTTY ? undefined : input(io);
        return vm.exec(command, { stdin, onStdout: take(stdout), onStderr: take(stderr), signal: ending.signal });
      })
      .then(({ exitCode }) => resolve({ kind: "command", status: exitCode }))
      .catch((error: unknown) => afterGuest(vm, () => reject(error)));
  });
  outcomes.catch(() => {}); // Whoever ends the race first need not hear of it.
  try {
    const outcome = await ending.race(orTrouble(outcomes, options.trouble));
    if (outcome?.kind === "guest" && outcome.exit.kind === "off" && !outcome.exit.limit)
      throw endedEarly(outcome.exit.reason);
    return outcome;
  } catch (error) {
    if ((error as { code?: unknown }).code !== "AGENT_BAD_ARGUMENT") throw error;
    throw new CommandError((error as Error).message, EXIT.CANNOT_RUN, { cause: error });
  } finally {
    progress.clear();
    const outputs = [stdout, stderr];
    await ending.race(Promise.all(outputs.map((output) => output.flush())));
    if (ending.cause !== undefined) await Promise.all(outputs.map((output) => output.flush(FLUSH_MS)));
    stdout.dispose();
    stderr.dispose();
  }
}

async function start(vm: Vm, progress: ProgressLine): Promise<AgentInfo> {
  await vm.start();
  progress.waitFor("the guest is starting");
  const info = await vm.agent.connect({ timeoutMs: AGENT_TIMEOUT_MS });
  progress.clear();
  return info;
}

/** A guest that ends takes its agent with it: then the guest's end is the news. */
function afterGuest(vm: Vm, otherwise: () => void): void {
  if (vm.state === "running" || vm.state === "paused") setTimeout(otherwise, 200);
  else setImmediate(otherwise);
}

function endedEarly(reason: string): CommandError {
  return new CommandError(
    `The guest turned off before the command had ended (${reason}), so its exit status is unknown.`,
  );
}

/** Standard input as the command's. One that cannot be read is an empty one. */
async function* input(io: Io): AsyncGenerator<Uint8Array> {
  try {
    for await (const data of io.stdin) yield typeof data === "string" ? Buffer.from(data) : data;
  } catch (error) {
    io.stderr.write(`twinmetal: standard input cannot be read (${(error as NodeJS.ErrnoException).code}).\n`);
  }
}
