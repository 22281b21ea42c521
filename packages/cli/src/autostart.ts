/** VMs that start by themselves: which ones their specs say (--autostart); one user unit of systemd starts them. */
import { execFile } from "node:child_process";
import type { Io } from "./command.ts";
import { namedVms, ownProgram } from "./named-vms.ts";
import {
  autostartUnit,
  autostartUnitName,
  autostartUnitPath,
  lingers,
  removeUnit,
  type VmSpec,
  writeUnit,
} from "./vm-library.ts";

const SYSTEMCTL_MS = 30_000;

export function isMarked({ options }: Pick<VmSpec, "options">): boolean {
  return options["autostart"] === true;
}

export function withMark(spec: VmSpec, isOn: boolean): VmSpec {
  const { autostart: _autostart, ...options } = spec.options;
  return { ...spec, options: isOn ? { ...options, autostart: true } : options };
}

/** Names of the VMs that are to start by themselves. One whose spec cannot be read is none, and told where it is started. */
export async function markedVms(io: Io): Promise<readonly string[]> {
  const { store } = namedVms(io);
  const names = await store.names();
  const marked = await Promise.all(
    names.map(async (name) => isMarked(await store.read(name).catch(() => ({ options: {} })))),
  );
  return names.filter((_name, index) => marked[index]);
}

/** The unit is there and enabled; what a person has to do beside that is said. Rejects where it cannot be written. */
export async function ensureAutostart(io: Io): Promise<void> {
  const unit = autostartUnitName(io.env);
  await writeUnit(autostartUnitPath(io.env), autostartUnit(ownProgram(), io.env));
  const why = (await systemctl(io, ["daemon-reload"])).trouble ?? (await systemctl(io, ["enable", unit])).trouble;
  if (why !== undefined) {
    io.stderr.write(
      `twinmetal: it will start by itself where systemd runs: the unit is written, but ${why}. Tell systemd: systemctl --user enable ${unit}. Without systemd, let your log-in or a boot script run: twinmetal autostart start\n`,
    );
    return;
  }
  if (lingers() !== true)
    io.stderr.write("twinmetal: it starts when you log in. To start with the host, too: loginctl enable-linger\n");
}

/** Nothing is left to start: the unit goes. */
export async function dropAutostart(io: Io): Promise<void> {
  const unit = autostartUnitName(io.env);
  await systemctl(io, ["disable", unit]);
  await removeUnit(autostartUnitPath(io.env));
  await systemctl(io, ["daemon-reload"]);
}

export interface SystemctlAnswer {
  readonly text: string;
  /** Why it did not do it. */
  readonly trouble: string | undefined;
}

export function systemctl(io: Pick<Io, "env">, words: readonly string[]): Promise<SystemctlAnswer> {
  return new Promise((resolve) => {
    const options = { timeout: SYSTEMCTL_MS, env: { ...io.env, LC_ALL: "C" } };
    execFile("systemctl", ["--user", ...words], options, (error, stdout, stderr) => {
      const text = stdout.trim();
      if (!error) return resolve({ text, trouble: undefined });
      const isAbsent = (error as NodeJS.ErrnoException).code === "ENOENT";
      const why = isAbsent ? "there is no systemctl here" : `systemctl says: ${firstLine(stderr || error.message)}`;
      resolve({ text, trouble: why });
    });
  });
}

function firstLine(text: string): string {
  return text.trim().split("\n", 1).join().replace(/\.$/, "");
}
