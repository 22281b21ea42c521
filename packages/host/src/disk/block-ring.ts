/**
 * Requests to a VM's disks on their way from the machine's thread to the thread that has the images (disk-worker.ts), and
 * back: slots in shared memory, each with room for a request's bytes, so that these are copied once, between guest memory
 * and the slot. Nobody waits for a message: the disks' thread waits for WORK, the machine's for its kick.
 *
 *   FREE --machine--> SUBMITTED --disks--> TAKEN --disks--> DONE --machine, when its event has entered--> FREE
 *
 * The ring is the VM's and outlives a change of its engine: what is under way then comes back to the machine that goes on.
 */
import {
  BLOCK_LIMITS,
  BLOCK_OPERATIONS,
  type BlockBackend,
  type BlockCompletion,
  type BlockOperation,
  type BlockRequest,
} from "@twinmetal/core";
import { ServingEnd } from "../vm/serving-end.ts";

export interface DiskRing {
  readonly buffer: SharedArrayBuffer;
  /** The disks' channels. */
  readonly channels: readonly string[];
}

const STATE = { FREE: 0, SUBMITTED: 1, TAKEN: 2, DONE: 3 } as const;
/** Words of a slot. Offsets are in sectors, in two halves. */
const WORD = { state: 0, id: 1, operation: 2, sectorLow: 3, sectorHigh: 4, length: 5, mayUnmap: 6, isOk: 7, count: 8 };
/** Counts what was submitted, and what is done. */
const WORK = 0;
const DONE = 1;
const HEADER_WORDS = 16;
const SECTOR_BYTES = 512;
/** One more than can be under way: a completion has its slot until the next is taken. */
const SLOTS = BLOCK_LIMITS.requests + 1;
const NOTHING = new Uint8Array(0);
/** A thread that sleeps needs about so long to wake up: looking on costs no more. */
export const SPIN_MS = 0.03;
/** From the beginning of a wait to its end, waking included, where looking on would have seen the work come. */
const SOON_MS = 2 * SPIN_MS;

export function createDiskRing(channels: readonly string[]): DiskRing {
  const count = channels.length * SLOTS;
  const words = HEADER_WORDS + count * WORD.count;
  return { buffer: new SharedArrayBuffer(4 * words + count * BLOCK_LIMITS.bytes), channels };
}

class Slots {
  readonly words: Int32Array;
  readonly channels: readonly string[];
  readonly #dataStart: number;

  constructor({ buffer, channels }: DiskRing) {
    const count = channels.length * SLOTS;
    this.words = new Int32Array(buffer, 0, HEADER_WORDS + count * WORD.count);
    this.channels = channels;
    this.#dataStart = this.words.byteLength;
  }

  get count(): number {
    return this.channels.length * SLOTS;
  }

  at(slot: number, word: number): number {
    return HEADER_WORDS + slot * WORD.count + word;
  }

  state(slot: number): number {
    return Atomics.load(this.words, this.at(slot, WORD.state));
  }

  setState(slot: number, state: number): void {
    Atomics.store(this.words, this.at(slot, WORD.state), state);
  }

  bytes(slot: number, length: number): Uint8Array {
    return new Uint8Array(this.words.buffer, this.#dataStart + slot * BLOCK_LIMITS.bytes, length);
  }
}

/** The machine's end. */
export class RingBlocks implements BlockBackend {
  readonly #slots: Slots;
  #filling: number | undefined;
  /** Of the completion that was taken last. */
  #held: number | undefined;
  /** Of DONE, where nothing was left to take. */
  #seen: number | undefined;

  constructor(ring: DiskRing) {
    this.#slots = new Slots(ring);
  }

  writeBuffer(channel: string, length: number): Uint8Array {
    this.#filling = this.#freeSlot(this.#slots.channels.indexOf(channel));
    return this.#slots.bytes(this.#filling, length);
  }

  submit(channel: string, { id, operation, offset, length, mayUnmap }: BlockRequest): void {
    const disk = this.#slots.channels.indexOf(channel);
    const filling = this.#filling;
    this.#filling = undefined;
    if (this.#isUnderWay(disk, id)) return;
    const slot = operation === "write" && filling !== undefined ? filling : this.#freeSlot(disk);
    const { words } = this.#slots;
    const sector = offset / SECTOR_BYTES;
    words[this.#slots.at(slot, WORD.id)] = id | 0;
    words[this.#slots.at(slot, WORD.operation)] = BLOCK_OPERATIONS.indexOf(operation);
    words[this.#slots.at(slot, WORD.sectorLow)] = sector | 0;
    words[this.#slots.at(slot, WORD.sectorHigh)] = Math.floor(sector / 2 ** 32);
    words[this.#slots.at(slot, WORD.length)] = length;
    words[this.#slots.at(slot, WORD.mayUnmap)] = mayUnmap ? 1 : 0;
    this.#slots.setState(slot, STATE.SUBMITTED);
    Atomics.add(words, WORK, 1);
    Atomics.notify(words, WORK);
  }

  get hasDone(): boolean {
    return Atomics.load(this.#slots.words, DONE) !== (this.#seen ?? 0);
  }

  take(): (BlockCompletion & { readonly channel: string }) | undefined {
    const slots = this.#slots;
    if (this.#held !== undefined) slots.setState(this.#held, STATE.FREE);
    this.#held = undefined;
    const done = Atomics.load(slots.words, DONE);
    if (done === this.#seen) return undefined;
    for (let slot = 0; slot < slots.count; slot++) {
      if (slots.state(slot) !== STATE.DONE) continue;
      this.#held = slot;
      const isOk = slots.words[slots.at(slot, WORD.isOk)] === 1;
      const isRead = BLOCK_OPERATIONS[slots.words[slots.at(slot, WORD.operation)]!] === "read";
      const length = isOk && isRead ? slots.words[slots.at(slot, WORD.length)]! : 0;
      const channel = slots.channels[Math.floor(slot / SLOTS)]!;
      const id = slots.words[slots.at(slot, WORD.id)]! >>> 0;
      return { channel, id, isOk, bytes: length > 0 ? slots.bytes(slot, length) : NOTHING };
    }
    this.#seen = done;
    return undefined;
  }

  #freeSlot(disk: number): number {
    for (let slot = disk * SLOTS; slot < (disk + 1) * SLOTS; slot++) {
      if (this.#slots.state(slot) === STATE.FREE) return slot;
    }
    throw new RangeError("more requests to a disk than may be under way");
  }

  #isUnderWay(disk: number, id: number): boolean {
    for (let slot = disk * SLOTS; slot < (disk + 1) * SLOTS; slot++) {
      const isOther = slot === this.#held || this.#slots.state(slot) === STATE.FREE;
      if (!isOther && this.#slots.words[this.#slots.at(slot, WORD.id)] === (id | 0)) return true;
    }
    return false;
  }
}

export interface RingRequest {
  readonly slot: number;
  readonly disk: number;
  readonly operation: BlockOperation;
  readonly offset: number;
  readonly length: number;
  readonly mayUnmap: boolean;
  /** To write, or to fill. */
  readonly bytes: Uint8Array;
}

/** The disks' end. */
export class RingServer extends ServingEnd {
  readonly #slots: Slots;
  /** The work before came soon. A guest that computes between requests is slower: looking on takes its threads' time. */
  #looksOn = true;

  constructor(ring: DiskRing) {
    const slots = new Slots(ring);
    super(slots.words, WORK);
    this.#slots = slots;
  }

  /** False: nothing was submitted since `work` within this time. */
  waitForWork(work: number, timeoutMs: number): boolean {
    const startMs = performance.now();
    if (this.#looksOn) while (performance.now() < startMs + SPIN_MS) if (this.work !== work) return true;
    const hasCome = Atomics.wait(this.#slots.words, WORK, work, timeoutMs) !== "timed-out";
    this.#looksOn = hasCome && performance.now() < startMs + SOON_MS;
    return hasCome;
  }

  /** All that was submitted. */
  take(): RingRequest[] {
    const { words } = this.#slots;
    const found: RingRequest[] = [];
    for (let slot = 0; slot < this.#slots.count; slot++) {
      if (this.#slots.state(slot) !== STATE.SUBMITTED) continue;
      this.#slots.setState(slot, STATE.TAKEN);
      const word = (name: keyof typeof WORD): number => words[this.#slots.at(slot, WORD[name])]!;
      const operation = BLOCK_OPERATIONS[word("operation")]!;
      const length = word("length");
      const hasBytes = operation === "read" || operation === "write";
      found.push({
        slot,
        disk: Math.floor(slot / SLOTS),
        operation,
        offset: (word("sectorHigh") * 2 ** 32 + (word("sectorLow") >>> 0)) * SECTOR_BYTES,
        length,
        mayUnmap: word("mayUnmap") === 1,
        bytes: hasBytes ? this.#slots.bytes(slot, length) : NOTHING,
      });
    }
    return found;
  }

  done({ slot }: RingRequest, isOk: boolean): void {
    this.#slots.words[this.#slots.at(slot, WORD.isOk)] = isOk ? 1 : 0;
    this.#slots.setState(slot, STATE.DONE);
    Atomics.add(this.#slots.words, DONE, 1);
  }
}
