/**
 * A disk as its user sees it: bytes in sectors of 512, whatever holds them. Front-ends of virtio-blk, AHCI, IDE and NVMe,
 * converters and checks all speak this; the formats implement it.
 *
 * Several requests may be in flight. Requests that touch the same bytes at the same time have no order among themselves,
 * as on a real disk; a request that was made after another one was answered sees its effect.
 */
import type { Parts } from "./parts.ts";
import { StorageError } from "./storage-error.ts";

export const SECTOR_BYTES = 512;

export interface BlockDevice {
  /** A multiple of 512. */
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  /** Fills `into`. Offset and length are multiples of 512, here and below; else StorageError "out-of-range". */
  read(offset: number, into: Uint8Array): Promise<void>;
  /** `bytes` must not change until the answer. Acknowledged is not durable: see `flush`. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** As `read` and `write` of all parts, one behind the other, each of whole sectors. Not every format can. */
  readParts?(offset: number, parts: Parts): Promise<void>;
  writeParts?(offset: number, parts: Parts): Promise<void>;
  /** Everything acknowledged before this call survives a loss of power once it is answered. */
  flush(): Promise<void>;
  /** The range's bytes are not needed any more: a hint. What it reads afterwards is the old bytes or zeroes. */
  discard(offset: number, length: number): Promise<void>;
  /** The range reads zeroes afterwards. With `mayUnmap` its space may be given back to the host. */
  writeZeroes(offset: number, length: number, mayUnmap: boolean): Promise<void>;
  /** Waits for requests in flight, flushes and gives the files back. Later requests fail with "closed". */
  close(): Promise<void>;
}

/** Throws "out-of-range" unless the range is whole sectors of the disk. */
export function checkRange(disk: { readonly sizeBytes: number }, offset: number, length: number): void {
  const isWhole = offset % SECTOR_BYTES === 0 && length % SECTOR_BYTES === 0;
  if (isWhole && offset >= 0 && length >= 0 && offset + length <= disk.sizeBytes) return;
  const reason = isWhole ? `the disk has ${disk.sizeBytes} bytes` : `the disk has sectors of ${SECTOR_BYTES} bytes`;
  throw new StorageError("out-of-range", `A request for ${length} bytes at ${offset} cannot be met: ${reason}.`);
}

export function checkWritable(disk: { readonly isReadOnly: boolean }): void {
  if (disk.isReadOnly) {
    throw new StorageError("read-only", "The disk was opened for reading only. Open it without `readonly` to write.");
  }
}
