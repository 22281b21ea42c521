/**
 * What a machine's firmware is told through fw_cfg (devices/fw-cfg.ts): sizes, the memory map, ACPI tables with their
 * loader, and the settings of SeaBIOS and OVMF by the names that those look for.
 */
import type { FwCfg, FwCfgFile, FwCfgItems } from "../devices/fw-cfg.ts";
import { MEMORY_MAP, PORT_MAP, SLEEP_TYPE } from "../machine/board-map.ts";
import { bootRamOf, type HotMemory } from "../machine/memory-size.ts";
import type { Gpa } from "../memory/guest-memory.ts";
import { ascii, concat, littleEndian } from "./acpi/aml.ts";
import { ACPI_FILE, GENERATION_FILE, tableLoader } from "./acpi/table-loader.ts";
import { type AcpiImage, acpiImage, CHECKSUM_OFFSET, GENERATION } from "./acpi/tables.ts";
import { E820_TYPE, encodeE820 } from "./e820.ts";
import { buildSmbios, generationIdOf, SMBIOS_FILE, type SmbiosOptions, uuidOf } from "./smbios.ts";

/** Items without a name, which are older than files. */
const KEY = { UUID: 0x02, RAM_SIZE: 0x03, NB_CPUS: 0x05, NUMA: 0x0d, BOOT_MENU: 0x0e, MAX_CPUS: 0x0f } as const;
/** Items of PCs: bit 15 marks those of an architecture. */
const PC_KEY = { IRQ0_OVERRIDE: 0x8002 } as const;
/** Of `etc/system-states`, by the state's number: it is there, and what SLP_TYP it takes. */
const STATE_SUPPORTED = 0x80;

export interface FirmwareSettings extends SmbiosOptions {
  readonly hasVga?: boolean;
  readonly hasFloppy?: boolean;
  readonly hasBootMenu?: boolean | undefined;
  /** In the order in which firmware tries them. */
  readonly bootDisks?: readonly BootDisk[];
  /** As `generationPageOf` makes it; the guest reads what it holds then. */
  readonly generationPage: Uint8Array;
  readonly hotMemory?: HotMemory | undefined;
  /** Slots of bus 0 in which disks come and go. */
  readonly diskBays?: readonly number[];
  /** Where processors come and go: those that are there at power-on. Default: all, always. */
  readonly cpusAtStart?: number | undefined;
  /** Those that are there, 16 bits; the guest reads what it holds then. */
  readonly presentCpus?: Uint8Array;
}

/** Where a disk is: a virtio-blk or NVMe disk's PCI slot, or the AHCI controller's with a port, or the IDE controller's. */
export interface BootDisk {
  readonly device: number;
  readonly function?: number;
  readonly port?: number;
  /** A network card, whose ROM firmware starts from. */
  readonly isNetwork?: boolean;
  readonly isNvme?: boolean;
  /** Channel and drive. */
  readonly ide?: readonly [channel: number, drive: number];
  /** Behind the LPC bridge: the number of the drive. */
  readonly floppy?: number;
}

const BOOT_MENU_WAIT_MS = 5000;

/** The page that firmware places, with the generation identifier of a machine that is no copy. */
export function generationPageOf(seed: string): Uint8Array {
  const page = new Uint8Array(GENERATION.PAGE_BYTES);
  page.set(generationIdOf(seed), GENERATION.OFFSET);
  return page;
}

/** Where the identifier is, as firmware has told. */
export function generationPlacedAt(fwCfg: FwCfg): Gpa | undefined {
  const told = fwCfg.written(GENERATION_FILE.ADDRESS);
  if (!told) return undefined;
  const page = Number(new DataView(told.buffer, told.byteOffset, 8).getBigUint64(0, true));
  return page === 0 ? undefined : page + GENERATION.OFFSET;
}

export function fwCfgItems(settings: FirmwareSettings): FwCfgItems {
  const {
    memoryBytes,
    cpuCount,
    hasVga = false,
    hasFloppy = false,
    hasBootMenu = false,
    bootDisks = [],
    hotMemory,
    diskBays = [],
    cpusAtStart,
    presentCpus = littleEndian(cpuCount, 2),
  } = settings;
  const isCpuThere = cpusAtStart === undefined ? undefined : (index: number) => index < cpusAtStart;
  const { lowRamBytes, highRamBytes } = bootRamOf(settings);
  const smbios = buildSmbios(settings);
  const devices = { startsInLegacyMode: true, hasFwCfg: true, hasVga, has8042: hasVga, hasFloppy, diskBays };
  const image = acpiImage({ cpuCount, isCpuThere, ...devices, hotMemory, bootRam: { lowRamBytes, highRamBytes } });
  new DataView(image.tables.buffer).setUint32(image.generationAddressAt, GENERATION.OFFSET, true);
  const ram = [
    { start: 0, sizeBytes: lowRamBytes, type: E820_TYPE.ram },
    { start: MEMORY_MAP.highRamStart, sizeBytes: highRamBytes, type: E820_TYPE.ram },
  ];
  const states = new Uint8Array(6);
  states[0] = STATE_SUPPORTED | SLEEP_TYPE.s0;
  states[5] = STATE_SUPPORTED | SLEEP_TYPE.s5;
  const files: FwCfgFile[] = [
    { name: "etc/e820", bytes: encodeE820(ram.filter(({ sizeBytes }) => sizeBytes > 0)) },
    // Firmware places no 64-bit windows below.
    ...(hotMemory ? [{ name: "etc/reserved-memory-end", bytes: littleEndian(endOf(hotMemory), 8) }] : []),
    { name: "etc/sercon-port", bytes: littleEndian(PORT_MAP.uart0, 8) },
    { name: "etc/system-states", bytes: states },
    ...(hasBootMenu ? [{ name: "etc/boot-menu-wait", bytes: littleEndian(BOOT_MENU_WAIT_MS, 2) }] : []),
    ...(bootDisks.length > 0 ? [{ name: "bootorder", bytes: bootOrder(bootDisks) }] : []),
    { name: GENERATION_FILE.PAGE, bytes: settings.generationPage },
    { name: GENERATION_FILE.ADDRESS, bytes: new Uint8Array(8), isWritable: true },
    { name: SMBIOS_FILE.TABLES, bytes: smbios.tables },
    { name: SMBIOS_FILE.ANCHOR, bytes: smbios.anchor },
    { name: ACPI_FILE.TABLES, bytes: withoutSums(image) },
    { name: ACPI_FILE.RSDP, bytes: image.rsdp },
    { name: ACPI_FILE.LOADER, bytes: tableLoader(image) },
  ];
  const numbered = new Map<number, Uint8Array>([
    [KEY.UUID, uuidOf(settings.seed)],
    [KEY.RAM_SIZE, littleEndian(memoryBytes, 8)],
    [KEY.NB_CPUS, presentCpus],
    [KEY.MAX_CPUS, littleEndian(cpuCount, 2)],
    [KEY.NUMA, concat(littleEndian(0, 8), new Uint8Array(8 * cpuCount))],
    [KEY.BOOT_MENU, littleEndian(hasBootMenu ? 1 : 0, 2)],
    [PC_KEY.IRQ0_OVERRIDE, Uint8Array.of(1)],
  ]);
  return { numbered, files };
}

function endOf({ start, sizeBytes }: HotMemory): number {
  return start + sizeBytes;
}

/** Open Firmware's device paths, one a line, with a zero at the end. */
function bootOrder(disks: readonly BootDisk[]): Uint8Array {
  const paths = disks.map(({ device, function: functionNumber = 0, port, isNvme, isNetwork, ide, floppy }) => {
    const slot = device.toString(16);
    // By the name under which OVMF looks for any NVMe controller; SeaBIOS only reads the slot.
    if (isNvme) return `/pci@i0cf8/pci8086,5845@${slot}/namespace@1,0`;
    if (isNetwork) return `/pci@i0cf8/ethernet@${slot}/ethernet-phy@0`;
    if (floppy !== undefined) return `/pci@i0cf8/isa@${slot}/fdc@03f0/floppy@${floppy}`;
    if (ide) return `/pci@i0cf8/ide@${slot},${functionNumber}/drive@${ide[0]}/disk@${ide[1]}`;
    if (port === undefined) return `/pci@i0cf8/scsi@${slot}/disk@0,0`;
    return `/pci@i0cf8/pci8086,2922@${slot},${functionNumber}/drive@${port}/disk@0`;
  });
  return ascii(`${paths.join("\n")}\0`);
}

/** The loader's checksums take in what is at their place. */
function withoutSums({ tables, summed }: AcpiImage): Uint8Array {
  for (const { start } of summed) tables[start + CHECKSUM_OFFSET] = 0;
  return tables;
}
