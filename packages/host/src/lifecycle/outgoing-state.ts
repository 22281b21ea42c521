/**
 * The state of a VM whose process is in its sandbox, and what it has written to its disks, taken by a command outside: the
 * process writes the state into a file that it has open, and stands still until it is told that all is copied. What is
 * copied counts when the process has answered: before that it may have ended, or gone on.
 *
 * The disks' overlays are copied, not shared: the process cannot change to others. Where the file system can, copies share
 * their blocks.
 */
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { askControl } from "../control/control-client.ts";
import { ControlError } from "../control/control-error.ts";
import type { HandedOut } from "../control/save-and-clone.ts";
import { syncDirectory } from "../vm/state-files.ts";
import { VmError } from "../vm/vm-error.ts";
import { copyState } from "./saved-state.ts";
import { type CopyOptions, copySparse } from "./sparse-copy.ts";
import type { VmFolder } from "./vm-folder.ts";

const PRIVATE = 0o700;
/** Beyond every VM's memory: the process may be in the hands of its guest. */
const MAX_STATE_BYTES = 2 ** 36;

/** Its state is in that file, whole, or the file is as it was. Rejects with VmError, ControlError. */
export async function takeState(own: VmFolder, path: string, options: CopyOptions): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found && !found.isFile())
    throw new VmError("not-writable", `${path} is there already and is no file. Give another path.`);
  const aside = join(dirname(path), `.${basename(path)}.${process.pid}.part`);
  try {
    await hand(own, "state", options, async (handed) => await takeFile(own, handed, aside, options));
    await rename(aside, path);
    syncDirectory(dirname(path));
  } catch (error) {
    await rm(aside, { force: true });
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!/^E[A-Z]+$/.test(code)) throw error;
    throw new VmError("not-writable", `${path} cannot be written (${code}). Give another path, or make room.`, {
      cause: error,
    });
  }
}

/** `to`: the folder of a VM that is in the making; what was begun of it is the caller's to remove. */
export async function takeClone(own: VmFolder, to: VmFolder, options: CopyOptions): Promise<void> {
  await mkdir(to.disks, { recursive: true, mode: PRIVATE });
  await hand(own, "clone", options, async (handed) => {
    await takeFile(own, handed, to.saved, options);
    const overlays = (await readdir(own.disks).catch(() => [])).filter((name) => name.endsWith(".qcow2"));
    for (const name of overlays) await copySparse(join(own.disks, name), join(to.disks, name), options);
  });
}

async function hand(
  own: VmFolder,
  out: "state" | "clone",
  { signal, onProgress }: CopyOptions,
  onHanded: (handed: HandedOut) => Promise<void>,
): Promise<void> {
  let isTaken = false;
  let trouble: unknown;
  const take = async (handed: HandedOut): Promise<void> => {
    try {
      await onHanded(handed);
      isTaken = true;
    } catch (error) {
      trouble = error;
      throw error;
    }
  };
  try {
    await askControl(own.socket, { command: "hand", out }, { signal, onSaving: onProgress, onHanded: take });
  } catch (error) {
    signal?.throwIfAborted();
    throw trouble ?? error;
  }
  signal?.throwIfAborted();
  if (!isTaken) throw new ControlError("peer-failed", `VM ${own.name}'s process has handed nothing out. Try again.`);
}

async function takeFile(
  { outgoing }: VmFolder,
  { stateBytes }: HandedOut,
  to: string,
  options: CopyOptions,
): Promise<void> {
  const { size } = await stat(outgoing);
  if (size !== stateBytes || size > MAX_STATE_BYTES)
    throw new ControlError("peer-failed", `${outgoing} has ${size} bytes, and not what the VM has told. Try again.`);
  await copyState(outgoing, to, options);
}
