/**
 * The board: a small PC on Intel's Q35 pattern, from parts and the map (board-map.ts). This file is wiring only.
 *
 *   CPU --- local APIC --- APIC bus --- IO-APIC <-- 0-15 ISA, 16-23 PIRQ A-H
 *               ^ LINT0                                 |
 *               +---------- 8259A pair <----------------+ (ISA wires go to both; PIRQs as the LPC bridge routes them)
 *   ports -- PIC PIT RTC UART, ACPI PM, system control, PCI     memory -- IO-APIC, HPET, PCI windows, ECAM
 *   PCI 0 -- 00.0 host bridge, 1f.0 LPC bridge, 1f.1 IDE, 1f.2 AHCI, slots 1 up: the spec's devices, 1e.0 VGA (with it, the keyboard)
 *
 * Direct boots: `boot` does what firmware would do to the chipset, then loads the kernel. Firmware itself is the ROM of
 * the engine's memory and starts at the reset vector.
 */
import { MmioBus, PortBus } from "../bus/io-bus.ts";
import { fanOut, SharedIrqLine } from "../bus/irq.ts";
import { assignPciResources, initialiseChipset } from "../bus/pci/assign.ts";
import { PciBus } from "../bus/pci/bus.ts";
import type { PciFunction } from "../bus/pci/function.ts";
import { createHostBridge } from "../bus/pci/host-bridge.ts";
import { createLpcBridge } from "../bus/pci/lpc-bridge.ts";
import { attachAcpiPm, createAcpiPm, SMI_APMC_EN } from "../devices/acpi-pm.ts";
import { createAhci } from "../devices/ahci/controller.ts";
import { ApicSystemBus } from "../devices/apic/apic-bus.ts";
import { attachCfiFlash, type CfiFlash, createCfiFlash } from "../devices/cfi-flash.ts";
import { attachCoprocessorError, createCoprocessorError } from "../devices/coprocessor-error.ts";
import { attachCpuHotplug, createCpuHotplug } from "../devices/cpu-hotplug.ts";
import { attachDebugExit, createDebugExit } from "../devices/debug-exit.ts";
import { attachDebugPort, createDebugPort } from "../devices/debug-port.ts";
import type { Device, DeviceContext, IrqLine } from "../devices/device.ts";
import { attachDiskBays, DiskBays } from "../devices/disk-bays.ts";
import { attachDma, createDma } from "../devices/dma-8237.ts";
import { attachFloppy, createFloppy } from "../devices/floppy/controller.ts";
import { attachFwCfg, createFwCfg } from "../devices/fw-cfg.ts";
import { attachHpet, createHpet } from "../devices/hpet.ts";
import { attachI8042, createI8042, startKeyboard } from "../devices/i8042/controller.ts";
import { attachIde, createIde } from "../devices/ide/controller.ts";
import { attachIoApic, createIoApic } from "../devices/ioapic.ts";
import { attachPic, createPic } from "../devices/pic.ts";
import { attachPit, createPit } from "../devices/pit.ts";
import { attachPvpanic, createPvpanic } from "../devices/pvpanic.ts";
import { attachRtc, createRtc } from "../devices/rtc.ts";
import { attachShadowRam, ShadowRam } from "../devices/shadow-ram.ts";
import { attachSystemControl, createSystemControl } from "../devices/system-control.ts";
import { attachUart16550, createUart16550 } from "../devices/uart-16550.ts";
import { startTextMode } from "../devices/vga/text-mode.ts";
import { attachVga, createVga } from "../devices/vga/vga.ts";
import { createVmGeneration, GENERATION_ID_BYTES } from "../devices/vm-generation.ts";
import { GENERATION } from "../firmware/acpi/tables.ts";
import type { BootFile } from "../firmware/boot-file.ts";
import { cmosOf } from "../firmware/cmos.ts";
import { type BootDisk, fwCfgItems, generationPageOf, generationPlacedAt } from "../firmware/fw-cfg-items.ts";
import { DmaMemory } from "../memory/dma-memory.ts";
import type { Board, BoardWiring, ProcessorPins } from "./board-interface.ts";
import {
  FLASH_NAME,
  FLOPPY_DMA_CHANNEL,
  GPE,
  GSI,
  ISA_IRQ,
  MEMORY_MAP,
  PCI_SLOT,
  PIRQ_TO_ISA,
  PORT_MAP,
  pirqOf,
} from "./board-map.ts";
import { type BoardProcessor, createProcessor } from "./board-processor.ts";
import { bootDevicesOf } from "./boot-order.ts";
import { type IdeDriveSpec, isFloppy, isIdeDrive, isSataDrive, type SataDriveSpec } from "./disk-spec.ts";
import { hotMemoryOf } from "./memory-size.ts";
import { isNetworkCard } from "./network-card-spec.ts";
import { type BootFiles, placeKernel } from "./power-on.ts";
import {
  type CardRoms,
  createSlotDevice,
  diskBaySlots,
  isBay,
  type SlotDeviceSpec,
  slotDevices,
} from "./slot-devices.ts";
import type { MachineSpec } from "./spec.ts";

/** The HPET may raise IO-APIC inputs 20 to 23, which are PIRQ E to H. */
const HPET_FIRST_PIRQ = 4;

/** A bay has a size, also of a card. */
const BAY_CARD_BYTES = 512;

/** The channel of the first serial port. */
export const SERIAL_CHANNEL = "serial0";
/** The channel of the keyboard: devices/i8042/typing.ts makes what it takes. */
export const KEYBOARD_CHANNEL = "keyboard0";

/**
 * `variables`: of firmware, as the spec names them; default: an erased chip. `vgaRom`: the VGA BIOS that it names. The firmware itself is the engine's ROM. Throws
 * PciWindowFull if the devices do not fit, LinuxBootError from `boot` if the files do not.
 */
export function createBoard(
  wiring: BoardWiring,
  files?: BootFiles<BootFile>,
  variables?: Uint8Array,
  vgaRom?: Uint8Array,
  cardRoms?: CardRoms,
): Board {
  const { clock, spec } = wiring;
  const busMasters = new DmaMemory(wiring.context.memory);
  const context: DeviceContext = { ...wiring.context, memory: busMasters };
  const hasVga = spec.vga !== undefined;
  const floppies = spec.devices.filter(isFloppy);
  const { cpusAtStart } = spec;
  const presentCpus = new Uint8Array(2);
  const ports = new PortBus();
  const mmio = new MmioBus();
  const apicBus = new ApicSystemBus();
  const ioApic = createIoApic({ bus: apicBus });
  apicBus.attachEoiListener((vector) => ioApic.endOfInterrupt(vector));

  // The controllers know each other in a circle: LINT0 is the pair's output, the acknowledge cycle its input.
  const pic = createPic({ intr: { set: (level) => first.localApic.lint[0].set(level) } });
  const parts = {
    context,
    clock,
    tscFrequencyHz: spec.tscFrequencyHz,
    apicBus,
    ports,
    mmio,
    coprocessorError: () => coprocessorError,
    virtualWire: spec.boot !== undefined,
  };
  const first: BoardProcessor = createProcessor({
    ...parts,
    index: 0,
    pins: {
      setInterrupt: (pending) => wiring.setInterrupt(pending),
      setTaskPriority: (cr8) => wiring.setTaskPriority(cr8),
      nmi: () => wiring.nmi(),
      init: () => context.power("reset", "INIT sent to the bootstrap processor"),
      startup: () => {},
    },
    pic,
  });
  /** A processor that is not there hears no start-up message. */
  const pinsOf = (index: number, pins: ProcessorPins): ProcessorPins => ({
    ...pins,
    startup: (vector) => {
      if (cpuHotplug?.isPresent(index) !== false) pins.startup(vector);
    },
  });
  const others = (wiring.others ?? []).map((pins, i) =>
    createProcessor({ ...parts, index: i + 1, pins: pinsOf(i + 1, pins) }),
  );

  const picWires = pic.inputs.map((input) => new SharedIrqLine(input));
  /** A new driver of an ISA interrupt's wire. */
  const isa = (irq: number): IrqLine =>
    fanOut(picWires[irq]!.driver(), ioApic.inputs[irq === ISA_IRQ.pit ? GSI.pit : irq]!);

  const pirqWires = ioApic.inputs.slice(GSI.pirqA).map((input) => new SharedIrqLine(input));

  const hpet = createHpet(context, {
    irq0: isa(ISA_IRQ.pit),
    irq8: isa(ISA_IRQ.rtc),
    routes: pirqWires.slice(HPET_FIRST_PIRQ).map((wire) => wire.driver()),
  });
  const pit = createPit(context, { irq: hpet.pitInput });
  // Where processors come and go, fw_cfg alone says how many are there.
  const cmos = cmosOf(spec.memoryBytes, cpusAtStart === undefined ? spec.cpus : 1, floppies.length);
  const rtc = createRtc(context, { irq: hpet.rtcInput, cmos });
  const uart = createUart16550(context, { name: "uart0", channel: SERIAL_CHANNEL, irq: isa(ISA_IRQ.uart0) });
  const acpiPm = createAcpiPm(context, {
    sci: isa(ISA_IRQ.sci),
    startsInAcpiMode: spec.boot !== undefined,
    smiEnable: spec.firmware ? SMI_APMC_EN : 0,
  });
  const cpuHotplug =
    cpusAtStart === undefined
      ? undefined
      : createCpuHotplug(context, {
          count: spec.cpus,
          atStart: cpusAtStart,
          onChange: () => acpiPm.raiseGpe(GPE.processors),
          onEject: (index) => others[index - 1]?.takeOut(),
          onCount: (count) => {
            presentCpus[0] = count;
          },
        });
  const systemControl = createSystemControl(context);
  const generationPage = generationPageOf(spec.seed);
  const generationId = generationPage.subarray(GENERATION.OFFSET, GENERATION.OFFSET + GENERATION_ID_BYTES);
  const generation = createVmGeneration(context, {
    id: generationId,
    address: () => (fwCfg ? generationPlacedAt(fwCfg) : GENERATION.DIRECT_ADDRESS),
    onChange: () => acpiPm.raiseGpe(GPE.generation),
  });
  const baySlots = diskBaySlots(spec);
  const settings = {
    ...spec,
    cpuCount: spec.cpus,
    hasVga,
    bootDisks: bootDisksOf(spec),
    hasFloppy: floppies.length > 0,
    generationPage,
    ...(cpuHotplug && { presentCpus }),
    hotMemory: hotMemoryOf(spec),
    diskBays: baySlots,
  };
  const fwCfg = spec.firmware && createFwCfg(context, fwCfgItems(settings));
  const coprocessorError = createCoprocessorError({ irq: isa(ISA_IRQ.coprocessor) });

  const lpcBridge = createLpcBridge({
    powerManagement: acpiPm.registers,
    picInputs: picWires.map((wire) => wire.driver()),
    pirqInputs: pirqWires.map((wire) => wire.driver()),
  });
  const pci = new PciBus({
    ports,
    mmio,
    msi: apicBus.msi,
    intx: (device, pin) => lpcBridge.pirq(pirqOf(device, pin)),
    underAddressPort: systemControl.resetControl,
  });
  const startsOpen = spec.boot !== undefined;
  const shadowRam = new ShadowRam({
    memory: wiring.context.memory,
    romBytes: spec.firmware?.sizeBytes ?? 0,
    startsOpen,
    protect: (parts) => {
      busMasters.closedParts = parts;
      context.protectShadow(parts);
    },
  });
  const hostBridge = createHostBridge({
    ecam: pci.ecam,
    routeShadow: (readable, writable) => shadowRam.route(readable, writable),
    startsOpen,
  });
  const flash = spec.variables && createFlash(context, spec.variables.sizeBytes, variables);
  const vga = hasVga ? createVga(context, { name: "vga", ...(vgaRom ? { rom: vgaRom } : {}) }) : undefined;
  const i8042 = hasVga
    ? createI8042(context, {
        name: "i8042",
        channel: KEYBOARD_CHANNEL,
        keyboardIrq: isa(ISA_IRQ.keyboard),
        auxIrq: isa(ISA_IRQ.mouse),
      })
    : undefined;
  const inBays = spec.devices.filter(isBay).map((device) => ({ sizeBytes: BAY_CARD_BYTES, ...device }));
  const plugged = slotDevices(spec).map((device) =>
    createSlotDevice(context, inBays.find(({ name }) => name === device.name) ?? device, cardRoms),
  );
  const drives = spec.devices.filter(isSataDrive).map((drive) => ({ ...drive, medium: mediumOf(drive) }));
  const ideDrives = spec.devices.filter(isIdeDrive).map((drive) => ({ ...drive, medium: mediumOf(drive) }));
  const ide =
    ideDrives.length > 0
      ? createIde(context, {
          name: "ide",
          drives: ideDrives,
          irqs: [isa(ISA_IRQ.idePrimary), isa(ISA_IRQ.ideSecondary)],
        })
      : undefined;
  const dma =
    floppies.length > 0
      ? createDma({ memory: context.memory, page: (register) => systemControl.dmaPage(register) })
      : undefined;
  const floppy =
    dma &&
    createFloppy(context, {
      name: "floppy",
      drives: floppies,
      irq: isa(ISA_IRQ.floppy),
      dma: dma.channel(FLOPPY_DMA_CHANNEL),
    });
  const ahci = drives.length > 0 ? createAhci(context, { name: "ahci", drives }) : undefined;

  attachPic(pic, ports, PORT_MAP);
  attachPit(pit, ports, PORT_MAP);
  attachRtc(rtc, ports, PORT_MAP);
  attachUart16550(uart, ports, PORT_MAP.uart0);
  attachAcpiPm(acpiPm, ports, PORT_MAP);
  attachSystemControl(systemControl, ports, PORT_MAP, hasVga);
  if (vga) attachVga(vga, ports, mmio);
  if (i8042) attachI8042(i8042, ports, PORT_MAP);
  attachCoprocessorError(coprocessorError, ports, PORT_MAP);
  attachPvpanic(createPvpanic(context), ports, PORT_MAP);
  if (spec.hasDebugExit) attachDebugExit(createDebugExit(context), ports, PORT_MAP);
  attachDebugPort(createDebugPort(context), ports, PORT_MAP);
  if (cpuHotplug) attachCpuHotplug(cpuHotplug, ports, PORT_MAP);
  if (fwCfg) attachFwCfg(fwCfg, ports, PORT_MAP);
  if (flash) attachCfiFlash(flash, mmio, MEMORY_MAP.highRamStart - (spec.firmware?.sizeBytes ?? 0) - flash.sizeBytes);
  if (ide) attachIde(ide, ports, PORT_MAP.ide);
  if (dma) attachDma(dma, ports, PORT_MAP.dma);
  if (floppy) attachFloppy(floppy, ports, PORT_MAP.floppy);
  attachShadowRam(shadowRam, mmio);
  attachHpet(hpet, mmio, MEMORY_MAP);
  attachIoApic(ioApic, mmio, MEMORY_MAP);
  ports.claim(PORT_MAP.pciConfigAddress, 4, pci.addressPort, { name: "PCI configuration address" });
  ports.claim(PORT_MAP.pciConfigData, 4, pci.dataPort, { name: "PCI configuration data" });
  pci.plug(PCI_SLOT.hostBridge.device, PCI_SLOT.hostBridge.function, hostBridge);
  pci.plug(PCI_SLOT.lpcBridge.device, PCI_SLOT.lpcBridge.function, lpcBridge.pci);
  if (vga) pci.plug(PCI_SLOT.vga.device, PCI_SLOT.vga.function, vga.pci);
  if (ide) pci.plug(PCI_SLOT.ide.device, PCI_SLOT.ide.function, ide.pci);
  if (ahci) pci.plug(PCI_SLOT.ahci.device, PCI_SLOT.ahci.function, ahci.pci);
  for (const [i, device] of plugged.entries()) pci.plug(PCI_SLOT.firstFree + i, 0, device.pci);
  const bays =
    inBays.length > 0
      ? new DiskBays(context, {
          disks: inBays,
          onChange: () => acpiPm.raiseGpe(GPE.diskBays),
          onPlug: (index, isThere) => {
            const slot = baySlots[index]!;
            plugged[slot - PCI_SLOT.firstFree]!.reset();
            pci.setPresent(slot, 0, isThere);
          },
        })
      : undefined;
  if (bays) attachDiskBays(bays, ports, PORT_MAP);

  const devices: readonly Device[] = [
    functionDevice(hostBridge),
    shadowRam,
    functionDevice(lpcBridge.pci),
    pci,
    ...(bays ? [bays] : []),
    ...(fwCfg ? [fwCfg] : []),
    generation,
    ...(flash ? [flash] : []),
    ...plugged,
    ...(dma ? [dma] : []),
    ...(floppy ? [floppy] : []),
    ...(ide ? [ide] : []),
    ...(ahci ? [ahci] : []),
    ...(vga ? [vga] : []),
    ...(i8042 ? [i8042] : []),
    uart,
    acpiPm,
    systemControl,
    ...(cpuHotplug ? [cpuHotplug] : []),
    coprocessorError,
    pit,
    rtc,
    hpet,
    pic,
    ioApic,
    ...[first, ...others].flatMap(({ tsc, localApic }): Device[] => [tsc, localApic]),
  ];

  return {
    devices,
    bus: first.bus,
    others,
    acknowledgeInterrupt: () => first.acknowledgeInterrupt(),
    pressPowerButton: () => acpiPm.pressPowerButton(),
    pressSleepButton: () => acpiPm.pressSleepButton(),
    boot: () => {
      shadowRam.start();
      if (!spec.boot || !files) return undefined;
      initialiseChipset(hostBridge, lpcBridge.pci);
      assignPciResources(pci);
      for (const [chip, inputs] of levelTriggered().entries()) ports.write(PORT_MAP.elcr + chip, 1, inputs);
      if (vga) startTextMode(vga);
      if (i8042) startKeyboard(i8042);
      return placeKernel(context.memory, spec, files, {
        commandLine: spec.boot.commandLine,
        generationId,
        isCpuThere: cpuHotplug && ((index) => cpuHotplug.isPresent(index)),
      });
    },
  };
}

/** In the order in which firmware tries them. */
function bootDisksOf(spec: MachineSpec): BootDisk[] {
  const slots = slotDevices(spec);
  const drives = spec.devices.filter(isSataDrive);
  const ideDrives = spec.devices.filter(isIdeDrive);
  const floppies = spec.devices.filter(isFloppy);
  return bootDevicesOf(spec).flatMap((device): BootDisk[] => {
    if (isSataDrive(device)) return [{ ...PCI_SLOT.ahci, port: drives.indexOf(device) }];
    if (isIdeDrive(device)) {
      const unit = ideDrives.indexOf(device);
      return [{ ...PCI_SLOT.ide, ide: [unit >> 1, unit & 1] }];
    }
    if (isFloppy(device)) return [{ ...PCI_SLOT.lpcBridge, floppy: floppies.indexOf(device) }];
    const slot = PCI_SLOT.firstFree + slots.indexOf(device as SlotDeviceSpec);
    if (isBay(device)) return [];
    if (device.kind === "nvme-disk") return [{ device: slot, isNvme: true }];
    if (isNetworkCard(device)) return [{ device: slot, isNetwork: true }];
    return device.kind === "virtio-block" ? [{ device: slot }] : [];
  });
}

function mediumOf({ kind }: SataDriveSpec | IdeDriveSpec): "disk" | "cd" {
  return kind === "sata-cd" || kind === "ide-cd" ? "cd" : "disk";
}

/** What firmware writes to the edge/level registers of the 8259A pair: PCI interrupts and the SCI are levels. */
function levelTriggered(): readonly [number, number] {
  const inputs = [ISA_IRQ.sci, ...PIRQ_TO_ISA].reduce((all, irq) => all | (1 << irq), 0);
  return [inputs & 0xff, inputs >> 8];
}

/** A function of the chipset that is no device of its own. */
function functionDevice(pci: PciFunction): Device {
  const { name } = pci.identity;
  return {
    name,
    schema: { id: "pci-function", version: 1 },
    reset: () => pci.reset(),
    save: () => pci.save(),
    restore: (state) => pci.restore(state, name),
  };
}

function createFlash(context: DeviceContext, sizeBytes: number, given: Uint8Array | undefined): CfiFlash {
  const content = given ?? new Uint8Array(sizeBytes).fill(0xff);
  if (content.length !== sizeBytes) throw new RangeError(`${content.length} bytes for a flash chip of ${sizeBytes}`);
  return createCfiFlash(context, { name: FLASH_NAME, content });
}
