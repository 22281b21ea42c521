/**
 * Guest time (docs/architecture.md, "Time"): base + retired instructions x ratio, in integer arithmetic without drift.
 *
 *   now(retired) = floor((baseNs * 1000 + basePs + (retired - baseRetired) * psPerInstruction) / 1000)
 *
 * The ratio is an integer number of picoseconds per instruction; the base carries the remainder, so moving it
 * (`rebase`) changes nothing that a guest could see. Time moves in two other ways only: `skipTo`, when a halted vCPU in
 * virtual mode waits for the next deadline, and `correct`, which carries out a clock event of the event log. Both go
 * forward only.
 *
 * The time-stamp counter is floor(now * tscFrequencyHz / 10^9): nanosecond grain.
 *
 * A timer armed at or before the current time is due one nanosecond later: a callback that re-arms itself in the past
 * lets the guest run in between, and firing twice at one time is the same as firing once.
 */
import type { StateValue } from "../devices/device.ts";
import { StateReader } from "../state/reader.ts";
import type { Clock, Timer } from "./clock.ts";

export interface GuestClockOptions {
  readonly epochSeconds: number;
  /** A multiple of 1000, from `TSC_FREQUENCY.minHz` to `maxHz`: see machine/spec.ts. */
  readonly tscFrequencyHz: number;
  /** Retired instructions of the vCPU that carries time. Must be exact within bus callbacks too. */
  readonly retired: () => number;
  readonly psPerInstruction?: number;
  /** A timer was armed: a budget that runs beyond `dueNs` is now too long. */
  readonly onArmed?: (dueNs: number) => void;
}

/** One instruction is one nanosecond: virtual mode always, wall mode until the first measurement. */
export const DEFAULT_PS_PER_INSTRUCTION = 1000;
export const PS_PER_INSTRUCTION = { min: 1, max: 1_000_000 } as const;
/** What `Vcpu.run` takes. */
export const MAX_BUDGET: number = 2 ** 30;

const NS_PER_SECOND = 1_000_000_000;
/** Deadlines farther away than this are far enough for any budget, and keep products below 2^53. */
const FAR_NS = 2 ** 40;

class GuestTimer implements Timer {
  readonly callback: (deadlineNs: number) => void;
  readonly #clock: GuestClock;
  /** What the device asked for, and when it is due: see the header. */
  requestedNs: number | undefined;
  dueNs = Number.POSITIVE_INFINITY;

  constructor(clock: GuestClock, callback: (deadlineNs: number) => void) {
    this.#clock = clock;
    this.callback = callback;
  }

  get deadlineNs(): number | undefined {
    return this.requestedNs;
  }

  arm(atNs: number): void {
    if (Number.isNaN(atNs))
      throw new RangeError("A timer's deadline is not a number: a device model has computed it wrongly.");
    this.requestedNs = atNs;
    this.dueNs = Math.max(Math.ceil(atNs), this.#clock.nowNs() + 1);
    this.#clock.timerArmed(this.dueNs);
  }

  disarm(): void {
    if (this.requestedNs === undefined) return;
    this.requestedNs = undefined;
    this.dueNs = Number.POSITIVE_INFINITY;
    this.#clock.timerDisarmed();
  }
}

export class GuestClock implements Clock {
  readonly #retired: () => number;
  readonly #onArmed: (dueNs: number) => void;
  readonly #tscHz: bigint;
  readonly #tscKhz: number;
  readonly #timers: GuestTimer[] = [];
  #earliestNs = Number.POSITIVE_INFINITY;
  #earliestValid = true;
  #epochSeconds: number;
  /** What is NaN at first V8 keeps as doubles: compiled code stays valid when time is no small integer any more. */
  #baseNs = Number.NaN;
  #basePs = 0;
  #baseRetired = Number.NaN;
  #psPerInstruction: number;

  constructor(options: GuestClockOptions) {
    this.#retired = options.retired;
    this.#onArmed = options.onArmed ?? (() => {});
    this.#tscHz = BigInt(options.tscFrequencyHz);
    this.#tscKhz = options.tscFrequencyHz / 1000;
    this.#epochSeconds = options.epochSeconds;
    this.#psPerInstruction = options.psPerInstruction ?? DEFAULT_PS_PER_INSTRUCTION;
    this.#baseNs = 0;
    this.#baseRetired = 0;
  }

  get epochSeconds(): number {
    return this.#epochSeconds;
  }

  get psPerInstruction(): number {
    return this.#psPerInstruction;
  }

  nowNs(): number {
    return this.#nsAt(this.#retired());
  }

  /** The time-stamp counter after `retired` instructions, a count not before the last `rebase`. */
  tsc(retired: number): bigint {
    return this.#tscAtNs(this.#nsAt(retired));
  }

  /** The line that time follows until it is moved, from the last `rebase` on. */
  line(): { retired: number; ns: number; ps: number; psPerInstruction: number } {
    return {
      retired: this.#baseRetired,
      ns: this.#baseNs,
      ps: this.#basePs,
      psPerInstruction: this.#psPerInstruction,
    };
  }

  tscNow(): bigint {
    return this.tsc(this.#retired());
  }

  /** The first nanosecond at which the time-stamp counter is at least `tsc`; Infinity beyond 2^53 ns. */
  nsOfTsc(tsc: bigint): number {
    const ns = (tsc * BigInt(NS_PER_SECOND) + this.#tscHz - 1n) / this.#tscHz;
    return ns > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(ns);
  }

  /** How many more instructions retire until `nowNs() >= deadlineNs`: exact below MAX_BUDGET, which is its upper bound. */
  instructionsUntil(deadlineNs: number): number {
    const aheadNs = deadlineNs - this.#baseNs;
    if (aheadNs > FAR_NS) return MAX_BUDGET;
    const fromBase = Math.ceil((aheadNs * 1000 - this.#basePs) / this.#psPerInstruction);
    return Math.min(Math.max(fromBase - (this.#retired() - this.#baseRetired), 0), MAX_BUDGET);
  }

  timer(callback: (deadlineNs: number) => void): Timer {
    const timer = new GuestTimer(this, callback);
    this.#timers.push(timer);
    return timer;
  }

  /** When the first armed timer is due: Infinity without one. */
  get nextDueNs(): number {
    if (!this.#earliestValid) {
      let earliest = Number.POSITIVE_INFINITY;
      for (const timer of this.#timers) if (timer.dueNs < earliest) earliest = timer.dueNs;
      this.#earliestNs = earliest;
      this.#earliestValid = true;
    }
    return this.#earliestNs;
  }

  /** For timers of this clock. */
  timerArmed(dueNs: number): void {
    this.#earliestValid = false;
    this.#onArmed(dueNs);
  }

  /** For timers of this clock. */
  timerDisarmed(): void {
    this.#earliestValid = false;
  }

  /** Calls back every timer that is due, in order of time, then of creation. True if there was one. */
  fireDue(): boolean {
    const now = this.nowNs();
    if (this.nextDueNs > now) return false;
    while (this.nextDueNs <= now) {
      const dueNs = this.nextDueNs;
      const timer = this.#timers.find((candidate) => candidate.dueNs === dueNs)!;
      const requestedNs = timer.requestedNs!;
      timer.requestedNs = undefined;
      timer.dueNs = Number.POSITIVE_INFINITY;
      this.#earliestValid = false;
      timer.callback(requestedNs);
    }
    return true;
  }

  /** Moves the base to the present. Call it at least every MAX_BUDGET instructions; guest time does not notice. */
  rebase(): void {
    const retired = this.#retired();
    const ps = this.#basePs + (retired - this.#baseRetired) * this.#psPerInstruction;
    const ns = Math.floor(ps / 1000);
    this.#baseNs += ns;
    this.#basePs = ps - ns * 1000;
    this.#baseRetired = retired;
  }

  /** Waiting: time becomes `ns` without an instruction. An earlier time is no move. */
  skipTo(ns: number): void {
    this.rebase();
    if (ns <= this.#baseNs) return;
    this.#baseNs = ns;
    this.#basePs = 0;
  }

  /** Carries out a clock event: `advanceNs` >= 0 at once, and the ratio from here on. */
  correct(advanceNs: number, psPerInstruction: number): void {
    this.rebase();
    this.#baseNs += advanceNs;
    this.#psPerInstruction = psPerInstruction;
  }

  /** Carries out an epoch event: the guest's calendar moves, its monotonic time does not. */
  correctEpoch(advanceSeconds: number): void {
    this.#epochSeconds += advanceSeconds;
  }

  /** The vCPU's count was set from outside (restore, engine change): the base follows without moving time. */
  resetRetired(retired: number): void {
    this.#baseRetired = retired;
  }

  /** Timers are not in here: each device arms its own again. */
  save(): StateValue {
    this.rebase();
    return {
      ns: this.#baseNs,
      ps: this.#basePs,
      psPerInstruction: this.#psPerInstruction,
      epochSeconds: this.#epochSeconds,
    };
  }

  /** Preconditions: the vCPU's count is restored already; no timer is armed. */
  restore(state: StateValue): void {
    const reader = new StateReader(state, "clock");
    const ns = reader.ns("ns");
    const ps = reader.int("ps", 0, 999);
    const psPerInstruction = reader.int("psPerInstruction", PS_PER_INSTRUCTION.min, PS_PER_INSTRUCTION.max);
    const epochSeconds = reader.int("epochSeconds", 0, 2 ** 40);
    reader.end();
    this.#baseNs = ns;
    this.#basePs = ps;
    this.#baseRetired = this.#retired();
    this.#psPerInstruction = psPerInstruction;
    this.#epochSeconds = epochSeconds;
    this.#earliestValid = false;
  }

  #nsAt(retired: number): number {
    return this.#baseNs + Math.floor((this.#basePs + (retired - this.#baseRetired) * this.#psPerInstruction) / 1000);
  }

  #tscAtNs(ns: number): bigint {
    return counterOf(ns, this.#tscHz, this.#tscKhz);
  }
}

/** Exact: the product stays below 10^9 * 8 * 10^6 < 2^53, the quotient keeps 20 fraction bits. */
function counterOf(ns: number, hz: bigint, khz: number): bigint {
  const seconds = Math.floor(ns / NS_PER_SECOND);
  const rest = ns - seconds * NS_PER_SECOND;
  return BigInt(seconds) * hz + BigInt(Math.floor((rest * khz) / 1_000_000));
}

/** The count of a time-stamp counter of this frequency, a multiple of 1000, at a time. */
export const counterAt = (ns: number, frequencyHz: number): bigint =>
  counterOf(ns, BigInt(frequencyHz), frequencyHz / 1000);
