/**
 * One request of a virtio block device's driver (virtio 1.2, 5.2.6): read from its chain, checked against the disk, and
 * cut into pieces that a block channel takes. The chain is the guest's and hostile: what is wrong with it becomes the
 * request's status.
 */

import type { StateReader } from "../../state/reader.ts";
import { BLOCK_LIMITS, BLOCK_OPERATIONS, type BlockOperation } from "../block-channel.ts";
import type { StateValue } from "../device.ts";
import {
  type BlockDisk,
  HEADER_BYTES,
  MAX_RANGE_SECTORS,
  MAX_RANGES,
  RANGE_BYTES,
  RANGE_UNMAP,
  SECTOR_BYTES,
  VIRTIO_BLK_S,
  VIRTIO_BLK_T,
} from "./block-config.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";

/** A part of the disk, in bytes. */
export interface DiskRange {
  readonly offset: number;
  readonly length: number;
}

export interface Piece extends DiskRange {
  readonly operation: BlockOperation;
  readonly mayUnmap: boolean;
  /** Where its bytes are in the request's data. */
  readonly at: number;
}

/** What a request means: work for the disk, or a status at once. */
export type Parsed =
  | { readonly operation: BlockOperation; readonly ranges: readonly DiskRange[]; readonly mayUnmap: boolean }
  | { readonly operation: "id" }
  | { readonly status: number };

const IOERR: Parsed = { status: VIRTIO_BLK_S.IOERR };
const UNSUPP: Parsed = { status: VIRTIO_BLK_S.UNSUPP };

/** Precondition: the chain has a byte for the status. */
export function parseRequest(chain: DescriptorChain, disk: BlockDisk): Parsed {
  const header = new Uint8Array(HEADER_BYTES);
  if (!chain.read(0, header)) return IOERR;
  const view = new DataView(header.buffer);
  const type = view.getUint32(0, true);
  const sector = view.getBigUint64(8, true);
  const outBytes = chain.readableBytes - HEADER_BYTES;
  switch (type) {
    case VIRTIO_BLK_T.IN:
      return transfer("read", sector, chain.writableBytes - 1, disk);
    case VIRTIO_BLK_T.OUT:
      return disk.isReadOnly ? IOERR : transfer("write", sector, outBytes, disk);
    case VIRTIO_BLK_T.FLUSH:
      return { operation: "flush", ranges: [{ offset: 0, length: 0 }], mayUnmap: false };
    case VIRTIO_BLK_T.GET_ID:
      return { operation: "id" };
    case VIRTIO_BLK_T.DISCARD:
    case VIRTIO_BLK_T.WRITE_ZEROES:
      if (disk.isReadOnly) return IOERR;
      return parseRanges(chain, outBytes, disk, type === VIRTIO_BLK_T.DISCARD ? "discard" : "write-zeroes");
    default:
      return UNSUPP;
  }
}

function transfer(operation: "read" | "write", sector: bigint, length: number, disk: BlockDisk): Parsed {
  if (length === 0 || length % SECTOR_BYTES !== 0 || !isOnDisk(sector, length, disk)) return IOERR;
  return { operation, ranges: [{ offset: Number(sector) * SECTOR_BYTES, length }], mayUnmap: false };
}

function parseRanges(
  chain: DescriptorChain,
  outBytes: number,
  disk: BlockDisk,
  operation: "discard" | "write-zeroes",
): Parsed {
  const count = outBytes / RANGE_BYTES;
  if (!Number.isInteger(count) || count < 1 || count > MAX_RANGES) return IOERR;
  const bytes = new Uint8Array(outBytes);
  if (!chain.read(HEADER_BYTES, bytes)) return IOERR;
  const view = new DataView(bytes.buffer);
  const ranges: DiskRange[] = [];
  let mayUnmap = true;
  for (let at = 0; at < outBytes; at += RANGE_BYTES) {
    const sector = view.getBigUint64(at, true);
    const sectors = view.getUint32(at + 8, true);
    const flags = view.getUint32(at + 12, true);
    // Discarding knows no flags; of others than UNMAP nothing is known (5.2.6.2).
    if ((flags & ~(operation === "discard" ? 0 : RANGE_UNMAP)) !== 0) return UNSUPP;
    const length = sectors * SECTOR_BYTES;
    if (sectors > MAX_RANGE_SECTORS || !isOnDisk(sector, length, disk)) return IOERR;
    if ((flags & RANGE_UNMAP) === 0) mayUnmap = false;
    if (length > 0) ranges.push({ offset: Number(sector) * SECTOR_BYTES, length });
  }
  if (ranges.length === 0) return { status: VIRTIO_BLK_S.OK };
  return { operation, ranges, mayUnmap: mayUnmap && operation === "write-zeroes" };
}

function isOnDisk(sector: bigint, length: number, { sizeBytes }: BlockDisk): boolean {
  return sector <= BigInt(sizeBytes / SECTOR_BYTES) && Number(sector) * SECTOR_BYTES + length <= sizeBytes;
}

/** A request that the disk works on. */
export class BlockWork {
  readonly queue: number;
  readonly head: number;
  readonly operation: BlockOperation;
  readonly ranges: readonly DiskRange[];
  readonly mayUnmap: boolean;
  /** Unknown after a restore, until the queue has found it again. */
  chain: DescriptorChain | undefined;
  isFailed = false;
  /** Pieces under way. */
  underWay = 0;
  /** A write is durable when it is told: its flush is still to be sent. */
  owesFlush: boolean;
  #range = 0;
  /** Within the range. */
  #at = 0;

  constructor(
    place: { readonly queue: number; readonly head: number; readonly chain?: DescriptorChain },
    work: { readonly operation: BlockOperation; readonly ranges: readonly DiskRange[]; readonly mayUnmap: boolean },
    owesFlush: boolean,
  ) {
    this.queue = place.queue;
    this.head = place.head;
    this.chain = place.chain;
    this.operation = work.operation;
    this.ranges = work.ranges;
    this.mayUnmap = work.mayUnmap;
    this.owesFlush = owesFlush;
  }

  /** Of reads. */
  get dataBytes(): number {
    return this.operation === "read" ? this.ranges[0]!.length : 0;
  }

  get isDone(): boolean {
    return this.underWay === 0 && (this.isFailed || (this.#range === this.ranges.length && !this.owesFlush));
  }

  /** What can go to the disk now, at most so many bytes, or undefined: all is under way, or a flush waits for it. */
  next(mostBytes: number): Piece | undefined {
    if (this.isFailed) return undefined;
    const range = this.ranges[this.#range];
    const { operation, mayUnmap } = this;
    if (!range) {
      if (!this.owesFlush || this.underWay > 0) return undefined;
      this.owesFlush = false;
      return { operation: "flush", offset: 0, length: 0, mayUnmap: false, at: 0 };
    }
    const hasBytes = operation === "read" || operation === "write";
    const at = this.#at;
    const length = hasBytes ? Math.min(mostBytes, range.length - at) : range.length;
    this.#at += length;
    if (this.#at >= range.length) {
      this.#range++;
      this.#at = 0;
    }
    return { operation, offset: range.offset + at, length, mayUnmap, at };
  }

  save(): StateValue {
    return {
      queue: this.queue,
      head: this.head,
      operation: this.operation,
      ranges: this.ranges.map(({ offset, length }) => ({ offset, length })),
      mayUnmap: this.mayUnmap,
      isFailed: this.isFailed,
      owesFlush: this.owesFlush,
      range: this.#range,
      at: this.#at,
    };
  }

  /** Throws StateError. */
  static restore(reader: StateReader, disk: BlockDisk): BlockWork {
    const place = { queue: reader.int("queue", 0, disk.queues - 1), head: reader.u16("head") };
    const operation = reader.oneOf("operation", BLOCK_OPERATIONS);
    const ranges = reader.array("ranges", MAX_RANGES).map((range) => readRange(range, disk));
    const work = new BlockWork(
      place,
      { operation, ranges, mayUnmap: reader.bool("mayUnmap") },
      reader.bool("owesFlush"),
    );
    work.isFailed = reader.bool("isFailed");
    work.#range = reader.int("range", 0, ranges.length);
    work.#at = reader.int("at", 0, Math.max(0, (ranges[work.#range]?.length ?? 0) - 1));
    reader.end();
    const isTransfer = operation === "read" || operation === "write";
    if (ranges.length === 0 || (isTransfer && ranges.length > 1))
      throw reader.invalid("ranges", "are none of such a request");
    if (disk.isReadOnly && operation !== "read" && operation !== "flush") {
      throw reader.invalid("operation", "changes a disk that is read-only");
    }
    if (work.owesFlush && (operation === "read" || operation === "flush")) {
      throw reader.invalid("owesFlush", "is in a request that changes nothing");
    }
    if (work.#at % SECTOR_BYTES !== 0 || (!isTransfer && work.#at !== 0)) {
      throw reader.invalid("at", "is no place where a piece of this request begins");
    }
    const isFlush = operation === "flush";
    const most = isTransfer ? disk.sizeBytes : BLOCK_LIMITS.rangeBytes;
    const isSound = ({ offset, length }: DiskRange): boolean =>
      isFlush ? offset === 0 && length === 0 : length > 0 && length <= most;
    if (!ranges.every(isSound)) throw reader.invalid("ranges", "are none of such a request");
    return work;
  }
}

export function readRange(reader: StateReader, { sizeBytes }: BlockDisk): DiskRange {
  const offset = reader.int("offset", 0, sizeBytes);
  const range = { offset, length: reader.int("length", 0, sizeBytes - offset) };
  reader.end();
  if (offset % SECTOR_BYTES !== 0) throw reader.invalid("offset", "is no multiple of a sector");
  if (range.length % SECTOR_BYTES !== 0) throw reader.invalid("length", "is no multiple of a sector");
  return range;
}
