/**
 * The data of one IDE command: a buffer of at most one block request's bytes between the disk and the data register or the bus
 * master, filled and emptied a piece at a time.
 *
 *   to the host:    disk -> buffer -> host, until nothing is left     from the host:  host -> buffer -> disk, then the end
 */
import type { StateReader } from "../../state/reader.ts";
import type { DiskRequest } from "../ahci/sata-work.ts";
import { BLOCK_LIMITS } from "../block-channel.ts";
import type { StateValue } from "../device.ts";
import { PACKET_BYTES, SECTOR_BYTES } from "./registers.ts";

/** By the data register or the bus master; "command": the block of a PACKET command; "none": a flush. */
export const WAYS = ["pio", "dma", "packet-pio", "packet-dma", "command", "none"] as const;
export type Way = (typeof WAYS)[number];

/** What goes on: the buffer fills at the disk, is at the host, goes to the disk, or a flush does. */
export const PHASES = ["reading", "host", "writing", "flushing"] as const;
export type Phase = (typeof PHASES)[number];

export class Transfer {
  isFailed = false;
  underWay = 0;
  readonly way: Way;
  readonly isWrite: boolean;
  /** The disk's bytes that no request was made for. */
  offset: number;
  left: number;
  owesFlush: boolean;
  phase: Phase = "host";
  buffer: Uint8Array;
  /** In the buffer: what the host has taken or given. */
  at = 0;
  /** Where the present block of data ends, of those between which the host waits. */
  blockEnd = 0;
  /** Of such a block, at most. */
  readonly blockBytes: number;

  constructor(
    way: Way,
    more: {
      readonly request?: DiskRequest;
      readonly bytes?: Uint8Array;
      readonly blockBytes: number;
    },
  ) {
    const { request, bytes } = more;
    const range = request && request.operation !== "flush" ? request.ranges[0]! : { offset: 0, length: 0 };
    this.way = way;
    this.isWrite = request?.operation === "write";
    this.offset = range.offset;
    this.left = range.length;
    this.owesFlush = request?.operation === "flush" || (request?.isDurable ?? false);
    this.buffer = bytes ?? new Uint8Array(0);
    this.blockBytes = more.blockBytes;
  }

  get isDma(): boolean {
    return this.way === "dma" || this.way === "packet-dma";
  }

  get isPacket(): boolean {
    return this.way === "packet-pio" || this.way === "packet-dma";
  }

  /** Of the request that is made next. */
  get nextBytes(): number {
    return Math.min(this.left, BLOCK_LIMITS.copiedBytes);
  }

  save(): StateValue {
    const { way, isWrite, offset, left, owesFlush, phase, at, blockEnd, blockBytes, isFailed } = this;
    return {
      ...{ way, isWrite, offset, left, owesFlush, phase, at, blockEnd, blockBytes, isFailed },
      buffer: this.buffer.slice(),
    };
  }

  /** Throws StateError. */
  static restore(reader: StateReader, disk: { readonly sizeBytes: number; readonly isReadOnly: boolean }): Transfer {
    const transfer = new Transfer(reader.oneOf("way", WAYS), {
      blockBytes: reader.int("blockBytes", 1, BLOCK_LIMITS.copiedBytes),
      request: {
        operation: reader.bool("isWrite") ? "write" : "read",
        ranges: [{ offset: 0, length: 0 }],
        isDurable: false,
      },
    });
    transfer.offset = reader.int("offset", 0, disk.sizeBytes);
    transfer.left = reader.int("left", 0, disk.sizeBytes - transfer.offset);
    transfer.owesFlush = reader.bool("owesFlush");
    transfer.phase = reader.oneOf("phase", PHASES);
    transfer.buffer = reader.bytes("buffer", BLOCK_LIMITS.copiedBytes).slice();
    transfer.at = reader.int("at", 0, transfer.buffer.length);
    transfer.blockEnd = reader.int("blockEnd", transfer.at, transfer.buffer.length);
    transfer.isFailed = reader.bool("isFailed");
    reader.end();
    const { way, isWrite, phase, buffer } = transfer;
    if (transfer.offset % SECTOR_BYTES !== 0 || transfer.left % SECTOR_BYTES !== 0)
      throw reader.invalid("offset", "is in the middle of a sector");
    if (isWrite && (disk.isReadOnly || (way !== "pio" && way !== "dma")))
      throw reader.invalid("isWrite", "is no such command's");
    if (way === "command" && (buffer.length !== PACKET_BYTES || transfer.left !== 0 || phase !== "host"))
      throw reader.invalid("way", "is no packet's");
    if (
      (phase === "writing" || (isWrite && phase === "host")) &&
      (buffer.length === 0 || buffer.length % SECTOR_BYTES !== 0)
    )
      throw reader.invalid("buffer", "is no sectors'");
    if (phase === "writing" && (!isWrite || transfer.offset < buffer.length))
      throw reader.invalid("phase", "is no such command's");
    if (
      phase === "reading" &&
      (isWrite || buffer.length === 0 || buffer.length % SECTOR_BYTES !== 0 || transfer.offset < buffer.length)
    )
      throw reader.invalid("phase", "reads nothing");
    if (isWrite && phase === "host" && transfer.offset < buffer.length)
      throw reader.invalid("offset", "is none of the buffer's");
    if (phase === "host" && buffer.length === 0) throw reader.invalid("buffer", "is empty");
    if (transfer.owesFlush && !isWrite && way !== "none") throw reader.invalid("owesFlush", "is no such command's");
    if (way === "none" && (phase !== "flushing" || transfer.left !== 0 || buffer.length !== 0))
      throw reader.invalid("way", "is no flush's");
    if (phase === "flushing" && !isWrite && way !== "none") throw reader.invalid("phase", "is no such command's");
    return transfer;
  }
}
