/**
 * Physical region pages (NVM Express 1.4, 4.3): where in guest memory a command's data is. The entries are read once, when
 * the command is fetched: at most one for each page of the largest transfer, and the pointers between lists, which have 511
 * entries beside theirs except the first. What makes no sense becomes the command's status.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import { PAGE_BYTES, STATUS } from "./registers.ts";

export interface Region {
  readonly gpa: number;
  readonly length: number;
}

const ENTRY_BYTES = 8;
const OFFSET = BigInt(PAGE_BYTES - 1);
const MAX_GPA = 1n << 52n;

/** The regions of `length` bytes, or a status. */
export function resolvePrps(
  memory: GuestMemory,
  prp1: bigint,
  prp2: bigint,
  length: number,
): readonly Region[] | number {
  if ((prp1 & 3n) !== 0n) return STATUS.INVALID_PRP_OFFSET;
  if (prp1 >= MAX_GPA) return STATUS.DATA_TRANSFER;
  const first = Math.min(length, PAGE_BYTES - Number(prp1 & OFFSET));
  const regions: Region[] = [{ gpa: Number(prp1), length: first }];
  let left = length - first;
  const add = (entry: bigint): number => {
    if ((entry & OFFSET) !== 0n) return STATUS.INVALID_PRP_OFFSET;
    if (entry >= MAX_GPA) return STATUS.DATA_TRANSFER;
    const part = Math.min(left, PAGE_BYTES);
    regions.push({ gpa: Number(entry), length: part });
    left -= part;
    return STATUS.SUCCESS;
  };
  if (left === 0) return regions;
  if (left <= PAGE_BYTES) return add(prp2) || regions;
  for (let list = prp2; left > 0; ) {
    if ((list & 7n) !== 0n || (list !== prp2 && (list & OFFSET) !== 0n)) return STATUS.INVALID_PRP_OFFSET;
    if (list >= MAX_GPA) return STATUS.DATA_TRANSFER;
    const room = (PAGE_BYTES - Number(list & OFFSET)) / ENTRY_BYTES;
    const wanted = Math.ceil(left / PAGE_BYTES);
    const bytes = new Uint8Array(ENTRY_BYTES * Math.min(room, wanted));
    if (!memory.read(Number(list), bytes)) return STATUS.DATA_TRANSFER;
    const entries = new BigUint64Array(bytes.buffer);
    const pages = wanted > room ? room - 1 : wanted;
    for (let i = 0; i < pages; i++) {
      const status = add(entries[i]!);
      if (status !== STATUS.SUCCESS) return status;
    }
    if (left > 0) list = entries[pages]!;
    if (left > 0 && list === prp2) return STATUS.INVALID_PRP_OFFSET;
  }
  return regions;
}

/** Fills `into`, at most as long as the regions. False: not in memory. */
export function gather(memory: GuestMemory, regions: readonly Region[], into: Uint8Array): boolean {
  let at = 0;
  for (const { gpa, length } of regions) {
    if (!memory.read(gpa, into.subarray(at, at + length))) return false;
    at += length;
  }
  return true;
}

/** False: not in RAM; what is in front of that is written. */
export function scatter(memory: GuestMemory, regions: readonly Region[], bytes: Uint8Array): boolean {
  let at = 0;
  for (const { gpa, length } of regions) {
    if (!memory.write(gpa, bytes.subarray(at, at + length))) return false;
    at += length;
  }
  return true;
}
