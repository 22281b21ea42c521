/**
 * How much of the host's file system an image may take. What it takes is asked of the file system (st_blocks) whenever writes since
 * then could have filled it up, and after all of them are written out: ext4 counts less for a moment while it gives delayed writes
 * their blocks. Writes that would go beyond find no space, as on a host that is full. An image without holes is never larger than
 * it is.
 */
import { fdatasyncSync, fstatSync } from "node:fs";
import { StorageError } from "@twinmetal/storage";

const BLOCK_BYTES = 512;

export class SpaceLimit {
  /** Undefined: no limit. */
  bytes: number | undefined;
  /** What it takes at most. */
  #takenBytes = Number.POSITIVE_INFINITY;

  /** Before a write. Throws StorageError "no-space". */
  check(descriptor: number, path: string, offset: number, length: number): void {
    const { bytes } = this;
    if (bytes === undefined) return;
    if (this.#takenBytes + length > bytes) {
      // All that it will ever take. What ext4 leaves out for a moment only makes it look less full.
      const { blocks, size } = fstatSync(descriptor);
      if (blocks * BLOCK_BYTES >= size && offset + length <= size) return;
      fdatasyncSync(descriptor);
      this.#takenBytes = fstatSync(descriptor).blocks * BLOCK_BYTES;
      if (this.#takenBytes + length > bytes) {
        throw new StorageError(
          "no-space",
          `${path} takes ${this.#takenBytes} bytes of its file system, and is allowed ${bytes}. Allow it more.`,
        );
      }
    }
    this.#takenBytes += length;
  }
}
