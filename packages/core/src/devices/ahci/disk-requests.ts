/**
 * Between the commands of a SATA port and its disk's channel: pieces go out while there is room, completions come back to
 * their command (requests-under-way.ts).
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { StateReader } from "../../state/reader.ts";
import { BLOCK_LIMITS, type BlockChannel, type BlockCompletion, type BlockOperation } from "../block-channel.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { RequestsUnderWay } from "../requests-under-way.ts";
import { MAX_DISC_BYTES } from "./cd-tray.ts";
import { gather, scatter, walkPrds } from "./prd-table.ts";
import { SLOTS } from "./registers.ts";
import { readByteRange, readCursor, type SataPiece, SataWork } from "./sata-work.ts";

export interface SataDiskOptions {
  /** Of the disk's channel. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  /** At a parallel interface: without queued commands, and without TRIM. Default: serial. */
  readonly isParallel?: boolean;
  /** The disc may be another one by now than the one that a command under way is for. */
  readonly isRemovable?: boolean;
}

/** What a command under way may be for. */
export function boundsOf(disk: SataDiskOptions): Pick<SataDiskOptions, "sizeBytes" | "isReadOnly"> {
  return disk.isRemovable ? { sizeBytes: MAX_DISC_BYTES, isReadOnly: true } : disk;
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
  readonly #underWay: RequestsUnderWay<UnderWay>;

  constructor(context: DeviceContext, disk: SataDiskOptions, ended: (work: SataWork) => void) {
    this.#memory = context.memory;
    this.#disk = disk;
    this.#ended = ended;
    this.#channel = context.openDisk(disk.name, (completion) => this.#completed(completion));
    this.#underWay = new RequestsUnderWay<UnderWay>(this.#channel, (id, piece) => this.#submit(id, piece));
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
    this.#underWay.abandon();
    this.#work.clear();
  }

  /** As `abandon`, of a restored port that goes on. */
  cancel(): void {
    this.resume();
    this.abandon();
  }

  resume(): void {
    this.#underWay.resume();
  }

  pump(): void {
    this.resume();
    if (this.#underWay.hasOrphans) return;
    for (const work of [...this.#work]) {
      if (!this.#work.has(work)) continue;
      this.#advance(work);
      this.#settle(work);
    }
  }

  save(): StateValue {
    const work = [...this.#work];
    return {
      work: work.map((one) => one.save()),
      ...this.#underWay.save(({ work: of, offset, length, cursor }) => ({
        work: work.indexOf(of),
        range: { offset, length },
        cursor: { ...cursor },
      })),
    };
  }

  /** Throws StateError; `abandon` then makes it empty. */
  restore(reader: StateReader): void {
    this.#work.clear();
    const disk = boundsOf(this.#disk);
    const work = reader.array("work", SLOTS).map((one) => SataWork.restore(one, disk));
    for (const one of work) {
      if (this.hasSlot(one.slot)) throw reader.invalid("work", "has two commands of one slot");
      this.#work.add(one);
    }
    if (work.length > 1 && work.some(({ transfer }) => transfer !== "queued")) {
      throw reader.invalid("work", "has commands that exclude each other");
    }
    this.#underWay.restore(reader, (piece, operation) => this.#restorePiece(piece, operation, work));
    reader.end();
  }

  #restorePiece(reader: StateReader, operation: BlockOperation, work: readonly SataWork[]): UnderWay {
    const of = work[reader.int("work", 0, Math.max(0, work.length - 1))];
    const range = readByteRange(reader.object("range"), boundsOf(this.#disk).sizeBytes);
    const cursor = readCursor(reader.object("cursor"));
    if (!of) throw reader.invalid("work", "is no command");
    const isFlush = operation === "flush" && (of.request.isDurable || of.request.operation === "flush");
    if (operation !== of.request.operation && !isFlush) throw reader.invalid("operation", "is not the command's");
    const isInside = of.request.ranges.some(
      ({ offset, length }) => range.offset >= offset && range.offset + range.length <= offset + length,
    );
    const isFit = isFlush
      ? range.offset === 0 && range.length === 0
      : isInside && (!of.hasBytes || (range.length > 0 && range.length <= BLOCK_LIMITS.copiedBytes));
    if (!isFit) throw reader.invalid("range", "is not the command's");
    return { work: of, operation, ...range, cursor };
  }

  #advance(work: SataWork): void {
    while (!this.#underWay.isFull) {
      const piece = work.next((from, length) => walkPrds(this.#memory, work.table, from, length, () => true));
      if (!piece || !this.#underWay.add({ ...piece, work })) return;
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
    const piece = this.#underWay.complete(id);
    if (piece) {
      const { work, operation, length, cursor } = piece;
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
