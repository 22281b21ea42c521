/**
 * Writes a small ISO 9660 file system (ECMA-119, 2nd edition) with a Joliet one beside it (Joliet Specification, May 1995),
 * whose names keep small letters, dashes and more than eight letters: Linux and Windows read those where they are there.
 * The first one is for others; its names are made of the first letters and a number. The result depends on what is given
 * alone: times are those of the calendar's first day.
 * Left out: directories, Rock Ridge, boot records, files of 4 GiB and more, reading.
 *
 *   sector 16 17 18   | 19 20     | 21 22    | 23 ...        | ...              | ...
 *   descriptors       | paths     | paths    | root          | root by Joliet   | files, each from a new sector on
 *   primary Joliet end| L M (own) | L M (J.)
 */
import { StorageError } from "./storage-error.ts";

export interface IsoFile {
  /** Letters, digits, ".", "_" and "-", at most 64. */
  readonly name: string;
  readonly data: Uint8Array;
}

const SECTOR_BYTES = 2048;
const FIRST_DESCRIPTOR = 16;
const PATH_TABLES = 19;
const ROOT_DIRECTORY = 23;
const PATH_TABLE_BYTES = 10;
const MAX_FILES = 256;
const MAX_IMAGE_BYTES = 64 * 2 ** 20;
const FLAG_DIRECTORY = 2;
/** Joliet, level 3: UCS-2 with all of its characters. */
const JOLIET_ESCAPE = [0x25, 0x2f, 0x45];
/** 9.1.5: years since 1900, month, day, hour, minute, second, quarters of an hour from GMT. */
const RECORDED_AT = [70, 1, 1, 0, 0, 0, 0];

interface Extent {
  readonly sector: number;
  readonly sizeBytes: number;
}

/**
 * The image's bytes, whole sectors. `volumeId`: at most 16 of the same characters. Throws StorageError "out-of-range" for
 * more than 256 files or 64 MiB, and for names that are not plain or come twice.
 */
export function writeIso9660(volumeId: string, files: readonly IsoFile[]): Uint8Array {
  checkNames(volumeId, files);
  const sorted = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  const shortNames = sorted.map(({ name }, index) => ascii(shortName(name, index)));
  const longNames = sorted.map(({ name }) => ucs2(name));
  const rootSectors = sectorsOf(directory(Extents.none(sorted), shortNames, ROOT_DIRECTORY, 0).length);
  const longRoot = ROOT_DIRECTORY + rootSectors;
  const longSectors = sectorsOf(directory(Extents.none(sorted), longNames, longRoot, 0).length);
  const extents = Extents.from(sorted, longRoot + longSectors);
  const image = new Uint8Array(extents.end * SECTOR_BYTES);
  const put = (sector: number, bytes: Uint8Array): void => image.set(bytes, sector * SECTOR_BYTES);

  const primary = { sector: ROOT_DIRECTORY, sizeBytes: rootSectors * SECTOR_BYTES };
  const joliet = { sector: longRoot, sizeBytes: longSectors * SECTOR_BYTES };
  put(FIRST_DESCRIPTOR, descriptor(1, volumeId, extents.end, PATH_TABLES, primary));
  put(FIRST_DESCRIPTOR + 1, descriptor(2, volumeId, extents.end, PATH_TABLES + 2, joliet));
  put(FIRST_DESCRIPTOR + 2, header(255));
  for (const [index, { sector }] of [primary, joliet].entries()) {
    put(PATH_TABLES + 2 * index, pathTable(sector, true));
    put(PATH_TABLES + 2 * index + 1, pathTable(sector, false));
  }
  put(primary.sector, directory(extents.list, shortNames, primary.sector, primary.sizeBytes));
  put(joliet.sector, directory(extents.list, longNames, joliet.sector, joliet.sizeBytes));
  for (const [index, { data }] of sorted.entries()) put(extents.list[index]!.sector, data);
  return image;
}

/** Where files are: each in sectors of its own. */
const Extents = {
  none: (files: readonly IsoFile[]): Extent[] => files.map(() => ({ sector: 0, sizeBytes: 0 })),
  from(files: readonly IsoFile[], first: number): { readonly list: readonly Extent[]; readonly end: number } {
    let sector = first;
    const list = files.map(({ data }) => {
      const extent = { sector, sizeBytes: data.length };
      sector += sectorsOf(data.length);
      return extent;
    });
    return { list, end: sector };
  },
};

function checkNames(volumeId: string, files: readonly IsoFile[]): void {
  const refuse = (why: string): never => {
    throw new StorageError("out-of-range", `An ISO 9660 image cannot be made: ${why}.`);
  };
  if (!/^[A-Za-z0-9._-]{1,16}$/.test(volumeId)) refuse(`${JSON.stringify(volumeId)} is no volume's name`);
  if (files.length > MAX_FILES) refuse(`${files.length} files are more than ${MAX_FILES}`);
  const names = new Set<string>();
  let sizeBytes = 0;
  for (const { name, data } of files) {
    if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(name)) refuse(`${JSON.stringify(name)} is no plain file name`);
    if (names.has(name)) refuse(`${name} is there twice`);
    names.add(name);
    sizeBytes += data.length;
  }
  if (sizeBytes > MAX_IMAGE_BYTES) refuse(`its files have ${sizeBytes} bytes, more than ${MAX_IMAGE_BYTES}`);
}

/** 8.4 and 8.5: they differ in type, escape sequences, the alphabet of names, and in what they point to. */
function descriptor(type: 1 | 2, volumeId: string, sectors: number, paths: number, root: Extent): Uint8Array {
  const bytes = header(type);
  const encode = type === 1 ? ascii : ucs2;
  const fill = (at: number, length: number, words = ""): void => {
    for (let i = 0; i < length; i++) bytes[at + i] = type === 2 && i % 2 === 0 && i + 1 < length ? 0 : 0x20;
    bytes.set(encode(words), at);
  };
  fill(8, 32);
  fill(40, 32, volumeId);
  both32(bytes, 80, sectors);
  if (type === 2) bytes.set(JOLIET_ESCAPE, 88);
  both16(bytes, 120, 1);
  both16(bytes, 124, 1);
  both16(bytes, 128, SECTOR_BYTES);
  both32(bytes, 132, PATH_TABLE_BYTES);
  const view = viewOf(bytes);
  view.setUint32(140, paths, true);
  view.setUint32(148, paths + 1, false);
  bytes.set(record(Uint8Array.of(0), root, FLAG_DIRECTORY), 156);
  fill(190, 623);
  // 8.4.26.1: sixteen zero digits are "not given".
  for (const at of [813, 830, 847, 864]) bytes.fill(0x30, at, at + 16);
  bytes[881] = 1;
  return bytes;
}

function header(type: number): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES);
  bytes[0] = type;
  bytes.set(ascii("CD001"), 1);
  bytes[6] = 1;
  return bytes;
}

/** 9.4: the root alone, whose parent is itself. */
function pathTable(root: number, isLittleEndian: boolean): Uint8Array {
  const bytes = new Uint8Array(PATH_TABLE_BYTES);
  bytes[0] = 1;
  viewOf(bytes).setUint32(2, root, isLittleEndian);
  viewOf(bytes).setUint16(6, 1, isLittleEndian);
  return bytes;
}

/** 6.8.1: no record goes from one sector into the next. */
function directory(extents: readonly Extent[], names: readonly Uint8Array[], sector: number, sizeBytes: number) {
  const own = { sector, sizeBytes };
  const records = [
    record(Uint8Array.of(0), own, FLAG_DIRECTORY),
    record(Uint8Array.of(1), own, FLAG_DIRECTORY),
    ...extents.map((extent, index) => record(names[index]!, extent, 0)),
  ];
  const bytes = new Uint8Array(records.length * 256 + SECTOR_BYTES);
  let at = 0;
  for (const entry of records) {
    const left = SECTOR_BYTES - (at % SECTOR_BYTES);
    if (entry.length > left) at += left;
    bytes.set(entry, at);
    at += entry.length;
  }
  return bytes.subarray(0, sectorsOf(at) * SECTOR_BYTES);
}

/** 9.1 */
function record(name: Uint8Array, { sector, sizeBytes }: Extent, flags: number): Uint8Array {
  const bytes = new Uint8Array(33 + name.length + (name.length % 2 === 0 ? 1 : 0));
  bytes[0] = bytes.length;
  both32(bytes, 2, sector);
  both32(bytes, 10, sizeBytes);
  bytes.set(RECORDED_AT, 18);
  bytes[25] = flags;
  both16(bytes, 28, 1);
  bytes[32] = name.length;
  bytes.set(name, 33);
  return bytes;
}

/** 7.5: eight letters and three, of A to Z, 0 to 9 and _; the number keeps the order and makes them differ. */
function shortName(name: string, index: number): string {
  const letters = name.toUpperCase().replace(/[^A-Z0-9]/g, "_");
  return `${letters.slice(0, 5).padEnd(5, "_")}${index.toString().padStart(3, "0")}.;1`;
}

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

function ucs2(text: string): Uint8Array {
  const bytes = new Uint8Array(2 * text.length);
  for (let i = 0; i < text.length; i++) viewOf(bytes).setUint16(2 * i, text.charCodeAt(i), false);
  return bytes;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const sectorsOf = (sizeBytes: number): number => Math.ceil(sizeBytes / SECTOR_BYTES);

/** 7.2.3 and 7.3.3: in both byte orders, one behind the other. */
function both16(bytes: Uint8Array, at: number, value: number): void {
  viewOf(bytes).setUint16(at, value, true);
  viewOf(bytes).setUint16(at + 2, value, false);
}

function both32(bytes: Uint8Array, at: number, value: number): void {
  viewOf(bytes).setUint32(at, value, true);
  viewOf(bytes).setUint32(at + 4, value, false);
}
