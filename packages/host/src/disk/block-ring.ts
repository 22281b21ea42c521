/**
 * Requests to a VM's disks on their way from the machine's thread to the thread that has the images (disk-worker.ts), and
 * back: slots in shared memory. Nobody waits for a message: the disks' thread waits for WORK, the machine's for its kick.
 *
 *   FREE --machine--> SUBMITTED --disks--> TAKEN --disks--> DONE --machine, when its event has entered--> FREE
 *                                            |  <-- again --+
 *                                            +--no space--> PARKED, with a copy of the bytes
 *
 * A slot has room for a request's bytes, or for the places in the guest's memory where they are, which the disks' thread
 * then reads and writes itself. It is told of that memory by a message (disk-protocol.ts), and REACHED says which it knows.
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

const STATE = { FREE: 0, SUBMITTED: 1, TAKEN: 2, DONE: 3, PARKED: 4 } as const;
/** Words of a slot. Offsets are in sectors, in two halves. `spans`: pairs instead of bytes, in the memory of this number. */
const WORD = {
  ...{ state: 0, id: 1, operation: 2, sectorLow: 3, sectorHigh: 4, length: 5, mayUnmap: 6, isOk: 7 },
  ...{ spans: 8, memory: 9, count: 10 },
} as const;
/** Counts what was submitted, and what is done. */
const WORK = 0;
const DONE = 1;
/** Numbers of machines' memories: the last that was given, and the one that the disks' thread has. */
const MEMORIES = 2;
const REACHED = 3;
/** 1: the machine waits for DONE. */
const IS_AWAITED = 4;
/** 1: the images are open, so that what is submitted is carried out. */
const IS_OPEN = 5;
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

  word(slot: number, name: keyof typeof WORD): number {
    return this.words[this.at(slot, WORD[name])]!;
  }

  bytes(slot: number, length: number): Uint8Array {
    return new Uint8Array(this.words.buffer, this.#dataStart + slot * BLOCK_LIMITS.bytes, length);
  }

  /** Places and lengths, of so many spans. */
  spans(slot: number, count: number): Uint32Array {
    return new Uint32Array(this.words.buffer, this.#dataStart + slot * BLOCK_LIMITS.bytes, 2 * count);
  }
}

/** A machine's memory, of which the ring's spans tell, under its number. */
export interface ReachedMemory {
  readonly number: number;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
}

/** The machine's end. */
export class RingBlocks implements BlockBackend {
  readonly #slots: Slots;
  #filling: number | undefined;
  /** Of the completion that was taken last. */
  #held: number | undefined;
  /** Of DONE, where nothing was left to take. */
  #seen: number | undefined;
  /** Of the machine, to be told to the disks' thread. Undefined: it cannot be shared. */
  readonly memory: ReachedMemory | undefined;

  constructor(ring: DiskRing, memory?: Uint8Array<SharedArrayBuffer>) {
    this.#slots = new Slots(ring);
    this.memory = memory && { number: Atomics.add(this.#slots.words, MEMORIES, 1) + 1, bytes: memory };
  }

  get reachesMemory(): boolean {
    return this.memory !== undefined && Atomics.load(this.#slots.words, REACHED) === this.memory.number;
  }

  writeBuffer(channel: string, length: number): Uint8Array {
    this.#filling = this.#freeSlot(this.#slots.channels.indexOf(channel));
    return this.#slots.bytes(this.#filling, length);
  }

  submit(channel: string, { id, operation, offset, length, mayUnmap, spans }: BlockRequest): void {
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
    words[this.#slots.at(slot, WORD.spans)] = spans ? spans.length / 2 : 0;
    words[this.#slots.at(slot, WORD.memory)] = this.memory?.number ?? 0;
    if (spans) this.#slots.spans(slot, spans.length / 2).set(spans);
    this.#slots.setState(slot, STATE.SUBMITTED);
    Atomics.add(words, WORK, 1);
    Atomics.notify(words, WORK);
  }

  get hasDone(): boolean {
    return Atomics.load(this.#slots.words, DONE) !== (this.#seen ?? 0);
  }

  take(wantsBytes = false): (BlockCompletion & { readonly channel: string }) | undefined {
    const slots = this.#slots;
    if (this.#held !== undefined) slots.setState(this.#held, STATE.FREE);
    this.#held = undefined;
    const done = Atomics.load(slots.words, DONE);
    if (done === this.#seen) return undefined;
    for (let slot = 0; slot < slots.count; slot++) {
      if (slots.state(slot) !== STATE.DONE) continue;
      this.#held = slot;
      const isOk = slots.word(slot, "isOk") === 1;
      const isRead = BLOCK_OPERATIONS[slots.word(slot, "operation")] === "read";
      const length = isOk && isRead ? slots.word(slot, "length") : 0;
      const channel = slots.channels[Math.floor(slot / SLOTS)]!;
      const id = slots.word(slot, "id") >>> 0;
      const spans = slots.word(slot, "spans");
      if (spans === 0 || !isRead) return { channel, id, isOk, bytes: length > 0 ? slots.bytes(slot, length) : NOTHING };
      if (!wantsBytes) return { channel, id, isOk, bytes: NOTHING, isInMemory: true };
      return { channel, id, isOk, bytes: length > 0 ? this.#gathered(slot, length) : NOTHING };
    }
    this.#seen = done;
    return undefined;
  }

  settle(): void {
    this.#waitFor(0, this.#slots.count);
  }

  withdraw(channel: string): void {
    const first = this.#slots.channels.indexOf(channel) * SLOTS;
    const { words } = this.#slots;
    for (let slot = first; slot < first + SLOTS; slot++) {
      const state = this.#slots.at(slot, WORD.state);
      if (Atomics.compareExchange(words, state, STATE.SUBMITTED, STATE.TAKEN) !== STATE.SUBMITTED) continue;
      words[this.#slots.at(slot, WORD.isOk)] = 0;
      Atomics.store(words, state, STATE.DONE);
      Atomics.add(words, DONE, 1);
    }
    this.#waitFor(first, first + SLOTS);
  }

  /** Until none of these slots' requests reaches the machine's memory. */
  #waitFor(first: number, end: number): void {
    const { words } = this.#slots;
    const reaches = (slot: number): boolean => {
      const state = this.#slots.state(slot);
      const mayBegin = state === STATE.SUBMITTED && Atomics.load(words, IS_OPEN) === 1;
      return (mayBegin || state === STATE.TAKEN) && this.#slots.word(slot, "spans") > 0;
    };
    for (let slot = first; slot < end; ) {
      const done = Atomics.load(words, DONE);
      if (!reaches(slot)) slot++;
      else if (Atomics.exchange(words, IS_AWAITED, 1) === 1) Atomics.wait(words, DONE, done);
      else {
        // What is held to be slow is carried out now.
        Atomics.add(words, WORK, 1);
        Atomics.notify(words, WORK);
      }
    }
    Atomics.store(words, IS_AWAITED, 0);
  }

  /** What is at the slot's spans. */
  #gathered(slot: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let at = 0;
    const spans = this.#slots.spans(slot, this.#slots.word(slot, "spans"));
    for (let i = 0; i < spans.length; i += 2) {
      bytes.set(this.memory!.bytes.subarray(spans[i]!, spans[i]! + spans[i + 1]!), at);
      at += spans[i + 1]!;
    }
    return bytes;
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

/** The disks' thread has ended by itself: all that it had, or would have got, has failed, and nobody waits for it. */
export function abandonRing(ring: DiskRing): void {
  const slots = new Slots(ring);
  Atomics.store(slots.words, IS_OPEN, 0);
  for (let slot = 0; slot < slots.count; slot++) {
    if (![STATE.SUBMITTED, STATE.TAKEN, STATE.PARKED].some((state) => state === slots.state(slot))) continue;
    slots.words[slots.at(slot, WORD.isOk)] = 0;
    slots.setState(slot, STATE.DONE);
  }
  Atomics.add(slots.words, DONE, 1);
  Atomics.notify(slots.words, DONE);
}

export interface RingRequest {
  readonly slot: number;
  readonly disk: number;
  readonly operation: BlockOperation;
  readonly offset: number;
  readonly length: number;
  readonly mayUnmap: boolean;
  /** To write, or to fill: of the slot. */
  readonly bytes: Uint8Array;
  /** Instead of them, in the guest's memory. */
  readonly parts: readonly Uint8Array[] | undefined;
}

/** The disks' end. */
export class RingServer extends ServingEnd {
  readonly #slots: Slots;
  /** The work before came soon. A guest that computes between requests is slower: looking on takes its threads' time. */
  #looksOn = true;
  #memory: ReachedMemory | undefined;

  constructor(ring: DiskRing) {
    const slots = new Slots(ring);
    super(slots.words, WORK);
    this.#slots = slots;
  }

  /** What is submitted from here on may tell of this memory. */
  reach(memory: ReachedMemory): void {
    this.#memory = memory;
    Atomics.store(this.#slots.words, REACHED, memory.number);
  }

  /** The machine waits for all that reaches its memory. */
  get isAwaited(): boolean {
    return Atomics.load(this.#slots.words, IS_AWAITED) === 1;
  }

  /** Whether what is submitted is carried out. */
  setOpen(isOpen: boolean): void {
    Atomics.store(this.#slots.words, IS_OPEN, isOpen ? 1 : 0);
    this.#changed();
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
    const slots = this.#slots;
    const found: RingRequest[] = [];
    for (let slot = 0; slot < slots.count; slot++) {
      if (slots.state(slot) !== STATE.SUBMITTED) continue;
      const state = slots.at(slot, WORD.state);
      if (Atomics.compareExchange(slots.words, state, STATE.SUBMITTED, STATE.TAKEN) !== STATE.SUBMITTED) continue;
      const operation = BLOCK_OPERATIONS[slots.word(slot, "operation")]!;
      const length = slots.word(slot, "length");
      const spans = slots.word(slot, "spans");
      const hasBytes = spans === 0 && (operation === "read" || operation === "write");
      found.push({
        slot,
        disk: Math.floor(slot / SLOTS),
        operation,
        offset: (slots.word(slot, "sectorHigh") * 2 ** 32 + (slots.word(slot, "sectorLow") >>> 0)) * SECTOR_BYTES,
        length,
        mayUnmap: slots.word(slot, "mayUnmap") === 1,
        bytes: hasBytes ? slots.bytes(slot, length) : NOTHING,
        parts: spans > 0 ? this.#parts(slot, spans) : undefined,
      });
    }
    return found;
  }

  /** Of a memory that is nobody's any more there are none. */
  #parts(slot: number, count: number): Uint8Array[] {
    const parts: Uint8Array[] = [];
    const memory = this.#memory;
    if (memory?.number !== this.#slots.word(slot, "memory")) return parts;
    const spans = this.#slots.spans(slot, count);
    const { buffer, byteOffset, byteLength } = memory.bytes;
    for (let i = 0; i < spans.length; i += 2) {
      const [at, length] = [spans[i]!, spans[i + 1]!];
      if (at + length > byteLength) return [];
      parts.push(new Uint8Array(buffer, byteOffset + at, length));
    }
    return parts;
  }

  /** It waits for something else, and has its bytes: the guest's memory may change. */
  park({ slot }: RingRequest): void {
    this.#slots.setState(slot, STATE.PARKED);
    this.#changed();
  }

  done({ slot }: RingRequest, isOk: boolean): void {
    this.#slots.words[this.#slots.at(slot, WORD.isOk)] = isOk ? 1 : 0;
    this.#slots.setState(slot, STATE.DONE);
    this.#changed();
  }

  #changed(): void {
    Atomics.add(this.#slots.words, DONE, 1);
    if (this.isAwaited) Atomics.notify(this.#slots.words, DONE);
  }
}
