/**
 * The local vector table and the two local interrupt pins (Intel SDM vol. 3, 11.5.1): what the APIC's own events
 * become. ExtINT on LINT0 is no event but a level, which `isExtIntPending` reads off the wire. Levels are logical
 * (bus/irq.ts), so the polarity bit is kept but has no effect. An edge on a masked entry is lost. Entries without a source
 * here (thermal, performance) only keep what is written; SMI does nothing, as there is no system management mode.
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
  /** False: the vector is illegal, and nothing requested. */
  fixed(vector: number, isLevelTriggered: boolean): boolean;
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
    if (isLevel(entry) && this.#pinOf(index)) this.raise(index);
  }

  maskAll(): void {
    for (const index of this.#entries.keys()) this.#entries[index]! |= LVT.MASKED;
  }

  get timerMode(): ApicTimerMode {
    const entry = this.#entries[LVT_INDEX.TIMER]!;
    if (entry & LVT.TIMER_TSC_DEADLINE) return "tsc-deadline";
    return entry & LVT.TIMER_PERIODIC ? "periodic" : "one-shot";
  }

  /** LINT0 (8259A) or LINT1 (NMI) changes. While the APIC is off they are the processor's INTR and NMI. */
  setPin(pin: 0 | 1, level: boolean, isApicOn: boolean): void {
    const rises = level && !this.#pins[pin];
    this.#pins[pin] = level;
    if (!rises) return;
    if (isApicOn) this.raise(pin === 0 ? LVT_INDEX.LINT0 : LVT_INDEX.LINT1);
    else if (pin === 1) this.#delivery.nmi();
  }

  /** The 8259A asks for an acknowledge cycle. */
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
        const waitsForEoi = !isFixed && isLevel(entry);
        if (waitsForEoi && entry & LVT.REMOTE_IRR) return;
        if (this.#delivery.fixed(entry & LVT.VECTOR, waitsForEoi) && waitsForEoi) {
          this.#entries[index]! |= LVT.REMOTE_IRR;
        }
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

/** Only fixed delivery heeds the trigger mode: SMI, NMI and INIT are edges, ExtINT is a level. */
function isLevel(entry: number): boolean {
  return (entry & LVT.LEVEL_TRIGGERED) !== 0 && deliveryOf(entry) === DELIVERY.FIXED;
}

function deliveryOf(entry: number): number {
  return (entry & LVT.DELIVERY_MODE) >>> 8;
}
