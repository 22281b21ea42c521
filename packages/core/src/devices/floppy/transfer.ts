/**
 * The data of one floppy command: sectors of a track and, with MT, of the other side, which go to the disk in one request for each
 * side (82077AA data sheet, 5.1 and table 5-1: what the result says of the sector behind the last one).
 */
import type { StateReader } from "../../state/reader.ts";
import type { BlockOperation } from "../block-channel.ts";
import type { StateValue } from "../device.ts";
import { CYLINDERS, HEADS, MAX_TRACK_SECTORS, SECTOR_BYTES, SECTOR_SIZE_CODE } from "./medium.ts";

export const TRANSFER_KINDS = ["read", "write", "format"] as const;
export type TransferKind = (typeof TRANSFER_KINDS)[number];

/** A sector's identification: cylinder, head, record. */
export interface SectorId {
  readonly cylinder: number;
  readonly head: number;
  readonly sector: number;
}

interface TransferPlan {
  readonly kind: TransferKind;
  readonly drive: number;
  readonly first: SectorId;
  /** The last sector of a side (EOT), and the disk's of a track. */
  readonly last: number;
  readonly trackSectors: number;
  /** MT: the other side follows. */
  readonly isMultiTrack: boolean;
  /** Sectors that are moved. */
  readonly count: number;
  /** The DMA count ended in them. */
  readonly isTerminal: boolean;
}

export interface FloppyPiece {
  readonly work: FloppyTransfer;
  readonly operation: BlockOperation;
  readonly side: number;
  readonly offset: number;
  readonly length: number;
}

export class FloppyTransfer {
  readonly plan: TransferPlan;
  readonly buffer: Uint8Array;
  isFailed = false;
  underWay = 0;
  /** Sides that the disk has done. */
  sidesDone = 0;

  constructor(plan: TransferPlan, buffer: Uint8Array = new Uint8Array(plan.count * SECTOR_BYTES)) {
    this.plan = plan;
    this.buffer = buffer;
  }

  /** The request for the side after those that are done; undefined: nothing is left. */
  get next(): FloppyPiece | undefined {
    const { kind, first, last, trackSectors, count } = this.plan;
    const onFirst = Math.min(count, last - first.sector + 1);
    const side = this.sidesDone;
    const sectors = side === 0 ? onFirst : count - onFirst;
    if (side > 1 || sectors === 0) return undefined;
    const track = first.cylinder * HEADS + first.head + side;
    const sector = side === 0 ? first.sector : 1;
    return {
      work: this,
      operation: kind === "read" ? "read" : "write",
      side,
      offset: (track * trackSectors + sector - 1) * SECTOR_BYTES,
      length: sectors * SECTOR_BYTES,
    };
  }

  /** What of the buffer is this piece's. */
  part({ side, length }: FloppyPiece): Uint8Array {
    const at = side === 0 ? 0 : this.buffer.length - length;
    return this.buffer.subarray(at, at + length);
  }

  /** C, H, R and N of the sector behind the last one. */
  get following(): readonly number[] {
    const { first, last, count, isMultiTrack } = this.plan;
    const onFirst = last - first.sector + 1;
    const head = count > onFirst ? 1 : first.head;
    const sector = count > onFirst ? count - onFirst : first.sector + count - 1;
    if (sector < last) return [first.cylinder, head, sector + 1, SECTOR_SIZE_CODE];
    if (!isMultiTrack) return [first.cylinder + 1, head, 1, SECTOR_SIZE_CODE];
    return [first.cylinder + head, head ^ 1, 1, SECTOR_SIZE_CODE];
  }

  save(): StateValue {
    const { buffer, sidesDone, isFailed } = this;
    const { first, ...plan } = this.plan;
    return { ...plan, ...first, buffer, sidesDone, isFailed };
  }

  /** Throws StateError. */
  static restore(reader: StateReader, drives: number): FloppyTransfer {
    const trackSectors = reader.int("trackSectors", 1, MAX_TRACK_SECTORS);
    const last = reader.int("last", 1, trackSectors);
    const head = reader.int("head", 0, HEADS - 1);
    const first = {
      cylinder: reader.int("cylinder", 0, CYLINDERS - 1),
      head,
      sector: reader.int("sector", 1, last),
    };
    const isMultiTrack = reader.bool("isMultiTrack");
    const most = last - first.sector + 1 + (isMultiTrack && head === 0 ? last : 0);
    const plan: TransferPlan = {
      kind: reader.oneOf("kind", TRANSFER_KINDS),
      drive: reader.int("drive", 0, drives - 1),
      first,
      last,
      trackSectors,
      isMultiTrack,
      count: reader.int("count", 1, most),
      isTerminal: reader.bool("isTerminal"),
    };
    const transfer = new FloppyTransfer(plan, reader.bytesExact("buffer", plan.count * SECTOR_BYTES).slice());
    transfer.sidesDone = reader.int("sidesDone", 0, 1);
    transfer.isFailed = reader.bool("isFailed");
    reader.end();
    if (transfer.next === undefined) throw reader.invalid("sidesDone", "leaves nothing to do");
    return transfer;
  }
}
