/**
 * Where the switches of this user are: each a Unix socket in a folder that nobody else can enter.
 *
 *   $XDG_RUNTIME_DIR/twinmetal-switches/NAME     /tmp/twinmetal-switches-UID/NAME where that is not set
 */
import { lstatSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
  const user = process.getuid?.();
  if (user === undefined) {
    throw new VmError("network-socket", "A switch needs a host with Unix sockets, and this one has none.");
  }
  const runtime = env["XDG_RUNTIME_DIR"];
  const folder = runtime ? join(runtime, "twinmetal-switches") : join(tmpdir(), `twinmetal-switches-${user}`);
  try {
    mkdirSync(folder, { mode: 0o700, recursive: true });
  } catch (cause) {
    const why = (cause as Error).message;
    throw new VmError("network-socket", `There is no folder for switches: ${why}. Set XDG_RUNTIME_DIR to another.`, {
      cause,
    });
  }
  const { uid, mode } = lstatSync(folder);
  if (uid !== user || (mode & 0o170077) !== 0o040000) {
    throw new VmError(
      "network-socket",
      `Others could join the switches in ${folder}: it has to be a folder of this user's, with mode 700. Change it, or set XDG_RUNTIME_DIR.`,
    );
  }
  return join(folder, name);
}
