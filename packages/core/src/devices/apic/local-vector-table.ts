/**
 * The local vector table and the two local interrupt pins (Intel SDM vol. 3, 11.5.1): what the APIC's own events
 * become. ExtINT on LINT0 is no event but a level, which `isExtIntPending` reads off the wire. Entries without a source
 * here (thermal, performance) only keep what is written.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { DELIVERY } from "./apic-bus.ts";
import type { ApicTimerMode } from "./apic-timer.ts";
import { LVT, LVT_ENTRIES } from "./registers.ts";

/** Indices into LVT_ENTRIES. */
export const LVT_INDEX = { TIMER: 0, LINT0: 3, LINT1: 4, ERROR: 5 } as const;

/** What an event does. */
export interface LocalDelivery {
  fixed(vector: number, isLevelTriggered: boolean): void;
  nmi(): void;
  init(): void;
}

export class LocalVectorTable {
  readonly #entries = new Uint32Array(LVT_ENTRIES.length);
  readonly #pins = [false, false];
  readonly #delivery: LocalDelivery;

  constructor(delivery: LocalDelivery) {
    this.#delivery = delivery;
  }

  /** Index of the entry at a register offset, or undefined. */
  indexOf(offset: number): number | undefined {
    const index = LVT_ENTRIES.findIndex((entry) => entry.offset === offset);
    return index < 0 ? undefined : index;
  }

  read(index: number): number {
    return this.#entries[index]!;
  }

  /** `isEnabled`: software has not disabled the APIC, which forces the mask bits. */
  write(index: number, value: number, isEnabled: boolean): void {
    let entry = (value & LVT_ENTRIES[index]!.writable) | (this.#entries[index]! & LVT.REMOTE_IRR);
    if (!isEnabled) entry |= LVT.MASKED;
    if ((entry & LVT.LEVEL_TRIGGERED) === 0) entry &= ~LVT.REMOTE_IRR;
    this.#entries[index] = entry;
    if (entry & LVT.LEVEL_TRIGGERED && this.#pinOf(index)) this.raise(index);
  }

  maskAll(): void {
    for (const index of this.#entries.keys()) this.#entries[index]! |= LVT.MASKED;
  }

  get timerMode(): ApicTimerMode {
    const entry = this.#entries[LVT_INDEX.TIMER]!;
    if (entry & LVT.TIMER_TSC_DEADLINE) return "tsc-deadline";
    return entry & LVT.TIMER_PERIODIC ? "periodic" : "one-shot";
  }

  /** LINT0 (8259A) or LINT1 (NMI) changes. */
  setPin(pin: 0 | 1, level: boolean, isApicOn: boolean): void {
    const rises = level && !this.#pins[pin];
    this.#pins[pin] = level;
    if (rises && isApicOn) this.raise(pin === 0 ? LVT_INDEX.LINT0 : LVT_INDEX.LINT1);
  }

  /** The 8259A asks for an acknowledge cycle. While the APIC is off its pin is the processor's INTR. */
  isExtIntPending(isApicOn: boolean): boolean {
    if (!this.#pins[0]) return false;
    const entry = this.#entries[LVT_INDEX.LINT0]!;
    return !isApicOn || ((entry & LVT.MASKED) === 0 && deliveryOf(entry) === DELIVERY.EXTINT);
  }

  /** An entry's event happens. */
  raise(index: number): void {
    const entry = this.#entries[index]!;
    if (entry & LVT.MASKED) return;
    const isFixed = index === LVT_INDEX.TIMER || index === LVT_INDEX.ERROR;
    switch (isFixed ? DELIVERY.FIXED : deliveryOf(entry)) {
      case DELIVERY.FIXED: {
        const isLevel = !isFixed && (entry & LVT.LEVEL_TRIGGERED) !== 0;
        if (isLevel && entry & LVT.REMOTE_IRR) return;
        if (isLevel) this.#entries[index]! |= LVT.REMOTE_IRR;
        this.#delivery.fixed(entry & LVT.VECTOR, isLevel);
        break;
      }
      case DELIVERY.NMI:
        this.#delivery.nmi();
        break;
      case DELIVERY.INIT:
        this.#delivery.init();
        break;
    }
  }

  /** A level-triggered vector has been handled: a pin that still asserts raises it again. */
  endOfInterrupt(vector: number): void {
    for (const index of [LVT_INDEX.LINT0, LVT_INDEX.LINT1]) {
      const entry = this.#entries[index]!;
      if ((entry & LVT.VECTOR) !== vector || (entry & LVT.REMOTE_IRR) === 0) continue;
      this.#entries[index] = entry & ~LVT.REMOTE_IRR;
      if (this.#pinOf(index)) this.raise(index);
    }
  }

  /** INIT: entries masked, pins as they are. */
  initReset(): void {
    this.#entries.fill(LVT.MASKED);
  }

  /** As firmware leaves them: the 8259A passes through, LINT1 is the NMI. */
  setVirtualWire(): void {
    this.#entries[LVT_INDEX.LINT0] = DELIVERY.EXTINT << 8;
    this.#entries[LVT_INDEX.LINT1] = DELIVERY.NMI << 8;
  }

  reset(): void {
    this.initReset();
    this.#pins.fill(false);
  }

  save(): StateValue {
    return { entries: [...this.#entries], pins: this.#pins.map((level) => (level ? 1 : 0)) };
  }

  restore(reader: StateReader): void {
    const entries = reader.ints("entries", LVT_ENTRIES.length, 0, 0x7_ffff);
    for (const [index, { writable }] of LVT_ENTRIES.entries()) {
      if (entries[index]! & ~(writable | LVT.REMOTE_IRR)) {
        throw reader.invalid("entries", `has reserved bits in entry ${index}`);
      }
    }
    const pins = reader.ints("pins", 2, 0, 1);
    reader.end();
    this.#entries.set(entries);
    for (const [pin, level] of pins.entries()) this.#pins[pin] = level === 1;
  }

  #pinOf(index: number): boolean {
    return this.#pins[index - LVT_INDEX.LINT0] ?? false;
  }
}

function deliveryOf(entry: number): number {
  return (entry & LVT.DELIVERY_MODE) >>> 8;
}
