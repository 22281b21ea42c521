/**
 * An image file in memory, sparse: pages of 64 KiB that exist once they are written. For tests, for browsers, and for
 * disks that nobody wants to keep.
 */
import type { ImageFile } from "./image-file.ts";
import { StorageError } from "./storage-error.ts";

const PAGE_BYTES = 1 << 16;

export interface MemoryFileOptions {
  readonly isReadOnly?: boolean;
  /** Writes that would need more pages than this hold fail with "no-space". */
  readonly capacityBytes?: number;
}

export class MemoryFile implements ImageFile {
  readonly isReadOnly: boolean;
  readonly #pages = new Map<number, Uint8Array>();
  readonly #maxPages: number;
  #sizeBytes = 0;

  constructor(contents: Uint8Array = new Uint8Array(0), options: MemoryFileOptions = {}) {
    this.isReadOnly = options.isReadOnly ?? false;
    this.#maxPages = Math.ceil((options.capacityBytes ?? Number.MAX_SAFE_INTEGER) / PAGE_BYTES);
    this.#put(0, contents);
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.length; ) {
      const { page, start, length } = this.#piece(offset + done, into.length - done);
      if (page === undefined) into.fill(0, done, done + length);
      else into.set(page.subarray(start, start + length), done);
      done += length;
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    if (this.isReadOnly) throw new StorageError("read-only", "The file in memory is for reading only.");
    this.#put(offset, bytes);
  }

  async flush(): Promise<void> {}

  async truncate(sizeBytes: number): Promise<void> {
    if (sizeBytes < this.#sizeBytes) await this.discard(sizeBytes, this.#sizeBytes - sizeBytes);
    this.#sizeBytes = sizeBytes;
  }

  async discard(offset: number, length: number): Promise<boolean> {
    const end = Math.min(offset + length, this.#sizeBytes);
    for (let at = offset; at < end; ) {
      const piece = this.#piece(at, end - at);
      if (piece.length === PAGE_BYTES) this.#pages.delete(at / PAGE_BYTES);
      else piece.page?.fill(0, piece.start, piece.start + piece.length);
      at += piece.length;
    }
    return true;
  }

  async size(): Promise<number> {
    return this.#sizeBytes;
  }

  async close(): Promise<void> {}

  /** All bytes, as an array of the caller's own. */
  contents(): Uint8Array {
    const all = new Uint8Array(this.#sizeBytes);
    for (const [index, page] of this.#pages) {
      const start = index * PAGE_BYTES;
      if (start < all.length) all.set(page.subarray(0, all.length - start), start);
    }
    return all;
  }

  #put(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const { index, start, length } = this.#piece(offset + done, bytes.length - done);
      this.#pageToWrite(index).set(bytes.subarray(done, done + length), start);
      done += length;
      this.#sizeBytes = Math.max(this.#sizeBytes, offset + done);
    }
  }

  #pageToWrite(index: number): Uint8Array {
    let page = this.#pages.get(index);
    if (page === undefined) {
      if (this.#pages.size >= this.#maxPages) throw new StorageError("no-space", "The file in memory is full.");
      page = new Uint8Array(PAGE_BYTES);
      this.#pages.set(index, page);
    }
    return page;
  }

  #piece(offset: number, atMost: number) {
    const index = Math.floor(offset / PAGE_BYTES);
    const start = offset - index * PAGE_BYTES;
    return { index, page: this.#pages.get(index), start, length: Math.min(atMost, PAGE_BYTES - start) };
  }
}
