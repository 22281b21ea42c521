/**
 * What firmware does to PCI before an operating system starts, for boots without firmware: opens the ECAM window,
 * places the power-management block, routes PCI interrupts to the 8259A pair, gives every BAR an address, enables
 * decoding and tells each function its interrupt line. Largest BARs first, so that natural alignment wastes nothing. The board calls it after each reset of
 * a direct boot.
 */
import { isaIrqOfIntx, MEMORY_MAP, PIRQ_TO_ISA, PORT_MAP } from "../../machine/board-map.ts";
import type { PciBus } from "./bus.ts";
import { COMMAND, CONFIG } from "./config-space.ts";
import type { PciBar, PciFunction } from "./function.ts";
import { PCIEXBAR } from "./host-bridge.ts";
import { LPC, routOf } from "./lpc-bridge.ts";

/** The windows are full: the board has too many or too large devices. */
export class PciWindowFull extends Error {
  override readonly name = "PciWindowFull";
  readonly code = "pci-window-full";
}

export function initialiseChipset(hostBridge: PciFunction, lpcBridge: PciFunction): void {
  hostBridge.writeConfig(PCIEXBAR + 4, 4, 0);
  hostBridge.writeConfig(PCIEXBAR, 4, MEMORY_MAP.mmconfigStart | 1);
  lpcBridge.writeConfig(LPC.PMBASE, 4, PORT_MAP.powerManagement);
  lpcBridge.writeConfig(LPC.ACPI_CNTL, 1, 0x80);
  for (const [pirq, irq] of PIRQ_TO_ISA.entries()) lpcBridge.writeConfig(routOf(pirq), 1, irq);
}

export function assignPciResources(bus: PciBus): void {
  const next = { io: PORT_MAP.pciIoStart as number, memory: MEMORY_MAP.pci32Start as number };
  const end = {
    io: PORT_MAP.pciIoStart + PORT_MAP.pciIoSizeBytes,
    memory: MEMORY_MAP.pci32Start + MEMORY_MAP.pci32SizeBytes,
  };
  let nextWide: number = MEMORY_MAP.pci64Start;
  const functions = bus.functions();
  const bars = functions.flatMap(({ pci }) => pci.bars.map((bar) => ({ pci, bar })));
  bars.sort((a, b) => b.bar.sizeBytes - a.bar.sizeBytes);
  for (const { pci, bar } of bars) {
    let base = alignUp(next[bar.space], bar.sizeBytes);
    if (base + bar.sizeBytes <= end[bar.space]) {
      next[bar.space] = base + bar.sizeBytes;
    } else if (bar.wide) {
      base = alignUp(nextWide, bar.sizeBytes);
      nextWide = base + bar.sizeBytes;
    }
    if (base + bar.sizeBytes > (bar.wide ? MEMORY_MAP.pci64Start + MEMORY_MAP.pci64SizeBytes : end[bar.space])) {
      throw new PciWindowFull(`no room for ${bar.name} of ${bar.sizeBytes} bytes: use fewer or smaller devices`);
    }
    place(pci, bar, base);
  }
  for (const { device, pci } of functions) {
    const pin = pci.identity.interruptPin;
    if (pin) pci.writeConfig(CONFIG.INTERRUPT_LINE, 1, isaIrqOfIntx(device, pin - 1));
    const spaces = new Set(pci.bars.map((bar) => bar.space));
    const enable = (spaces.has("io") ? COMMAND.IO_SPACE : 0) | (spaces.has("memory") ? COMMAND.MEMORY_SPACE : 0);
    pci.writeConfig(CONFIG.COMMAND, 2, pci.readConfig(CONFIG.COMMAND, 2) | enable);
  }
}

function place(pci: PciFunction, bar: PciBar, base: number): void {
  const register = CONFIG.BAR0 + 4 * bar.index;
  pci.writeConfig(register, 4, base % 2 ** 32);
  if (bar.wide) pci.writeConfig(register + 4, 4, Math.floor(base / 2 ** 32));
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
