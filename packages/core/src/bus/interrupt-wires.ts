/**
 * The board's interrupt wires: every ISA interrupt leads to the 8259A pair and to the IO-APIC, PCI's PIRQ A to H lead
 * to IO-APIC inputs 16 to 23 and, as the LPC bridge routes them, to the 8259A pair. All wires are shared.
 *
 *   device -> ISA n  -> 8259A input n;  IO-APIC input n (interrupt 0: input 2; interrupt 2 is the cascade)
 *   PIRQ p -> IO-APIC input 16 + p;     LPC bridge -> 8259A input by PIRQp_ROUT
 *   8254, RTC -> HPET (legacy replacement) -> ISA 0, ISA 8
 *   8259A INTR -> local APIC LINT0, IO-APIC input 0 (ExtINT)
 *
 * Restoring a machine drives these wires. Controllers keep the levels of their inputs in their own state, so they come
 * last: first all other devices, then the HPET, the 8259A pair, the IO-APIC, the local APICs.
 */
import type { IrqLine } from "../devices/device.ts";
import { GSI, ISA_IRQ } from "../machine/board-map.ts";
import { fanOut, SharedIrqLine } from "./irq.ts";

const ISA_COUNT = 16;

export interface InterruptInputs {
  /** The 16 inputs of the 8259A pair. */
  readonly pic: readonly IrqLine[];
  /** The 24 inputs of the IO-APIC. */
  readonly ioApic: readonly IrqLine[];
}

export class InterruptWires {
  readonly #pic: readonly SharedIrqLine[];
  readonly #isa: readonly SharedIrqLine[];
  readonly #ioApic: readonly SharedIrqLine[];

  constructor(inputs: InterruptInputs) {
    this.#pic = inputs.pic.map((input) => new SharedIrqLine(input));
    this.#ioApic = inputs.ioApic.map((input) => new SharedIrqLine(input));
    this.#isa = Array.from({ length: ISA_COUNT }, (_, irq) => {
      const ends = irq === ISA_IRQ.cascade ? [] : [this.gsi(irq === ISA_IRQ.pit ? GSI.pit : irq), this.pic(irq)];
      return new SharedIrqLine(fanOut(...ends));
    });
  }

  /** A new driver of ISA interrupt 0 to 15. */
  isa(irq: number): IrqLine {
    return this.#isa[irq]!.driver();
  }

  /** A new driver of one IO-APIC input. */
  gsi(input: number): IrqLine {
    return this.#ioApic[input]!.driver();
  }

  /** A new driver of one input of the 8259A pair only. */
  pic(input: number): IrqLine {
    return this.#pic[input]!.driver();
  }
}
