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
      fdatasyncSync(descriptor);
      const { blocks, size } = fstatSync(descriptor);
      this.#takenBytes = blocks * BLOCK_BYTES;
      const hasNoHole = this.#takenBytes >= size && offset + length <= size;
      if (hasNoHole) return;
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
