/**
 * IO-APIC with 24 inputs (Intel 82093AA data sheet, 1996; version 0x20 with the EOI register as in ICH9, 13.5). Edge
 * and level triggering with remote IRR, all delivery modes. Levels are logical (bus/irq.ts), so the polarity bit is
 * kept but has no effect. An edge on a masked input is lost, as the data sheet says; a level is seen on unmasking.
 * Left out: the interrupt bus's delivery status, always idle.
 */
import type { AccessSize, IoBus, IoHandler } from "../bus/io.ts";
import { GSI, IO_APIC_ID } from "../machine/board-map.ts";
import { StateReader } from "../state/reader.ts";
import { type ApicBus, DELIVERY } from "./apic/apic-bus.ts";
import type { Device, IrqLine, StateValue } from "./device.ts";

const WINDOW = { IOREGSEL: 0x00, IOWIN: 0x10, EOIR: 0x40 } as const;
const REGISTER = { ID: 0x00, VERSION: 0x01, ARBITRATION: 0x02, REDIRECTION: 0x10 } as const;
const ENTRY = {
  VECTOR: 0xff,
  LOGICAL: 0x800,
  REMOTE_IRR: 0x4000,
  LEVEL: 0x8000,
  MASKED: 0x1_0000,
  WRITABLE: 0x1_afff,
} as const;
const DESTINATION = 0xff00_0000;
const VERSION = 0x20 | ((GSI.count - 1) << 16);

export class IoApic implements Device {
  readonly name = "ioapic";
  readonly schema = { id: "ioapic", version: 1 } as const;
  /** Interrupt inputs 0 to 23. */
  readonly inputs: readonly IrqLine[];
  readonly #bus: ApicBus;
  readonly #low = new Uint32Array(GSI.count);
  readonly #high = new Uint32Array(GSI.count);
  readonly #levels: boolean[] = new Array(GSI.count).fill(false);
  #select = 0;
  #id = 0;

  constructor(options: { bus: ApicBus }) {
    this.#bus = options.bus;
    this.inputs = Array.from({ length: GSI.count }, (_, input) => ({
      set: (level: boolean) => this.#setInput(input, level),
    }));
    this.reset();
  }

  /** The 4 KiB page; registers are 32 bits wide. */
  readonly registers: IoHandler = {
    read: (offset: number, size: AccessSize) => {
      const value = this.#read(offset & 0xfc);
      return size === 4 ? value : value >>> (8 * (offset & 3));
    },
    write: (offset: number, _size: AccessSize, value: number) => this.#write(offset & 0xff, value >>> 0),
  };

  /** A local APIC has ended a level-triggered vector: what is still asserted is sent again. */
  endOfInterrupt(vector: number): void {
    for (let input = 0; input < GSI.count; input++) {
      const low = this.#low[input]!;
      if ((low & ENTRY.VECTOR) !== vector || (low & ENTRY.REMOTE_IRR) === 0) continue;
      this.#low[input] = low & ~ENTRY.REMOTE_IRR;
      this.#serveLevel(input);
    }
  }

  reset(): void {
    this.#low.fill(ENTRY.MASKED);
    this.#high.fill(0);
    this.#levels.fill(false);
    this.#select = 0;
    this.#id = IO_APIC_ID;
  }

  save(): StateValue {
    return {
      select: this.#select,
      id: this.#id,
      low: [...this.#low],
      high: [...this.#high],
      levels: this.#levels.map((level) => (level ? 1 : 0)),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const select = reader.u8("select");
    const id = reader.int("id", 0, 15);
    const low = reader.ints("low", GSI.count, 0, ENTRY.WRITABLE | ENTRY.REMOTE_IRR);
    const high = reader.ints("high", GSI.count, 0, DESTINATION);
    const levels = reader.ints("levels", GSI.count, 0, 1);
    if (low.some((entry) => entry & ~(ENTRY.WRITABLE | ENTRY.REMOTE_IRR)) || high.some((entry) => entry & 0xff_ffff)) {
      throw reader.invalid("low", "or high has reserved bits");
    }
    reader.end();
    this.#select = select;
    this.#id = id;
    this.#low.set(low);
    this.#high.set(high);
    for (const [input, level] of levels.entries()) this.#levels[input] = level === 1;
  }

  #setInput(input: number, level: boolean): void {
    const rises = level && !this.#levels[input];
    this.#levels[input] = level;
    if (!rises) return;
    const low = this.#low[input]!;
    if (low & ENTRY.LEVEL) this.#serveLevel(input);
    else if ((low & ENTRY.MASKED) === 0) this.#send(input);
  }

  #serveLevel(input: number): void {
    const low = this.#low[input]!;
    if (!this.#levels[input] || (low & (ENTRY.MASKED | ENTRY.REMOTE_IRR | ENTRY.LEVEL)) !== ENTRY.LEVEL) return;
    const waitsForEoi = deliveryOf(low) === DELIVERY.FIXED || deliveryOf(low) === DELIVERY.LOWEST_PRIORITY;
    if (this.#send(input) && waitsForEoi) this.#low[input]! |= ENTRY.REMOTE_IRR;
  }

  #send(input: number): boolean {
    const low = this.#low[input]!;
    return this.#bus.deliver({
      destination: this.#high[input]! >>> 24,
      isLogical: (low & ENTRY.LOGICAL) !== 0,
      deliveryMode: deliveryOf(low),
      vector: low & ENTRY.VECTOR,
      isLevelTriggered: (low & ENTRY.LEVEL) !== 0,
    });
  }

  #read(offset: number): number {
    if (offset === WINDOW.IOREGSEL) return this.#select;
    if (offset !== WINDOW.IOWIN) return 0;
    switch (this.#select) {
      case REGISTER.ID:
      case REGISTER.ARBITRATION:
        return this.#id << 24;
      case REGISTER.VERSION:
        return VERSION;
      default: {
        const word = this.#select - REGISTER.REDIRECTION;
        return (word & 1 ? this.#high[word >> 1] : this.#low[word >> 1]) ?? 0;
      }
    }
  }

  #write(offset: number, value: number): void {
    if (offset === WINDOW.IOREGSEL) this.#select = value & 0xff;
    else if (offset === WINDOW.EOIR) this.endOfInterrupt(value & 0xff);
    else if (offset === WINDOW.IOWIN && this.#select === REGISTER.ID) this.#id = (value >>> 24) & 0xf;
    else if (offset === WINDOW.IOWIN) this.#writeEntry(this.#select - REGISTER.REDIRECTION, value);
  }

  #writeEntry(word: number, value: number): void {
    const input = word >> 1;
    if (word < 0 || input >= GSI.count) return;
    if (word & 1) {
      this.#high[input] = value & DESTINATION;
      return;
    }
    // A change to edge triggering clears the remote IRR.
    const remoteIrr = value & ENTRY.LEVEL ? this.#low[input]! & ENTRY.REMOTE_IRR : 0;
    this.#low[input] = (value & ENTRY.WRITABLE) | remoteIrr;
    this.#serveLevel(input);
  }
}

export function createIoApic(options: { bus: ApicBus }): IoApic {
  return new IoApic(options);
}

export function attachIoApic(
  ioApic: IoApic,
  mmio: IoBus,
  base: { ioApicStart: number; ioApicSizeBytes: number },
): void {
  mmio.claim(base.ioApicStart, base.ioApicSizeBytes, ioApic.registers, { name: ioApic.name });
}

function deliveryOf(low: number): number {
  return (low >>> 8) & 7;
}
