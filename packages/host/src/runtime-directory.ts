/**
 * Where this user's VMs meet while they run: $XDG_RUNTIME_DIR/twinmetal (XDG Base Directory Specification 0.8), or
 * /tmp/twinmetal-UID where that is not set. Nobody else enters it, and it is gone with the next start of the host.
 */
import { lstatSync, mkdirSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { isAbsolute, join } from "node:path";

/** It is there from here on. Throws Error with the reason why not. */
export function runtimeDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const { XDG_RUNTIME_DIR: named } = env;
  const user = process.getuid?.();
  const folder =
    named !== undefined && isAbsolute(named)
      ? join(named, "twinmetal")
      : join(tmpdir(), `twinmetal-${user ?? userInfo().username}`);
  mkdirSync(folder, { mode: 0o700, recursive: true });
  const { uid, mode } = lstatSync(folder);
  if (uid !== (user ?? uid) || (mode & 0o170077) !== 0o040000)
    throw new Error(`others than its user can enter ${folder}, which has to be a folder of mode 700`);
  return folder;
}
