/**
 * A log file that never grows beyond its bound: when it would, its first half goes, up to the end of a line. It is opened once,
 * for its process may be unable to open files later. A full disk loses what is written meanwhile, and nothing else.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";

const NEW_LINE = 0x0a;

export class BoundedLog {
  readonly #descriptor: number;
  readonly #maxBytes: number;
  #sizeBytes: number;

  private constructor(descriptor: number, maxBytes: number) {
    this.#descriptor = descriptor;
    this.#maxBytes = maxBytes;
    this.#sizeBytes = fstatSync(descriptor).size;
  }

  /** Made if it is not there. Throws what opening a file does. */
  static open(path: string, maxBytes: number): BoundedLog {
    const { O_RDWR, O_CREAT, O_APPEND } = constants;
    return new BoundedLog(openSync(path, O_RDWR | O_CREAT | O_APPEND, 0o600), maxBytes);
  }

  write(bytes: Uint8Array): void {
    try {
      const last = bytes.subarray(Math.max(0, bytes.length - Math.floor(this.#maxBytes / 2)));
      if (this.#sizeBytes + last.length > this.#maxBytes) this.#dropFirstHalf();
      this.#sizeBytes += writeSync(this.#descriptor, last);
    } catch (error) {
      if (!isFull(error)) throw error;
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #dropFirstHalf(): void {
    const kept = Buffer.alloc(Math.floor(this.#maxBytes / 2));
    const sizeBytes = fstatSync(this.#descriptor).size;
    const from = Math.max(0, sizeBytes - kept.length);
    const read = kept.subarray(0, readSync(this.#descriptor, kept, 0, kept.length, from));
    const line = from === 0 ? 0 : read.indexOf(NEW_LINE) + 1;
    ftruncateSync(this.#descriptor, 0);
    this.#sizeBytes = 0;
    this.#sizeBytes = writeSync(this.#descriptor, read, line);
  }
}

function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
}
