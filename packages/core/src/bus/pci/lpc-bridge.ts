/**
 * PCI function 00:1f.0, the LPC bridge of Intel's ICH9 (data sheet 316972, 13.1): as much as the board needs. PMBASE
 * and ACPI_CNTL place the power-management block, PIRQA..H_ROUT connect PCI interrupts to the 8259A pair. The IO-APIC
 * gets PIRQ A to H on inputs 16 to 23 whatever is routed.
 *
 * Left out: GPIO, RCBA, LPC decode ranges (they keep what is written), the SCI's choice of interrupt (always 9).
 */
import type { IrqLine } from "../../devices/device.ts";
import { PM_BLOCK } from "../../machine/board-map.ts";
import type { IoHandler } from "../io.ts";
import { SharedIrqLine } from "../irq.ts";
import { PciFunction } from "./function.ts";

export const LPC = {
  PMBASE: 0x40,
  ACPI_CNTL: 0x44,
  GPIOBASE: 0x48,
  PIRQA_ROUT: 0x60,
  PIRQE_ROUT: 0x68,
  LPC_DECODE: 0x80,
  RCBA: 0xf0,
} as const;

const ACPI_EN = 0x80;
const PIRQ_COUNT = 8;
const ROUT = { DISABLED: 0x80, WRITABLE: 0x8f } as const;
/** Interrupts that a PIRQ can be routed to: 3 to 7, 9 to 12, 14 and 15. */
const ROUTABLE = 0b1101_1110_1111_1000;

export interface LpcBridgeOptions {
  /** The power-management block (devices/acpi-pm.ts). */
  readonly powerManagement: IoHandler;
  /** Inputs 0 to 15 of the 8259A pair, as drivers that the bridge has for itself. */
  readonly picInputs: readonly IrqLine[];
  /** IO-APIC inputs 16 to 23. */
  readonly pirqInputs: readonly IrqLine[];
}

export class LpcBridge {
  readonly pci: PciFunction;
  readonly #options: LpcBridgeOptions;
  readonly #pirqs: readonly SharedIrqLine[];
  readonly #levels: boolean[] = new Array(PIRQ_COUNT).fill(false);

  constructor(options: LpcBridgeOptions) {
    this.#options = options;
    this.#pirqs = Array.from(
      { length: PIRQ_COUNT },
      (_, pirq) => new SharedIrqLine({ set: (level) => this.#setPirq(pirq, level) }),
    );
    this.pci = new PciFunction({
      name: "lpc-bridge",
      vendorId: 0x8086,
      deviceId: 0x2918,
      classCode: 0x06_0100,
      revisionId: 0x02,
    });
    const { config } = this.pci;
    config.define(LPC.PMBASE, 4, 1, 0xff80);
    config.define(LPC.ACPI_CNTL, 1, 0, 0x87);
    config.define(LPC.GPIOBASE, 4, 1, 0xff80);
    config.define(LPC.LPC_DECODE, 4, 0, 0x3f0f_0377);
    config.define(LPC.RCBA, 4, 0, 0xffff_c001);
    for (let pirq = 0; pirq < PIRQ_COUNT; pirq++) config.define(routOf(pirq), 1, ROUT.DISABLED, ROUT.WRITABLE);
    this.pci.addFixedWindow({
      name: "PMBASE",
      space: "io",
      sizeBytes: PM_BLOCK.sizeBytes,
      handler: options.powerManagement,
      base: () => {
        const base = config.read(LPC.PMBASE, 4) & 0xff80;
        return config.bytes[LPC.ACPI_CNTL]! & ACPI_EN && base !== 0 ? base : undefined;
      },
    });
    this.pci.onConfigChange(() => this.#drivePic());
  }

  /** A new driver of PIRQ A to H (0 to 7). */
  pirq(index: number): IrqLine {
    return this.#pirqs[index]!.driver();
  }

  #setPirq(pirq: number, level: boolean): void {
    this.#levels[pirq] = level;
    this.#options.pirqInputs[pirq]?.set(level);
    this.#drivePic();
  }

  #drivePic(): void {
    let asserted = 0;
    for (let pirq = 0; pirq < PIRQ_COUNT; pirq++) {
      const rout = this.pci.config.bytes[routOf(pirq)]!;
      if (this.#levels[pirq] && (rout & ROUT.DISABLED) === 0) asserted |= 1 << (rout & 0xf);
    }
    for (const [input, line] of this.#options.picInputs.entries()) {
      if (ROUTABLE & (1 << input)) line.set((asserted & (1 << input)) !== 0);
    }
  }
}

export function createLpcBridge(options: LpcBridgeOptions): LpcBridge {
  return new LpcBridge(options);
}

/** The register that routes PIRQ A to H (0 to 7). */
export function routOf(pirq: number): number {
  return pirq < 4 ? LPC.PIRQA_ROUT + pirq : LPC.PIRQE_ROUT + pirq - 4;
}
