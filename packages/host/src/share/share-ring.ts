/**
 * Requests to a VM's shared folders on their way from the machine's thread to the thread that has the folders
 * (share-worker.ts), and back: slots in shared memory, each with room for a request's words and for its data or its reply.
 *
 *   FREE --machine--> SUBMITTED --folders--> TAKEN --folders--> DONE --machine, when its event has entered--> FREE
 *
 * Slots are numbered in the order of their submission, which is the order in which they are carried out and come back. The ring
 * is the VM's and outlives a change of its engine.
 */
import { FILE_LIMITS, type FileBackend, type FileCompletion } from "@twinmetal/core";
import { ServingEnd } from "../vm/serving-end.ts";

export interface ShareRing {
  readonly buffer: SharedArrayBuffer;
  /** The shares' channels. */
  readonly channels: readonly string[];
}

const STATE = { FREE: 0, SUBMITTED: 1, TAKEN: 2, DONE: 3 } as const;
const WORD = { state: 0, id: 1, order: 2, messageBytes: 3, dataBytes: 4, error: 5, count: 8 } as const;
/** Counts what was submitted, and what is done. */
const WORK = 0;
const DONE = 1;
const HEADER_WORDS = 16;
/** One more than can be under way: a completion has its slot until the next is taken. */
const SLOTS = FILE_LIMITS.requests + 1;
const AREA_BYTES = FILE_LIMITS.messageBytes + FILE_LIMITS.dataBytes;

export function createShareRing(channels: readonly string[]): ShareRing {
  const count = channels.length * SLOTS;
  return { buffer: new SharedArrayBuffer(4 * (HEADER_WORDS + count * WORD.count) + count * AREA_BYTES), channels };
}

class Slots {
  readonly words: Int32Array;
  readonly channels: readonly string[];
  readonly count: number;

  constructor({ buffer, channels }: ShareRing) {
    this.count = channels.length * SLOTS;
    this.words = new Int32Array(buffer, 0, HEADER_WORDS + this.count * WORD.count);
    this.channels = channels;
  }

  get(slot: number, word: number): number {
    return Atomics.load(this.words, HEADER_WORDS + slot * WORD.count + word);
  }

  set(slot: number, word: number, value: number): void {
    Atomics.store(this.words, HEADER_WORDS + slot * WORD.count + word, value);
  }

  message(slot: number, length: number): Uint8Array {
    return new Uint8Array(this.words.buffer, this.words.byteLength + slot * AREA_BYTES, length);
  }

  data(slot: number, length: number): Uint8Array {
    const start = this.words.byteLength + slot * AREA_BYTES + FILE_LIMITS.messageBytes;
    return new Uint8Array(this.words.buffer, start, length);
  }

  /** In that state, in the order of their submission. */
  inState(state: number): number[] {
    const found: number[] = [];
    for (let slot = 0; slot < this.count; slot++) if (this.get(slot, WORD.state) === state) found.push(slot);
    return found.sort((a, b) => (this.get(a, WORD.order) - this.get(b, WORD.order)) | 0);
  }
}

/** The machine's end. */
export class RingFiles implements FileBackend {
  readonly #slots: Slots;
  #filling: number | undefined;
  /** Of the completion that was taken last. */
  #held: number | undefined;
  /** Of DONE, where nothing was left to take. */
  #seen: number | undefined;

  constructor(ring: ShareRing) {
    this.#slots = new Slots(ring);
  }

  dataBuffer(channel: string, length: number): Uint8Array {
    this.#filling = this.#freeSlot(this.#slots.channels.indexOf(channel));
    return this.#slots.data(this.#filling, length);
  }

  submit(channel: string, id: number, message: Uint8Array, dataBytes: number): void {
    const slots = this.#slots;
    const share = slots.channels.indexOf(channel);
    const filling = this.#filling;
    this.#filling = undefined;
    if (this.#isUnderWay(share, id)) return;
    const slot = dataBytes > 0 && filling !== undefined ? filling : this.#freeSlot(share);
    slots.message(slot, message.length).set(message);
    slots.set(slot, WORD.id, id | 0);
    slots.set(slot, WORD.order, Atomics.add(slots.words, WORK, 1));
    slots.set(slot, WORD.messageBytes, message.length);
    slots.set(slot, WORD.dataBytes, dataBytes);
    slots.set(slot, WORD.state, STATE.SUBMITTED);
    Atomics.add(slots.words, WORK, 1);
    Atomics.notify(slots.words, WORK);
  }

  get hasDone(): boolean {
    return Atomics.load(this.#slots.words, DONE) !== (this.#seen ?? 0);
  }

  take(): (FileCompletion & { readonly channel: string }) | undefined {
    const slots = this.#slots;
    if (this.#held !== undefined) slots.set(this.#held, WORD.state, STATE.FREE);
    this.#held = undefined;
    const done = Atomics.load(slots.words, DONE);
    if (done === this.#seen) return undefined;
    const [slot] = slots.inState(STATE.DONE);
    if (slot === undefined) {
      this.#seen = done;
      return undefined;
    }
    this.#held = slot;
    return {
      channel: slots.channels[Math.floor(slot / SLOTS)]!,
      id: slots.get(slot, WORD.id) >>> 0,
      error: slots.get(slot, WORD.error),
      bytes: slots.data(slot, slots.get(slot, WORD.dataBytes)),
    };
  }

  #freeSlot(share: number): number {
    for (let slot = share * SLOTS; slot < (share + 1) * SLOTS; slot++) {
      if (this.#slots.get(slot, WORD.state) === STATE.FREE) return slot;
    }
    throw new RangeError("more requests to a shared folder than may be under way");
  }

  #isUnderWay(share: number, id: number): boolean {
    for (let slot = share * SLOTS; slot < (share + 1) * SLOTS; slot++) {
      const isOther = slot === this.#held || this.#slots.get(slot, WORD.state) === STATE.FREE;
      if (!isOther && this.#slots.get(slot, WORD.id) === (id | 0)) return true;
    }
    return false;
  }
}

export interface ShareRequest {
  readonly slot: number;
  readonly share: number;
  readonly message: Uint8Array;
  /** To write. */
  readonly data: Uint8Array;
  /** Where a reply goes. */
  readonly reply: Uint8Array;
}

/** The folders' end. */
export class ShareRingServer extends ServingEnd {
  readonly #slots: Slots;

  constructor(ring: ShareRing) {
    const slots = new Slots(ring);
    super(slots.words, WORK);
    this.#slots = slots;
  }

  /** False: nothing was submitted since `work` within this time. */
  waitForWork(work: number, timeoutMs: number): boolean {
    return Atomics.wait(this.#slots.words, WORK, work, timeoutMs) !== "timed-out";
  }

  /** All that was submitted, in order. */
  take(): ShareRequest[] {
    const slots = this.#slots;
    return slots.inState(STATE.SUBMITTED).map((slot) => {
      slots.set(slot, WORD.state, STATE.TAKEN);
      return {
        slot,
        share: Math.floor(slot / SLOTS),
        message: slots.message(slot, slots.get(slot, WORD.messageBytes)).slice(),
        data: slots.data(slot, slots.get(slot, WORD.dataBytes)),
        reply: slots.data(slot, FILE_LIMITS.dataBytes),
      };
    });
  }

  /** `replyBytes` are in the request's `reply`. */
  done({ slot }: ShareRequest, error: number, replyBytes: number): void {
    this.#slots.set(slot, WORD.error, error);
    this.#slots.set(slot, WORD.dataBytes, replyBytes);
    this.#slots.set(slot, WORD.state, STATE.DONE);
    Atomics.add(this.#slots.words, DONE, 1);
  }
}
