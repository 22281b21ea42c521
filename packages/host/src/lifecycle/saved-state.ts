/**
 * State files in the folder of a named VM. Its process opens them before it goes into its sandbox, where it opens nothing:
 *
 *   saved.state      the VM was saved to it: it goes on from there with its next start, and no second time, since its disks are
 *                    others then
 *   outgoing.state   written for another place, while the VM stands still: who has asked copies it (outgoing-state.ts)
 *
 * What its drives hold when it goes on is beside it, saved.discs (saved-discs.ts).
 *
 * A file that is empty, or begins with zeros, is no state: none is there, or it was not finished.
 */
import { closeSync, constants, existsSync, fstatSync, ftruncateSync, openSync, readSync } from "node:fs";
import { stat, utimes } from "node:fs/promises";
import { dirname } from "node:path";
import { syncDirectory } from "../vm/state-files.ts";
import type { OpenStateFile } from "../vm/vm.ts";
import { type CopyOptions, copySparse } from "./sparse-copy.ts";
import type { VmFolder } from "./vm-folder.ts";

const PRIVATE = 0o600;
const FIRST_BYTES = 8;

export function hasSavedState({ saved }: VmFolder): boolean {
  if (!existsSync(saved)) return false;
  const descriptor = openSync(saved, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    return isBegun(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function isBegun(descriptor: number): boolean {
  const first = new Uint8Array(FIRST_BYTES);
  readSync(descriptor, first, 0, FIRST_BYTES, 0);
  return first.some((byte) => byte !== 0);
}

/** With its time, from which the guest's calendar goes on. */
export async function copyState(from: string, to: string, options: CopyOptions = {}): Promise<void> {
  await copySparse(from, to, options);
  const { atime, mtime } = await stat(from);
  await utimes(to, atime, mtime);
}

/** One of these files, open as long as the VM's process is there. */
export class FolderState implements OpenStateFile {
  readonly path: string;
  readonly descriptor: number;

  private constructor(path: string, descriptor: number) {
    this.path = path;
    this.descriptor = descriptor;
  }

  /** Made where it is not there. Throws what opening a file does. */
  static open(path: string): FolderState {
    const isNew = !existsSync(path);
    const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
    const file = new FolderState(path, openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, PRIVATE));
    if (isNew) syncDirectory(dirname(path));
    else if (!file.isThere) file.clear();
    return file;
  }

  get sizeBytes(): number {
    return fstatSync(this.descriptor).size;
  }

  get isThere(): boolean {
    return isBegun(this.descriptor);
  }

  clear(): void {
    ftruncateSync(this.descriptor, 0);
  }
}
