/**
 * An open qcow2 image below its disk: header, L1 table, and which clusters hold metadata. Writes go to the file here and
 * nowhere else, so that the end of the file is known, and with it which clusters still read zeroes because nobody has
 * ever written them.
 *
 * The dirty bit of version 3 is set before the first change of metadata and cleared by a complete close: an image that has
 * it may have leaked clusters, and is looked through when it is opened next (check.ts).
 */
import { type ImageFile, writeFileParts } from "../image-file.ts";
import { type Parts, partsLength } from "../parts.ts";
import { StorageError } from "../storage-error.ts";
import { corrupt, setU64, TWO_32, viewOf } from "./big-endian.ts";
import { FIELD, INCOMPATIBLE, MAX_CLUSTER_BITS, parseHeader, type Qcow2Header } from "./header.ts";

export const COPIED_HIGH = 0x80000000;
const OFFSET_HIGH = 0x00ffffff;
const OFFSET_LOW = 0xfffffe00;
const L1_SECTOR_BYTES = 512;

export class Qcow2Image {
  readonly file: ImageFile;
  readonly header: Qcow2Header;
  readonly clusterBytes: number;
  /** Entries of an L2 table. */
  readonly l2Entries: number;
  /** Pages of tables in caches. */
  readonly pageBytes: number;
  l1: DataView;
  refcountTable: DataView;
  /** Clusters of L2 tables and refcount blocks, by offset. Filled when the image is opened for writing. */
  readonly tableClusters = new Set<number>();
  readonly #dirtyL1Sectors = new Set<number>();
  #fileBytes: number;
  #flushFailure: StorageError | undefined;

  private constructor(
    file: ImageFile,
    header: Qcow2Header,
    fileBytes: number,
    l1: Uint8Array,
    refcountTable: Uint8Array,
  ) {
    this.file = file;
    this.header = header;
    this.clusterBytes = 2 ** header.clusterBits;
    this.l2Entries = this.clusterBytes / 8;
    this.pageBytes = Math.min(4096, this.clusterBytes);
    this.#fileBytes = fileBytes;
    this.l1 = viewOf(l1);
    this.refcountTable = viewOf(refcountTable);
  }

  static async open(file: ImageFile): Promise<Qcow2Image> {
    const fileBytes = await file.size();
    const start = new Uint8Array(Math.min(fileBytes, 2 ** MAX_CLUSTER_BITS, 1 << 16));
    await file.read(0, start);
    const header = parseHeader(start, fileBytes);
    const l1 = new Uint8Array(header.l1Size * 8);
    await file.read(header.l1TableOffset, l1);
    const refcountTable = new Uint8Array(header.refcountTableClusters * 2 ** header.clusterBits);
    await file.read(header.refcountTableOffset, refcountTable);
    return new Qcow2Image(file, header, fileBytes, l1, refcountTable);
  }

  /** Not closed by who wrote it last, or open. */
  get isMarkedDirty(): boolean {
    return (this.header.incompatibleFeatures & INCOMPATIBLE.dirty) !== 0;
  }

  get isMarkedCorrupt(): boolean {
    return (this.header.incompatibleFeatures & INCOMPATIBLE.corrupt) !== 0;
  }

  /** The end of the file as far as it was ever written. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  /** Whether nobody has written to the cluster, nor to one behind it. */
  isFresh(offset: number): boolean {
    return offset >= this.#fileBytes;
  }

  get hasDirtyL1(): boolean {
    return this.#dirtyL1Sectors.size > 0;
  }

  /** Where the L2 table is, 0 for none. */
  l2Offset(l1Index: number): number {
    return this.#tableOffset(this.l1, l1Index, "an L2 table");
  }

  /** Whether the L2 table belongs to the active state alone, and may be changed where it lies. */
  isL2Copied(l1Index: number): boolean {
    return this.l1.getUint32(l1Index * 8) >= COPIED_HIGH;
  }

  setL2Offset(l1Index: number, offset: number): void {
    this.l1.setUint32(l1Index * 8, (COPIED_HIGH | Math.floor(offset / TWO_32)) >>> 0);
    this.l1.setUint32(l1Index * 8 + 4, offset % TWO_32);
    this.#dirtyL1Sectors.add(Math.floor((l1Index * 8) / L1_SECTOR_BYTES));
    this.tableClusters.add(offset);
  }

  /** The entry's COPIED flag has been changed where it lies. */
  setL2Flag(l1Index: number): void {
    this.#dirtyL1Sectors.add(Math.floor((l1Index * 8) / L1_SECTOR_BYTES));
  }

  /** Where the refcount block is, 0 for none and for what the table does not reach. */
  refcountBlockOffset(index: number): number {
    if (index * 8 >= this.refcountTable.byteLength) return 0;
    return this.#tableOffset(this.refcountTable, index, "a refcount block");
  }

  #tableOffset(table: DataView, index: number, what: string): number {
    const high = table.getUint32(index * 8) & 0x7fffffff;
    const low = table.getUint32(index * 8 + 4);
    const offset = high * TWO_32 + low;
    if (offset === 0) return 0;
    if (high > OFFSET_HIGH || offset % this.clusterBytes !== 0) throw corrupt(`the place of ${what} is impossible`);
    if (offset >= this.#fileBytes) throw corrupt(`${what} lies behind the end of the file`);
    return offset;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.file.read(offset, into);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.file.write(offset, bytes);
    if (offset + bytes.length > this.#fileBytes) this.#fileBytes = offset + bytes.length;
  }

  async writeParts(offset: number, parts: Parts): Promise<void> {
    await writeFileParts(this.file, offset, parts);
    this.#fileBytes = Math.max(this.#fileBytes, offset + partsLength(parts));
  }

  /**
   * A flush that failed may have lost what was to be written, and the system reports it once: from then on nothing more is
   * called durable.
   */
  async flush(): Promise<void> {
    if (this.#flushFailure !== undefined) throw this.#flushFailure;
    try {
      await this.file.flush();
    } catch (error) {
      const reason = error instanceof StorageError ? error : undefined;
      const text = `The image cannot be made durable any more: ${reason?.message ?? "a flush failed."}`;
      this.#flushFailure = new StorageError(reason?.code ?? "io", text, { cause: error });
      throw this.#flushFailure;
    }
  }

  async writeDirtyL1(): Promise<void> {
    for (const sector of [...this.#dirtyL1Sectors].sort((a, b) => a - b)) {
      const start = sector * L1_SECTOR_BYTES;
      const length = Math.min(L1_SECTOR_BYTES, this.l1.byteLength - start);
      await this.write(this.header.l1TableOffset + start, bytesOf(this.l1, start, length));
      this.#dirtyL1Sectors.delete(sector);
    }
  }

  /** Only for version 3; version 2 has no such bit, and keeps its leaks until somebody checks it. */
  async setDirtyBit(isSet: boolean): Promise<void> {
    const { header } = this;
    const bits = isSet
      ? header.incompatibleFeatures | INCOMPATIBLE.dirty
      : header.incompatibleFeatures & ~INCOMPATIBLE.dirty;
    if (header.version < 3 || bits === header.incompatibleFeatures) return;
    if (!isSet) await this.flush();
    await this.writeField(FIELD.incompatibleFeatures + 4, 4, (view) => view.setUint32(0, bits));
    header.incompatibleFeatures = bits;
    await this.flush();
  }

  /** Features that nobody who does not know them may leave on while writing: of them none is kept up to date here. */
  async clearAutoclear(): Promise<void> {
    if (!this.header.hasAutoclear) return;
    await this.writeField(FIELD.autoclearFeatures, 8, () => {});
    this.header.hasAutoclear = false;
  }

  /** One field, or neighbours of it, in one write within a sector. */
  async writeField(at: number, length: number, put: (view: DataView) => void): Promise<void> {
    const bytes = new Uint8Array(length);
    put(viewOf(bytes));
    await this.write(at, bytes);
  }

  async useRefcountTable(offset: number, table: Uint8Array): Promise<void> {
    const clusters = table.length / this.clusterBytes;
    await this.writeField(FIELD.refcountTableOffset, 12, (view) => {
      setU64(view, 0, offset);
      view.setUint32(8, clusters);
    });
    this.header.refcountTableOffset = offset;
    this.header.refcountTableClusters = clusters;
    this.refcountTable = viewOf(table);
  }

  /** Size, l1_size and l1_table_offset are neighbours in the header. */
  async useL1(size: number, offset: number, table: Uint8Array): Promise<void> {
    await this.writeField(FIELD.size, 24, (view) => {
      setU64(view, 0, size);
      view.setUint32(12, table.length / 8);
      setU64(view, 16, offset);
    });
    this.header.size = size;
    this.header.l1Size = table.length / 8;
    this.header.l1TableOffset = offset;
    this.l1 = viewOf(table);
  }

  /** Fills `tableClusters`. */
  learnTables(): void {
    const { l1Size, refcountTableClusters } = this.header;
    for (let index = 0; index < l1Size; index++) {
      const offset = this.l2Offset(index);
      if (offset > 0) this.tableClusters.add(offset);
    }
    const blocks = (refcountTableClusters * this.clusterBytes) / 8;
    for (let index = 0; index < blocks; index++) {
      const offset = this.refcountBlockOffset(index);
      if (offset > 0 && this.tableClusters.has(offset)) throw corrupt("two tables lie in the same place");
      if (offset > 0) this.tableClusters.add(offset);
    }
    for (const offset of this.tableClusters) {
      if (this.#isInFixedTables(offset)) throw corrupt("two tables lie in the same place");
    }
  }

  /** Whether the cluster holds metadata, so that no data may be written to it. */
  isMetadata(offset: number): boolean {
    return this.tableClusters.has(offset) || this.#isInFixedTables(offset);
  }

  #isInFixedTables(offset: number): boolean {
    const { header, clusterBytes } = this;
    if (offset < clusterBytes) return true;
    const inL1 = offset - header.l1TableOffset;
    if (inL1 >= 0 && inL1 < header.l1Size * 8) return true;
    const inRefcounts = offset - header.refcountTableOffset;
    if (inRefcounts >= 0 && inRefcounts < header.refcountTableClusters * clusterBytes) return true;
    return header.nbSnapshots > 0 && offset === header.snapshotsOffset;
  }
}

export function bytesOf(view: DataView, start: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + start, length);
}

/** The offset in an L2 entry's two halves. */
export function entryOffset(high: number, low: number): number {
  return (high & OFFSET_HIGH) * TWO_32 + ((low & OFFSET_LOW) >>> 0);
}
