/**
 * Where the switches of this user are: each a Unix socket, switches/NAME in the folder of ../runtime-directory.ts. VMs of another
 * $TWINMETAL_HOME, which may have the same names and so the same addresses, have switches of their own, switches-DIGEST/NAME.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { homeSuffix } from "../data-directory.ts";
import { runtimeDirectory } from "../runtime-directory.ts";
import { VmError } from "../vm/vm-error.ts";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;

/** Throws VmError. */
export function checkSwitchName(name: string | undefined): void {
  if (name !== undefined && NAME.test(name)) return;
  throw new VmError(
    "bad-option",
    `${JSON.stringify(name ?? "")} is no name of a switch. Give up to 32 letters, digits, dots, lines and underscores.`,
  );
}

/** The socket of the switch of this name; its folder is there from here on. Throws VmError. */
export function switchSocket(name: string, env: NodeJS.ProcessEnv = process.env): string {
  checkSwitchName(name);
  if (process.getuid === undefined)
    throw new VmError("network-socket", "A switch needs a host with Unix sockets, and this one has none.");
  try {
    const folder = join(runtimeDirectory(env), `switches${homeSuffix(env)}`);
    mkdirSync(folder, { mode: 0o700, recursive: true });
    return join(folder, name);
  } catch (cause) {
    throw new VmError(
      "network-socket",
      `There is no folder for switches: ${(cause as Error).message}. Change it, or set XDG_RUNTIME_DIR to another.`,
      { cause },
    );
  }
}
