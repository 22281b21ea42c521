/**
 * A command of the NVM command set that its disk works on (NVM Express 1.4, chapter 6): read and checked, then cut into pieces
 * that a block channel takes. Transfers are one piece each, by MDTS; ranges to discard or to zero are as many as they need.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import { BLOCK_LIMITS, BLOCK_OPERATIONS, type BlockOperation } from "../block-channel.ts";
import type { StateValue } from "../device.ts";
import { gather, type Region, resolvePrps } from "./prp.ts";
import { IO_QUEUES, NVM, type NvmeCommand, PAGE_BYTES, STATUS } from "./registers.ts";

export const SECTOR_BYTES = 512;
/** The one namespace, and all of them. */
export const NAMESPACE = 1;
export const ALL_NAMESPACES = 0xffff_ffff;
/** MDTS: 2^5 pages. */
export const MAX_TRANSFER_BYTES: number = BLOCK_LIMITS.copiedBytes;
/** Of one DATASET MANAGEMENT. */
export const MAX_RANGES = 256;
const RANGE_BYTES = 16;
const FUA = 1 << 30;
const DEALLOCATE = 1 << 25;
const ATTRIBUTE_DEALLOCATE = 4;

export interface NvmeDisk {
  /** Of the disk's channel, and its serial number. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
}

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

export interface NvmePiece extends ByteRange {
  readonly operation: BlockOperation;
}

interface Request {
  readonly operation: BlockOperation;
  readonly ranges: readonly ByteRange[];
  /** Of reads and writes. */
  readonly regions: readonly Region[];
  readonly mayUnmap: boolean;
  /** It ends with a flush. */
  readonly isDurable: boolean;
}

const FLUSH: Request = {
  operation: "flush",
  ranges: [{ offset: 0, length: 0 }],
  regions: [],
  mayUnmap: false,
  isDurable: false,
};

/** What the disk is asked for, or a status at once. */
export function parseRequest(
  memory: GuestMemory,
  command: NvmeCommand,
  disk: NvmeDisk,
  hasWriteCache: boolean,
): Request | number {
  const { opcode, nsid, prp1, prp2, isPlain } = command;
  if (!isPlain) return STATUS.INVALID_FIELD;
  if (nsid !== NAMESPACE && !(opcode === NVM.FLUSH && nsid === ALL_NAMESPACES)) return STATUS.INVALID_NAMESPACE;
  const isDurable = (command.dwords[2] & FUA) !== 0 || !hasWriteCache;
  switch (opcode) {
    case NVM.FLUSH:
      return FLUSH;
    case NVM.READ:
    case NVM.WRITE: {
      const isWrite = opcode === NVM.WRITE;
      if (isWrite && disk.isReadOnly) return STATUS.WRITE_PROTECTED;
      const range = rangeOf(command, disk);
      if (!range) return STATUS.OUT_OF_RANGE;
      if (range.length > MAX_TRANSFER_BYTES) return STATUS.INVALID_FIELD;
      const regions = resolvePrps(memory, prp1, prp2, range.length);
      if (typeof regions === "number") return regions;
      const operation = isWrite ? "write" : "read";
      return { operation, ranges: [range], regions, mayUnmap: false, isDurable: isWrite && isDurable };
    }
    case NVM.WRITE_ZEROES: {
      if (disk.isReadOnly) return STATUS.WRITE_PROTECTED;
      const range = rangeOf(command, disk);
      if (!range) return STATUS.OUT_OF_RANGE;
      const mayUnmap = (command.dwords[2] & DEALLOCATE) !== 0;
      return { operation: "write-zeroes", ranges: [range], regions: [], mayUnmap, isDurable };
    }
    case NVM.DATASET_MANAGEMENT:
      return parseRanges(memory, command, disk, !hasWriteCache);
    default:
      return STATUS.INVALID_OPCODE;
  }
}

export function shutdownRequest(): Request {
  return FLUSH;
}

function rangeOf({ dwords }: NvmeCommand, disk: NvmeDisk): ByteRange | undefined {
  return onDisk(dwords[0] + dwords[1] * 2 ** 32, (dwords[2] & 0xffff) + 1, disk);
}

function onDisk(lba: number, sectors: number, { sizeBytes }: NvmeDisk): ByteRange | undefined {
  if (lba + sectors > sizeBytes / SECTOR_BYTES) return undefined;
  return { offset: lba * SECTOR_BYTES, length: sectors * SECTOR_BYTES };
}

function parseRanges(memory: GuestMemory, command: NvmeCommand, disk: NvmeDisk, isDurable: boolean): Request | number {
  const { dwords, prp1, prp2 } = command;
  const bytes = new Uint8Array(RANGE_BYTES * ((dwords[0] & 0xff) + 1));
  const regions = resolvePrps(memory, prp1, prp2, bytes.length);
  if (typeof regions === "number") return regions;
  if (!gather(memory, regions, bytes)) return STATUS.DATA_TRANSFER;
  const view = new DataView(bytes.buffer);
  const ranges: ByteRange[] = [];
  for (let at = 0; at < bytes.length; at += RANGE_BYTES) {
    const sectors = view.getUint32(at + 4, true);
    const range = onDisk(Number(view.getBigUint64(at + 8, true)), sectors, disk);
    if (!range) return STATUS.OUT_OF_RANGE;
    if (sectors > 0) ranges.push(range);
  }
  // The other attributes are hints.
  if ((dwords[1] & ATTRIBUTE_DEALLOCATE) === 0 || ranges.length === 0) return STATUS.SUCCESS;
  if (disk.isReadOnly) return STATUS.WRITE_PROTECTED;
  return { operation: "discard", ranges, regions: [], mayUnmap: false, isDurable };
}

export class NvmeWork {
  /** The submission queue; the admin queue's: the flush of a shutdown. */
  readonly sq: number;
  readonly cid: number;
  readonly request: Request;
  isFailed = false;
  underWay = 0;
  #owesFlush: boolean;
  #range = 0;
  #at = 0;

  constructor(sq: number, cid: number, request: Request) {
    this.sq = sq;
    this.cid = cid;
    this.request = request;
    this.#owesFlush = request.isDurable;
  }

  get isDone(): boolean {
    const isSent = this.#range === this.request.ranges.length && !this.#owesFlush;
    return this.underWay === 0 && (this.isFailed || isSent);
  }

  get status(): number {
    if (!this.isFailed) return STATUS.SUCCESS;
    return this.request.operation === "read" ? STATUS.UNRECOVERED_READ : STATUS.WRITE_FAULT;
  }

  /** What can go to the disk now; undefined: nothing more, or a flush waits for it. */
  next(): NvmePiece | undefined {
    if (this.isFailed) return undefined;
    const { operation, ranges } = this.request;
    const range = ranges[this.#range];
    if (!range) {
      if (!this.#owesFlush || this.underWay > 0) return undefined;
      this.#owesFlush = false;
      return { operation: "flush", offset: 0, length: 0 };
    }
    const at = this.#at;
    const length = Math.min(BLOCK_LIMITS.rangeBytes, range.length - at);
    this.#at += length;
    if (this.#at >= range.length) {
      this.#range++;
      this.#at = 0;
    }
    return { operation, offset: range.offset + at, length };
  }

  save(): StateValue {
    const { operation, ranges, regions, mayUnmap, isDurable } = this.request;
    return {
      sq: this.sq,
      cid: this.cid,
      operation,
      ranges: ranges.map(({ offset, length }) => ({ offset, length })),
      regions: regions.map(({ gpa, length }) => ({ gpa, length })),
      mayUnmap,
      isDurable,
      isFailed: this.isFailed,
      owesFlush: this.#owesFlush,
      range: this.#range,
      at: this.#at,
    };
  }

  /** Throws StateError. */
  static restore(reader: StateReader, disk: NvmeDisk): NvmeWork {
    const operation = reader.oneOf("operation", BLOCK_OPERATIONS);
    const ranges = reader.array("ranges", MAX_RANGES).map((range) => readByteRange(range, disk));
    const request: Request = {
      operation,
      ranges,
      regions: reader.array("regions", 1 + MAX_TRANSFER_BYTES / PAGE_BYTES).map(readRegion),
      mayUnmap: reader.bool("mayUnmap"),
      isDurable: reader.bool("isDurable"),
    };
    const work = new NvmeWork(reader.int("sq", 0, IO_QUEUES), reader.u16("cid"), request);
    work.isFailed = reader.bool("isFailed");
    work.#owesFlush = reader.bool("owesFlush");
    work.#range = reader.int("range", 0, ranges.length);
    work.#at = reader.int("at", 0, Math.max(0, (ranges[work.#range]?.length ?? 0) - 1));
    reader.end();
    const hasBytes = operation === "read" || operation === "write";
    const isFlush = operation === "flush";
    const changes = !isFlush && operation !== "read";
    const isSound = ({ offset, length }: ByteRange): boolean =>
      isFlush ? offset === 0 && length === 0 : length > 0 && (!hasBytes || length <= MAX_TRANSFER_BYTES);
    if (ranges.length === 0 || (operation !== "discard" && ranges.length !== 1) || !ranges.every(isSound))
      throw reader.invalid("ranges", "are none of such a command");
    const regionBytes = request.regions.reduce((sum, { length }) => sum + length, 0);
    if (regionBytes !== (hasBytes ? ranges[0]!.length : 0)) throw reader.invalid("regions", "are not the data's");
    if (changes && disk.isReadOnly) throw reader.invalid("operation", "changes a disk that is read-only");
    if ((request.isDurable && !changes) || (work.#owesFlush && !request.isDurable))
      throw reader.invalid("owesFlush", "is in a command without a flush");
    if (work.#at % BLOCK_LIMITS.rangeBytes !== 0) throw reader.invalid("at", "is where no piece begins");
    if (work.sq === 0 && !isFlush) throw reader.invalid("sq", "has no such command");
    return work;
  }
}

export function readByteRange(reader: StateReader, { sizeBytes }: NvmeDisk): ByteRange {
  const offset = reader.int("offset", 0, sizeBytes);
  const length = reader.int("length", 0, sizeBytes - offset);
  reader.end();
  if (offset % SECTOR_BYTES !== 0) throw reader.invalid("offset", "is no multiple of a sector");
  if (length % SECTOR_BYTES !== 0) throw reader.invalid("length", "is no multiple of a sector");
  return { offset, length };
}

function readRegion(reader: StateReader): Region {
  const gpa = reader.int("gpa", 0, 2 ** 52 - 1);
  const length = reader.int("length", 1, PAGE_BYTES - (gpa % PAGE_BYTES));
  reader.end();
  return { gpa, length };
}
