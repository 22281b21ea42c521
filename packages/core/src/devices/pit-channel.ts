/**
 * One counter of the 8254 (Intel data sheet 231164, 1993): the six modes, binary and BCD, latches, gate. The count is
 * a function of the tick at which it was loaded, so nothing happens between accesses; times are in ticks of the input
 * clock since power-on. A count written is loaded with the next tick.
 *
 * Simplified: in mode 3 a new count waits for the end of the period, not of the half period; reloading a mode 1 or 5
 * count never disturbs a running pulse. The illegal count 1 of modes 2 and 3 counts as 2.
 */

import type { StateReader } from "../state/reader.ts";
import type { StateValue } from "./device.ts";

const CONTROL = { RW: 0x30, MODE: 0x0e, BCD: 0x01 } as const;
const STATUS = { OUT: 0x80, NULL_COUNT: 0x40 } as const;
const RW = { LSB: 1, MSB: 2, BOTH: 3 } as const;
const MAX_COUNT = 0x1_0000;
const MAX_COUNT_BCD = 10_000;
/** Four digits of 15, which no correct guest writes. */
const MAX_ODD_BCD = 16_665;
/** Far beyond any machine's life, and small enough for exact arithmetic. */
const MAX_TICK = 2 ** 45;

export class PitChannel {
  /** Low six bits of the control word: RW, mode, BCD. */
  #control = 0;
  /** A count has been loaded since the control word; counting is a function of the fields below. */
  #loaded = false;
  /** In modes 1 and 5, counting starts with the gate's rising edge. */
  #triggered = false;
  #count = MAX_COUNT;
  #startTick = 0;
  /** Ticks counted when the gate stopped the counter. */
  #heldTicks = 0;
  #running = false;
  #gate: boolean;
  /** A count that takes over at `#nextTick` (modes 2, 3) or at the next trigger (modes 1, 5). */
  #nextCount = 0;
  #nextTick = 0;
  #writeLsb: number | undefined;
  #readsMsb = false;
  #latchedCount: number | undefined;
  #latchedStatus: number | undefined;

  constructor(gate: boolean) {
    this.#gate = gate;
  }

  reset(gate: boolean): void {
    this.#control = RW.BOTH << 4;
    this.#gate = gate;
    this.#clear();
  }

  get gate(): boolean {
    return this.#gate;
  }

  writeControl(control: number): void {
    this.#control = control & (CONTROL.RW | CONTROL.MODE | CONTROL.BCD);
    this.#clear();
  }

  write(value: number, tick: number): void {
    this.#settle(tick);
    const rw = this.#control >>> 4;
    if (rw === RW.BOTH && this.#writeLsb === undefined) {
      this.#writeLsb = value;
      // In mode 0 the first byte stops the counter, and the output falls.
      if (this.#mode === 0) this.#loaded = false;
      return;
    }
    const raw = rw === RW.LSB ? value : rw === RW.MSB ? value << 8 : this.#writeLsb! | (value << 8);
    this.#writeLsb = undefined;
    this.#load(this.#control & CONTROL.BCD ? fromBcd(raw) || MAX_COUNT_BCD : raw || MAX_COUNT, tick);
  }

  read(tick: number): number {
    if (this.#latchedStatus !== undefined) {
      const status = this.#latchedStatus;
      this.#latchedStatus = undefined;
      return status;
    }
    const count = this.#latchedCount ?? this.#countAt(tick);
    const rw = this.#control >>> 4;
    const msb = rw === RW.MSB || (rw === RW.BOTH && this.#readsMsb);
    if (rw === RW.BOTH) this.#readsMsb = !this.#readsMsb;
    if (rw !== RW.BOTH || msb) this.#latchedCount = undefined;
    return msb ? count >>> 8 : count & 0xff;
  }

  latchCount(tick: number): void {
    this.#latchedCount ??= this.#countAt(tick);
  }

  latchStatus(tick: number): void {
    const nullCount = !this.#loaded || tick < this.#startTick || this.#nextCount !== 0;
    this.#latchedStatus ??= this.#control | (this.output(tick) ? STATUS.OUT : 0) | (nullCount ? STATUS.NULL_COUNT : 0);
  }

  setGate(level: boolean, tick: number): void {
    this.#settle(tick);
    if (level === this.#gate) return;
    const elapsed = this.#elapsed(tick);
    this.#gate = level;
    if (!this.#loaded) return;
    switch (this.#mode) {
      case 1:
      case 5:
        if (level) this.#trigger(tick);
        break;
      case 2:
      case 3:
        if (level) this.#start(tick + 1);
        else this.#hold(elapsed);
        break;
      default:
        if (level) this.#start(tick - elapsed);
        else this.#hold(elapsed);
    }
  }

  output(tick: number): boolean {
    this.#settle(tick);
    const mode = this.#mode;
    if (!this.#loaded) return mode !== 0;
    const elapsed = this.#elapsed(tick);
    const count = this.#count;
    switch (mode) {
      case 0:
        return elapsed >= count;
      case 1:
        return !this.#triggered || tick < this.#startTick || elapsed >= count;
      case 2:
        return !this.#running || elapsed % count !== count - 1;
      case 3:
        return !this.#running || elapsed % count < Math.ceil(count / 2);
      case 4:
        return elapsed !== count;
      default:
        return !this.#triggered || elapsed !== count;
    }
  }

  /** The tick after `tick` at which the output rises next, or undefined. */
  nextRise(tick: number): number | undefined {
    this.#settle(tick);
    if (!this.#loaded || !this.#running) return undefined;
    const count = this.#count;
    switch (this.#mode) {
      case 0:
      case 1:
        return after(tick, this.#startTick + count);
      case 2:
      case 3: {
        const periods = Math.max(1, Math.floor((tick - this.#startTick) / count) + 1);
        return this.#startTick + periods * count;
      }
      default:
        return after(tick, this.#startTick + count + 1);
    }
  }

  save(): StateValue {
    return {
      control: this.#control,
      loaded: this.#loaded,
      triggered: this.#triggered,
      count: this.#count,
      startTick: this.#startTick,
      heldTicks: this.#heldTicks,
      running: this.#running,
      gate: this.#gate,
      nextCount: this.#nextCount,
      nextTick: this.#nextTick,
      writeLsb: this.#writeLsb ?? null,
      readsMsb: this.#readsMsb,
      latchedCount: this.#latchedCount ?? null,
      latchedStatus: this.#latchedStatus ?? null,
    };
  }

  restore(reader: StateReader): void {
    const optional = (key: string, max: number) => (reader.part(key) === null ? undefined : reader.int(key, 0, max));
    this.#control = reader.int("control", 0, CONTROL.RW | CONTROL.MODE | CONTROL.BCD);
    this.#loaded = reader.bool("loaded");
    this.#triggered = reader.bool("triggered");
    this.#count = reader.int("count", 1, MAX_COUNT);
    this.#startTick = reader.int("startTick", 0, MAX_TICK);
    this.#heldTicks = reader.int("heldTicks", 0, MAX_TICK);
    this.#running = reader.bool("running");
    this.#gate = reader.bool("gate");
    this.#nextCount = reader.int("nextCount", 0, MAX_COUNT);
    this.#nextTick = reader.int("nextTick", 0, MAX_TICK);
    this.#writeLsb = optional("writeLsb", 0xff);
    this.#readsMsb = reader.bool("readsMsb");
    this.#latchedCount = optional("latchedCount", 0xffff);
    this.#latchedStatus = optional("latchedStatus", 0xff);
    if (this.#control >>> 4 === 0) throw reader.invalid("control", "has no access mode");
    if (this.#isPeriodic && this.#count < 2) throw reader.invalid("count", "is below 2 in a periodic mode");
    if (this.#isPeriodic && this.#nextCount === 1) throw reader.invalid("nextCount", "is below 2 in a periodic mode");
    reader.end();
  }

  /** Modes 6 and 7 are 2 and 3 again. */
  get #mode(): number {
    const mode = (this.#control & CONTROL.MODE) >>> 1;
    return mode > 5 ? mode - 4 : mode;
  }

  get #isPeriodic(): boolean {
    return this.#mode === 2 || this.#mode === 3;
  }

  #clear(): void {
    this.#loaded = false;
    this.#triggered = false;
    this.#count = MAX_COUNT;
    this.#startTick = 0;
    this.#heldTicks = 0;
    this.#running = false;
    this.#nextCount = 0;
    this.#nextTick = 0;
    this.#writeLsb = undefined;
    this.#readsMsb = false;
    this.#latchedCount = undefined;
    this.#latchedStatus = undefined;
  }

  #load(count: number, tick: number): void {
    const wasLoaded = this.#loaded;
    this.#loaded = true;
    switch (this.#mode) {
      case 1:
      case 5:
        if (this.#triggered) this.#nextCount = count;
        else this.#count = count;
        return;
      case 2:
      case 3: {
        const legal = Math.max(2, count);
        if (wasLoaded && this.#running && tick >= this.#startTick) {
          this.#nextTick = this.nextRise(tick)!;
          this.#nextCount = legal;
          return;
        }
        this.#count = legal;
        break;
      }
      default:
        this.#count = count;
    }
    if (this.#gate) this.#start(tick + 1);
    else this.#hold(0);
  }

  #trigger(tick: number): void {
    if (this.#nextCount !== 0) this.#count = this.#nextCount;
    this.#nextCount = 0;
    this.#triggered = true;
    this.#start(tick + 1);
  }

  #start(tick: number): void {
    this.#startTick = tick;
    this.#heldTicks = 0;
    this.#running = true;
  }

  #hold(elapsed: number): void {
    this.#heldTicks = elapsed;
    this.#running = false;
  }

  /** Lets a waiting count of modes 2 and 3 take over once its period has begun. */
  #settle(tick: number): void {
    if (!this.#isPeriodic || this.#nextCount === 0 || tick < this.#nextTick) return;
    this.#count = this.#nextCount;
    this.#nextCount = 0;
    if (this.#running) this.#startTick = this.#nextTick;
    this.#nextTick = 0;
  }

  #elapsed(tick: number): number {
    return this.#running ? Math.max(0, tick - this.#startTick) : this.#heldTicks;
  }

  /** The counting element as the guest reads it. */
  #countAt(tick: number): number {
    this.#settle(tick);
    const elapsed = this.#elapsed(tick);
    const count = this.#count;
    const bcd = (this.#control & CONTROL.BCD) !== 0;
    const modulus = bcd ? MAX_COUNT_BCD : MAX_COUNT;
    let value: number;
    if (this.#mode === 2) {
      value = count - (elapsed % count);
    } else if (this.#mode === 3) {
      const high = Math.ceil(count / 2);
      const phase = elapsed % count;
      value = (count & ~1) - 2 * (phase < high ? phase : phase - high);
    } else {
      value = (((count - elapsed) % modulus) + modulus) % modulus;
    }
    return bcd ? toBcd(value % MAX_COUNT_BCD) : value & 0xffff;
  }
}

function after(tick: number, rise: number): number | undefined {
  return rise > tick ? rise : undefined;
}

function fromBcd(raw: number): number {
  const value = (raw >>> 12) * 1000 + ((raw >>> 8) & 15) * 100 + ((raw >>> 4) & 15) * 10 + (raw & 15);
  return Math.min(value, MAX_ODD_BCD);
}

function toBcd(value: number): number {
  const digit = (unit: number): number => Math.floor(value / unit) % 10;
  return (digit(1000) << 12) | (digit(100) << 8) | (digit(10) << 4) | digit(1);
}
