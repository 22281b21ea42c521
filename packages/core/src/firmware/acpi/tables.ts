/**
 * The static ACPI tables (ACPI 6.5, section 5.2; IA-PC HPET 1.0a, 3.2.4; PCI Firmware 3.3, 4.1.2) of a board, laid out
 * in the BIOS area of the first MiB, or for firmware that places them:
 *
 *   RSDP -> XSDT, RSDT -> FADT -> FACS, DSDT
 *                      -> MADT, HPET, MCFG, WAET, SRAT
 *
 * Without firmware the hardware is in ACPI mode from the start: there is no SMI command port, SCI_EN reads 1. The power
 * button and the sleep button are fixed features; RTC wake-up does not exist. Reset is by the reset control register. WAET
 * ("Windows ACPI Emulated Devices Table", Microsoft, 2009) says what emulated timers make needless. SRAT is
 * there where memory can be plugged in: it tells how far that may reach, and that all is one node. Left out: SSDTs and other
 * tables of larger machines.
 */
import { APM_COMMAND } from "../../devices/acpi-pm.ts";
import { HPET_ID } from "../../devices/hpet.ts";
import { RTC_CENTURY } from "../../devices/rtc.ts";
import { ISA_IRQ, MEMORY_MAP, PM_BLOCK, PORT_MAP } from "../../machine/board-map.ts";
import type { HotMemory } from "../../machine/memory-size.ts";
import type { Gpa } from "../../memory/guest-memory.ts";
import { LOW_MEMORY, type RamSize } from "../e820.ts";
import type { GuestWrite } from "../guest-write.ts";
import { ascii, concat, littleEndian } from "./aml.ts";
import { dsdtBody, GENERATION_ADDRESS } from "./dsdt.ts";
import { madtBody } from "./madt.ts";

const HEADER_BYTES = 36;
/** Six, eight and four characters; the same in all tables, as the specification asks of some. */
const OEM_ID = "TWINMT";
const OEM_TABLE_ID = "TWINMETL";
const CREATOR_ID = "TWMT";
const TABLE_REVISION = 1;

const FADT_BYTES = 276;
const FACS_BYTES = 64;
const FACS_ALIGNMENT = 64;
const TABLE_ALIGNMENT = 16;

/** Offsets in the FADT (ACPI 6.5, table 5.9). */
const FADT = {
  FIRMWARE_CTRL: 36,
  DSDT: 40,
  SCI_INT: 46,
  SMI_CMD: 48,
  ACPI_ENABLE: 52,
  ACPI_DISABLE: 53,
  PM1a_EVT_BLK: 56,
  PM1a_CNT_BLK: 64,
  PM_TMR_BLK: 76,
  GPE0_BLK: 80,
  PM1_EVT_LEN: 88,
  PM1_CNT_LEN: 89,
  PM_TMR_LEN: 91,
  GPE0_BLK_LEN: 92,
  P_LVL2_LAT: 96,
  P_LVL3_LAT: 98,
  CENTURY: 108,
  IAPC_BOOT_ARCH: 109,
  Flags: 112,
  RESET_REG: 116,
  RESET_VALUE: 128,
  minorVersion: 131,
  X_DSDT: 140,
  X_PM1a_EVT_BLK: 148,
  X_PM1a_CNT_BLK: 172,
  X_PM_TMR_BLK: 208,
  X_GPE0_BLK: 220,
} as const;
const FADT_REVISION = 6;
const FADT_MINOR_VERSION = 5;
const FADT_FLAG = {
  WBINVD: 1 << 0,
  PROC_C1: 1 << 2,
  FIX_RTC: 1 << 6,
  RESET_REG_SUP: 1 << 10,
} as const;
const IAPC_BOOT_ARCH = { LEGACY_DEVICES: 1 << 0, HAS_8042: 1 << 1, VGA_NOT_PRESENT: 1 << 2 } as const;
/** Latencies above these say that there is no C2 and no C3. */
const NO_C2_LATENCY = 0xfff;
const NO_C3_LATENCY = 0xfff;
/** SYS_RST and RST_CPU of the reset control register (ICH9 data sheet, 13.7.5). */
const RESET_VALUE = 0x06;

const GAS_SPACE = { memory: 0, io: 1 } as const;
const PM1_EVT_BYTES = 4;
const PM1_CNT_BYTES = 2;
const PM_TMR_BYTES = 4;

const SRAT_TYPE = { LOCAL_APIC: 0, MEMORY: 1 } as const;
const SRAT_FLAG = { ENABLED: 1 << 0, HOT_PLUGGABLE: 1 << 1 } as const;
const MAX_CPUS = 255;

/** The shortest period, in ticks, that a guest should ask of it. */
const HPET_MIN_TICK = 0x80;

export interface AcpiOptions {
  readonly cpuCount: number;
  /** Processors come and go; and this one is there when the guest starts. Default: all are there, always. */
  readonly isCpuThere?: ((index: number) => boolean) | undefined;
  /** Slots of bus 0 in which disks come and go. Default: none. */
  readonly diskBays?: readonly number[];
  /** fw_cfg is there. Default: false. */
  readonly hasFwCfg?: boolean;
  /** The keyboard controller exists. Default: false. */
  readonly has8042?: boolean;
  /** A floppy controller exists. Default: false. */
  readonly hasFloppy?: boolean;
  /** A VGA adapter exists. Default: false. */
  readonly hasVga?: boolean;
  /** Memory may be plugged in here while the machine runs. Default: nowhere. */
  readonly hotMemory?: HotMemory | undefined;
  /** RAM at power-on, for `hotMemory`. */
  readonly bootRam?: RamSize;
  /** The operating system has to turn ACPI mode on, as after firmware. Default: false. */
  readonly startsInLegacyMode?: boolean;
}

export interface AcpiTables {
  readonly writes: readonly GuestWrite[];
  readonly rsdp: Gpa;
}

/** An address in one table of another: what lies there is an offset in the tables' bytes. */
interface Pointer {
  readonly at: number;
  readonly sizeBytes: 4 | 8;
}

/** The tables before they have an address: firmware, or a boot without it, gives them one. */
export interface AcpiImage {
  readonly tables: Uint8Array;
  readonly pointers: readonly Pointer[];
  /** Those with a checksum, at CHECKSUM_OFFSET of each, which is right once the pointers are. */
  readonly summed: readonly { readonly start: number; readonly length: number }[];
  /** Where in `tables` the generation identifier's address belongs, 4 bytes. */
  readonly generationAddressAt: number;
  /** Its RSDT's and XSDT's addresses are offsets in `tables`. */
  readonly rsdp: Uint8Array;
}

/** In a page of its own behind some zeros, which some firmware takes for a table otherwise. */
export const GENERATION = { PAGE_BYTES: 4096, OFFSET: 40, ID_BYTES: 16, DIRECT_ADDRESS: 0xe_f028 } as const;
export const CHECKSUM_OFFSET = 9;
export const RSDP = { BYTES: 36, RSDT: 16, XSDT: 24, CHECKSUM: 8, CHECKSUM_BYTES: 20, EXTENDED_CHECKSUM: 32 } as const;

/** The tables of the board that board-map.ts describes, in the first MiB. */
export function buildAcpiTables(options: AcpiOptions): AcpiTables {
  const { tables, pointers, summed, generationAddressAt, rsdp } = acpiImage(options);
  const rsdpAt = LOW_MEMORY.biosStart;
  const base = Math.ceil((rsdpAt + rsdp.length) / FACS_ALIGNMENT) * FACS_ALIGNMENT;
  if (base + tables.length > GENERATION.DIRECT_ADDRESS) throw new RangeError("the ACPI tables do not fit below 1 MiB");
  const relocate = (bytes: Uint8Array, { at, sizeBytes }: Pointer): void => {
    const view = new DataView(bytes.buffer);
    if (sizeBytes === 4) view.setUint32(at, view.getUint32(at, true) + base, true);
    else view.setBigUint64(at, view.getBigUint64(at, true) + BigInt(base), true);
  };
  for (const pointer of pointers) relocate(tables, pointer);
  new DataView(tables.buffer).setUint32(generationAddressAt, GENERATION.DIRECT_ADDRESS, true);
  for (const { start, length } of summed) sum(tables.subarray(start, start + length), CHECKSUM_OFFSET);
  relocate(rsdp, { at: RSDP.RSDT, sizeBytes: 4 });
  relocate(rsdp, { at: RSDP.XSDT, sizeBytes: 8 });
  sum(rsdp.subarray(0, RSDP.CHECKSUM_BYTES), RSDP.CHECKSUM);
  sum(rsdp, RSDP.EXTENDED_CHECKSUM);
  return {
    writes: [
      { gpa: rsdpAt, bytes: rsdp },
      { gpa: base, bytes: tables },
    ],
    rsdp: rsdpAt,
  };
}

export function acpiImage(options: AcpiOptions): AcpiImage {
  if (!(options.cpuCount >= 1 && options.cpuCount <= MAX_CPUS)) {
    throw new RangeError(`ACPI tables for ${options.cpuCount} processors; 1 to ${MAX_CPUS} are possible`);
  }
  const placed: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  const pointers: Pointer[] = [];
  const summed: { start: number; length: number }[] = [];
  let free = 0;
  const place = (bytes: Uint8Array, alignment: number = TABLE_ALIGNMENT): number => {
    const at = Math.ceil(free / alignment) * alignment;
    free = at + bytes.length;
    placed.push({ at, bytes });
    return at;
  };
  const placeTable = (bytes: Uint8Array, fields: readonly (readonly [number, 4 | 8])[] = []): number => {
    const at = place(bytes);
    summed.push({ start: at, length: bytes.length });
    for (const [field, sizeBytes] of fields) pointers.push({ at: at + field, sizeBytes });
    return at;
  };
  const facs = place(facsTable(), FACS_ALIGNMENT);
  const dsdt = placeTable(table("DSDT", 2, dsdtBody(options)));
  const described = [
    placeTable(fadtTable(facs, dsdt, options), [
      [FADT.FIRMWARE_CTRL, 4],
      [FADT.DSDT, 4],
      [FADT.X_DSDT, 8],
    ]),
    placeTable(table("APIC", 5, madtBody(options.cpuCount, options.isCpuThere))),
    placeTable(hpetTable()),
    placeTable(mcfgTable()),
    placeTable(waetTable()),
    ...(options.hotMemory ? [placeTable(sratTable(options, options.hotMemory))] : []),
  ];
  const rsdt = placeTable(
    table("RSDT", 1, concat(...described.map((at) => littleEndian(at, 4)))),
    described.map((_, i) => [HEADER_BYTES + 4 * i, 4] as const),
  );
  const xsdt = placeTable(
    table("XSDT", 1, concat(...described.map((at) => littleEndian(at, 8)))),
    described.map((_, i) => [HEADER_BYTES + 8 * i, 8] as const),
  );
  const tables = new Uint8Array(free);
  for (const { at, bytes } of placed) tables.set(bytes, at);
  return { tables, pointers, summed, generationAddressAt: generationPlace(tables), rsdp: rsdpStructure(rsdt, xsdt) };
}

function generationPlace(tables: Uint8Array): number {
  const at = tables.findIndex((_, i) => GENERATION_ADDRESS.every((byte, j) => tables[i + j] === byte));
  return at + GENERATION_ADDRESS.length - 4;
}

function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = concat(
    ascii(signature),
    littleEndian(HEADER_BYTES + body.length, 4),
    Uint8Array.of(revision, 0),
    ascii(OEM_ID),
    ascii(OEM_TABLE_ID),
    littleEndian(TABLE_REVISION, 4),
    ascii(CREATOR_ID),
    littleEndian(TABLE_REVISION, 4),
    body,
  );
  sum(bytes, CHECKSUM_OFFSET);
  return bytes;
}

/** Sets the byte at `at` so that the sum of all bytes is zero. */
function sum(bytes: Uint8Array, at: number): void {
  let total = 0;
  for (const byte of bytes) total += byte;
  bytes[at] = (bytes[at]! - total) & 0xff;
}

function rsdpStructure(rsdt: number, xsdt: number): Uint8Array {
  return concat(
    ascii("RSD PTR "),
    Uint8Array.of(0),
    ascii(OEM_ID),
    Uint8Array.of(2),
    littleEndian(rsdt, 4),
    littleEndian(RSDP.BYTES, 4),
    littleEndian(xsdt, 8),
    littleEndian(0, 4),
  );
}

function facsTable(): Uint8Array {
  const bytes = new Uint8Array(FACS_BYTES);
  bytes.set(ascii("FACS"));
  bytes.set(littleEndian(FACS_BYTES, 4), 4);
  bytes[32] = 2; // version
  return bytes;
}

function fadtTable(facs: number, dsdt: number, options: AcpiOptions): Uint8Array {
  const body = new Uint8Array(FADT_BYTES - HEADER_BYTES);
  const set = (offset: number, sizeBytes: number, value: number): void =>
    body.set(littleEndian(value, sizeBytes), offset - HEADER_BYTES);
  const setAddress = (offset: number, port: number, sizeBytes: number, accessSize: number): void =>
    body.set(genericAddress(GAS_SPACE.io, 8 * sizeBytes, accessSize, port), offset - HEADER_BYTES);

  const pm = PORT_MAP.powerManagement;
  set(FADT.FIRMWARE_CTRL, 4, facs);
  set(FADT.DSDT, 4, dsdt);
  set(FADT.X_DSDT, 8, dsdt);
  set(FADT.SCI_INT, 2, ISA_IRQ.sci);
  if (options.startsInLegacyMode) {
    set(FADT.SMI_CMD, 4, PORT_MAP.smiCommand);
    set(FADT.ACPI_ENABLE, 1, APM_COMMAND.ACPI_ENABLE);
    set(FADT.ACPI_DISABLE, 1, APM_COMMAND.ACPI_DISABLE);
  }
  set(FADT.PM1a_EVT_BLK, 4, pm + PM_BLOCK.pm1Event);
  set(FADT.PM1a_CNT_BLK, 4, pm + PM_BLOCK.pm1Control);
  set(FADT.PM_TMR_BLK, 4, pm + PM_BLOCK.pmTimer);
  set(FADT.GPE0_BLK, 4, pm + PM_BLOCK.gpe0);
  set(FADT.PM1_EVT_LEN, 1, PM1_EVT_BYTES);
  set(FADT.PM1_CNT_LEN, 1, PM1_CNT_BYTES);
  set(FADT.PM_TMR_LEN, 1, PM_TMR_BYTES);
  set(FADT.GPE0_BLK_LEN, 1, PM_BLOCK.gpe0SizeBytes);
  set(FADT.P_LVL2_LAT, 2, NO_C2_LATENCY);
  set(FADT.P_LVL3_LAT, 2, NO_C3_LATENCY);
  set(FADT.CENTURY, 1, RTC_CENTURY);
  set(FADT.IAPC_BOOT_ARCH, 2, bootArchitecture(options));
  const { WBINVD, PROC_C1, FIX_RTC, RESET_REG_SUP } = FADT_FLAG;
  set(FADT.Flags, 4, WBINVD | PROC_C1 | FIX_RTC | RESET_REG_SUP);
  setAddress(FADT.RESET_REG, PORT_MAP.resetControl, 1, 1);
  set(FADT.RESET_VALUE, 1, RESET_VALUE);
  set(FADT.minorVersion, 1, FADT_MINOR_VERSION);
  setAddress(FADT.X_PM1a_EVT_BLK, pm + PM_BLOCK.pm1Event, PM1_EVT_BYTES, 2);
  setAddress(FADT.X_PM1a_CNT_BLK, pm + PM_BLOCK.pm1Control, PM1_CNT_BYTES, 2);
  setAddress(FADT.X_PM_TMR_BLK, pm + PM_BLOCK.pmTimer, PM_TMR_BYTES, 3);
  setAddress(FADT.X_GPE0_BLK, pm + PM_BLOCK.gpe0, PM_BLOCK.gpe0SizeBytes, 1);
  return table("FACP", FADT_REVISION, body);
}

function bootArchitecture({ has8042 = false, hasVga = false }: AcpiOptions): number {
  const { LEGACY_DEVICES, HAS_8042, VGA_NOT_PRESENT } = IAPC_BOOT_ARCH;
  return LEGACY_DEVICES | (has8042 ? HAS_8042 : 0) | (hasVga ? 0 : VGA_NOT_PRESENT);
}

/** 5.2.3.2; `accessSize`: 1 byte, 2 word, 3 double word, 4 quad word. */
function genericAddress(space: number, widthBits: number, accessSize: number, address: number): Uint8Array {
  return concat(Uint8Array.of(space, widthBits, 0, accessSize), littleEndian(address, 8));
}

function hpetTable(): Uint8Array {
  return table(
    "HPET",
    1,
    concat(
      littleEndian(HPET_ID, 4),
      genericAddress(GAS_SPACE.memory, 64, 0, MEMORY_MAP.hpetStart),
      Uint8Array.of(0),
      littleEndian(HPET_MIN_TICK, 2),
      Uint8Array.of(0),
    ),
  );
}

/** One reading of the power-management timer is enough. */
function waetTable(): Uint8Array {
  const PM_TIMER_GOOD = 1 << 1;
  return table("WAET", 1, littleEndian(PM_TIMER_GOOD, 4));
}

/** Revision 3; all that is there at power-on, and the region for more, in proximity domain 0. */
function sratTable({ cpuCount, bootRam }: AcpiOptions, hotMemory: HotMemory): Uint8Array {
  const { LOCAL_APIC, MEMORY } = SRAT_TYPE;
  const processors = Array.from({ length: cpuCount }, (_, index) =>
    concat(Uint8Array.of(LOCAL_APIC, 16, 0, index), littleEndian(SRAT_FLAG.ENABLED, 4), new Uint8Array(8)),
  );
  const memory = (start: number, sizeBytes: number, flags: number): Uint8Array =>
    concat(
      Uint8Array.of(MEMORY, 40),
      new Uint8Array(6),
      littleEndian(start, 8),
      littleEndian(sizeBytes, 8),
      new Uint8Array(4),
      littleEndian(flags, 4),
      new Uint8Array(8),
    );
  const { ENABLED, HOT_PLUGGABLE } = SRAT_FLAG;
  return table(
    "SRAT",
    3,
    concat(
      littleEndian(1, 4),
      new Uint8Array(8),
      ...processors,
      memory(0, bootRam?.lowRamBytes ?? 0, ENABLED),
      memory(hotMemory.start, hotMemory.sizeBytes, ENABLED | HOT_PLUGGABLE),
    ),
  );
}

function mcfgTable(): Uint8Array {
  const busCount = MEMORY_MAP.mmconfigSizeBytes / 2 ** 20;
  return table(
    "MCFG",
    1,
    concat(
      new Uint8Array(8),
      littleEndian(MEMORY_MAP.mmconfigStart, 8),
      littleEndian(0, 2),
      Uint8Array.of(0, busCount - 1),
      new Uint8Array(4),
    ),
  );
}
