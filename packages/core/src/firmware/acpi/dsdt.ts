/**
 * The DSDT: the board's devices that a guest cannot find by itself, in ACPI's name space (ACPI 6.5, chapters 5 and 6).
 *
 *   \_S5                soft-off
 *   \_PIC               told which interrupt controllers the guest uses
 *   \_SB.Cnnn           processors: processors.ts
 *   \_SB.MBRD           addresses that the chipset takes, so that nothing is placed there
 *   \_SB.PCI0           the host bridge: windows, interrupt routing, bays (disk-bays.ts)
 *   \_SB.PCI0.ISA_      the LPC bridge with COM1, RTC_, KBD_, FDC0, the panic device and fw_cfg; beside it HPET
 *   \_SB.VGEN           where the generation identifier is
 *   \_GPE._E05          it has changed
 *
 * Constants, and one choice: PCI interrupts go to the IO-APIC, or as firmware has routed them to the 8259A pair. Left
 * out: interrupt link devices (routing is fixed), power resources, hot plug of other than processors and disks.
 */
import { HOTPLUG } from "../../devices/hotplug-registers.ts";
import {
  FLOPPY_DMA_CHANNEL,
  GPE,
  gsiOfIntx,
  ISA_IRQ,
  isaIrqOfIntx,
  MEMORY_MAP,
  PCI_SLOT,
  PM_BLOCK,
  PORT_MAP,
  SLEEP_TYPE,
} from "../../machine/board-map.ts";
import {
  type Aml,
  and,
  argument,
  concat,
  createDwordField,
  device,
  dword,
  eisaId,
  equal,
  ifNotZero,
  integer,
  local,
  method,
  name,
  nameString,
  notEqual,
  notify,
  or,
  otherwise,
  packageOf,
  returning,
  scope,
  serializedMethod,
  store,
  storeIn,
  string,
  uuid,
} from "./aml.ts";
import { diskBayEvents, diskBayRegisters, diskBays } from "./disk-bays.ts";
import { eventMethod } from "./event-method.ts";
import { processorEvents, processors } from "./processors.ts";
import {
  busNumbers,
  ioPorts,
  ioWindow,
  isaDma,
  isaIrq,
  memory32Fixed,
  memoryWindow32,
  memoryWindow64,
  resourceTemplate,
} from "./resources.ts";

/** 0 while the guest uses the 8259A pair, 1 for the IO-APIC. */
const USES_APIC = "\\PICM";
const PCI_DEVICES = 32;
const INTX_PINS = 4;
const PCI_CONFIG_PORTS = 8;
const RTC_PORTS = 2;
const UART_PORTS = 8;
const FW_CFG_PORTS = 12;
/** Notification of the generation counter's device: read it again. */
const GENERATION_CHANGED = 0x80;
const PCI_HOST_BRIDGE_UUID = "33db4d5b-1ff7-401c-9657-7441c03dd766";
const OSC_STATUS = { UNKNOWN_UUID: 0x04, UNKNOWN_REVISION: 0x08, MASKED: 0x10 } as const;
const OSC_CONTROL = { PME: 0x04, AER: 0x08, CAPABILITY: 0x10 } as const;

export interface DsdtOptions {
  readonly cpuCount: number;
  /** Given: processors come and go. */
  readonly isCpuThere?: ((index: number) => boolean) | undefined;
  /** Slots of bus 0 in which disks come and go. Default: none. */
  readonly diskBays?: readonly number[];
  /** fw_cfg is there. Default: false. */
  readonly hasFwCfg?: boolean;
  /** A keyboard controller exists. Default: false. */
  readonly has8042?: boolean;
  /** A floppy controller exists. Default: false. */
  readonly hasFloppy?: boolean;
}

/** Stands for the generation identifier's address, which is known when the tables have one. */
export const GENERATION_ADDRESS: Aml = dword(0x5647_4944);

/** The table's body, without its header. */
export function dsdtBody(options: DsdtOptions): Aml {
  const { cpuCount, diskBays: slots = [] } = options;
  const areFixed = options.isCpuThere === undefined;
  return concat(
    name(USES_APIC, integer(0)),
    method("\\_PIC", 1, store(argument(0), USES_APIC)),
    name("\\_S5", packageOf(integer(SLEEP_TYPE.s5), integer(SLEEP_TYPE.s5), integer(0), integer(0))),
    scope(
      "\\_SB",
      processors(cpuCount, areFixed),
      ...(slots.length > 0 ? [diskBayRegisters()] : []),
      motherboard(options),
      generationCounter(),
      hostBridge(options),
    ),
    scope("\\_GPE", method(eventMethod(GPE.generation), 0, notify("\\_SB.VGEN", GENERATION_CHANGED))),
    ...(areFixed ? [] : [processorEvents(cpuCount)]),
    ...(slots.length > 0 ? [diskBayEvents(slots.length)] : []),
  );
}

function motherboard({ isCpuThere, diskBays: slots = [] }: DsdtOptions): Aml {
  return device(
    "MBRD",
    name("_HID", eisaId("PNP0C02")),
    name("_UID", integer(0)),
    name(
      "_CRS",
      resourceTemplate(
        memory32Fixed(MEMORY_MAP.mmconfigStart, MEMORY_MAP.mmconfigSizeBytes),
        ioPorts(PORT_MAP.powerManagement, PM_BLOCK.sizeBytes),
        ioPorts(PORT_MAP.elcr, 2),
        ...(isCpuThere ? [ioPorts(PORT_MAP.cpuHotplug, HOTPLUG.sizeBytes)] : []),
        ...(slots.length > 0 ? [ioPorts(PORT_MAP.diskBays, HOTPLUG.sizeBytes)] : []),
      ),
    ),
  );
}

/** What tells a guest that it is another copy of itself ("Virtual Machine Generation ID", Microsoft, 2018). */
function generationCounter(): Aml {
  return device(
    "VGEN",
    name("_HID", string("TWMT0001")),
    name("_CID", string("VM_Gen_Counter")),
    name("_DDN", string("VM_Gen_Counter")),
    name("ADDR", packageOf(GENERATION_ADDRESS, integer(0))),
  );
}

function hostBridge(options: DsdtOptions): Aml {
  return device(
    "PCI0",
    name("_HID", eisaId("PNP0A08")),
    name("_CID", eisaId("PNP0A03")),
    name("_UID", integer(0)),
    name("_SEG", integer(0)),
    name("_BBN", integer(0)),
    name("_CRS", hostBridgeResources()),
    name("PRTA", interruptRouting(gsiOfIntx)),
    name("PRTP", interruptRouting(isaIrqOfIntx)),
    operatingSystemCapabilities(),
    method("_PRT", 0, ifNotZero(nameString(USES_APIC), returning(nameString("PRTA"))), returning(nameString("PRTP"))),
    lpcBridge(options),
    highPrecisionTimer(),
    diskBays(options.diskBays ?? []),
  );
}

/**
 * PCI Firmware 3.3, 4.5.1: the operating system says what it can, and asks for control. It gets what no other part of
 * the machine does; hot plug is none of it.
 */
function operatingSystemCapabilities(): Aml {
  const [status, control] = [nameString("CDW1"), nameString("CDW3")];
  const { UNKNOWN_UUID, UNKNOWN_REVISION, MASKED } = OSC_STATUS;
  const fail = (bit: number): Aml => or(status, integer(bit), status);
  return serializedMethod(
    "_OSC",
    4,
    createDwordField(argument(3), 0, "CDW1"),
    ifNotZero(
      equal(argument(0), uuid(PCI_HOST_BRIDGE_UUID)),
      createDwordField(argument(3), 8, "CDW3"),
      ifNotZero(notEqual(argument(1), integer(1)), fail(UNKNOWN_REVISION)),
      and(control, integer(OSC_CONTROL.PME | OSC_CONTROL.AER | OSC_CONTROL.CAPABILITY), local(0)),
      ifNotZero(notEqual(local(0), control), fail(MASKED)),
      storeIn(local(0), control),
    ),
    otherwise(fail(UNKNOWN_UUID)),
    returning(argument(3)),
  );
}

function hostBridgeResources(): Aml {
  const configEnd = PORT_MAP.pciConfigAddress + PCI_CONFIG_PORTS;
  const pci32End = MEMORY_MAP.pci32Start + MEMORY_MAP.pci32SizeBytes;
  return resourceTemplate(
    busNumbers(0, MEMORY_MAP.mmconfigSizeBytes / 2 ** 20 - 1),
    ioPorts(PORT_MAP.pciConfigAddress, PCI_CONFIG_PORTS),
    ioWindow(0, PORT_MAP.pciConfigAddress - 1),
    ioWindow(configEnd, 0xffff),
    memoryWindow32(MEMORY_MAP.pci32Start, pci32End - 1),
    memoryWindow64(MEMORY_MAP.pci64Start, MEMORY_MAP.pci64Start + MEMORY_MAP.pci64SizeBytes - 1),
  );
}

/** Every slot's four pins, wired without a link device between. */
function interruptRouting(interruptOf: (slot: number, pin: number) => number): Aml {
  const entries: Aml[] = [];
  for (let slot = 0; slot < PCI_DEVICES; slot++) {
    for (let pin = 0; pin < INTX_PINS; pin++) {
      const address = slot * 0x1_0000 + 0xffff;
      entries.push(packageOf(integer(address), integer(pin), integer(0), integer(interruptOf(slot, pin))));
    }
  }
  return packageOf(...entries);
}

function lpcBridge({ hasFwCfg = false, has8042 = false, hasFloppy = false }: DsdtOptions): Aml {
  return device(
    "ISA",
    name("_ADR", integer(PCI_SLOT.lpcBridge.device * 0x1_0000 + PCI_SLOT.lpcBridge.function)),
    device(
      "COM1",
      name("_HID", eisaId("PNP0501")),
      name("_UID", integer(1)),
      name("_STA", integer(0xf)),
      name("_CRS", resourceTemplate(ioPorts(PORT_MAP.uart0, UART_PORTS), isaIrq(ISA_IRQ.uart0))),
    ),
    device(
      "RTC",
      name("_HID", eisaId("PNP0B00")),
      name("_CRS", resourceTemplate(ioPorts(PORT_MAP.rtc, RTC_PORTS), isaIrq(ISA_IRQ.rtc))),
    ),
    portDevice("PEVT", "QEMU0001", PORT_MAP.pvpanic, 1),
    ...(hasFwCfg ? [portDevice("FWCF", "QEMU0002", PORT_MAP.fwCfg, FW_CFG_PORTS)] : []),
    ...(has8042 ? [keyboardController()] : []),
    ...(hasFloppy ? [floppyController()] : []),
  );
}

function keyboardController(): Aml {
  const ports = [ioPorts(PORT_MAP.i8042Data, 1), ioPorts(PORT_MAP.i8042Command, 1)];
  return device(
    "KBD",
    name("_HID", eisaId("PNP0303")),
    name("_STA", integer(0xf)),
    name("_CRS", resourceTemplate(...ports, isaIrq(ISA_IRQ.keyboard))),
  );
}

function floppyController(): Aml {
  const { base, input } = PORT_MAP.floppy;
  const ports = [ioPorts(base, 6), ioPorts(input, 1)];
  return device(
    "FDC0",
    name("_HID", eisaId("PNP0700")),
    name("_STA", integer(0xf)),
    name("_CRS", resourceTemplate(...ports, isaIrq(ISA_IRQ.floppy), isaDma(FLOPPY_DMA_CHANNEL))),
  );
}

function portDevice(path: string, hardwareId: string, port: number, count: number): Aml {
  return device(
    path,
    name("_HID", string(hardwareId)),
    name("_STA", integer(0xf)),
    name("_CRS", resourceTemplate(ioPorts(port, count))),
  );
}

function highPrecisionTimer(): Aml {
  return device(
    "HPET",
    name("_HID", eisaId("PNP0103")),
    name("_UID", integer(0)),
    name("_CRS", resourceTemplate(memory32Fixed(MEMORY_MAP.hpetStart, MEMORY_MAP.hpetSizeBytes))),
  );
}
