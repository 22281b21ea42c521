/**
 * The local APIC's timer (Intel SDM vol. 3, 11.5.4): one-shot and periodic counting at LOCAL_APIC_TIMER_HZ divided by
 * 1 to 128, and TSC-deadline mode. The count is computed from guest time. When time jumps over several periods, one
 * interrupt is delivered and the phase kept; periods below MIN_PERIOD_NS deliver at most one interrupt in that time.
 */
import { LOCAL_APIC_TIMER_HZ } from "../../machine/board-map.ts";
import type { Clock, Timer } from "../../machine/clock.ts";
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { DIVIDE_WRITABLE } from "./registers.ts";

/** Conversion between the guest's time-stamp counter and guest time. */
export interface TscClock {
  readonly tscFrequencyHz: number;
  /** The guest time at which the counter reaches `tsc`; anything past for counts that have been reached. */
  tscToNs(tsc: bigint): number;
}

export type ApicTimerMode = "one-shot" | "periodic" | "tsc-deadline";

const TICK_NS = 1e9 / LOCAL_APIC_TIMER_HZ;
const MIN_PERIOD_NS = 1000;

export class ApicTimer {
  readonly #clock: Clock;
  readonly #tsc: TscClock;
  readonly #timer: Timer;
  readonly #expired: () => void;
  #mode: ApicTimerMode = "one-shot";
  #divideConfig = 0;
  #initialCount = 0;
  /** The count was `#startCount` at `#startNs`. */
  #startCount = 0;
  #startNs = 0;
  #tscDeadline = 0n;

  constructor(clock: Clock, tsc: TscClock, expired: () => void) {
    this.#clock = clock;
    this.#tsc = tsc;
    this.#expired = expired;
    this.#timer = clock.timer(() => this.#fire());
  }

  get initialCount(): number {
    return this.#initialCount;
  }

  set initialCount(count: number) {
    if (this.#mode === "tsc-deadline") return;
    this.#initialCount = count;
    this.#startCount = count;
    this.#startNs = this.#clock.nowNs();
    this.#arm();
  }

  get currentCount(): number {
    if (this.#mode === "tsc-deadline" || this.#startCount === 0) return 0;
    const elapsed = Math.max(0, Math.floor((this.#clock.nowNs() - this.#startNs) / this.#tickNs));
    if (elapsed < this.#startCount) return this.#startCount - elapsed;
    if (this.#mode === "one-shot" || this.#initialCount === 0) return 0;
    return this.#initialCount - ((elapsed - this.#startCount) % this.#initialCount);
  }

  get divideConfig(): number {
    return this.#divideConfig;
  }

  /** A running count goes on from where it is, at the new rate. */
  set divideConfig(value: number) {
    if ((value & DIVIDE_WRITABLE) === this.#divideConfig) return;
    const count = this.currentCount;
    this.#divideConfig = value & DIVIDE_WRITABLE;
    this.#startCount = count;
    this.#startNs = this.#clock.nowNs();
    this.#arm();
  }

  get mode(): ApicTimerMode {
    return this.#mode;
  }

  /** Changing between counting and TSC-deadline mode disarms the timer. */
  set mode(mode: ApicTimerMode) {
    if (mode === this.#mode) return;
    const count = this.currentCount;
    const crossesDeadline = mode === "tsc-deadline" || this.#mode === "tsc-deadline";
    this.#mode = mode;
    this.#tscDeadline = 0n;
    this.#initialCount = crossesDeadline ? 0 : this.#initialCount;
    this.#startCount = crossesDeadline ? 0 : count;
    this.#startNs = this.#clock.nowNs();
    this.#arm();
  }

  get tscDeadline(): bigint {
    return this.#tscDeadline;
  }

  set tscDeadline(tsc: bigint) {
    if (this.#mode !== "tsc-deadline") return;
    this.#tscDeadline = tsc;
    this.#arm();
  }

  /** The guest has changed its time-stamp counter: the deadline is at another time now. */
  tscChanged(): void {
    if (this.#mode === "tsc-deadline") this.#arm();
  }

  reset(): void {
    this.#mode = "one-shot";
    this.#divideConfig = 0;
    this.#initialCount = 0;
    this.#startCount = 0;
    this.#startNs = 0;
    this.#tscDeadline = 0n;
    this.#timer.disarm();
  }

  save(): StateValue {
    return {
      divideConfig: this.#divideConfig,
      initialCount: this.#initialCount,
      startCount: this.#startCount,
      startNs: this.#startNs,
      tscDeadline: this.#tscDeadline,
    };
  }

  /** `mode` is the LVT entry's. */
  restore(reader: StateReader, mode: ApicTimerMode): void {
    this.reset();
    const divideConfig = reader.int("divideConfig", 0, DIVIDE_WRITABLE) & DIVIDE_WRITABLE;
    const initialCount = reader.u32("initialCount");
    const startCount = reader.u32("startCount");
    const startNs = reader.ns("startNs");
    const tscDeadline = reader.u64("tscDeadline");
    if (startCount > initialCount) throw reader.invalid("startCount", "is above the initial count");
    if (startNs > this.#clock.nowNs() + MIN_PERIOD_NS) throw reader.invalid("startNs", "lies in the future");
    if (mode === "tsc-deadline" ? initialCount !== 0 : tscDeadline !== 0n) {
      throw reader.invalid("tscDeadline", "contradicts the timer's mode");
    }
    reader.end();
    this.#mode = mode;
    this.#divideConfig = divideConfig;
    this.#initialCount = initialCount;
    this.#startCount = startCount;
    this.#startNs = startNs;
    this.#tscDeadline = tscDeadline;
    this.#arm();
  }

  /** Nanoseconds for one count. */
  get #tickNs(): number {
    const code = (this.#divideConfig & 3) | ((this.#divideConfig & 8) >>> 1);
    return TICK_NS * (code === 7 ? 1 : 2 << code);
  }

  #arm(): void {
    if (this.#mode === "tsc-deadline") {
      if (this.#tscDeadline === 0n) this.#timer.disarm();
      else this.#timer.arm(Math.min(this.#tsc.tscToNs(this.#tscDeadline), Number.MAX_SAFE_INTEGER));
    } else if (this.#startCount === 0) {
      this.#timer.disarm();
    } else {
      this.#timer.arm(this.#startNs + Math.ceil(this.#startCount * this.#tickNs));
    }
  }

  #fire(): void {
    if (this.#mode === "tsc-deadline") {
      this.#tscDeadline = 0n;
    } else if (this.#mode === "one-shot") {
      this.#startCount = 0;
    } else {
      const periodNs = this.#initialCount * this.#tickNs;
      const firstNs = this.#startNs + this.#startCount * this.#tickNs;
      const earliestNs = this.#clock.nowNs() + MIN_PERIOD_NS;
      const periods = Math.max(0, Math.ceil((earliestNs - firstNs) / periodNs) - 1);
      this.#startNs = firstNs + periods * periodNs;
      this.#startCount = this.#initialCount;
      this.#arm();
    }
    this.#expired();
  }
}
