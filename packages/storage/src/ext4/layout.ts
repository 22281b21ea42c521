/**
 * Where an ext4 file system has its things ("ext4 Data Structures and Algorithms" of the kernel's documentation), for one
 * that is written at once: blocks of 4 KiB in whole groups of 32768. Each group has its own bitmaps and inode table in front;
 * groups 0, 1 and the powers of 3, 5 and 7 a copy of superblock and descriptors before those (sparse_super).
 */
import { StorageError } from "../storage-error.ts";

export const BLOCK_BYTES = 4096;
export const GROUP_BLOCKS = 8 * BLOCK_BYTES;
export const INODE_BYTES = 256;
export const DESCRIPTOR_BYTES = 32;
/** 1 to 10 are reserved; 11 is lost+found. */
export const ROOT_INODE = 2;
export const FIRST_INODE = 11;
const MIN_INODES_PER_GROUP = 8192;
const INODES_PER_BLOCK = BLOCK_BYTES / INODE_BYTES;
const MAX_GROUPS = 1 << 15;

/** Consecutive blocks of a file. */
export interface Extent {
  readonly start: number;
  readonly count: number;
}

export class Ext4Layout {
  readonly groups: number;
  readonly inodesPerGroup: number;
  readonly #descriptorBlocks: number;
  /** Per group: 1 bits are used blocks. */
  readonly blockBitmaps: readonly Uint8Array[];
  readonly freeBlocks: number[];
  #group = 0;
  #next: number;

  /** Room for so many blocks of files, and at least `freeBytes` beside. Throws StorageError "out-of-range" past 4 TiB. */
  constructor(dataBlocks: number, inodes: number, freeBytes: number) {
    const wanted = dataBlocks + Math.ceil(freeBytes / BLOCK_BYTES);
    let groups = Math.max(1, Math.ceil(wanted / GROUP_BLOCKS));
    for (;;) {
      if (groups > MAX_GROUPS)
        throw new StorageError("out-of-range", "An ext4 image of more than 4 TiB cannot be made.");
      const perGroup = roundUp(
        Math.max(MIN_INODES_PER_GROUP, Math.ceil((inodes + FIRST_INODE) / groups)),
        INODES_PER_BLOCK,
      );
      const overhead = 3 + Math.ceil((groups * DESCRIPTOR_BYTES) / BLOCK_BYTES) + perGroup / INODES_PER_BLOCK;
      if (perGroup <= GROUP_BLOCKS && groups * (GROUP_BLOCKS - overhead) >= wanted) {
        this.inodesPerGroup = perGroup;
        break;
      }
      groups++;
    }
    this.groups = groups;
    this.#descriptorBlocks = Math.ceil((groups * DESCRIPTOR_BYTES) / BLOCK_BYTES);
    this.blockBitmaps = Array.from({ length: groups }, () => new Uint8Array(BLOCK_BYTES));
    this.freeBlocks = Array.from({ length: groups }, (_, group) => GROUP_BLOCKS - this.#metadataBlocks(group));
    for (let group = 0; group < groups; group++) this.#markUsed(group, 0, this.#metadataBlocks(group));
    this.#next = this.#metadataBlocks(0);
  }

  get blocks(): number {
    return this.groups * GROUP_BLOCKS;
  }

  get inodes(): number {
    return this.groups * this.inodesPerGroup;
  }

  hasSuperblock(group: number): boolean {
    return group <= 1 || [3, 5, 7].some((base) => isPowerOf(base, group));
  }

  blockBitmapAt(group: number): number {
    return group * GROUP_BLOCKS + (this.hasSuperblock(group) ? 1 + this.#descriptorBlocks : 0);
  }

  inodeBitmapAt(group: number): number {
    return this.blockBitmapAt(group) + 1;
  }

  inodeTableAt(group: number): number {
    return this.blockBitmapAt(group) + 2;
  }

  /** In bytes from the start. */
  inodeAt(inode: number): number {
    const group = Math.floor((inode - 1) / this.inodesPerGroup);
    const index = (inode - 1) % this.inodesPerGroup;
    return this.inodeTableAt(group) * BLOCK_BYTES + index * INODE_BYTES;
  }

  /** The next free blocks, as few runs as can be. */
  allocate(count: number): Extent[] {
    const extents: Extent[] = [];
    for (let left = count; left > 0; ) {
      if (this.#next === GROUP_BLOCKS) {
        this.#group++;
        if (this.#group === this.groups) throw new StorageError("no-space", "The ext4 image is full.");
        this.#next = this.#metadataBlocks(this.#group);
      }
      const take = Math.min(left, GROUP_BLOCKS - this.#next);
      extents.push({ start: this.#group * GROUP_BLOCKS + this.#next, count: take });
      this.#markUsed(this.#group, this.#next, take);
      this.freeBlocks[this.#group]! -= take;
      this.#next += take;
      left -= take;
    }
    return extents;
  }

  #metadataBlocks(group: number): number {
    return this.inodeTableAt(group) - group * GROUP_BLOCKS + this.inodesPerGroup / INODES_PER_BLOCK;
  }

  #markUsed(group: number, first: number, count: number): void {
    setBits(this.blockBitmaps[group]!, first, count);
  }
}

export function setBits(bitmap: Uint8Array, first: number, count: number): void {
  for (let bit = first; bit < first + count; ) {
    if (bit % 8 === 0 && first + count - bit >= 8) {
      bitmap[bit / 8] = 0xff;
      bit += 8;
    } else {
      bitmap[bit >> 3]! |= 1 << (bit & 7);
      bit++;
    }
  }
}

function isPowerOf(base: number, value: number): boolean {
  let power = base;
  while (power < value) power *= base;
  return power === value;
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;
