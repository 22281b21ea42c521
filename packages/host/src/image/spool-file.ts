/** A file on this host that many files' bytes go into, one behind the other, where a tree in memory says which is which. */
import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import type { FileNode } from "@twinmetal/storage";

export interface SpooledBytes {
  /** Fills `into` with the bytes from `offset` on. Rejects with RangeError behind what was written. */
  readonly read: FileNode["read"];
  /** The next bytes of it. */
  readonly write: (chunk: Uint8Array) => void;
}

export class SpoolFile {
  readonly #descriptor: number;
  readonly #path: string;
  #sizeBytes = 0;

  /** `path` must not be there. */
  constructor(path: string) {
    this.#path = path;
    this.#descriptor = openSync(path, "wx+", 0o600);
  }

  /** Room for one more. */
  append(sizeBytes: number): SpooledBytes {
    const start = this.#sizeBytes;
    this.#sizeBytes += sizeBytes;
    let at = start;
    return {
      read: async (offset, into) => this.#read(start + offset, into),
      write: (chunk) => {
        writeSync(this.#descriptor, chunk, 0, chunk.length, at);
        at += chunk.length;
      },
    };
  }

  /** Nothing of it stays. */
  close(): void {
    closeSync(this.#descriptor);
    unlinkSync(this.#path);
  }

  #read(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const got = readSync(this.#descriptor, into, done, into.length - done, offset + done);
      if (got === 0) throw new RangeError(`${this.#path} is shorter than what was to be in it`);
      done += got;
    }
  }
}
