/**
 * Virtio block device: feature bits, request types and the configuration structure (virtio 1.2, 5.2.3, 5.2.4, 5.2.6).
 * Left out: geometry, secure erase, lifetime, zoned devices.
 */
import { BLOCK_LIMITS } from "../block-channel.ts";

export const SECTOR_BYTES = 512;

export const VIRTIO_BLK_F = {
  SIZE_MAX: 1,
  SEG_MAX: 2,
  RO: 5,
  BLK_SIZE: 6,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
} as const;

export const VIRTIO_BLK_T = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8, DISCARD: 11, WRITE_ZEROES: 13 } as const;
export const VIRTIO_BLK_S = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;
/** type, reserved, sector */
export const HEADER_BYTES = 16;
export const ID_BYTES = 20;
/** sector, num_sectors, flags */
export const RANGE_BYTES = 16;
export const RANGE_UNMAP = 1;

export const BLOCK_CONFIG_BYTES = 60;
/** Offset of `writeback`, the one field that a driver may write. */
export const CONFIG_WRITEBACK = 32;

/** Of one request: what its two ends and the header leave of a queue. */
export const SEG_MAX = 254;
const SIZE_MAX = 1 << 20;
/** Logical blocks of 512 bytes in physical ones of 4096, as the power of two. */
const PHYSICAL_BLOCK_EXP = 3;
/** Ranges in one request to discard or to write zeroes. */
export const MAX_RANGES = 32;
export const MAX_RANGE_SECTORS: number = BLOCK_LIMITS.rangeBytes / SECTOR_BYTES;

export interface BlockDisk {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly queues: number;
}

export function blockFeatures({ isReadOnly, queues }: BlockDisk): bigint {
  const { SIZE_MAX, SEG_MAX, RO, BLK_SIZE, FLUSH, TOPOLOGY, CONFIG_WCE, MQ, DISCARD, WRITE_ZEROES } = VIRTIO_BLK_F;
  const bits: number[] = [SIZE_MAX, SEG_MAX, BLK_SIZE, FLUSH, TOPOLOGY];
  if (isReadOnly) bits.push(RO);
  else bits.push(CONFIG_WCE, DISCARD, WRITE_ZEROES);
  if (queues > 1) bits.push(MQ);
  return bits.reduce((all, bit) => all | (1n << BigInt(bit)), 0n);
}

export function fillBlockConfig(view: DataView, disk: BlockDisk, isWriteback: boolean): void {
  view.setBigUint64(0, BigInt(disk.sizeBytes / SECTOR_BYTES), true);
  view.setUint32(8, SIZE_MAX, true);
  view.setUint32(12, SEG_MAX, true);
  view.setUint32(20, SECTOR_BYTES, true);
  view.setUint8(24, PHYSICAL_BLOCK_EXP);
  view.setUint16(26, 1 << PHYSICAL_BLOCK_EXP, true);
  view.setUint8(CONFIG_WRITEBACK, isWriteback ? 1 : 0);
  view.setUint16(34, disk.queues, true);
  if (disk.isReadOnly) return;
  view.setUint32(36, MAX_RANGE_SECTORS, true);
  view.setUint32(40, MAX_RANGES, true);
  view.setUint32(44, 1 << PHYSICAL_BLOCK_EXP, true);
  view.setUint32(48, MAX_RANGE_SECTORS, true);
  view.setUint32(52, MAX_RANGES, true);
  view.setUint8(56, 1);
}
