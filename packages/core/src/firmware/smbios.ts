/**
 * SMBIOS tables (DSP0134, version 2.8): who made the machine, its UUID and name, its processors and memory. Linux and Windows
 * find them by an anchor in the BIOS area; firmware takes both from fw_cfg and places them itself.
 *
 * Structures: 0 BIOS, 1 system, 3 chassis, 4 a processor each, 16 and 17 memory, 19 its addresses, 32 boot status, 127 the end.
 * Left out: baseboard, slots, ports, on-board devices, and the 64-bit anchor of version 3.
 */
import { MEMORY_MAP } from "../machine/board-map.ts";
import type { Gpa } from "../memory/guest-memory.ts";
import { sha256 } from "../state/sha256.ts";
import { ascii, concat, littleEndian } from "./acpi/aml.ts";
import type { GuestWrite } from "./guest-write.ts";

export interface SmbiosOptions {
  readonly memoryBytes: number;
  readonly cpuCount: number;
  /** The machine's, hexadecimal: the UUID is derived from it. */
  readonly seed: string;
  /** Printable ASCII. */
  readonly name?: string | undefined;
  readonly tscFrequencyHz: number;
}

export interface Smbios {
  readonly tables: Uint8Array;
  /** With the tables' address left 0, and checksums for that. */
  readonly anchor: Uint8Array;
}

export const SMBIOS_FILE = { TABLES: "etc/smbios/smbios-tables", ANCHOR: "etc/smbios/smbios-anchor" } as const;

const ANCHOR_BYTES = 0x1f;
const ANCHOR = { CHECKSUM: 0x04, INTERMEDIATE: 0x10, INTERMEDIATE_CHECKSUM: 0x15, ADDRESS: 0x18 } as const;
const VERSION = { MAJOR: 2, MINOR: 8, BCD: 0x28 } as const;
const MAKER = "Twinmetal";
const PRODUCT = "Virtual PC (Q35)";
const KIB = 1024;
const MIB = KIB * KIB;
const NO_HANDLE = 0xffff;
const NOT_PROVIDED = 0xfffe;
const HANDLE = { BIOS: 0x000, SYSTEM: 0x100, CHASSIS: 0x300, CPU: 0x400, ARRAY: 0x1000, DEVICE: 0x1100, RANGE: 0x1300 };
const STATUS_HANDLE = 0x2000;
const END_HANDLE = 0x7f00;
const UNKNOWN = 2;

/** As RFC 4122, version 4, in the order in which it is written as text. */
export function uuidOf(seed: string): Uint8Array {
  const bytes = sha256(ascii(`uuid ${seed}`)).slice(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes;
}

/** Of a VM that is no copy: a copy needs another one. */
export function generationIdOf(seed: string): Uint8Array {
  return sha256(ascii(`generation ${seed}`)).slice(0, 16);
}

export function buildSmbios(options: SmbiosOptions): Smbios {
  const structures = [
    bios(),
    system(options),
    chassis(),
    ...Array.from({ length: options.cpuCount }, (_, index) => processor(index, options)),
    memoryArray(options),
    memoryDevice(options),
    ...memoryRanges(options),
    structure(32, STATUS_HANDLE, [new Uint8Array(6), Uint8Array.of(0)]),
    structure(127, END_HANDLE, []),
  ];
  const tables = concat(...structures);
  const longest = Math.max(...structures.map(({ length }) => length));
  return { tables, anchor: anchorOf(tables.length, structures.length, longest) };
}

/** For boots without firmware: both where a guest looks, every 16 bytes from 0xF0000. */
export function placeSmbios(options: SmbiosOptions, at: Gpa): readonly GuestWrite[] {
  const { tables, anchor } = buildSmbios(options);
  const tablesAt = at + 0x20;
  new DataView(anchor.buffer).setUint32(ANCHOR.ADDRESS, tablesAt, true);
  sumAnchor(anchor);
  return [
    { gpa: at, bytes: anchor },
    { gpa: tablesAt, bytes: tables },
  ];
}

function anchorOf(length: number, count: number, longest: number): Uint8Array {
  const bytes = new Uint8Array(ANCHOR_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(ascii("_SM_"));
  bytes.set([ANCHOR_BYTES, VERSION.MAJOR, VERSION.MINOR], 5);
  view.setUint16(8, longest, true);
  bytes.set(ascii("_DMI_"), ANCHOR.INTERMEDIATE);
  view.setUint16(0x16, length, true);
  view.setUint16(0x1c, count, true);
  bytes[0x1e] = VERSION.BCD;
  sumAnchor(bytes);
  return bytes;
}

function sumAnchor(bytes: Uint8Array): void {
  const sum = (from: number, at: number): void => {
    bytes[at] = 0;
    bytes[at] = -bytes.subarray(from).reduce((total, byte) => total + byte, 0) & 0xff;
  };
  sum(ANCHOR.INTERMEDIATE, ANCHOR.INTERMEDIATE_CHECKSUM);
  sum(0, ANCHOR.CHECKSUM);
}

/** Texts are numbered from 1 in the order of `texts`. */
function structure(
  type: number,
  handle: number,
  fields: readonly Uint8Array[],
  texts: readonly string[] = [],
): Uint8Array {
  const body = concat(...fields);
  const ends =
    texts.length === 0 ? [new Uint8Array(2)] : [...texts.map((text) => ascii(`${text}\0`)), Uint8Array.of(0)];
  return concat(Uint8Array.of(type, 4 + body.length), littleEndian(handle, 2), body, ...ends);
}

function bios(): Uint8Array {
  const characteristics = 1 << 3; // not supported: the field says nothing
  return structure(
    0,
    HANDLE.BIOS,
    [
      Uint8Array.of(1, 2),
      littleEndian(0xe800, 2),
      Uint8Array.of(3, 0),
      littleEndian(characteristics, 8),
      // ACPI; a virtual machine.
      Uint8Array.of(0x01, 0x10, 0, 0, 0xff, 0xff),
    ],
    [MAKER, "1", "01/01/2026"],
  );
}

function system({ seed, name }: SmbiosOptions): Uint8Array {
  const uuid = uuidOf(seed);
  const [a, b, c, d, e, f, g, h, ...rest] = uuid;
  const stored = Uint8Array.of(d!, c!, b!, a!, f!, e!, h!, g!, ...rest);
  const powerSwitch = 6;
  const texts = [MAKER, PRODUCT, "1", ...(name === undefined ? [] : [name])];
  return structure(
    1,
    HANDLE.SYSTEM,
    [Uint8Array.of(1, 2, 3, name === undefined ? 0 : 4), stored, Uint8Array.of(powerSwitch, 0, 0)],
    texts,
  );
}

function chassis(): Uint8Array {
  const other = 1;
  const safe = 3;
  return structure(
    3,
    HANDLE.CHASSIS,
    [Uint8Array.of(1, other, 0, 0, 0, safe, safe, safe, UNKNOWN), new Uint8Array(4), Uint8Array.of(0, 0, 0, 0, 0)],
    [MAKER],
  );
}

function processor(index: number, { tscFrequencyHz }: SmbiosOptions): Uint8Array {
  const mhz = Math.min(0xffff, Math.round(tscFrequencyHz / 1e6));
  const central = 3;
  const enabled = 0x41;
  const socketOther = 1;
  return structure(
    4,
    HANDLE.CPU + index,
    [
      Uint8Array.of(1, central, UNKNOWN, 2),
      new Uint8Array(8),
      Uint8Array.of(0, 0),
      littleEndian(0, 2),
      littleEndian(mhz, 2),
      littleEndian(mhz, 2),
      Uint8Array.of(enabled, socketOther),
      littleEndian(NO_HANDLE, 2),
      littleEndian(NO_HANDLE, 2),
      littleEndian(NO_HANDLE, 2),
      Uint8Array.of(0, 0, 0, 1, 1, 1),
      // 64-bit capable
      littleEndian(1 << 2, 2),
      littleEndian(UNKNOWN, 2),
    ],
    [`CPU ${index}`, MAKER],
  );
}

function memoryArray({ memoryBytes }: SmbiosOptions): Uint8Array {
  const [other, systemMemory, noCorrection] = [1, 3, 3];
  return structure(16, HANDLE.ARRAY, [
    Uint8Array.of(other, systemMemory, noCorrection),
    littleEndian(memoryBytes / KIB, 4),
    littleEndian(NOT_PROVIDED, 2),
    littleEndian(1, 2),
    littleEndian(0, 8),
  ]);
}

function memoryDevice({ memoryBytes }: SmbiosOptions): Uint8Array {
  const [dimm, ram] = [9, 7];
  return structure(
    17,
    HANDLE.DEVICE,
    [
      littleEndian(HANDLE.ARRAY, 2),
      littleEndian(NOT_PROVIDED, 2),
      littleEndian(NO_HANDLE, 2),
      littleEndian(NO_HANDLE, 2),
      littleEndian(Math.min(memoryBytes / MIB, 0x7fff), 2),
      Uint8Array.of(dimm, 0, 1, 0, ram),
      littleEndian(UNKNOWN, 2),
      littleEndian(0, 2),
      Uint8Array.of(2, 0, 0, 0, 0),
      littleEndian(0, 4),
      littleEndian(0, 2),
      littleEndian(0, 6),
    ],
    ["DIMM 0", MAKER],
  );
}

function memoryRanges({ memoryBytes }: SmbiosOptions): Uint8Array[] {
  const low = Math.min(memoryBytes, MEMORY_MAP.lowRamEnd);
  const ranges = [
    { start: 0, sizeBytes: low },
    { start: MEMORY_MAP.highRamStart, sizeBytes: memoryBytes - low },
  ].filter(({ sizeBytes }) => sizeBytes > 0);
  return ranges.map(({ start, sizeBytes }, index) =>
    structure(19, HANDLE.RANGE + index, [
      littleEndian(start / KIB, 4),
      littleEndian((start + sizeBytes) / KIB - 1, 4),
      littleEndian(HANDLE.ARRAY, 2),
      Uint8Array.of(1),
      littleEndian(0, 16),
    ]),
  );
}
