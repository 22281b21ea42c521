/**
 * High precision event timer block (IA-PC HPET specification 1.0a, chapter 2): a 64-bit main counter of 10 ns ticks
 * computed from guest time, three comparators (hpet-timer.ts), level and edge interrupts on IO-APIC inputs 20 to 23,
 * and legacy replacement: timers 0 and 1 then take the wires of the 8254 and the RTC, which pass through here.
 *
 * When guest time jumps over several periods, one interrupt is delivered and the phase kept. A periodic timer that raises no
 * interrupt, as operating systems leave timer 0, does not wake the machine at each match: its comparator moves on when it is looked
 * at. Left out: FSB (message) delivery, which is not announced.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import { HPET_PERIOD_FS } from "../machine/board-map.ts";
import type { Clock, Timer } from "../machine/clock.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "./device.ts";
import { HpetTimer, TIMER_CONFIG } from "./hpet-timer.ts";

const REGISTER = { GCAP_ID: 0x000, GEN_CONF: 0x010, GINTR_STA: 0x020, MAIN_CNT: 0x0f0, TIMERS: 0x100 } as const;
const TIMER_BYTES = 0x20;
const TIMER_REGISTER = { CONF_CAP: 0x00, COMPARATOR: 0x08 } as const;
const GEN_CONF = { ENABLE: 1, LEGACY: 2 } as const;
/** Revision 1, three timers, 64-bit counter, legacy replacement capable, vendor 8086. */
export const HPET_ID = 0x8086_a201;
const TICK_NS = HPET_PERIOD_FS / 1e6;
const TIMER_COUNT = 3;
/** Shorter periods deliver at most one interrupt in this time. */
const MIN_PERIOD_TICKS = BigInt(1000 / TICK_NS);
const ROUTE_FIRST = 20;
const ROUTE_LAST = 23;
/** INT_ROUTE_CAP: IO-APIC inputs 20 to 23. */
const ROUTE_CAPABLE = 0x00f0_0000;
const MASK_64 = 0xffff_ffff_ffff_ffffn;
const MASK_32 = 0xffff_ffffn;
/** How often a periodic timer looks whose matches nobody can see: far less than a turn of a 32-bit comparison. */
const SILENT_TICKS = BigInt(1e9 / TICK_NS);
/** Matches further away than guest time can be exact never come. */
const FARTHEST_TICKS = BigInt(Math.floor(Number.MAX_SAFE_INTEGER / TICK_NS / 2));

export interface HpetOptions {
  /** ISA interrupt 0 and 8 as the interrupt controllers see them. */
  readonly irq0: IrqLine;
  readonly irq8: IrqLine;
  /** IO-APIC inputs 20 to 23. Drivers of shared wires: PCI has them too. */
  readonly routes: readonly IrqLine[];
}

export class Hpet implements Device {
  readonly name = "hpet";
  readonly schema = { id: "hpet", version: 1 } as const;
  readonly #clock: Clock;
  readonly #options: HpetOptions;
  readonly #timers: readonly HpetTimer[] = Array.from({ length: TIMER_COUNT }, () => new HpetTimer());
  readonly #alarms: readonly Timer[];
  #genConf = 0;
  #status = 0;
  /** The main counter while halted; while it runs, its value at tick 0 of guest time. */
  #counter = 0n;
  /** Levels that the 8254 and the RTC drive. */
  readonly #legacyLevels = [false, false];
  /** What is driven: irq0, irq8, then the routes. */
  readonly #driven: boolean[] = new Array(2 + ROUTE_LAST - ROUTE_FIRST + 1).fill(false);

  constructor(context: DeviceContext, options: HpetOptions) {
    this.#clock = context.clock;
    this.#options = options;
    this.#alarms = this.#timers.map((_, index) => context.clock.timer(() => this.#match(index)));
    this.reset();
  }

  /** The 8254's output 0 goes through here. */
  readonly pitInput: IrqLine = { set: (level) => this.#setLegacy(0, level) };
  /** The RTC's interrupt goes through here. */
  readonly rtcInput: IrqLine = { set: (level) => this.#setLegacy(1, level) };

  /** The 1 KiB register block. 64-bit accesses arrive as two halves, low first. */
  readonly registers: IoHandler = {
    read: (offset: number, size: AccessSize) => {
      const value = this.#read(offset & 0x3fc);
      return size === 4 ? value : value >>> (8 * (offset & 3));
    },
    write: (offset: number, size: AccessSize, value: number) => {
      // Narrower accesses are not defined.
      if (size === 4 && (offset & 3) === 0) this.#write(offset & 0x3fc, value >>> 0);
    },
  };

  reset(): void {
    this.#genConf = 0;
    this.#status = 0;
    this.#counter = 0n;
    this.#legacyLevels.fill(false);
    for (const timer of this.#timers) timer.reset();
    for (const alarm of this.#alarms) alarm.disarm();
    this.#drive();
  }

  save(): StateValue {
    return {
      genConf: this.#genConf,
      status: this.#status,
      counter: this.#counter,
      legacyLevels: [...this.#legacyLevels],
      timers: this.#timers.map((timer) => timer.save()),
      alarmsNs: this.#alarms.map((alarm) => alarm.deadlineNs ?? null),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    try {
      const reader = new StateReader(state, this.name);
      this.#genConf = reader.int("genConf", 0, GEN_CONF.ENABLE | GEN_CONF.LEGACY);
      this.#status = reader.int("status", 0, 2 ** TIMER_COUNT - 1);
      this.#counter = reader.u64("counter");
      const levels = reader.values("legacyLevels", 2);
      if (levels.length !== 2 || levels.some((level) => typeof level !== "boolean")) {
        throw reader.invalid("legacyLevels", "is not the level of two wires");
      }
      const timers = reader.arrayExact("timers", TIMER_COUNT);
      for (const [i, timer] of this.#timers.entries()) timer.restore(timers[i]!);
      const alarms = reader.values("alarmsNs", TIMER_COUNT);
      if (alarms.length !== TIMER_COUNT || !alarms.every(isAlarm))
        throw reader.invalid("alarmsNs", "is no list of times");
      reader.end();
      for (const [i, level] of levels.entries()) this.#legacyLevels[i] = level === true;
      for (const [i, alarm] of alarms.entries()) if (typeof alarm === "number") this.#alarms[i]!.arm(alarm);
    } catch (error) {
      this.reset();
      throw error;
    }
    this.#drive();
  }

  get #isRunning(): boolean {
    return (this.#genConf & GEN_CONF.ENABLE) !== 0;
  }

  get #isLegacy(): boolean {
    return (this.#genConf & GEN_CONF.LEGACY) !== 0;
  }

  #tick(): bigint {
    return BigInt(Math.floor(this.#clock.nowNs() / TICK_NS));
  }

  #counterNow(): bigint {
    return this.#isRunning ? (this.#counter + this.#tick()) & MASK_64 : this.#counter;
  }

  #setCounter(value: bigint): void {
    this.#counter = this.#isRunning ? (value - this.#tick()) & MASK_64 : value;
  }

  #read(offset: number): number {
    const isHigh = (offset & 4) !== 0;
    const half = (value: bigint): number => Number(isHigh ? value >> 32n : value & MASK_32);
    switch (offset & ~7) {
      case REGISTER.GCAP_ID:
        return isHigh ? HPET_PERIOD_FS : HPET_ID;
      case REGISTER.GEN_CONF:
        return isHigh ? 0 : this.#genConf;
      case REGISTER.GINTR_STA:
        return isHigh ? 0 : this.#status;
      case REGISTER.MAIN_CNT:
        return half(this.#counterNow());
    }
    const timer = this.#timers[Math.floor((offset - REGISTER.TIMERS) / TIMER_BYTES)];
    if (timer === undefined) return 0;
    switch (offset & (TIMER_BYTES - 8)) {
      case TIMER_REGISTER.CONF_CAP:
        return isHigh ? ROUTE_CAPABLE : timer.config | TIMER_CONFIG.PERIODIC_CAPABLE | TIMER_CONFIG.SIZE_64;
      case TIMER_REGISTER.COMPARATOR:
        this.#settle();
        return half(timer.comparator);
      default:
        return 0;
    }
  }

  #write(offset: number, value: number): void {
    const isHigh = (offset & 4) !== 0;
    this.#settle();
    switch (offset & ~7) {
      case REGISTER.GEN_CONF:
        if (!isHigh) this.#writeGenConf(value);
        return;
      case REGISTER.GINTR_STA:
        if (!isHigh) this.#status &= ~value;
        for (const index of this.#timers.keys()) this.#arm(index);
        this.#drive();
        return;
      case REGISTER.MAIN_CNT: {
        const counter = this.#counterNow();
        const wide = BigInt(value);
        this.#setCounter(isHigh ? (counter & MASK_32) | (wide << 32n) : (counter & ~MASK_32) | wide);
        for (const index of this.#timers.keys()) this.#arm(index);
        return;
      }
    }
    const index = Math.floor((offset - REGISTER.TIMERS) / TIMER_BYTES);
    const timer = this.#timers[index];
    if (timer === undefined) return;
    const register = offset & (TIMER_BYTES - 8);
    if (register === TIMER_REGISTER.CONF_CAP && !isHigh) {
      timer.writeConfig(value);
      if (!timer.has(TIMER_CONFIG.LEVEL)) this.#status &= ~(1 << index);
    } else if (register === TIMER_REGISTER.COMPARATOR) {
      timer.writeComparator(isHigh, value);
    }
    this.#arm(index);
    this.#drive();
  }

  #writeGenConf(value: number): void {
    const counter = this.#counterNow();
    this.#genConf = value & (GEN_CONF.ENABLE | GEN_CONF.LEGACY);
    this.#setCounter(counter);
    for (const index of this.#timers.keys()) this.#arm(index);
    this.#drive();
  }

  #arm(index: number): void {
    const timer = this.#timers[index]!;
    let ticks = this.#isRunning ? timer.ticksToMatch(this.#counterNow()) : undefined;
    if (ticks !== undefined && ticks < SILENT_TICKS && this.#isSilent(index)) ticks = SILENT_TICKS;
    if (ticks === undefined || ticks > FARTHEST_TICKS) this.#alarms[index]!.disarm();
    else this.#alarms[index]!.arm(Number(this.#tick() + ticks) * TICK_NS);
  }

  /** A periodic timer of which only the comparator tells that it has matched. */
  #isSilent(index: number): boolean {
    const timer = this.#timers[index]!;
    if (!timer.has(TIMER_CONFIG.PERIODIC)) return false;
    return timer.has(TIMER_CONFIG.LEVEL) ? (this.#status & (1 << index)) !== 0 : !timer.has(TIMER_CONFIG.INT_ENABLE);
  }

  /**
   * Silent timers' comparators, as if each match had been looked at. One that was written behind the counter has not matched: it
   * waits for a turn, and its alarm is as far away.
   */
  #settle(): void {
    if (!this.#isRunning) return;
    const counter = this.#counterNow();
    const soonNs = this.#clock.nowNs() + Number(SILENT_TICKS) * TICK_NS;
    for (const [index, timer] of this.#timers.entries()) {
      const isSoon = (this.#alarms[index]!.deadlineNs ?? Number.POSITIVE_INFINITY) <= soonNs;
      if (isSoon && this.#isSilent(index) && timer.isPast(counter)) timer.advance(counter, MIN_PERIOD_TICKS);
    }
  }

  #match(index: number): void {
    const timer = this.#timers[index]!;
    const counter = this.#counterNow();
    if (timer.has(TIMER_CONFIG.PERIODIC)) {
      timer.advance(counter, MIN_PERIOD_TICKS);
      this.#arm(index);
    } else if (timer.has(TIMER_CONFIG.MODE_32)) {
      // The 32-bit comparison matches again after each turn of the counter's low half.
      const ticks = ((timer.comparator - counter - 1n) & MASK_32) + 1n;
      this.#alarms[index]!.arm(Number(this.#tick() + ticks) * TICK_NS);
    }
    if (timer.has(TIMER_CONFIG.LEVEL)) {
      this.#status |= 1 << index;
      this.#drive();
    } else if (timer.has(TIMER_CONFIG.INT_ENABLE)) {
      const wire = this.#wireOf(index);
      this.#drive(wire);
      this.#drive();
    }
  }

  /** At each edge of the 8254's, so without a look at what does not change: the timers have these wires in legacy mode only. */
  #setLegacy(wire: 0 | 1, level: boolean): void {
    this.#legacyLevels[wire] = level;
    if (this.#isLegacy || level === this.#driven[wire]) return;
    this.#driven[wire] = level;
    const { irq0, irq8 } = this.#options;
    (wire === 0 ? irq0 : irq8).set(level);
  }

  /** Index into `#driven` of a timer's wire, or undefined. */
  #wireOf(index: number): number | undefined {
    if (this.#isLegacy && index < 2) return index;
    const route = this.#timers[index]!.route;
    return route >= ROUTE_FIRST && route <= ROUTE_LAST ? 2 + route - ROUTE_FIRST : undefined;
  }

  /** Sets all wires; `pulsed` is asserted besides, for an edge. */
  #drive(pulsed?: number): void {
    const levels = this.#driven.map((_, wire) => wire < 2 && !this.#isLegacy && this.#legacyLevels[wire]!);
    if (pulsed !== undefined) levels[pulsed] = true;
    for (const [index, timer] of this.#timers.entries()) {
      const wire = this.#wireOf(index);
      const asserts = timer.has(TIMER_CONFIG.LEVEL) && timer.has(TIMER_CONFIG.INT_ENABLE);
      if (wire !== undefined && asserts && this.#status & (1 << index)) levels[wire] = true;
    }
    const { irq0, irq8, routes } = this.#options;
    for (const [wire, level] of levels.entries()) {
      if (level === this.#driven[wire]) continue;
      this.#driven[wire] = level;
      (wire === 0 ? irq0 : wire === 1 ? irq8 : routes[wire - 2])?.set(level);
    }
  }
}

export function createHpet(context: DeviceContext, options: HpetOptions): Hpet {
  return new Hpet(context, options);
}

export function attachHpet(hpet: Hpet, mmio: IoBus, base: { hpetStart: number; hpetSizeBytes: number }): void {
  mmio.claim(base.hpetStart, base.hpetSizeBytes, hpet.registers, { name: hpet.name });
}

function isAlarm(value: StateValue): boolean {
  return value === null || (typeof value === "number" && Number.isSafeInteger(value) && value >= 0);
}
