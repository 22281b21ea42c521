/**
 * The board's map: addresses, ports and interrupt numbers that the chipset models, the ACPI tables and the board have
 * to agree on. Modelled on Intel's Q35 MCH and ICH9; the windows are where common firmware puts them. Firmware tables
 * are written from these constants and from nothing else.
 *
 * ISA interrupts are edge-triggered, active high. The SCI is level-triggered; the tables call it active high, as the
 * models know no polarity. PCI INTx is level-triggered on IO-APIC inputs 16 to 23, described as active low.
 */

/** Guest-physical layout. RAM fills [0, lowRamEnd) first, then continues at `highRamStart`. */
export const MEMORY_MAP = {
  /** Where a VGA answers instead of the RAM behind it. */
  vgaStart: 0xa_0000,
  vgaSizeBytes: 0x2_0000,
  lowRamEnd: 0xb000_0000,
  mmconfigStart: 0xb000_0000,
  mmconfigSizeBytes: 0x1000_0000,
  pci32Start: 0xc000_0000,
  pci32SizeBytes: 0x3ec0_0000,
  ioApicStart: 0xfec0_0000,
  ioApicSizeBytes: 0x1000,
  hpetStart: 0xfed0_0000,
  hpetSizeBytes: 0x400,
  localApicStart: 0xfee0_0000,
  localApicSizeBytes: 0x1000,
  highRamStart: 0x1_0000_0000,
  pci64Start: 0x80_0000_0000,
  pci64SizeBytes: 0x40_0000_0000,
} as const;

export const PORT_MAP = {
  dma: [0x00, 0xc0],
  pic0: 0x20,
  pic1: 0xa0,
  elcr: 0x4d0,
  pit: 0x40,
  systemControlB: 0x61,
  i8042Data: 0x60,
  i8042Command: 0x64,
  rtc: 0x70,
  post: 0x80,
  dmaPages: 0x81,
  systemControlA: 0x92,
  smiCommand: 0xb2,
  coprocessorError: 0xf0,
  bochsDebug: 0xe9,
  debugExit: 0xf4,
  uart0: 0x3f8,
  debug: 0x402,
  ide: [
    { task: 0x1f0, control: 0x3f6 },
    { task: 0x170, control: 0x376 },
  ],
  floppy: { base: 0x3f0, input: 0x3f7 },
  pvpanic: 0x505,
  fwCfg: 0x510,
  fwCfgDma: 0x514,
  cpuHotplug: 0xcc0,
  diskBays: 0xcc4,
  pciConfigAddress: 0xcf8,
  resetControl: 0xcf9,
  pciConfigData: 0xcfc,
  /** PMBASE as the board's direct boot (or firmware) programs it; register offsets are in PM_BLOCK. */
  powerManagement: 0x600,
  /** I/O BARs are placed here. */
  pciIoStart: 0xc000,
  pciIoSizeBytes: 0x3000,
} as const;

/** The flash chip of firmware's variables: its name, and its channel to the host. */
export const FLASH_NAME = "flash0";

/** Offsets from PMBASE (ICH9 data sheet, 13.8.3) that the FADT points at. */
export const PM_BLOCK = {
  pm1Event: 0x00,
  pm1Control: 0x04,
  pmTimer: 0x08,
  gpe0: 0x20,
  gpe0SizeBytes: 16,
  smiEnable: 0x30,
  sizeBytes: 0x80,
} as const;

/** General-purpose events, 0 to 63; each has its method in the DSDT. */
export const GPE = { generation: 5, processors: 6, diskBays: 7 } as const;

/** ISA interrupt numbers; equal to the IO-APIC input except for the timer's. */
export const ISA_IRQ = {
  pit: 0,
  keyboard: 1,
  cascade: 2,
  uart0: 4,
  floppy: 6,
  rtc: 8,
  sci: 9,
  mouse: 12,
  coprocessor: 13,
  idePrimary: 14,
  ideSecondary: 15,
} as const;

/** The floppy controller's DMA channel. */
export const FLOPPY_DMA_CHANNEL = 2;

/** IO-APIC inputs ("global system interrupts") that differ from the ISA number or have none. */
export const GSI = {
  count: 24,
  /** ISA interrupt 0 arrives here: the MADT's interrupt source override. */
  pit: 2,
  sci: 9,
  pirqA: 16,
} as const;

/** APIC identifiers: vCPU n has n. */
export const IO_APIC_ID = 0;

/** SLP_TYP values of PM1_CNT (ICH9 data sheet, 13.8.3.3), announced by the tables' \_Sx objects. */
export const SLEEP_TYPE = { s0: 0, s5: 7 } as const;

/** Ticks of the local APIC's timer before its divider; CPUID leaf 15H names it as the crystal's frequency. */
export const LOCAL_APIC_TIMER_HZ = 1_000_000_000;
export const PM_TIMER_HZ = 3_579_545;
export const PIT_HZ = 1_193_182;
/** The HPET's COUNTER_CLK_PERIOD: 10 ns. */
export const HPET_PERIOD_FS = 10_000_000;

/** PCI devices that are part of the board itself, on bus 0. */
export const PCI_SLOT = {
  hostBridge: { device: 0, function: 0 },
  lpcBridge: { device: 31, function: 0 },
  ide: { device: 31, function: 1 },
  ahci: { device: 31, function: 2 },
  vga: { device: 30, function: 0 },
  /** Slots 1 to 29 are free for devices. */
  firstFree: 1,
  lastFree: 29,
} as const;

/** Which of PIRQ A to H (0 to 7) a function's INTx pin (0 = INTA#) is wired to; the _PRT is written from this. */
export function pirqOf(device: number, pin: number): number {
  return (device + pin) & 7;
}

/** The ISA interrupts that PIRQ A to H reach through the 8259A pair, as the board's direct boot routes them. */
export const PIRQ_TO_ISA: readonly number[] = [10, 11, 10, 11, 10, 11, 10, 11];

/** The ISA interrupt of a function's INTx pin while the guest uses the 8259A pair. */
export function isaIrqOfIntx(device: number, pin: number): number {
  return PIRQ_TO_ISA[pirqOf(device, pin)]!;
}

/** The IO-APIC input of a function's INTx pin. */
export function gsiOfIntx(device: number, pin: number): number {
  return GSI.pirqA + pirqOf(device, pin);
}
