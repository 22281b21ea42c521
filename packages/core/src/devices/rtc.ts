/**
 * Real-time clock and CMOS RAM of a PC (Motorola MC146818A data sheet, 1984; ICH9 data sheet 316972, 13.6): date and
 * time in BCD or binary, 12 or 24 hours, century in register 0x32, alarm, periodic and update-ended interrupts.
 *
 * The time is the clock's epoch plus guest time plus what the guest has set it ahead: it follows when the machine's
 * calendar is corrected after a restore (an alarm that is passed over so is then late, not lost). Flags are worked out when
 * somebody looks; a timer waits only for interrupts that the guest has enabled and that are not pending already. The
 * clock and the RAM survive resets. Left out: daylight saving, the square wave, the upper 128 bytes, wake-up dates.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import type { Clock, Timer } from "../machine/clock.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, IrqLine, StateValue } from "./device.ts";
import { decodeHour, decodeNumber, decodeTime, encodeTime, type RtcFields, type RtcFormat } from "./rtc-calendar.ts";
import { nsOfTick, ticksAt } from "./tick-rate.ts";

const REGISTER = { SECOND_ALARM: 1, MINUTE_ALARM: 3, HOUR_ALARM: 5, A: 10, B: 11, C: 12, D: 13 } as const;
/** Where the fields of RtcFields are; 0x32 is the century that ACPI's FADT names. */
const TIME_REGISTERS: readonly number[] = [0, 2, 4, 6, 7, 8, 9, 0x32];
export const RTC_CENTURY = 0x32;
const A = { RS: 0x0f, DV: 0x70, DIVIDER_RESET: 0x60, UIP: 0x80, WRITABLE: 0x7f } as const;
const B = { HOURS_24: 0x02, BINARY: 0x04, SQWE: 0x08, UIE: 0x10, AIE: 0x20, PIE: 0x40, SET: 0x80 } as const;
const C = { UF: 0x10, AF: 0x20, PF: 0x40, IRQF: 0x80, FLAGS: 0x70 } as const;
const D_VALID = 0x80;
const ALARM_ANY = 0xc0;
const RAM_BYTES = 128;
const DIVIDER_HZ = 32_768;
const SECOND_NS = 1_000_000_000;
const HALF_SECOND_NS = 500_000_000;
/** UIP is set this long before an update. */
const UPDATE_WARNING_NS = 244_000;
const DAY_SECONDS = 86_400;
const MAX_SECONDS = 2 ** 40;

export interface RtcOptions {
  readonly irq: IrqLine;
  /** Initial CMOS RAM, by register. */
  readonly cmos?: Readonly<Record<number, number>>;
}

export class Rtc implements Device, IoHandler {
  readonly name = "rtc";
  readonly schema = { id: "rtc-mc146818", version: 1 } as const;
  readonly #clock: Clock;
  readonly #irq: IrqLine;
  readonly #timer: Timer;
  /** Alarm registers and RAM at their own places; the other places are unused. */
  readonly #ram = new Uint8Array(RAM_BYTES);
  #index = 0;
  #a = 0x26;
  #b: number = B.HOURS_24;
  #c = 0;
  /** The clock was this far ahead of the machine's epoch at `#baseNs`, when the divider chain was at zero. */
  #aheadSeconds = 0;
  #baseNs = 0;
  #weekdayShift = 0;
  /** The time registers while the clock stands still. */
  #stopped: RtcFields | undefined;
  /** Flags have been worked out up to here: in guest time, and on the clock's face. */
  #checkedNs: number;
  #checkedSeconds: number;
  #level = false;

  constructor(context: DeviceContext, options: RtcOptions) {
    this.#clock = context.clock;
    this.#irq = options.irq;
    this.#checkedNs = context.clock.nowNs();
    this.#checkedSeconds = this.#secondsAt(this.#checkedNs);
    for (const [register, value] of Object.entries(options.cmos ?? {})) this.#ram[Number(register)] = value;
    this.#timer = context.clock.timer(() => this.#update());
    this.reset();
  }

  /** Ports 0x70 (index; bit 7 belongs to the NMI gate) and 0x71 (data). */
  read(offset: number, _size: AccessSize): number {
    return offset & 1 ? this.#readRegister(this.#index) : 0xff;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    if (offset & 1) this.#writeRegister(this.#index, value);
    else this.#index = value & 0x7f;
  }

  reset(): void {
    this.#index = 0;
    this.#b &= ~(B.PIE | B.AIE | B.UIE | B.SQWE);
    this.#settle();
    this.#c = 0;
    this.#update();
  }

  save(): StateValue {
    return {
      ram: this.#ram.slice(),
      index: this.#index,
      a: this.#a,
      b: this.#b,
      c: this.#c,
      aheadSeconds: this.#aheadSeconds,
      baseNs: this.#baseNs,
      weekdayShift: this.#weekdayShift,
      stopped: this.#stopped ? Uint8Array.from(this.#stopped) : null,
      checkedNs: this.#checkedNs,
      checkedSeconds: this.#checkedSeconds,
    };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const nowNs = this.#clock.nowNs();
    const ram = reader.bytesExact("ram", RAM_BYTES);
    const index = reader.int("index", 0, 0x7f);
    const a = reader.int("a", 0, A.WRITABLE);
    const b = reader.u8("b");
    const c = reader.int("c", 0, C.FLAGS) & C.FLAGS;
    const aheadSeconds = reader.int("aheadSeconds", -MAX_SECONDS, MAX_SECONDS);
    const baseNs = reader.int("baseNs", -SECOND_NS, nowNs);
    const weekdayShift = reader.int("weekdayShift", 0, 6);
    const stopped = reader.part("stopped") === null ? undefined : reader.bytesExact("stopped", TIME_REGISTERS.length);
    const checkedNs = reader.int("checkedNs", 0, nowNs);
    const checkedSeconds = reader.int("checkedSeconds", -MAX_SECONDS, MAX_SECONDS);
    reader.end();
    if ((stopped !== undefined) !== isStopped(a, b)) throw reader.invalid("stopped", "contradicts registers A and B");
    this.#ram.set(ram);
    this.#index = index;
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#aheadSeconds = aheadSeconds;
    this.#baseNs = baseNs;
    this.#weekdayShift = weekdayShift;
    this.#stopped = stopped && fieldsOf(stopped);
    this.#checkedNs = Math.max(checkedNs, baseNs);
    this.#checkedSeconds = checkedSeconds;
    this.#drive();
    this.#armTimer();
  }

  get #format(): RtcFormat {
    return { isBinary: (this.#b & B.BINARY) !== 0, is24Hours: (this.#b & B.HOURS_24) !== 0 };
  }

  #secondsAt(ns: number): number {
    return this.#clock.epochSeconds + this.#aheadSeconds + Math.floor((ns - this.#baseNs) / SECOND_NS);
  }

  #fields(): RtcFields {
    return this.#stopped ?? encodeTime(this.#secondsAt(this.#clock.nowNs()), this.#weekdayShift, this.#format);
  }

  #readRegister(register: number): number {
    const field = TIME_REGISTERS.indexOf(register);
    if (field >= 0) return this.#fields()[field]!;
    switch (register) {
      case REGISTER.A:
        return this.#a | (this.#updatesSoon() ? A.UIP : 0);
      case REGISTER.B:
        return this.#b;
      case REGISTER.C: {
        this.#settle();
        const flags = this.#c | (this.#c & this.#b & C.FLAGS ? C.IRQF : 0);
        this.#c = 0;
        this.#update();
        return flags;
      }
      case REGISTER.D:
        return D_VALID;
      default:
        return this.#ram[register]!;
    }
  }

  #writeRegister(register: number, value: number): void {
    this.#settle();
    const field = TIME_REGISTERS.indexOf(register);
    if (field >= 0) {
      const fields = fieldsOf(this.#fields());
      fields[field] = value;
      if (this.#stopped) this.#stopped = fields;
      else this.#setTime(fields);
    } else if (register === REGISTER.A) {
      this.#control(value & A.WRITABLE, this.#b);
    } else if (register === REGISTER.B) {
      this.#control(this.#a, value & B.SET ? value & ~B.UIE : value);
    } else if (register !== REGISTER.C && register !== REGISTER.D) {
      this.#ram[register] = value;
    }
    this.#update();
  }

  /** Registers A and B change: the clock may stop, start, or have its divider chain reset. */
  #control(a: number, b: number): void {
    const wasReset = isDividerReset(this.#a);
    const fields = this.#fields();
    this.#a = a;
    this.#b = b;
    if (isStopped(a, b)) {
      this.#stopped = fields;
    } else if (this.#stopped) {
      const nowNs = this.#clock.nowNs();
      const phaseNs = (nowNs - this.#baseNs) % SECOND_NS;
      // The first update comes half a second after the divider chain is released.
      this.#baseNs = nowNs - (wasReset ? HALF_SECOND_NS : phaseNs);
      const stopped = this.#stopped;
      this.#stopped = undefined;
      this.#checkedNs = nowNs;
      this.#setTime(stopped);
    }
  }

  /** Sets the running clock; the fraction of the second goes on. */
  #setTime(fields: RtcFields): void {
    const { seconds, weekdayShift } = decodeTime(fields, this.#format);
    this.#aheadSeconds += seconds - this.#secondsAt(this.#clock.nowNs());
    this.#weekdayShift = weekdayShift;
    this.#checkedSeconds = seconds;
  }

  #updatesSoon(): boolean {
    if (this.#stopped) return false;
    return (this.#clock.nowNs() - this.#baseNs) % SECOND_NS >= SECOND_NS - UPDATE_WARNING_NS;
  }

  /** The periodic interrupt's period in ticks of the divider chain, 0 for none. */
  get #periodTicks(): number {
    const rate = this.#a & A.RS;
    if (rate === 0 || isDividerReset(this.#a)) return 0;
    return 1 << ((rate < 3 ? rate + 7 : rate) - 1);
  }

  #ticks(ns: number): number {
    return ticksAt(ns - this.#baseNs, DIVIDER_HZ);
  }

  /** Works out which flags have been set since the last look. */
  #settle(): void {
    const nowNs = this.#clock.nowNs();
    const period = this.#periodTicks;
    if (period !== 0) {
      const before = Math.floor(this.#ticks(this.#checkedNs) / period);
      if (Math.floor(this.#ticks(nowNs) / period) > before) this.#c |= C.PF;
    }
    if (!this.#stopped) {
      const [before, now] = [this.#checkedSeconds, this.#secondsAt(nowNs)];
      if (now > before) {
        this.#c |= C.UF;
        if ((this.#nextAlarm(before) ?? now + 1) <= now) this.#c |= C.AF;
      }
      this.#checkedSeconds = now;
    }
    this.#checkedNs = nowNs;
  }

  /** The first second after `seconds` that matches the alarm registers, or undefined. */
  #nextAlarm(seconds: number): number | undefined {
    const format = this.#format;
    const alarm = (register: number, decode: (byte: number, format: RtcFormat) => number) => {
      const byte = this.#ram[register]!;
      return byte >= ALARM_ANY ? undefined : decode(byte, format);
    };
    const hour = alarm(REGISTER.HOUR_ALARM, decodeHour);
    const minute = alarm(REGISTER.MINUTE_ALARM, decodeNumber);
    const second = alarm(REGISTER.SECOND_ALARM, decodeNumber);
    if ((hour ?? 0) > 23 || (minute ?? 0) > 59 || (second ?? 0) > 59) return undefined;
    const midnight = Math.floor((seconds + 1) / DAY_SECONDS) * DAY_SECONDS;
    // Today and, if the alarm has passed, tomorrow: 48 hours of 60 minutes at most.
    for (let at = midnight; at < midnight + 2 * DAY_SECONDS; ) {
      const ofDay = (at - midnight) % DAY_SECONDS;
      if (hour !== undefined && Math.floor(ofDay / 3600) !== hour) {
        at += 3600;
        continue;
      }
      if (at + 60 > seconds + 1 && (minute === undefined || Math.floor(ofDay / 60) % 60 === minute)) {
        const match = second === undefined ? Math.max(at, seconds + 1) : at + second;
        if (match > seconds) return match;
      }
      at += 60;
    }
    return undefined;
  }

  #update(): void {
    this.#settle();
    this.#drive();
    this.#armTimer();
  }

  #drive(): void {
    const level = (this.#c & this.#b & C.FLAGS) !== 0;
    if (level === this.#level) return;
    this.#level = level;
    this.#irq.set(level);
  }

  #armTimer(): void {
    const deadlines: number[] = [];
    // A pending interrupt keeps the line high until register C is read: nothing to wait for.
    if (!this.#level) {
      const period = this.#periodTicks;
      if (this.#b & B.PIE && period !== 0) {
        const next = (Math.floor(this.#ticks(this.#checkedNs) / period) + 1) * period;
        deadlines.push(this.#baseNs + nsOfTick(next, DIVIDER_HZ));
      }
      if (!this.#stopped) {
        const second = this.#checkedSeconds;
        if (this.#b & B.UIE) deadlines.push(this.#nsOfSecond(second + 1));
        const alarm = this.#b & B.AIE ? this.#nextAlarm(second) : undefined;
        if (alarm !== undefined) deadlines.push(this.#nsOfSecond(alarm));
      }
    }
    if (deadlines.length === 0) this.#timer.disarm();
    else this.#timer.arm(Math.min(...deadlines));
  }

  #nsOfSecond(seconds: number): number {
    return this.#baseNs + (seconds - this.#clock.epochSeconds - this.#aheadSeconds) * SECOND_NS;
  }
}

export function createRtc(context: DeviceContext, options: RtcOptions): Rtc {
  return new Rtc(context, options);
}

export function attachRtc(rtc: Rtc, ports: IoBus, base: { rtc: number }): void {
  ports.claim(base.rtc, 2, rtc, { maxSize: 1, name: rtc.name });
}

function isDividerReset(a: number): boolean {
  return (a & A.DIVIDER_RESET) === A.DIVIDER_RESET;
}

function isStopped(a: number, b: number): boolean {
  return isDividerReset(a) || (b & B.SET) !== 0;
}

function fieldsOf(bytes: Iterable<number>): [...RtcFields] {
  return Array.from(bytes) as [...RtcFields];
}
