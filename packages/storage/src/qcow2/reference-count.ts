/**
 * How often each cluster of an image is referred to, counted from all that refers: header, tables, snapshots, data. Every
 * L2 table is read once, however many snapshots share it, and memory is bounded: a hostile image is refused, not counted.
 */
import { StorageError } from "../storage-error.ts";
import { viewOf } from "./big-endian.ts";
import { COMPRESSED_HIGH, compressedPlace } from "./cluster-map.ts";
import { COPIED_HIGH, entryOffset, type Qcow2Image } from "./image.ts";
import { readSnapshots } from "./snapshots.ts";

const CHUNK = 4096;
const MAX_CHUNKS = 1 << 15;
const MAX_L1_ENTRIES = 1 << 23;
/** All L2 tables together: of a disk of 32 TiB in clusters of 64 KiB. */
const MAX_L2_BYTES = 2 ** 32;
const ZERO_LOW = 1;

export class ClusterCounts {
  readonly #chunks = new Map<number, Uint32Array>();
  /** Exclusive. */
  end = 0;

  add(cluster: number, references: number): void {
    const index = Math.floor(cluster / CHUNK);
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) {
      if (this.#chunks.size >= MAX_CHUNKS) throw tooLarge();
      chunk = new Uint32Array(CHUNK);
      this.#chunks.set(index, chunk);
    }
    chunk[cluster % CHUNK]! += references;
    if (cluster >= this.end) this.end = cluster + 1;
  }

  get(cluster: number): number {
    return this.#chunks.get(Math.floor(cluster / CHUNK))?.[cluster % CHUNK] ?? 0;
  }

  /** Clusters with references, in no order. */
  *used(): Generator<number> {
    for (const [index, chunk] of this.#chunks) {
      for (let n = 0; n < CHUNK; n++) if (chunk[n] !== 0) yield index * CHUNK + n;
    }
  }
}

export interface Counted {
  readonly counts: ClusterCounts;
  /** Of the active state. */
  readonly allocatedClusters: number;
  readonly compressedClusters: number;
  readonly zeroClusters: number;
}

export interface CountOptions {
  readonly onError: (what: string) => void;
  readonly onProgress?: (fraction: number) => void;
}

export async function countReferences(image: Qcow2Image, { onError, onProgress }: CountOptions): Promise<Counted> {
  const { header, clusterBytes } = image;
  const counts = new ClusterCounts();
  const addRange = (offset: number, bytes: number) => {
    for (let at = offset; at < offset + bytes; at += clusterBytes) counts.add(Math.floor(at / clusterBytes), 1);
  };
  addRange(0, clusterBytes);
  addRange(header.l1TableOffset, header.l1Size * 8);
  addRange(header.refcountTableOffset, header.refcountTableClusters * clusterBytes);
  countBlocks(image, counts, onError);
  const tables = new Map<number, { references: number; isActive: boolean }>();
  const l1s = [{ view: image.l1, isActive: true }];
  let entries = header.l1Size;
  if (header.nbSnapshots > 0) {
    const { snapshots, bytes } = await readSnapshots(image);
    addRange(header.snapshotsOffset, bytes);
    for (const { l1TableOffset, l1Size } of snapshots) {
      entries += l1Size;
      if (entries > MAX_L1_ENTRIES) throw tooLarge();
      const table = new Uint8Array(l1Size * 8);
      await image.read(l1TableOffset, table);
      addRange(l1TableOffset, l1Size * 8);
      l1s.push({ view: viewOf(table), isActive: false });
    }
  }
  for (const { view, isActive } of l1s) {
    for (let at = 0; at < view.byteLength; at += 8) {
      const offset = checkedOffset(image, view, at, "the place of an L2 table", onError);
      if (offset === 0) continue;
      const known = tables.get(offset);
      if (known === undefined) tables.set(offset, { references: 1, isActive });
      else known.references++;
    }
  }
  const totals = { allocatedClusters: 0, compressedClusters: 0, zeroClusters: 0 };
  if (tables.size * clusterBytes > MAX_L2_BYTES) throw tooLarge();
  const table = new Uint8Array(clusterBytes);
  let done = 0;
  for (const [offset, { references, isActive }] of tables) {
    counts.add(offset / clusterBytes, references);
    await image.read(offset, table);
    countTable(image, viewOf(table), { references, isActive }, counts, totals, onError);
    onProgress?.(++done / tables.size);
  }
  return { counts, ...totals };
}

function countBlocks(image: Qcow2Image, counts: ClusterCounts, onError: (what: string) => void): void {
  for (let at = 0; at < image.refcountTable.byteLength; at += 8) {
    const offset = checkedOffset(image, image.refcountTable, at, "the place of a refcount block", onError);
    if (offset === 0) continue;
    if (counts.get(offset / image.clusterBytes) > 0) onError("a refcount block lies in another table");
    counts.add(offset / image.clusterBytes, 1);
  }
}

interface Totals {
  allocatedClusters: number;
  compressedClusters: number;
  zeroClusters: number;
}

function countTable(
  image: Qcow2Image,
  view: DataView,
  { references, isActive }: { references: number; isActive: boolean },
  counts: ClusterCounts,
  totals: Totals,
  onError: (what: string) => void,
): void {
  for (let at = 0; at < view.byteLength; at += 8) {
    const high = view.getUint32(at);
    const low = view.getUint32(at + 4);
    if (high === 0 && low === 0) continue;
    if ((high & COMPRESSED_HIGH) !== 0) {
      countCompressed(image, high, low, references, counts, onError);
      if (isActive) totals.compressedClusters++;
      if (isActive) totals.allocatedClusters++;
      continue;
    }
    const isZero = (low & ZERO_LOW) !== 0;
    if ((high & 0x3f000000) !== 0 || (low & 0x1fe) !== 0 || (isZero && image.header.version < 3)) {
      onError("an L2 entry has reserved bits set");
      continue;
    }
    const offset = entryOffset(high, low);
    if (isActive && isZero) totals.zeroClusters++;
    if (offset === 0) continue;
    if (offset % image.clusterBytes !== 0 || offset >= image.fileBytes) {
      onError(
        offset % image.clusterBytes === 0 ? "a cluster lies behind the end of the file" : "a cluster is misplaced",
      );
      continue;
    }
    counts.add(offset / image.clusterBytes, references);
    if (isActive && !isZero) totals.allocatedClusters++;
  }
}

function countCompressed(
  image: Qcow2Image,
  high: number,
  low: number,
  references: number,
  counts: ClusterCounts,
  onError: (what: string) => void,
): void {
  if (high >= COPIED_HIGH) onError("a compressed cluster says that it may be written in place");
  try {
    const { hostOffset, compressedBytes } = compressedPlace(image, high, low);
    const last = Math.floor((hostOffset + compressedBytes - 1) / image.clusterBytes);
    for (let cluster = Math.floor(hostOffset / image.clusterBytes); cluster <= last; cluster++) {
      counts.add(cluster, references);
    }
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== "corrupt") throw error;
    onError("a compressed cluster lies behind the end of the file");
  }
}

function checkedOffset(
  image: Qcow2Image,
  table: DataView,
  at: number,
  what: string,
  onError: (what: string) => void,
): number {
  const high = table.getUint32(at) & 0x7fffffff;
  const low = table.getUint32(at + 4);
  if (high === 0 && low === 0) return 0;
  const offset = entryOffset(high, low);
  const isPossible = high <= 0x00ffffff && (low & 0x1ff) === 0 && offset % image.clusterBytes === 0;
  if (isPossible && offset < image.fileBytes) return offset;
  onError(isPossible ? `${what} is behind the end of the file` : `${what} is impossible`);
  return 0;
}

function tooLarge(): StorageError {
  const what = "The qcow2 image has more clusters or snapshots than can be checked.";
  return new StorageError("unsupported", `${what} Convert it to an image with larger clusters.`);
}
