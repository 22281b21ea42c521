/**
 * A disk in a qcow2 image (QEMU's docs/interop/qcow2.txt), versions 2 and 3: reads through the backing chain, writes copy
 * on write, snapshots inside the image stay as they are.
 *
 * Requests for clusters that the active state owns go to the file at once, any number of them. What changes metadata takes
 * turns, so a cluster is allocated once however many requests want it. The order of writes, which is what makes a crash
 * harmless (write-back.ts):
 *   data and rising reference counts  ->  flush  ->  L2 entries, L1  ->  flush  ->  falling counts, reuse of clusters
 */
import { type BlockDevice, checkRange, checkWritable, SECTOR_BYTES } from "../block-device.ts";
import { readFileParts, writeZeroBytes } from "../image-file.ts";
import { joinParts, type Parts, partsLength, sliceParts } from "../parts.ts";
import { StorageError } from "../storage-error.ts";
import { corrupt } from "./big-endian.ts";
import { ABSENT, ClusterMap, type Extent, OWN, SHARED, ZERO } from "./cluster-map.ts";
import { CompressedReader, type Decoders } from "./compressed.ts";
import { growTables } from "./grow.ts";
import type { Qcow2Image } from "./image.ts";
import { type ClusterRun, Refcounts } from "./refcounts.ts";
import type { TablePage } from "./table-cache.ts";
import { Passage, Turns } from "./turns.ts";
import { WriteBack } from "./write-back.ts";

export interface Qcow2Options {
  readonly backing?: BlockDevice;
  readonly decoders?: Decoders;
  /** For the caches of L2 tables and of refcount blocks, each. */
  readonly cacheBytes?: number;
}

export const DEFAULT_CACHE_BYTES = 4 << 20;

export class Qcow2Disk implements BlockDevice {
  readonly isReadOnly: boolean;
  readonly image: Qcow2Image;
  readonly backing: BlockDevice | undefined;
  readonly #map: ClusterMap;
  readonly #refcounts: Refcounts;
  readonly #compressed: CompressedReader;
  readonly #turns = new Turns();
  readonly #passage = new Passage();
  readonly #writeBack: WriteBack;
  readonly #clusterBytes: number;
  #sizeBytes: number;
  #isClosed = false;

  private constructor(image: Qcow2Image, options: Qcow2Options) {
    const cacheBytes = options.cacheBytes ?? DEFAULT_CACHE_BYTES;
    this.image = image;
    this.isReadOnly = image.file.isReadOnly;
    this.backing = options.backing;
    this.#clusterBytes = image.clusterBytes;
    this.#sizeBytes = Math.ceil(image.header.size / SECTOR_BYTES) * SECTOR_BYTES;
    this.#map = new ClusterMap(image, cacheBytes);
    this.#refcounts = new Refcounts(image, cacheBytes);
    this.#compressed = new CompressedReader(image, options.decoders ?? {});
    this.#writeBack = new WriteBack(image, this.#map, this.#refcounts, this.#passage, this.#compressed);
  }

  /**
   * The disk owns the image's file and the backing disk from here on. To be written, an image must be clean: one with the
   * dirty bit has been through `checkQcow2` (open-disk.ts does that).
   */
  static async open(image: Qcow2Image, options: Qcow2Options = {}): Promise<Qcow2Disk> {
    if (!image.file.isReadOnly) {
      if (image.isMarkedCorrupt) {
        throw corrupt("it is marked as corrupt, and opens for reading only");
      }
      if (image.isMarkedDirty) {
        throw corrupt("it was not closed and has not been checked since");
      }
      image.learnTables();
      await image.clearAutoclear();
    }
    return new Qcow2Disk(image, options);
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    this.#check(offset, into.length);
    while (this.#passage.obstacle !== undefined) await this.#passage.obstacle;
    this.#passage.enter();
    try {
      for (let done = 0; done < into.length; ) {
        const found = this.#map.find(offset + done, into.length - done);
        const extent = found instanceof Promise ? await found : found;
        const whole = extent.length === into.length;
        await this.#readExtent(offset + done, whole ? into : into.subarray(done, done + extent.length), extent);
        done += extent.length;
      }
    } finally {
      this.#passage.leave();
    }
  }

  async readParts(offset: number, parts: Parts): Promise<void> {
    const length = partsLength(parts);
    this.#check(offset, length);
    while (this.#passage.obstacle !== undefined) await this.#passage.obstacle;
    this.#passage.enter();
    try {
      for (let done = 0; done < length; ) {
        const found = this.#map.find(offset + done, length - done);
        const extent = found instanceof Promise ? await found : found;
        await this.#readExtentParts(offset + done, sliceParts(parts, done, extent.length), extent);
        done += extent.length;
      }
    } finally {
      this.#passage.leave();
    }
  }

  async #readExtentParts(offset: number, parts: Parts, extent: Extent): Promise<void> {
    if (extent.kind === OWN || extent.kind === SHARED) {
      return await readFileParts(this.image.file, extent.hostOffset, parts);
    }
    let at = offset;
    for (const part of parts) {
      await this.#readExtent(at, part, extent);
      at += part.length;
    }
  }

  /** How many bytes from here are known to be zeroes without reading them: for copies. */
  async zeroesAt(offset: number, length: number): Promise<number> {
    this.#check(offset, length);
    const extent = await this.#look(offset, length);
    if (extent.kind === ZERO) return extent.length;
    if (extent.kind !== ABSENT) return 0;
    if (!this.#hasBacking(offset)) return extent.length;
    const covered = Math.min(extent.length, this.backing!.sizeBytes - offset);
    return this.backing instanceof Qcow2Disk ? this.backing.zeroesAt(offset, covered) : 0;
  }

  /** A table must not change its place while an entry of it is looked up. */
  async #look(offset: number, length: number): Promise<Extent> {
    while (this.#passage.obstacle !== undefined) await this.#passage.obstacle;
    this.#passage.enter();
    try {
      return await this.#map.find(offset, length);
    } finally {
      this.#passage.leave();
    }
  }

  #readExtent(offset: number, into: Uint8Array, extent: Extent): Promise<void> | undefined {
    switch (extent.kind) {
      case OWN:
      case SHARED:
        return this.image.file.read(extent.hostOffset, into);
      case ZERO:
        into.fill(0);
        return undefined;
      case ABSENT:
        return this.#readBacking(offset, into);
      default:
        return this.#readCompressed(offset, into, extent);
    }
  }

  async #readBacking(offset: number, into: Uint8Array): Promise<void> {
    const available = Math.max(0, Math.min(into.length, (this.backing?.sizeBytes ?? 0) - offset));
    if (available > 0) await this.backing?.read(offset, into.subarray(0, available));
    if (available < into.length) into.fill(0, available);
  }

  async #readCompressed(offset: number, into: Uint8Array, extent: Extent): Promise<void> {
    const cluster = await this.#compressed.cluster(extent);
    const start = offset % this.#clusterBytes;
    into.set(cluster.subarray(start, start + into.length));
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#checkWrite(offset, bytes.length);
    for (let done = 0; done < bytes.length; ) {
      const rest = done === 0 ? bytes : bytes.subarray(done);
      const inPlace = await this.#writeInPlace(offset + done, rest);
      done += inPlace > 0 ? inPlace : await this.#turns.run(() => this.#writeInTurn(offset + done, rest));
    }
  }

  /** Where all of it can be written where it lies, bytes need not be in one piece; the rest is. */
  async writeParts(offset: number, parts: Parts): Promise<void> {
    const length = partsLength(parts);
    this.#checkWrite(offset, length);
    for (let done = 0; done < length; ) {
      const inPlace = await this.#inPlace(offset + done, length - done, (at, most) =>
        this.image.writeParts(at, sliceParts(parts, done, most)),
      );
      if (inPlace === 0) return await this.write(offset + done, joinParts(sliceParts(parts, done, length - done)));
      done += inPlace;
    }
  }

  #writeInPlace(offset: number, bytes: Uint8Array): Promise<number> {
    return this.#inPlace(offset, bytes.length, (at, most) =>
      this.image.write(at, most === bytes.length ? bytes : bytes.subarray(0, most)),
    );
  }

  /** Writes what may be written where it lies, from the beginning: so many bytes, 0 when that is nothing. */
  async #inPlace(
    offset: number,
    length: number,
    write: (hostOffset: number, length: number) => Promise<void>,
  ): Promise<number> {
    while (this.#passage.obstacle !== undefined) await this.#passage.obstacle;
    this.#passage.enter();
    try {
      const found = this.#map.find(offset, length);
      const extent = found instanceof Promise ? await found : found;
      if (extent.kind !== OWN) return 0;
      this.#refuseMetadata(extent);
      await write(extent.hostOffset, extent.length);
      return extent.length;
    } finally {
      this.#passage.leave();
    }
  }

  #refuseMetadata({ hostOffset, length }: Extent): void {
    const first = hostOffset - (hostOffset % this.#clusterBytes);
    for (let at = first; at < hostOffset + length; at += this.#clusterBytes) {
      if (this.image.isMetadata(at)) throw corrupt("a table of the image is also a cluster of the disk");
    }
  }

  /** In turn: writes at least a byte, from the beginning, and says how much. */
  async #writeInTurn(offset: number, bytes: Uint8Array): Promise<number> {
    await this.#writeBack.makeRoom();
    const extent = await this.#map.find(offset, bytes.length);
    if (extent.kind === OWN) return this.#writeInPlace(offset, bytes); // Another request was first.
    const page = await this.#pageToChange(offset);
    if (extent.kind === ZERO) {
      const kept = this.#map.keptCluster(page, this.#map.entryIndex(offset));
      if (kept > 0) return this.#writeKept(offset, bytes, page, kept);
    }
    const inCluster = offset % this.#clusterBytes;
    const wanted = Math.min(this.#map.entriesLeft(offset), Math.ceil((inCluster + extent.length) / this.#clusterBytes));
    const run = await this.#refcounts.allocate(wanted);
    const length = Math.min(bytes.length, extent.length, run.count * this.#clusterBytes - inCluster);
    try {
      await this.#fillRun(offset, bytes.subarray(0, length), run);
    } catch (error) {
      await this.#refcounts.undo(run);
      throw error;
    }
    const first = this.#map.entryIndex(offset);
    for (let n = 0; n < run.count; n++) {
      this.#release(page, first + n, false);
      this.#map.setOwn(page, first + n, run.offset + n * this.#clusterBytes);
    }
    return length;
  }

  /** To a cluster that reads zeroes but has kept its place. */
  async #writeKept(offset: number, bytes: Uint8Array, page: TablePage, hostOffset: number): Promise<number> {
    if (this.image.isMetadata(hostOffset)) throw corrupt("a table of the image is also a cluster of the disk");
    const length = Math.min(bytes.length, this.#clusterBytes - (offset % this.#clusterBytes));
    await this.#fillRun(offset, bytes.subarray(0, length), { offset: hostOffset, count: 1 });
    this.#map.setOwn(page, this.#map.entryIndex(offset), hostOffset);
    return length;
  }

  /** The data, and around it, to whole clusters, what the disk has there. */
  async #fillRun(offset: number, bytes: Uint8Array, run: ClusterRun): Promise<void> {
    const before = offset % this.#clusterBytes;
    const after = run.count * this.#clusterBytes - before - bytes.length;
    const isFresh = this.image.isFresh(run.offset);
    if (before > 0) await this.#copyOld(offset - before, run.offset, before, isFresh);
    await this.image.write(run.offset + before, bytes);
    if (after > 0) {
      const start = before + bytes.length;
      await this.#copyOld(offset + bytes.length, run.offset + start, after, isFresh);
    }
  }

  /** Within one cluster. */
  async #copyOld(offset: number, hostOffset: number, length: number, isFresh: boolean): Promise<void> {
    const within = Math.min(length, Math.max(0, this.#sizeBytes - offset));
    const extent = within > 0 ? await this.#map.find(offset, within) : undefined;
    const isZero =
      extent === undefined || extent.kind === ZERO || (extent.kind === ABSENT && !this.#hasBacking(offset));
    if (isZero) {
      if (!isFresh) await writeZeroBytes(this.image, hostOffset, length);
      return;
    }
    const old = new Uint8Array(length);
    await this.#readExtent(offset, old.subarray(0, within), extent);
    await this.image.write(hostOffset, old);
  }

  #hasBacking(offset: number): boolean {
    return this.backing !== undefined && offset < this.backing.sizeBytes;
  }

  /** The page of the offset's L2 entry, in a table that the active state owns. */
  async #pageToChange(offset: number): Promise<TablePage> {
    const l1Index = this.#map.l1Index(offset);
    const old = this.image.l2Offset(l1Index);
    if (old === 0 || !this.image.isL2Copied(l1Index)) await this.#ownTable(l1Index, old);
    const page = await this.#map.page(offset);
    return page!;
  }

  async #ownTable(l1Index: number, old: number): Promise<void> {
    const table = new Uint8Array(this.#clusterBytes);
    if (old !== 0) await this.image.read(old, table); // A table that is shared is never changed, so never dirty.
    const run = await this.#refcounts.allocate(1);
    try {
      await this.image.write(run.offset, table);
    } catch (error) {
      await this.#refcounts.undo(run);
      throw error;
    }
    this.#map.cache.drop(run.offset, this.#clusterBytes);
    this.image.setL2Offset(l1Index, run.offset);
    if (old !== 0) this.#writeBack.releaseLater(old, false);
  }

  /** The clusters of the entry lose a reference once the entry is gone from the file. */
  #release(page: TablePage, index: number, punch: boolean): void {
    const { offset, count } = this.#map.hostClusters(page, index);
    for (let n = 0; n < count; n++) this.#writeBack.releaseLater(offset + n * this.#clusterBytes, punch);
  }

  async flush(): Promise<void> {
    this.#check(0, 0);
    if (this.isReadOnly) return;
    if (!this.#writeBack.isNeeded) return this.image.flush();
    await this.#turns.run(() => this.#writeBack.run());
  }

  async discard(offset: number, length: number): Promise<void> {
    this.#checkWrite(offset, length);
    const first = Math.ceil(offset / this.#clusterBytes) * this.#clusterBytes;
    const isAtEnd = offset + length === this.#sizeBytes;
    const end = isAtEnd ? offset + length : Math.floor((offset + length) / this.#clusterBytes) * this.#clusterBytes;
    await this.#eachTablePart(first, end, (at, entries) => this.#clear(at, entries, true));
  }

  async writeZeroes(offset: number, length: number, mayUnmap: boolean): Promise<void> {
    this.#checkWrite(offset, length);
    const end = offset + length;
    const first = Math.min(end, Math.ceil(offset / this.#clusterBytes) * this.#clusterBytes);
    const last =
      end === this.#sizeBytes ? end : Math.max(first, Math.floor(end / this.#clusterBytes) * this.#clusterBytes);
    await this.#writeZeroPart(offset, first - offset);
    if (this.image.header.version < 3 && (this.backing !== undefined || !mayUnmap)) {
      for (let at = first; at < last; at += this.#clusterBytes) {
        await this.#writeZeroPart(at, Math.min(this.#clusterBytes, last - at));
      }
    } else {
      await this.#eachTablePart(first, last, (at, entries) => this.#clear(at, entries, mayUnmap));
    }
    await this.#writeZeroPart(last, end - last);
  }

  /** A part of a cluster: written, unless it is zeroes already. */
  async #writeZeroPart(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const extent = await this.#look(offset + done, length - done);
      const isZero = extent.kind === ZERO || (extent.kind === ABSENT && !this.#hasBacking(offset + done));
      if (!isZero) await this.write(offset + done, new Uint8Array(extent.length));
      done += extent.length;
    }
  }

  /** In turn, for the entries of one page after the other; a table that is not there is passed over as a whole. */
  async #eachTablePart(
    from: number,
    to: number,
    change: (at: number, entries: number) => Promise<void>,
  ): Promise<void> {
    for (let at = from; at < to; ) {
      const clusters = Math.ceil((to - at) / this.#clusterBytes);
      const entries = Math.min(clusters, this.#map.entriesLeft(at));
      await this.#turns.run(async () => {
        await this.#writeBack.makeRoom();
        await change(at, entries);
      });
      at += entries * this.#clusterBytes;
    }
  }

  /** Makes the entries read zeroes: by the zero flag where there is a backing file, else by being absent. */
  async #clear(at: number, entries: number, mayUnmap: boolean): Promise<void> {
    const isHidden = this.#hasBacking(at);
    if (isHidden && this.image.header.version < 3) return; // A discard: what is there may stay.
    const extent = await this.#map.find(at, entries * this.#clusterBytes);
    const isDone = extent.kind === ZERO || (extent.kind === ABSENT && !isHidden);
    if (isDone && extent.length >= entries * this.#clusterBytes) return;
    if (this.image.l2Offset(this.#map.l1Index(at)) === 0 && !isHidden) return;
    const page = await this.#pageToChange(at);
    const first = this.#map.entryIndex(at);
    for (let index = first; index < first + entries; index++) {
      const high = page.view.getUint32(index * 8);
      const low = page.view.getUint32(index * 8 + 4);
      const isUnmapped = high === 0 && (low === 1 || (low === 0 && !isHidden));
      if (isUnmapped) continue;
      const kind = this.#map.kindAt(page, index);
      if (!mayUnmap && (kind === ZERO || kind === OWN)) {
        if (kind === OWN) this.#map.setZeroInPlace(page, index);
        continue;
      }
      this.#release(page, index, true);
      if (isHidden) this.#map.setZero(page, index);
      else this.#map.setEntry(page, index, 0, 0);
    }
  }

  /** Only larger. New bytes are zeroes, whatever a backing file has there. */
  async grow(sizeBytes: number): Promise<void> {
    checkWritable(this);
    if (sizeBytes % SECTOR_BYTES !== 0 || sizeBytes < this.#sizeBytes) {
      throw new StorageError("out-of-range", `A disk of ${this.#sizeBytes} bytes cannot become one of ${sizeBytes}.`);
    }
    const { header } = this.image;
    if (header.nbSnapshots > 0 && header.version < 3) {
      throw new StorageError("unsupported", "A version 2 image with snapshots cannot be resized: convert it first.");
    }
    const oldSize = this.#sizeBytes;
    await this.#turns.run(async () => {
      await growTables({ image: this.image, refcounts: this.#refcounts, writeBack: this.#writeBack }, sizeBytes);
      this.#sizeBytes = sizeBytes;
    });
    const backingEnd = Math.min(this.backing?.sizeBytes ?? 0, sizeBytes);
    if (backingEnd > oldSize) await this.writeZeroes(oldSize, backingEnd - oldSize, true);
    await this.flush();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      if (!this.isReadOnly) await this.#turns.run(() => this.#finish());
    } finally {
      await this.image.file.close();
      await this.backing?.close();
    }
  }

  async #finish(): Promise<void> {
    await this.#passage.whileEmpty(async () => {});
    await this.#writeBack.run();
    await this.#writeBack.run(); // The counts that fell by the first one.
    await this.image.setDirtyBit(false);
    await this.image.flush();
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
