/**
 * What a disk controller has under way at its block channel: which piece of which of its guest's requests a completion is of.
 * Part of the controller's state: a restored one submits the pieces again under their numbers, before anything else. After a
 * reset they are orphans, and nothing new is to be submitted until the last has come back: an old write never lands after a
 * new one.
 */
import type { StateReader } from "../state/reader.ts";
import { BLOCK_LIMITS, BLOCK_OPERATIONS, type BlockChannel, type BlockOperation } from "./block-channel.ts";
import type { StateValue } from "./device.ts";

/** A request of the guest's, in pieces. */
interface Work {
  isFailed: boolean;
  underWay: number;
}

interface PieceUnderWay {
  readonly work: Work;
  readonly operation: BlockOperation;
}

export class RequestsUnderWay<Piece extends PieceUnderWay> {
  readonly #channel: BlockChannel;
  /** The controller's. False: the guest's data is not in RAM, and nothing was submitted. */
  readonly #submit: (id: number, piece: Piece) => boolean;
  readonly #pieces = new Map<number, Piece>();
  readonly #orphans = new Set<number>();
  #nextId = 0;
  #isIdle = false;

  constructor(channel: BlockChannel, submit: (id: number, piece: Piece) => boolean) {
    this.#channel = channel;
    this.#submit = submit;
  }

  /** Restored, and what was under way is not submitted again yet. */
  get isIdle(): boolean {
    return this.#isIdle;
  }

  get isFull(): boolean {
    return this.#pieces.size >= BLOCK_LIMITS.requests;
  }

  /** Nothing new may be submitted. */
  get hasOrphans(): boolean {
    return this.#orphans.size > 0;
  }

  /** False: its request has failed. Precondition: not full. */
  add(piece: Piece): boolean {
    while (this.#pieces.has(this.#nextId)) this.#nextId = (this.#nextId + 1) >>> 0;
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    if (!this.#submit(id, piece)) {
      piece.work.isFailed = true;
      return false;
    }
    this.#pieces.set(id, piece);
    piece.work.underWay++;
    return true;
  }

  get pieces(): readonly Piece[] {
    return [...this.#pieces.values()];
  }

  /** Whose completion this number is, which is forgotten; undefined: nobody's any more. */
  complete(id: number): Piece | undefined {
    this.#orphans.delete(id);
    const piece = this.#pieces.get(id);
    if (piece && this.#pieces.delete(id)) piece.work.underWay--;
    return piece;
  }

  /** What was under way when the state was saved goes to the disk again. */
  resume(): void {
    if (!this.#isIdle) return;
    this.#isIdle = false;
    for (const id of this.#orphans) this.#flush(id);
    for (const [id, piece] of this.#pieces) {
      if (this.#submit(id, piece)) continue;
      // Without its data a write is none, but its number comes back.
      piece.work.isFailed = true;
      this.#flush(id);
    }
  }

  #flush(id: number): void {
    this.#channel.submit({ id, operation: "flush", offset: 0, length: 0 });
  }

  /** The guest's requests are forgotten, though what is under way may still reach the disk. */
  abandon(): void {
    if (this.#isIdle) {
      // A restore that failed: nothing of this is under way.
      this.#isIdle = false;
      this.#orphans.clear();
      this.#nextId = 0;
    } else for (const id of this.#pieces.keys()) this.#orphans.add(id);
    this.#pieces.clear();
  }

  save(fields: (piece: Piece) => Readonly<Record<string, StateValue>>): Readonly<Record<string, StateValue>> {
    return {
      nextId: this.#nextId,
      orphans: [...this.#orphans],
      pieces: [...this.#pieces].map(([id, piece]) => ({ id, operation: piece.operation, ...fields(piece) })),
    };
  }

  /** `read` takes the fields of its `save`. Throws StateError; `abandon` then makes it empty. */
  restore(reader: StateReader, read: (piece: StateReader, operation: BlockOperation) => Piece): void {
    this.#isIdle = true;
    this.#pieces.clear();
    this.#orphans.clear();
    this.#nextId = reader.u32("nextId");
    for (const id of reader.values("orphans", BLOCK_LIMITS.requests)) {
      const isValid = typeof id === "number" && Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff;
      if (!isValid || this.#orphans.has(id)) throw reader.invalid("orphans", "are not different numbers of requests");
      this.#orphans.add(id);
    }
    for (const saved of reader.array("pieces", BLOCK_LIMITS.requests)) {
      const id = saved.u32("id");
      const piece = read(saved, saved.oneOf("operation", BLOCK_OPERATIONS));
      saved.end();
      if (this.#pieces.has(id) || this.#orphans.has(id)) throw saved.invalid("id", "is another request's");
      piece.work.underWay++;
      this.#pieces.set(id, piece);
    }
    if (this.#pieces.size + this.#orphans.size > BLOCK_LIMITS.requests) {
      throw reader.invalid("pieces", "are more than can be under way");
    }
  }
}
