/**
 * Making an image: header, refcount table, refcount blocks, an empty L1 table, in this order and nothing else. The header is
 * written last, so a file that was cut off is none.
 */
import type { ImageFile } from "../image-file.ts";
import { StorageError } from "../storage-error.ts";
import { setU64, viewOf } from "./big-endian.ts";
import { encodeHeader, MAX_CLUSTER_BITS, MAX_L1_BYTES, MIN_CLUSTER_BITS } from "./header.ts";
import { writeRefcount } from "./refcount-width.ts";

export interface CreateQcow2Options {
  /** Rounded up to whole sectors. */
  readonly sizeBytes: number;
  /** A power of two from 512 to 2 MiB; 64 KiB. */
  readonly clusterBytes?: number;
  /** 1, 2, 4, 8, 16, 32 or 64; 16. Version 2 has 16 only. */
  readonly refcountBits?: number;
  /** 3. */
  readonly version?: 2 | 3;
  /** As it is written into the image: a relative path is relative to the image. */
  readonly backing?: { readonly name: string; readonly format: string };
}

const DEFAULT_CLUSTER_BYTES = 1 << 16;
const SECTOR_BYTES = 512;

/** The file is new and empty. Throws "out-of-range" for options that no image can have. */
export async function createQcow2(file: ImageFile, options: CreateQcow2Options): Promise<void> {
  const { version = 3, clusterBytes = DEFAULT_CLUSTER_BYTES, refcountBits = 16, backing } = options;
  const clusterBits = exponent(clusterBytes, MIN_CLUSTER_BITS, MAX_CLUSTER_BITS, "Clusters have 512 bytes to 2 MiB");
  const refcountOrder = exponent(refcountBits, 0, 6, "Reference counts have 1 to 64 bits");
  if (version === 2 && refcountOrder !== 4) {
    throw new StorageError("out-of-range", "Version 2 has reference counts of 16 bits only: choose version 3.");
  }
  const size = Math.ceil(options.sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
  const l1Size = Math.max(1, Math.ceil(size / (clusterBytes * (clusterBytes / 8))));
  if (!Number.isSafeInteger(size) || size < 0 || l1Size * 8 > MAX_L1_BYTES) {
    const what = `A disk of ${options.sizeBytes} bytes does not fit into clusters of ${clusterBytes} bytes.`;
    throw new StorageError("out-of-range", `${what} Choose larger clusters.`);
  }
  const l1Clusters = Math.ceil((l1Size * 8) / clusterBytes);
  const perBlock = (clusterBytes * 8) / refcountBits;
  let blocks = 1;
  let tableClusters = 1;
  for (let previous = 0; previous !== blocks; ) {
    previous = blocks;
    tableClusters = Math.ceil((blocks * 8) / clusterBytes);
    blocks = Math.ceil((1 + tableClusters + blocks + l1Clusters) / perBlock);
  }
  const firstBlock = 1 + tableClusters;
  const used = firstBlock + blocks + l1Clusters;
  await file.truncate(used * clusterBytes);
  const table = new Uint8Array(tableClusters * clusterBytes);
  for (let block = 0; block < blocks; block++) {
    const bytes = new Uint8Array(clusterBytes);
    const counted = Math.min(perBlock, used - block * perBlock);
    for (let index = 0; index < counted; index++) writeRefcount(viewOf(bytes), index, refcountOrder, 1);
    await file.write((firstBlock + block) * clusterBytes, bytes);
    setU64(viewOf(table), block * 8, (firstBlock + block) * clusterBytes);
  }
  await file.write(clusterBytes, table);
  await file.flush();
  const header = encodeHeader({
    version,
    clusterBits,
    refcountOrder,
    size,
    l1Size,
    l1TableOffset: (firstBlock + blocks) * clusterBytes,
    refcountTableOffset: clusterBytes,
    refcountTableClusters: tableClusters,
    backingName: backing?.name,
    backingFormat: backing?.format,
  });
  await file.write(0, header);
  await file.flush();
}

function exponent(value: number, low: number, high: number, what: string): number {
  const bits = Math.log2(value);
  if (Number.isInteger(bits) && bits >= low && bits <= high) return bits;
  throw new StorageError("out-of-range", `${what}, a power of two: ${value} is not possible.`);
}
