/**
 * The state that a named VM was saved to, saved.state in its folder: it goes on from there with its next start, and no
 * second time, since its disks are others then.
 */
import { closeSync, constants, ftruncateSync, openSync, rmSync, statSync } from "node:fs";
import { copyFile, stat, utimes } from "node:fs/promises";
import type { VmFolder } from "./vm-folder.ts";

export function hasSavedState({ saved }: VmFolder): boolean {
  return (statSync(saved, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

/** With its time, from which the guest's calendar goes on. */
export async function copyState(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  const { atime, mtime } = await stat(from);
  await utimes(to, atime, mtime);
}

export class SavedState {
  readonly path: string;
  readonly #descriptor: number;

  private constructor(path: string, descriptor: number) {
    this.path = path;
    this.#descriptor = descriptor;
  }

  /** Undefined: there is none. A process that is going into its sandbox opens it before, so that it can be spent later. */
  static find(folder: VmFolder): SavedState | undefined {
    if (!hasSavedState(folder)) return undefined;
    return new SavedState(folder.saved, openSync(folder.saved, constants.O_RDWR | constants.O_NOFOLLOW));
  }

  /** It was gone on from: it is none any more. */
  spend(): void {
    ftruncateSync(this.#descriptor, 0);
    this.close();
    try {
      rmSync(this.path, { force: true });
    } catch {
      // In its sandbox it may not. An empty file is no state.
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
