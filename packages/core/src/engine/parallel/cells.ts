/**
 * The words by which the threads of vCPUs in parallel reach each other, in shared memory of their own: who runs and who
 * rests, who has everything for itself, interrupt pins, a mailbox for each vCPU's accesses of devices, and a list for each of
 * pages in which code came or went. Nothing here knows what a vCPU is run by.
 *
 * A vCPU's thread is at one of four places. ABSENT: it has not come yet. RUNNING: it may touch the guest's memory and its own tables. BOUNDARY: between two
 * instructions, it waits or is about to run. INSIDE: in the middle of an instruction, it waits for an answer. Who wants
 * everything for itself has the lock and then waits until nobody is RUNNING; who comes back to RUNNING says so first and
 * looks at the lock afterwards (all accesses of these words are sequentially consistent).
 */
import { MAX_VCPUS } from "../../cpu/layout.ts";

export const RUNNING = 0;
export const BOUNDARY = 1;
export const INSIDE = 2;
export const ABSENT = 3;

/** Words of all. */
const LOCK = 0;
const HOLD = 1;
const BELL = 2;
/** Of each vCPU. */
const EACH = 16;
const WORDS = 32;
const STATE = 0;
const WAKE = 1;
const PARKED = 2;
const INTR = 3;
const NMI = 4;
const TASK_PRIORITY = 5;
const MAIL = 6;
/** Operation, and six words that both sides fill in. */
const MAIL_WORDS = 7;
/** Exclusive sections that it began, for statistics. */
const SECTIONS = 15;
/** Of a vCPU that rests: what runs it keeps it here. */
const REST = 14;
const HEAD = 16;
const TAIL = 17;
/** Of pages. */
const LIST = EACH + MAX_VCPUS * WORDS;
const LIST_ENTRIES = 256;
/** 64-bit numbers: count and host time that it is counted from, guest time against it, each vCPU's TSC adjustment. */
const NUMBERS_AT: number = (LIST + MAX_VCPUS * LIST_ENTRIES) * 4;
const NUMBERS = 3 + MAX_VCPUS;

export const MAIL_EMPTY = 0;
export const MAIL_POSTED = 1;
export const MAIL_ANSWERED = 2;

/** A spin of so many looks takes some microseconds. */
const SPINS = 2000;

export class ParallelCells {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #times: Float64Array;
  readonly #adjusts: BigInt64Array;

  /** `buffer`: of another thread's. */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(NUMBERS_AT + NUMBERS * 8)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#times = new Float64Array(buffer, NUMBERS_AT, 3);
    this.#adjusts = new BigInt64Array(buffer, NUMBERS_AT + 24, MAX_VCPUS);
  }

  #get(at: number): number {
    return Atomics.load(this.#words, at);
  }
  #put(at: number, value: number): void {
    Atomics.store(this.#words, at, value);
  }
  #of(vcpu: number, word: number): number {
    return EACH + vcpu * WORDS + word;
  }

  /** Of the vCPU that has everything for itself, and one more; 0: none. */
  get lock(): number {
    return this.#get(LOCK);
  }
  /** True: the lock is this vCPU's now. */
  tryLock(vcpu: number): boolean {
    return Atomics.compareExchange(this.#words, LOCK, 0, vcpu + 1) === 0;
  }
  unlock(): void {
    this.#put(LOCK, 0);
    Atomics.notify(this.#words, LOCK);
  }
  waitForLock(holder: number, timeoutMs?: number): void {
    Atomics.wait(this.#words, LOCK, holder, timeoutMs);
  }

  /** While it is true, all but the first vCPU stay at a boundary. */
  get isHeld(): boolean {
    return this.#get(HOLD) !== 0;
  }
  setHeld(isHeld: boolean): void {
    this.#put(HOLD, isHeld ? 1 : 0);
  }

  state(vcpu: number): number {
    return this.#get(this.#of(vcpu, STATE));
  }
  setState(vcpu: number, state: number): void {
    this.#put(this.#of(vcpu, STATE), state);
    if (state !== RUNNING && (this.lock !== 0 || this.isHeld)) Atomics.notify(this.#words, this.#of(vcpu, STATE));
  }
  waitForState(vcpu: number, not: number, timeoutMs: number): void {
    Atomics.wait(this.#words, this.#of(vcpu, STATE), not, timeoutMs);
  }

  /** Counts what a vCPU at a boundary has to look at. */
  wakes(vcpu: number): number {
    return this.#get(this.#of(vcpu, WAKE));
  }
  wake(vcpu: number): void {
    Atomics.add(this.#words, this.#of(vcpu, WAKE), 1);
    Atomics.notify(this.#words, this.#of(vcpu, WAKE));
  }
  waitForWake(vcpu: number, seen: number): void {
    Atomics.wait(this.#words, this.#of(vcpu, WAKE), seen);
  }

  /** It waits for a start-up message. */
  isParked(vcpu: number): boolean {
    return this.#get(this.#of(vcpu, PARKED)) !== 0;
  }
  setParked(vcpu: number, isParked: boolean): void {
    this.#put(this.#of(vcpu, PARKED), isParked ? 1 : 0);
  }

  interrupt(vcpu: number): boolean {
    return this.#get(this.#of(vcpu, INTR)) !== 0;
  }
  setInterrupt(vcpu: number, isPending: boolean): void {
    this.#put(this.#of(vcpu, INTR), isPending ? 1 : 0);
  }
  setNmi(vcpu: number): void {
    this.#put(this.#of(vcpu, NMI), 1);
  }
  takeNmi(vcpu: number): boolean {
    return Atomics.exchange(this.#words, this.#of(vcpu, NMI), 0) !== 0;
  }
  setTaskPriority(vcpu: number, cr8: number): void {
    this.#put(this.#of(vcpu, TASK_PRIORITY), cr8 + 1);
  }
  /** Undefined: not changed. */
  takeTaskPriority(vcpu: number): number | undefined {
    const value = Atomics.exchange(this.#words, this.#of(vcpu, TASK_PRIORITY), 0);
    return value === 0 ? undefined : value - 1;
  }

  /** Counts messages to the first vCPU's thread. */
  get bell(): number {
    return this.#get(BELL);
  }

  mail(vcpu: number): number {
    return this.#get(this.#of(vcpu, MAIL));
  }
  /** The mailbox's words: an operation and its arguments, then the answer. Whose turn it is, MAIL says. */
  mailWords(vcpu: number): Int32Array {
    const at = this.#of(vcpu, MAIL_WORDS);
    return this.#words.subarray(at, at + 7);
  }
  postMail(vcpu: number): void {
    this.#put(this.#of(vcpu, MAIL), MAIL_POSTED);
    Atomics.add(this.#words, BELL, 1);
  }
  answerMail(vcpu: number): void {
    this.#put(this.#of(vcpu, MAIL), MAIL_ANSWERED);
    Atomics.notify(this.#words, this.#of(vcpu, MAIL));
  }
  /** Returns when the answer is there, which it takes. */
  waitForAnswer(vcpu: number): void {
    const at = this.#of(vcpu, MAIL);
    for (let spins = 0; this.#get(at) !== MAIL_ANSWERED; )
      if (spins++ > SPINS) Atomics.wait(this.#words, at, MAIL_POSTED);
    this.#put(at, MAIL_EMPTY);
  }

  /** What whoever looks at a vCPU while it rests has to know, and may change. */
  rest(vcpu: number): number {
    return this.#get(this.#of(vcpu, REST));
  }
  setRest(vcpu: number, value: number): void {
    this.#put(this.#of(vcpu, REST), value);
  }

  sections(vcpu: number): number {
    return this.#get(this.#of(vcpu, SECTIONS)) >>> 0;
  }
  countSection(vcpu: number): void {
    Atomics.add(this.#words, this.#of(vcpu, SECTIONS), 1);
  }

  /** Only with the lock: tells a vCPU of a page, given by its address and flags in the bits below. */
  list(vcpu: number, entry: number): void {
    const head = this.#get(this.#of(vcpu, HEAD));
    const tail = this.#get(this.#of(vcpu, TAIL));
    if (head - tail < LIST_ENTRIES) this.#words[LIST + vcpu * LIST_ENTRIES + (head % LIST_ENTRIES)] = entry;
    // One more than there is room for: it has lost some.
    if (head - tail <= LIST_ENTRIES) this.#put(this.#of(vcpu, HEAD), head + 1);
  }
  /** Of a RUNNING vCPU: what it was told. `all`: more than it can be told one by one. */
  takeList(vcpu: number, each: (entry: number) => void, all: () => void): void {
    const head = this.#get(this.#of(vcpu, HEAD));
    let tail = this.#get(this.#of(vcpu, TAIL));
    if (head === tail) return;
    if (head - tail > LIST_ENTRIES) all();
    else for (; tail < head; tail++) each(this.#words[LIST + vcpu * LIST_ENTRIES + (tail % LIST_ENTRIES)]!);
    this.#put(this.#of(vcpu, HEAD), 0);
    this.#put(this.#of(vcpu, TAIL), 0);
  }

  /** The count of nanoseconds that all vCPUs' time goes by: `base` at `hostNs` of the host's clock. */
  setCount(base: number, hostNs: number): void {
    this.#times[0] = base;
    this.#times[1] = hostNs;
  }
  countAt(hostNs: number): number {
    return Math.floor(this.#times[0]! + (hostNs - this.#times[1]!));
  }
  /** Guest time less the count. */
  get guestOffsetNs(): number {
    return this.#times[2]!;
  }
  setGuestOffset(ns: number): void {
    this.#times[2] = ns;
  }
  tscAdjust(vcpu: number): bigint {
    return this.#adjusts[vcpu]!;
  }
  setTscAdjust(vcpu: number, adjust: bigint): void {
    this.#adjusts[vcpu] = adjust;
  }
}
