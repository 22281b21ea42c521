/**
 * A disk whose writes are thrown away at its end: they go to a scratch file, at their own offsets, and a bitmap tells for
 * each sector where it is. The disk beneath is only read, so any number of overlays may share it.
 * A flush has nothing to make durable.
 */
import { type BlockDevice, checkRange, SECTOR_BYTES } from "./block-device.ts";
import { type ImageFile, writeZeroBytes } from "./image-file.ts";
import { StorageError } from "./storage-error.ts";

/** Sectors that one page of the bitmap tells of: 16 MiB of disk in 4 KiB. */
const PAGE_SECTORS = 32_768;

export class ScratchOverlay implements BlockDevice {
  readonly sizeBytes: number;
  readonly isReadOnly = false;
  readonly #base: BlockDevice;
  readonly #scratch: ImageFile;
  /** Pages exist once a sector of theirs is written. */
  readonly #written = new Map<number, Uint8Array>();
  #isClosed = false;

  /** Owns both from here on. `scratch` is empty. */
  constructor(base: BlockDevice, scratch: ImageFile) {
    this.sizeBytes = base.sizeBytes;
    this.#base = base;
    this.#scratch = scratch;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    this.#check(offset, into.length);
    const end = offset + into.length;
    for (let at = offset; at < end; ) {
      const isWritten = this.#isWritten(at / SECTOR_BYTES);
      let runEnd = at + SECTOR_BYTES;
      while (runEnd < end && this.#isWritten(runEnd / SECTOR_BYTES) === isWritten) runEnd += SECTOR_BYTES;
      const part = into.subarray(at - offset, runEnd - offset);
      await (isWritten ? this.#scratch : this.#base).read(at, part);
      at = runEnd;
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#check(offset, bytes.length);
    await this.#scratch.write(offset, bytes);
    this.#mark(offset, bytes.length);
  }

  async flush(): Promise<void> {
    this.#check(0, 0);
  }

  async discard(offset: number, length: number): Promise<void> {
    this.#check(offset, length);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    this.#check(offset, length);
    await writeZeroBytes(this.#scratch, offset, length);
    this.#mark(offset, length);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.#scratch.close();
    } finally {
      await this.#base.close();
    }
  }

  #check(offset: number, length: number): void {
    if (this.#isClosed) throw new StorageError("closed", "The disk has been closed.");
    checkRange(this, offset, length);
  }

  #isWritten(sector: number): boolean {
    const page = this.#written.get(Math.floor(sector / PAGE_SECTORS));
    const bit = sector % PAGE_SECTORS;
    return page !== undefined && ((page[bit >> 3]! >> (bit & 7)) & 1) !== 0;
  }

  #mark(offset: number, length: number): void {
    const end = (offset + length) / SECTOR_BYTES;
    for (let sector = offset / SECTOR_BYTES; sector < end; sector++) {
      const index = Math.floor(sector / PAGE_SECTORS);
      let page = this.#written.get(index);
      if (!page) this.#written.set(index, (page = new Uint8Array(PAGE_SECTORS / 8)));
      const bit = sector % PAGE_SECTORS;
      page[bit >> 3]! |= 1 << (bit & 7);
    }
  }
}
