/**
 * A command of a SATA drive that its disk works on, cut into pieces that a block channel takes: one range for reads and
 * writes, whose bytes are in the command's regions (prd-table.ts); one or more to discard; none but a flush. A command that
 * has to be durable ends with a flush of its own.
 */
import type { StateReader } from "../../state/reader.ts";
import { BLOCK_LIMITS, BLOCK_OPERATIONS, type BlockOperation } from "../block-channel.ts";
import type { StateValue } from "../device.ts";
import { PRD_START, type PrdCursor, type PrdTable } from "./prd-table.ts";
import { SLOTS } from "./registers.ts";

const SECTOR_BYTES = 512;
/** Of one DATA SET MANAGEMENT: a block of 512 bytes with 8 for each. */
export const MAX_TRIM_RANGES = 64;
/** Of one of them, which counts its sectors in 16 bits. */
const MAX_TRIM_BYTES = 0xffff * SECTOR_BYTES;

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** What a command asks its disk for. */
export interface DiskRequest {
  readonly operation: Exclude<BlockOperation, "write-zeroes">;
  readonly ranges: readonly ByteRange[];
  /** It ends with a flush. */
  readonly isDurable: boolean;
}

/** How its driver hears of the end. */
export const TRANSFERS = ["dma", "pio", "queued", "packet"] as const;
export type Transfer = (typeof TRANSFERS)[number];

export interface SataPiece extends ByteRange {
  readonly operation: BlockOperation;
  /** Where its bytes are. */
  readonly cursor: PrdCursor;
}

export class SataWork {
  readonly slot: number;
  readonly transfer: Transfer;
  readonly request: DiskRequest;
  readonly table: PrdTable;
  isFailed = false;
  underWay = 0;
  #owesFlush: boolean;
  #range = 0;
  #at = 0;
  #cursor: PrdCursor = PRD_START;

  constructor(slot: number, transfer: Transfer, request: DiskRequest, table: PrdTable) {
    this.slot = slot;
    this.transfer = transfer;
    this.request = request;
    this.table = table;
    this.#owesFlush = request.isDurable;
  }

  get hasBytes(): boolean {
    return this.request.operation === "read" || this.request.operation === "write";
  }

  get dataBytes(): number {
    return this.hasBytes ? this.request.ranges[0]!.length : 0;
  }

  get isDone(): boolean {
    const { ranges } = this.request;
    return this.underWay === 0 && (this.isFailed || (this.#range === ranges.length && !this.#owesFlush));
  }

  /** What can go to the disk now; `advance` finds the place behind a piece's bytes. Undefined: nothing more, or it failed. */
  next(advance: (from: PrdCursor, length: number) => PrdCursor | undefined): SataPiece | undefined {
    if (this.isFailed) return undefined;
    const { operation, ranges } = this.request;
    const range = ranges[this.#range];
    if (!range) {
      if (!this.#owesFlush || this.underWay > 0) return undefined;
      this.#owesFlush = false;
      return { operation: "flush", offset: 0, length: 0, cursor: PRD_START };
    }
    const at = this.#at;
    const cursor = this.#cursor;
    const length = this.hasBytes ? Math.min(BLOCK_LIMITS.copiedBytes, range.length - at) : range.length;
    if (this.hasBytes) {
      const behind = advance(cursor, length);
      if (!behind) {
        this.isFailed = true;
        return undefined;
      }
      this.#cursor = behind;
    }
    this.#at += length;
    if (this.#at >= range.length) {
      this.#range++;
      this.#at = 0;
    }
    return { operation, offset: range.offset + at, length, cursor };
  }

  save(): StateValue {
    return {
      slot: this.slot,
      transfer: this.transfer,
      operation: this.request.operation,
      ranges: this.request.ranges.map(({ offset, length }) => ({ offset, length })),
      isDurable: this.request.isDurable,
      table: { gpa: this.table.gpa, entries: this.table.entries },
      isFailed: this.isFailed,
      owesFlush: this.#owesFlush,
      range: this.#range,
      at: this.#at,
      cursor: { ...this.#cursor },
    };
  }

  /** Throws StateError. */
  static restore(reader: StateReader, disk: { readonly sizeBytes: number; readonly isReadOnly: boolean }): SataWork {
    const operations = BLOCK_OPERATIONS.filter((one) => one !== "write-zeroes");
    const operation = reader.oneOf("operation", operations);
    const ranges = reader.array("ranges", MAX_TRIM_RANGES).map((range) => readByteRange(range, disk.sizeBytes));
    const request = { operation, ranges, isDurable: reader.bool("isDurable") };
    const table = reader.object("table");
    const place = { gpa: table.int("gpa", 0, 2 ** 52), entries: table.u16("entries") };
    table.end();
    const work = new SataWork(reader.int("slot", 0, SLOTS - 1), reader.oneOf("transfer", TRANSFERS), request, place);
    work.isFailed = reader.bool("isFailed");
    work.#owesFlush = reader.bool("owesFlush");
    work.#range = reader.int("range", 0, ranges.length);
    work.#at = reader.int("at", 0, Math.max(0, (ranges[work.#range]?.length ?? 0) - 1));
    work.#cursor = readCursor(reader.object("cursor"));
    reader.end();
    if (ranges.length === 0 || (operation !== "discard" && ranges.length !== 1)) {
      throw reader.invalid("ranges", "are none of such a command");
    }
    if (work.hasBytes ? ranges[0]!.length === 0 : work.#at !== 0) throw reader.invalid("at", "is in no data");
    if (work.#at % SECTOR_BYTES !== 0) throw reader.invalid("at", "is in the middle of a sector");
    const isSound = ({ offset, length }: ByteRange): boolean =>
      operation === "flush" ? offset === 0 && length === 0 : length > 0 && (work.hasBytes || length <= MAX_TRIM_BYTES);
    if (!ranges.every(isSound)) throw reader.invalid("ranges", "are none of such a command");
    const changes = operation === "write" || operation === "discard";
    if (!changes && (request.isDurable || work.#owesFlush))
      throw reader.invalid("isDurable", "is in a command that changes nothing");
    if (work.#owesFlush && !request.isDurable) throw reader.invalid("owesFlush", "is in a command without a flush");
    if (changes && disk.isReadOnly) throw reader.invalid("operation", "changes a disk that is read-only");
    return work;
  }
}

export function readByteRange(reader: StateReader, sizeBytes: number): ByteRange {
  const offset = reader.int("offset", 0, sizeBytes);
  const length = reader.int("length", 0, sizeBytes - offset);
  reader.end();
  if (offset % SECTOR_BYTES !== 0) throw reader.invalid("offset", "is no multiple of a sector");
  if (length % SECTOR_BYTES !== 0) throw reader.invalid("length", "is no multiple of a sector");
  return { offset, length };
}

export function readCursor(reader: StateReader): PrdCursor {
  const cursor = { entry: reader.int("entry", 0, 0x1_0000), offset: reader.int("offset", 0, 0x40_0000) };
  reader.end();
  return cursor;
}
