/**
 * Between the commands of a SATA port and its disk's channel: pieces go out while there is room, completions come back to
 * their command. Pieces under way are part of the state: a restored port submits them again under their numbers before
 * anything else. After a reset they are orphans, and nothing new is submitted until the last has come back, so that an old
 * write never lands after a new one.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import { BLOCK_LIMITS, BLOCK_OPERATIONS, type BlockChannel, type BlockCompletion } from "../block-channel.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { gather, scatter, walkPrds } from "./prd-table.ts";
import { SLOTS } from "./registers.ts";
import { readByteRange, readCursor, type SataPiece, SataWork } from "./sata-work.ts";

export interface SataDiskOptions {
  /** Of the disk's channel. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
}

interface UnderWay extends SataPiece {
  readonly work: SataWork;
}

export class DiskRequests {
  readonly #memory: GuestMemory;
  readonly #disk: SataDiskOptions;
  readonly #channel: BlockChannel;
  /** The port's: a command has ended. */
  readonly #ended: (work: SataWork) => void;
  readonly #work = new Set<SataWork>();
  readonly #pieces = new Map<number, UnderWay>();
  readonly #orphans = new Set<number>();
  #nextId = 0;
  /** Restored, and what was under way is not submitted again yet. */
  #isIdle = false;

  constructor(context: DeviceContext, disk: SataDiskOptions, ended: (work: SataWork) => void) {
    this.#memory = context.memory;
    this.#disk = disk;
    this.#ended = ended;
    this.#channel = context.openDisk(disk.name, (completion) => this.#completed(completion));
  }

  /** Commands that have not ended. */
  get size(): number {
    return this.#work.size;
  }

  get hasQueued(): boolean {
    for (const { transfer } of this.#work) if (transfer === "queued") return true;
    return false;
  }

  /** A command that is not queued, and excludes others. */
  get isBusy(): boolean {
    return this.#work.size > 0 && !this.hasQueued;
  }

  hasSlot(slot: number): boolean {
    for (const work of this.#work) if (work.slot === slot) return true;
    return false;
  }

  /** At most one for each slot. */
  start(work: SataWork): void {
    this.#work.add(work);
    this.pump();
  }

  /** The commands are forgotten, though what is under way may still reach the disk. */
  abandon(): void {
    if (this.#isIdle) {
      // A restore that failed: nothing of this is under way.
      this.#isIdle = false;
      this.#orphans.clear();
      this.#nextId = 0;
    } else for (const id of this.#pieces.keys()) this.#orphans.add(id);
    this.#pieces.clear();
    this.#work.clear();
  }

  /** As `abandon`, of a restored port that goes on. */
  cancel(): void {
    this.resume();
    this.abandon();
  }

  resume(): void {
    if (!this.#isIdle) return;
    this.#isIdle = false;
    for (const id of this.#orphans) this.#channel.submit({ id, operation: "flush", offset: 0, length: 0 });
    for (const [id, piece] of this.#pieces) {
      // Without its data a write is none, but its number comes back.
      if (this.#submit(id, piece)) continue;
      piece.work.isFailed = true;
      this.#channel.submit({ id, operation: "flush", offset: 0, length: 0 });
    }
  }

  pump(): void {
    this.resume();
    if (this.#orphans.size > 0) return;
    for (const work of [...this.#work]) {
      if (!this.#work.has(work)) continue;
      this.#advance(work);
      this.#settle(work);
    }
  }

  save(): StateValue {
    const work = [...this.#work];
    return {
      nextId: this.#nextId,
      orphans: [...this.#orphans],
      work: work.map((one) => one.save()),
      pieces: [...this.#pieces].map(([id, { work: of, operation, offset, length, cursor }]) => ({
        id,
        work: work.indexOf(of),
        operation,
        range: { offset, length },
        cursor: { ...cursor },
      })),
    };
  }

  /** Throws StateError; `abandon` then makes it empty. */
  restore(reader: StateReader): void {
    this.#pieces.clear();
    this.#work.clear();
    this.#orphans.clear();
    this.#isIdle = true;
    this.#nextId = reader.u32("nextId");
    for (const id of reader.values("orphans", BLOCK_LIMITS.requests)) {
      const isValid = typeof id === "number" && Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff;
      if (!isValid || this.#orphans.has(id)) throw reader.invalid("orphans", "are not different numbers of requests");
      this.#orphans.add(id);
    }
    const work = reader.array("work", SLOTS).map((one) => SataWork.restore(one, this.#disk));
    for (const one of work) {
      if (this.hasSlot(one.slot)) throw reader.invalid("work", "has two commands of one slot");
      this.#work.add(one);
    }
    if (work.length > 1 && work.some(({ transfer }) => transfer !== "queued")) {
      throw reader.invalid("work", "has commands that exclude each other");
    }
    for (const piece of reader.array("pieces", BLOCK_LIMITS.requests)) this.#restorePiece(piece, work);
    if (this.#pieces.size + this.#orphans.size > BLOCK_LIMITS.requests) {
      throw reader.invalid("pieces", "are more than can be under way");
    }
    reader.end();
  }

  #restorePiece(reader: StateReader, work: readonly SataWork[]): void {
    const id = reader.u32("id");
    const of = work[reader.int("work", 0, Math.max(0, work.length - 1))];
    const operation = reader.oneOf("operation", BLOCK_OPERATIONS);
    const range = readByteRange(reader.object("range"), this.#disk.sizeBytes);
    const cursor = readCursor(reader.object("cursor"));
    reader.end();
    if (!of || this.#pieces.has(id) || this.#orphans.has(id)) throw reader.invalid("id", "belongs to no command");
    const isFlush = operation === "flush" && (of.request.isDurable || of.request.operation === "flush");
    if (operation !== of.request.operation && !isFlush) throw reader.invalid("operation", "is not the command's");
    const isInside = of.request.ranges.some(
      ({ offset, length }) => range.offset >= offset && range.offset + range.length <= offset + length,
    );
    const isFit = isFlush
      ? range.offset === 0 && range.length === 0
      : isInside && (!of.hasBytes || (range.length > 0 && range.length <= BLOCK_LIMITS.bytes));
    if (!isFit) throw reader.invalid("range", "is not the command's");
    of.underWay++;
    this.#pieces.set(id, { work: of, operation, ...range, cursor });
  }

  #advance(work: SataWork): void {
    while (this.#pieces.size < BLOCK_LIMITS.requests) {
      const piece = work.next((from, length) => walkPrds(this.#memory, work.table, from, length, () => true));
      if (!piece) return;
      while (this.#pieces.has(this.#nextId)) this.#nextId = (this.#nextId + 1) >>> 0;
      const id = this.#nextId;
      const underWay = { ...piece, work };
      if (!this.#submit(id, underWay)) {
        work.isFailed = true;
        return;
      }
      this.#nextId = (id + 1) >>> 0;
      this.#pieces.set(id, underWay);
      work.underWay++;
    }
  }

  /** False: the data is not in memory. */
  #submit(id: number, { work, operation, offset, length, cursor }: UnderWay): boolean {
    if (operation === "write") {
      const buffer = this.#channel.writeBuffer(length);
      if (!gather(this.#memory, work.table, cursor, buffer)) return false;
    }
    this.#channel.submit({ id, operation, offset, length });
    return true;
  }

  #completed({ id, isOk, bytes }: BlockCompletion): void {
    this.resume();
    if (!this.#orphans.delete(id)) {
      const piece = this.#pieces.get(id);
      if (!piece) return;
      this.#pieces.delete(id);
      const { work, operation, length, cursor } = piece;
      work.underWay--;
      const isWhole =
        operation !== "read" ||
        (bytes.length === length && scatter(this.#memory, work.table, cursor, bytes) === length);
      if (!isOk || !isWhole) work.isFailed = true;
      this.#settle(work);
    }
    this.pump();
  }

  #settle(work: SataWork): void {
    if (work.isDone && this.#work.delete(work)) this.#ended(work);
  }
}
