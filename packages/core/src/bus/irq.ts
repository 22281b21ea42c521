/**
 * Interrupt wires and messages. A level is logical: `true` means asserted, whatever the polarity on a real board
 * (PCI's INTx# is active low), so that controllers need not model voltages. Several devices on one wire are OR-ed, as
 * open-drain PCI interrupts and the SCI are. A message-signalled interrupt is a 32-bit write to the 0xFEEx_xxxx range
 * (Intel SDM vol. 3, 11.11).
 *
 * Restoring a machine drives these wires. Controllers keep the levels of their inputs in their own state, so they come
 * last: first all other devices, then the HPET (which the 8254 and the RTC pass through), the 8259A pair, the IO-APIC,
 * the local APICs.
 */
import type { IrqLine } from "../devices/device.ts";

export interface MsiMessage {
  /** Bits 31:0 of the message address. */
  readonly address: number;
  /** Bits 63:32 of the message address. */
  readonly addressHigh: number;
  readonly data: number;
}

/** Where message-signalled interrupts go: the local APICs' bus, or nowhere if the address is not theirs. */
export type MsiSink = (message: MsiMessage) => void;

/** A wire that leads nowhere, for devices whose interrupt is not connected. */
export const UNCONNECTED: IrqLine = { set: () => {} };

/** A wire with several drivers: asserted while at least one of them asserts. */
export class SharedIrqLine {
  readonly #target: IrqLine;
  #asserted = 0;

  constructor(target: IrqLine) {
    this.#target = target;
  }

  /** Makes one driver's end. A driver that asserts twice counts once. */
  driver(): IrqLine {
    let mine = false;
    return {
      set: (level) => {
        if (level === mine) return;
        mine = level;
        this.#asserted += level ? 1 : -1;
        if (this.#asserted === (level ? 1 : 0)) this.#target.set(level);
      },
    };
  }
}

/** One wire soldered to several inputs, e.g. ISA interrupt 4 to the PIC and to the IO-APIC. */
export function fanOut(...targets: readonly IrqLine[]): IrqLine {
  return {
    set: (level) => {
      for (const target of targets) target.set(level);
    },
  };
}
