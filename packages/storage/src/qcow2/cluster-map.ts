/**
 * Where the disk's bytes are ("Cluster mapping"): L1 and L2 tables, read through the cache and checked entry by entry when
 * they are used. What is found is a stretch of the disk with one kind of place.
 */
import { corrupt, TWO_32 } from "./big-endian.ts";
import { COPIED_HIGH, entryOffset, type Qcow2Image } from "./image.ts";
import { TableCache, type TablePage } from "./table-cache.ts";

/** Nowhere: the backing file's bytes, or zeroes. */
export const ABSENT = 0;
/** Zeroes, whatever the backing file has. */
export const ZERO = 1;
/** In the file, for the active state alone: may be written where it lies. */
export const OWN = 2;
/** In the file, shared with a snapshot. */
export const SHARED = 3;
export const COMPRESSED = 4;
export type PlaceKind = typeof ABSENT | typeof ZERO | typeof OWN | typeof SHARED | typeof COMPRESSED;

export interface Extent {
  readonly kind: PlaceKind;
  /** OWN, SHARED: where the first byte is in the file. COMPRESSED: where the compressed bytes begin. */
  readonly hostOffset: number;
  /** Of the disk's bytes; COMPRESSED: to the end of the cluster at most. */
  readonly length: number;
  /** Only COMPRESSED. */
  readonly compressedBytes: number;
}

export const COMPRESSED_HIGH = 0x40000000;
const RESERVED_HIGH = 0x3f000000;
const RESERVED_LOW = 0x1fe;
const ZERO_LOW = 1;

export class ClusterMap {
  readonly cache: TableCache;
  readonly #image: Qcow2Image;
  readonly #l1Span: number;
  readonly #perPage: number;
  readonly #mayBeZero: boolean;

  constructor(image: Qcow2Image, cacheBytes: number) {
    this.#image = image;
    this.#l1Span = image.clusterBytes * image.l2Entries;
    this.#perPage = image.pageBytes / 8;
    this.#mayBeZero = image.header.version >= 3;
    this.cache = new TableCache(image, image.pageBytes, cacheBytes);
  }

  /** The first stretch of the range: at once where the table is in memory. */
  find(offset: number, length: number): Extent | Promise<Extent> {
    const { l2Table, left } = this.#tableAt(offset);
    if (l2Table === 0) return { kind: ABSENT, hostOffset: 0, length: Math.min(length, left), compressedBytes: 0 };
    const at = this.#pageAt(l2Table, offset);
    const page = this.cache.peek(at);
    if (page !== undefined) return this.#scan(page, offset, length);
    return this.cache.load(at).then((loaded) => this.#scan(loaded, offset, length));
  }

  /** The page with the offset's entry, undefined where there is no L2 table. */
  async page(offset: number): Promise<TablePage | undefined> {
    const { l2Table } = this.#tableAt(offset);
    return l2Table === 0 ? undefined : this.cache.load(this.#pageAt(l2Table, offset));
  }

  l1Index(offset: number): number {
    return Math.floor(offset / this.#l1Span);
  }

  /** The entry's number in its page. */
  entryIndex(offset: number): number {
    return Math.floor(offset / this.#image.clusterBytes) % this.#perPage;
  }

  /** Entries from this one to the end of its page. */
  entriesLeft(offset: number): number {
    return this.#perPage - this.entryIndex(offset);
  }

  setEntry(page: TablePage, index: number, high: number, low: number): void {
    page.view.setUint32(index * 8, high >>> 0);
    page.view.setUint32(index * 8 + 4, low >>> 0);
    this.cache.markDirty(page);
  }

  setOwn(page: TablePage, index: number, hostOffset: number): void {
    this.setEntry(page, index, COPIED_HIGH | Math.floor(hostOffset / TWO_32), hostOffset % TWO_32);
  }

  setZero(page: TablePage, index: number): void {
    this.setEntry(page, index, 0, ZERO_LOW);
  }

  /** Zeroes whose cluster stays allocated, which only the active state's own can. */
  setZeroInPlace(page: TablePage, index: number): void {
    page.view.setUint8(index * 8 + 7, page.view.getUint8(index * 8 + 7) | ZERO_LOW);
    this.cache.markDirty(page);
  }

  kindAt(page: TablePage, index: number): PlaceKind {
    return this.#kindOf(page.view.getUint32(index * 8), page.view.getUint32(index * 8 + 4));
  }

  /** Where a cluster of zeroes keeps a cluster of its own, 0 when it does not. */
  keptCluster(page: TablePage, index: number): number {
    const high = page.view.getUint32(index * 8);
    return high >= COPIED_HIGH ? entryOffset(high, page.view.getUint32(index * 8 + 4)) : 0;
  }

  /** The clusters that the entry refers to, by the offset of the first and their number. */
  hostClusters(page: TablePage, index: number): { readonly offset: number; readonly count: number } {
    const high = page.view.getUint32(index * 8);
    const low = page.view.getUint32(index * 8 + 4);
    const { clusterBytes } = this.#image;
    if (this.#kindOf(high, low) !== COMPRESSED) {
      const offset = entryOffset(high, low);
      return { offset, count: offset === 0 ? 0 : 1 };
    }
    const { hostOffset, compressedBytes } = compressedPlace(this.#image, high, low);
    const first = Math.floor(hostOffset / clusterBytes);
    const last = Math.floor((hostOffset + compressedBytes - 1) / clusterBytes);
    return { offset: first * clusterBytes, count: last - first + 1 };
  }

  #tableAt(offset: number): { l2Table: number; left: number } {
    const l1Index = Math.floor(offset / this.#l1Span);
    return { l2Table: this.#image.l2Offset(l1Index), left: (l1Index + 1) * this.#l1Span - offset };
  }

  #pageAt(l2Table: number, offset: number): number {
    const { clusterBytes, l2Entries, pageBytes } = this.#image;
    const entry = Math.floor(offset / clusterBytes) % l2Entries;
    return l2Table + Math.floor(entry / this.#perPage) * pageBytes;
  }

  #scan(page: TablePage, offset: number, length: number): Extent {
    const { clusterBytes } = this.#image;
    const inCluster = offset % clusterBytes;
    let index = this.entryIndex(offset);
    const high = page.view.getUint32(index * 8);
    const low = page.view.getUint32(index * 8 + 4);
    const kind = this.#kindOf(high, low);
    let found = clusterBytes - inCluster;
    if (kind === COMPRESSED) {
      const place = compressedPlace(this.#image, high, low);
      return { kind, ...place, length: Math.min(length, found) };
    }
    const host = kind === OWN || kind === SHARED ? entryOffset(high, low) : 0;
    while (found < length && ++index < this.#perPage) {
      const nextHigh = page.view.getUint32(index * 8);
      const nextLow = page.view.getUint32(index * 8 + 4);
      if (this.#kindOf(nextHigh, nextLow) !== kind) break;
      if (host !== 0 && entryOffset(nextHigh, nextLow) !== host + inCluster + found) break;
      found += clusterBytes;
    }
    const hostOffset = host === 0 ? 0 : host + inCluster;
    return { kind, hostOffset, length: Math.min(length, found), compressedBytes: 0 };
  }

  #kindOf(high: number, low: number): PlaceKind {
    if ((high & COMPRESSED_HIGH) !== 0) {
      if (high >= COPIED_HIGH) throw corrupt("a compressed cluster says that it may be written in place");
      return COMPRESSED;
    }
    if ((high & RESERVED_HIGH) !== 0 || (low & RESERVED_LOW) !== 0) throw corrupt("an L2 entry has reserved bits set");
    const offset = entryOffset(high, low);
    if (offset % this.#image.clusterBytes !== 0) throw corrupt("a cluster does not begin where one can");
    if (offset >= this.#image.fileBytes && offset > 0) throw corrupt("a cluster lies behind the end of the file");
    if ((low & ZERO_LOW) !== 0) {
      if (!this.#mayBeZero) throw corrupt("version 2 has no clusters of zeroes");
      return ZERO;
    }
    if (offset === 0) return ABSENT;
    return high >= COPIED_HIGH ? OWN : SHARED;
  }
}

/** "Compressed Clusters Descriptor": offset in the lower bits, further sectors of 512 bytes above. */
export function compressedPlace(image: Qcow2Image, high: number, low: number) {
  const offsetBits = 62 - (image.header.clusterBits - 8);
  const highBits = offsetBits - 32;
  const hostOffset = ((high & 0x3fffffff) % 2 ** highBits) * TWO_32 + low;
  const sectors = Math.floor((high & 0x3fffffff) / 2 ** highBits) + 1;
  if (hostOffset >= image.fileBytes) throw corrupt("a compressed cluster lies behind the end of the file");
  return { hostOffset, compressedBytes: sectors * 512 - (hostOffset % 512) };
}
