/**
 * The guest's time-stamp counter (Intel SDM vol. 3, 18.17): the clock's count plus IA32_TSC_ADJUST, modulo 2^64.
 * Writing IA32_TSC changes the adjustment by the same amount, as hardware does. Each vCPU has its own adjustment.
 */
import type { TscClock } from "../devices/apic/apic-timer.ts";
import type { Device, StateValue } from "../devices/device.ts";
import type { TscLine } from "../engine/engine.ts";
import { StateReader } from "../state/reader.ts";
import type { GuestClock } from "./guest-clock.ts";

export const TSC_MSR = { IA32_TIME_STAMP_COUNTER: 0x10, IA32_TSC_ADJUST: 0x3b } as const;

export class TimeStampCounter implements Device, TscClock {
  readonly name: string;
  readonly schema = { id: "time-stamp-counter", version: 1 } as const;
  readonly tscFrequencyHz: number;
  readonly #clock: GuestClock;
  /** The counter was moved: deadlines in counts are at other times now. */
  readonly #changed: () => void;
  #adjust = 0n;

  constructor(clock: GuestClock, tscFrequencyHz: number, changed: () => void, vcpu = 0) {
    this.name = vcpu === 0 ? "tsc" : `tsc${vcpu}`;
    this.#clock = clock;
    this.tscFrequencyHz = tscFrequencyHz;
    this.#changed = changed;
  }

  /** The counter after `retired` instructions. */
  at(retired: number): bigint {
    return BigInt.asUintN(64, this.#clock.tsc(retired) + this.#adjust);
  }

  /** The line that `at` follows until time is moved or the counter is written. */
  line(): TscLine {
    const { retired, ns, ps, psPerInstruction } = this.#clock.line();
    return { retired, ns, ps, psPerInstruction, frequencyHz: this.tscFrequencyHz, adjust: this.#adjust };
  }

  /** The guest time at which the counter reaches `tsc`, 0 if it has. Deadlines compare as unsigned numbers. */
  tscToNs(tsc: bigint): number {
    const base = this.#clock.tscNow();
    const now = BigInt.asUintN(64, base + this.#adjust);
    return tsc <= now ? 0 : this.#clock.nsOfTsc(base + (tsc - now));
  }

  readMsr(index: number): bigint | undefined {
    if (index === TSC_MSR.IA32_TIME_STAMP_COUNTER) return BigInt.asUintN(64, this.#clock.tscNow() + this.#adjust);
    return index === TSC_MSR.IA32_TSC_ADJUST ? this.#adjust : undefined;
  }

  /** False for other MSRs. */
  writeMsr(index: number, value: bigint): boolean {
    if (index === TSC_MSR.IA32_TIME_STAMP_COUNTER) this.#adjust = BigInt.asUintN(64, value - this.#clock.tscNow());
    else if (index === TSC_MSR.IA32_TSC_ADJUST) this.#adjust = BigInt.asUintN(64, value);
    else return false;
    this.#changed();
    return true;
  }

  /** The counter goes on: resets of this board are warm, and guest time does not start again. */
  reset(): void {
    this.#adjust = 0n;
  }

  save(): StateValue {
    return { adjust: this.#adjust };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const adjust = reader.u64("adjust");
    reader.end();
    this.#adjust = adjust;
  }
}
