/**
 * Raw images: the file's bytes are the disk's. A file that does not end with a whole sector (of a disc, block) is a disk
 * whose last one is filled up with zeroes.
 *
 * A raw image whose format was guessed must not become another format by what its guest writes into its first sector:
 * the next start would take the guest's bytes for a header, and its backing file's name for the owner's wish.
 */
import { type BlockDevice, checkRange, checkWritable, SECTOR_BYTES } from "./block-device.ts";
import { looksLikeImage } from "./format-guess.ts";
import { type ImageFile, readFileParts, writeFileParts, writeZeroBytes } from "./image-file.ts";
import { joinParts, type Parts, partsLength } from "./parts.ts";
import { StorageError } from "./storage-error.ts";

export interface RawOptions {
  /** The format was guessed from the contents: what would be guessed differently next time is refused. */
  readonly isGuessed?: boolean;
  /** The disk is whole ones of these, a multiple of 512; 512. Discs have 2048. */
  readonly blockBytes?: number | undefined;
}

export class RawDisk implements BlockDevice {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly #file: ImageFile;
  readonly #isGuessed: boolean;
  #isClosed = false;

  private constructor(file: ImageFile, sizeBytes: number, options: RawOptions) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
    this.isReadOnly = file.isReadOnly;
    this.#isGuessed = options.isGuessed ?? false;
  }

  /** The disk owns the file from here on. */
  static async open(file: ImageFile, options: RawOptions = {}): Promise<RawDisk> {
    const { blockBytes = SECTOR_BYTES } = options;
    const sizeBytes = Math.ceil((await file.size()) / blockBytes) * blockBytes;
    return new RawDisk(file, sizeBytes, options);
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    this.#check(offset, into.length);
    return this.#file.read(offset, into);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#checkWrite(offset, bytes.length);
    if (this.#isGuessed && offset === 0 && looksLikeImage(bytes)) {
      const what = "The guest's write to the first sector of a raw image was refused: it would make it another format.";
      throw new StorageError("permission", `${what} State the format (format=raw) to allow it.`);
    }
    return this.#file.write(offset, bytes);
  }

  async readParts(offset: number, parts: Parts): Promise<void> {
    this.#check(offset, partsLength(parts));
    return readFileParts(this.#file, offset, parts);
  }

  async writeParts(offset: number, parts: Parts): Promise<void> {
    if (this.#isGuessed && offset === 0) return this.write(offset, joinParts(parts));
    this.#checkWrite(offset, partsLength(parts));
    return writeFileParts(this.#file, offset, parts);
  }

  async flush(): Promise<void> {
    this.#check(0, 0);
    if (!this.isReadOnly) await this.#file.flush();
  }

  async discard(offset: number, length: number): Promise<void> {
    this.#checkWrite(offset, length);
    await this.#file.discard(offset, length);
  }

  async writeZeroes(offset: number, length: number, mayUnmap: boolean): Promise<void> {
    this.#checkWrite(offset, length);
    if (mayUnmap && (await this.#file.discard(offset, length))) return;
    await writeZeroBytes(this.#file, offset, length);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      if (!this.isReadOnly) await this.#file.flush();
    } finally {
      await this.#file.close();
    }
  }

  #check(offset: number, length: number): void {
    if (this.#isClosed) throw new StorageError("closed", "The disk has been closed.");
    checkRange(this, offset, length);
  }

  #checkWrite(offset: number, length: number): void {
    this.#check(offset, length);
    checkWritable(this);
  }
}
