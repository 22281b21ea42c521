/**
 * Requests whose bytes lie in several places of the guest's memory. A disk that can takes them as they are; for others, and
 * where a place has no whole sectors, they are copied.
 */
import { type BlockDevice, joinParts, type Parts, partsLength, SECTOR_BYTES, StorageError } from "@twinmetal/storage";

/** Throws StorageError. */
export async function readParts(disk: BlockDevice, offset: number, parts: Parts): Promise<void> {
  checkParts(parts);
  if (parts.length === 1) return await disk.read(offset, parts[0]!);
  if (disk.readParts && areSectors(parts)) return await disk.readParts(offset, parts);
  const bytes = new Uint8Array(partsLength(parts));
  await disk.read(offset, bytes);
  let at = 0;
  for (const part of parts) {
    part.set(bytes.subarray(at, at + part.length));
    at += part.length;
  }
}

/** Throws StorageError. */
export async function writeParts(disk: BlockDevice, offset: number, parts: Parts): Promise<void> {
  checkParts(parts);
  if (parts.length === 1) return await disk.write(offset, parts[0]!);
  if (disk.writeParts && areSectors(parts)) return await disk.writeParts(offset, parts);
  await disk.write(offset, joinParts(parts));
}

function checkParts(parts: Parts): void {
  if (parts.length === 0) throw new StorageError("out-of-range", "The memory of a request is not there any more.");
}

const areSectors = (parts: Parts): boolean => parts.every((part) => part.length % SECTOR_BYTES === 0);
