/**
 * The saved machine as one file.
 *
 *   0        header   magic, format version, file size, place and SHA-256 of the table; CRC-32C of the header
 *   4096     sections each one canonical CBOR value
 *            table    canonical CBOR: of each section its name, schema, version, place and SHA-256
 *   n*2 MiB  RAM      raw, page after page, the segments one after the other; pages of zeros are not written
 *
 * RAM lies in the file as in memory, so that a host can map it instead of reading it; where nothing was written the
 * file has holes and costs nothing. The section "memory" says which pages are present and has a CRC-32C of each MiB.
 * The header is written last: a file that was cut off while writing has no magic.
 *
 * Whoever gives us the file may have made it: sizes are checked against the file before anything is allocated, and every
 * section must be known and used.
 */
import type { StateValue } from "../devices/device.ts";
import type { Ram, RamRegion } from "../memory/ram.ts";
import { decodeState, encodeState } from "./codec.ts";
import { crc32c } from "./crc32c.ts";
import { StateError } from "./errors.ts";
import { memoryLayout, readMemoryImage, writeMemoryImage } from "./memory-image.ts";
import { StateReader } from "./reader.ts";
import { MEMORY_SECTION, requireKnownName, SECTION_NAME, type StateSection } from "./section.ts";
import { SectionTable } from "./section-table.ts";
import { SHA256_BYTES, sha256 } from "./sha256.ts";

/** Random access for writing. Bytes never written read as zero. */
export interface StateSink {
  /** Called once, before anything else. */
  setSize(sizeBytes: number): void;
  /** Takes all of `bytes` before it returns; they may lie in shared memory. */
  writeAt(offset: number, bytes: Uint8Array): void;
}

export interface StateSource {
  readonly sizeBytes: number;
  /** Fills all of `into`. Precondition: the range lies inside the file. */
  readAt(offset: number, into: Uint8Array): void;
}

/** As PNG's: a byte above 127 and a line ending show what a text-mode transfer does to a file. */
export const STATE_MAGIC: Uint8Array = Uint8Array.from("\x89TWMVM\r\n", (c) => c.charCodeAt(0));
export const STATE_FORMAT_VERSION = 1;

const HEADER = {
  MAGIC: 0,
  VERSION: 8,
  FILE_SIZE: 16,
  TABLE_OFFSET: 24,
  TABLE_LENGTH: 32,
  TABLE_SHA256: 40,
  CRC: 72,
  sizeBytes: 76,
} as const;
const SECTIONS_START = 4096;
/** What a huge page of a mapped file needs; a hole costs nothing. */
const RAM_ALIGNMENT = 2 ** 21;
const MAX_TABLE_BYTES = 2 ** 20;
const MAX_SECTIONS = 256;
const MAX_SECTION_BYTES = 2 ** 28;
const MEMORY_SCHEMA = { id: "memory", version: 1 } as const;

interface TableEntry {
  readonly name: string;
  readonly schema: string;
  readonly version: number;
  readonly offset: number;
  readonly length: number;
  readonly sha256: Uint8Array;
}

export function writeStateFile(
  sink: StateSink,
  sections: readonly StateSection[],
  regions: readonly RamRegion[],
): void {
  const encoded = sections.map((section) => ({ section, bytes: encodeState(section.state) }));
  const layout = memoryLayout(regions);
  // The directory of RAM has the same size whatever RAM holds; the table is bounded.
  let end = SECTIONS_START + layout.directoryBytes + MAX_TABLE_BYTES;
  for (const { bytes } of encoded) end += bytes.length;
  const ramOffset = Math.ceil(end / RAM_ALIGNMENT) * RAM_ALIGNMENT;
  const fileSize = ramOffset + layout.ramBytes;
  sink.setSize(fileSize);
  const directory = writeMemoryImage(sink, ramOffset, regions);

  let at = SECTIONS_START;
  const table: StateValue[] = [];
  const put = (name: string, schema: string, version: number, bytes: Uint8Array): void => {
    if (!SECTION_NAME.test(name)) throw new StateError("unknown", name, `${name} is no possible name of a section.`);
    sink.writeAt(at, bytes);
    table.push({ name, schema, version, offset: at, length: bytes.length, sha256: sha256(bytes) });
    at += bytes.length;
  };
  for (const { section, bytes } of encoded) put(section.name, section.schema, section.version, bytes);
  put(MEMORY_SECTION, MEMORY_SCHEMA.id, MEMORY_SCHEMA.version, encodeState(directory));
  const tableBytes = encodeState(table);
  sink.writeAt(at, tableBytes);
  sink.writeAt(0, header(fileSize, at, tableBytes));
}

function header(fileSize: number, tableOffset: number, table: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER.sizeBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(STATE_MAGIC, HEADER.MAGIC);
  view.setUint32(HEADER.VERSION, STATE_FORMAT_VERSION, true);
  view.setBigUint64(HEADER.FILE_SIZE, BigInt(fileSize), true);
  view.setBigUint64(HEADER.TABLE_OFFSET, BigInt(tableOffset), true);
  view.setUint32(HEADER.TABLE_LENGTH, table.length, true);
  bytes.set(sha256(table), HEADER.TABLE_SHA256);
  view.setUint32(HEADER.CRC, crc32c(bytes.subarray(0, HEADER.CRC)), true);
  return bytes;
}

/** An opened state file. Small sections are read and verified by `open`, RAM by `readMemory`. */
export class StateFile extends SectionTable {
  readonly #source: StateSource;

  private constructor(source: StateSource, sections: readonly StateSection[]) {
    super(sections);
    this.#source = source;
  }

  /** Throws StateError unless this is a whole, undamaged state file with known sections only. */
  static open(source: StateSource): StateFile {
    const table = readTable(source);
    const sections = table.map(({ name, schema, version, offset, length, sha256 }): StateSection => {
      requireKnownName(name);
      const bytes = readRange(source, offset, length, name);
      requireHash(bytes, sha256, name);
      return { name, schema, version, state: decodeState(bytes, name) };
    });
    return new StateFile(source, sections);
  }

  /** Fills RAM. Precondition: `memory` is zero. Throws StateError. */
  readMemory(memory: Ram): void {
    const directory = this.section(MEMORY_SECTION, MEMORY_SCHEMA.id, MEMORY_SCHEMA.version);
    readMemoryImage(this.#source, new StateReader(directory, MEMORY_SECTION), memory);
  }
}

function readTable(source: StateSource): TableEntry[] {
  const head = new Uint8Array(HEADER.sizeBytes);
  if (source.sizeBytes >= STATE_MAGIC.length) {
    source.readAt(0, head.subarray(0, Math.min(head.length, source.sizeBytes)));
  }
  if (STATE_MAGIC.some((byte, i) => head[i] !== byte)) {
    const isUnfinished = head.every((byte) => byte === 0) && source.sizeBytes >= SECTIONS_START;
    throw new StateError(
      "format",
      "file",
      isUnfinished
        ? "This state was never finished: the program that saved it was interrupted. Use an earlier state."
        : "This file is no saved state of Twinmetal. Give the file that `save` wrote.",
    );
  }
  const view = new DataView(head.buffer);
  const version = view.getUint32(HEADER.VERSION, true);
  if (source.sizeBytes < head.length) throw truncated(source.sizeBytes, head.length);
  if (version !== STATE_FORMAT_VERSION) {
    throw new StateError(
      "version",
      "file",
      `The state has format version ${version}; this program reads version ${STATE_FORMAT_VERSION}. Use the program that saved it, or a newer one.`,
    );
  }
  if (view.getUint32(HEADER.CRC, true) !== crc32c(head.subarray(0, HEADER.CRC))) {
    throw new StateError("checksum", "file", "The state's header is damaged. Use an intact copy.");
  }
  const fileSize = Number(view.getBigUint64(HEADER.FILE_SIZE, true));
  if (source.sizeBytes < fileSize) throw truncated(source.sizeBytes, fileSize);
  if (source.sizeBytes > fileSize) throw damaged("file", `is longer than the ${fileSize} bytes it should have`);
  const tableLength = view.getUint32(HEADER.TABLE_LENGTH, true);
  if (tableLength > MAX_TABLE_BYTES) throw damaged("table", `has a table of ${tableLength} bytes`);
  const bytes = readRange(source, Number(view.getBigUint64(HEADER.TABLE_OFFSET, true)), tableLength, "table");
  requireHash(bytes, head.subarray(HEADER.TABLE_SHA256, HEADER.TABLE_SHA256 + SHA256_BYTES), "table");
  const list = new StateReader({ table: decodeState(bytes, "table") }, "file").array("table", MAX_SECTIONS);
  return list.map((reader) => {
    const entry: TableEntry = {
      name: reader.text("name", 128),
      schema: reader.text("schema", 128),
      version: reader.u32("version"),
      offset: reader.int("offset", 0, Number.MAX_SAFE_INTEGER),
      length: reader.int("length", 0, MAX_SECTION_BYTES),
      sha256: reader.bytesExact("sha256", SHA256_BYTES),
    };
    reader.end();
    return entry;
  });
}

function readRange(source: StateSource, offset: number, length: number, path: string): Uint8Array {
  if (!Number.isSafeInteger(offset) || offset < SECTIONS_START || offset + length > source.sizeBytes) {
    throw damaged(path, `places its ${path} outside the file`);
  }
  const bytes = new Uint8Array(length);
  source.readAt(offset, bytes);
  return bytes;
}

function requireHash(bytes: Uint8Array, expected: Uint8Array, path: string): void {
  if (sha256(bytes).every((byte, i) => byte === expected[i])) return;
  throw new StateError(
    "checksum",
    path,
    `The state's section ${path} is damaged: its hash does not match. Use an intact copy.`,
  );
}

function damaged(path: string, what: string): StateError {
  return new StateError("format", path, `The state file is damaged: it ${what}. Use an intact copy.`);
}

function truncated(sizeBytes: number, expected: number): StateError {
  return new StateError(
    "format",
    "file",
    `The state file is truncated: it has ${sizeBytes} of ${expected} bytes. Use a whole copy, or an earlier state.`,
  );
}
