/**
 * One comparator of the HPET (IA-PC HPET specification 1.0a, 2.3.8 and 2.3.9.2): one-shot and periodic, 32 or 64 bits.
 * Knows counts only; the block (hpet.ts) knows time and wires.
 */
import type { StateReader } from "../state/reader.ts";
import type { StateValue } from "./device.ts";

export const TIMER_CONFIG = {
  LEVEL: 0x0002,
  INT_ENABLE: 0x0004,
  PERIODIC: 0x0008,
  PERIODIC_CAPABLE: 0x0010,
  SIZE_64: 0x0020,
  VAL_SET: 0x0040,
  MODE_32: 0x0100,
  ROUTE: 0x3e00,
  WRITABLE: 0x3f4e,
} as const;

const LOW = 0xffff_ffffn;
const ALL = 0xffff_ffff_ffff_ffffn;

export class HpetTimer {
  #config = 0;
  #comparator = ALL;
  #period = 0n;
  /** The last write was a comparator's low half that VAL_SET directed to the comparator; its high half goes along. */
  #setsHighHalf = false;

  reset(): void {
    this.#config = 0;
    this.#comparator = ALL;
    this.#period = 0n;
    this.#setsHighHalf = false;
  }

  get config(): number {
    return this.#config;
  }

  has(bit: number): boolean {
    return (this.#config & bit) !== 0;
  }

  get route(): number {
    return (this.#config & TIMER_CONFIG.ROUTE) >>> 9;
  }

  get comparator(): bigint {
    return this.#comparator;
  }

  get periodTicks(): bigint {
    return this.#period;
  }

  writeConfig(value: number): void {
    this.#setsHighHalf = false;
    this.#config = value & TIMER_CONFIG.WRITABLE;
    if (!this.has(TIMER_CONFIG.MODE_32)) return;
    this.#comparator &= LOW;
    this.#period &= LOW;
  }

  writeComparator(isHighHalf: boolean, value: number): void {
    const toComparator = !this.has(TIMER_CONFIG.PERIODIC) || this.has(TIMER_CONFIG.VAL_SET);
    if (isHighHalf) {
      const paired = this.#setsHighHalf;
      this.#setsHighHalf = false;
      if (this.has(TIMER_CONFIG.MODE_32)) return;
      const replace = (old: bigint): bigint => (old & LOW) | (BigInt(value) << 32n);
      if (toComparator || paired) this.#comparator = replace(this.#comparator);
      if (this.has(TIMER_CONFIG.PERIODIC)) this.#period = replace(this.#period);
    } else {
      const replace = (old: bigint): bigint => (old & ~LOW) | BigInt(value);
      if (toComparator) this.#comparator = replace(this.#comparator);
      if (this.has(TIMER_CONFIG.PERIODIC)) this.#period = replace(this.#period);
      this.#setsHighHalf = this.has(TIMER_CONFIG.VAL_SET);
    }
    this.#config &= ~TIMER_CONFIG.VAL_SET;
  }

  /** Counts from `counter` to the next match, 0 if it matches now; undefined if it never will. */
  ticksToMatch(counter: bigint): bigint | undefined {
    if (this.has(TIMER_CONFIG.PERIODIC) && this.#period === 0n) return undefined;
    return (this.#comparator - counter) & this.#mask;
  }

  /** The comparator is behind `counter`, by less than half a turn. */
  isPast(counter: bigint): boolean {
    return ((counter - this.#comparator) & this.#mask) <= this.#mask >> 1n;
  }

  /** After a match of a periodic timer: moves the comparator on by whole periods, to at least `counter` + `least`. */
  advance(counter: bigint, least: bigint): void {
    if (!this.has(TIMER_CONFIG.PERIODIC) || this.#period === 0n) return;
    const behind = (counter - this.#comparator) & this.#mask;
    const periods = (behind + least + this.#period - 1n) / this.#period;
    this.#comparator = (this.#comparator + periods * this.#period) & this.#mask;
  }

  save(): StateValue {
    return {
      config: this.#config,
      comparator: this.#comparator,
      period: this.#period,
      setsHighHalf: this.#setsHighHalf,
    };
  }

  restore(reader: StateReader): void {
    this.#config = reader.int("config", 0, TIMER_CONFIG.WRITABLE);
    this.#comparator = reader.u64("comparator");
    this.#period = reader.u64("period");
    this.#setsHighHalf = reader.bool("setsHighHalf");
    if (this.#config & ~TIMER_CONFIG.WRITABLE) throw reader.invalid("config", "has reserved bits");
    if ((this.#comparator | this.#period) & ~this.#mask) throw reader.invalid("comparator", "is wider than its mode");
    reader.end();
  }

  get #mask(): bigint {
    return this.has(TIMER_CONFIG.MODE_32) ? LOW : ALL;
  }
}
