/**
 * RAM as a sparse raw image inside a state file, and its directory: which pages are present (a bit for each, lowest
 * first), and for each MiB of the image the CRC-32C of its present pages. See file.ts.
 */
import type { StateValue } from "../devices/device.ts";
import type { Ram, RamRegion } from "../memory/ram.ts";
import { crc32c } from "./crc32c.ts";
import { StateError } from "./errors.ts";
import type { StateSink, StateSource } from "./file.ts";
import type { StateReader } from "./reader.ts";
import { zeroPageTest } from "./zero-page.ts";

const PAGE_BYTES = 4096;
const PAGES_PER_BLOCK = 256;
const BLOCK_BYTES = PAGE_BYTES * PAGES_PER_BLOCK;
const MAX_SEGMENTS = 16;

interface Layout {
  readonly ramBytes: number;
  /** An upper bound of the encoded directory. */
  readonly directoryBytes: number;
}

export function memoryLayout(regions: readonly RamRegion[]): Layout {
  let ramBytes = 0;
  let blocks = 0;
  for (const { bytes } of regions) {
    ramBytes += bytes.length;
    blocks += Math.ceil(bytes.length / BLOCK_BYTES);
  }
  return { ramBytes, directoryBytes: 4096 + ramBytes / PAGE_BYTES / 8 + regions.length + blocks * 4 };
}

/** Writes all pages that are not zero; returns the directory. */
export function writeMemoryImage(sink: StateSink, offset: number, regions: readonly RamRegion[]): StateValue {
  const segments: StateValue[] = [];
  for (const { start, bytes } of regions) {
    const pages = bytes.length / PAGE_BYTES;
    const present = new Uint8Array(Math.ceil(pages / 8));
    const checksums = new Uint8Array(Math.ceil(pages / PAGES_PER_BLOCK) * 4);
    const checksumView = new DataView(checksums.buffer);
    const isZero = zeroPageTest(bytes);
    for (let block = 0, first = 0; first < pages; block++, first += PAGES_PER_BLOCK) {
      const end = Math.min(first + PAGES_PER_BLOCK, pages);
      for (let page = first; page < end; page++) if (!isZero(page)) present[page >> 3]! |= 1 << (page & 7);
      let checksum = 0;
      for (const run of presentRuns(present, first, end)) {
        const part = bytes.subarray(run.first * PAGE_BYTES, run.end * PAGE_BYTES);
        checksum = crc32c(part, checksum);
        sink.writeAt(offset + run.first * PAGE_BYTES, part);
      }
      checksumView.setUint32(block * 4, checksum, true);
    }
    segments.push({ start, sizeBytes: bytes.length, offset, present, checksums });
    offset += bytes.length;
  }
  return { segments };
}

/** Precondition: `memory` is zero. Throws StateError. */
export function readMemoryImage(source: StateSource, reader: StateReader, memory: Ram): void {
  const saved = reader.array("segments", MAX_SEGMENTS);
  reader.end();
  if (saved.length !== memory.regions.length) throw foreign();
  for (const [i, segment] of saved.entries()) readSegment(source, segment, memory.regions[i]!, memory);
}

function readSegment(source: StateSource, reader: StateReader, region: RamRegion, memory: Ram): void {
  const { start, bytes } = region;
  const pages = bytes.length / PAGE_BYTES;
  const savedStart = reader.int("start", 0, Number.MAX_SAFE_INTEGER);
  const savedSize = reader.int("sizeBytes", 0, Number.MAX_SAFE_INTEGER);
  if (savedStart !== start || savedSize !== bytes.length) throw foreign();
  const offset = reader.int("offset", 0, Number.MAX_SAFE_INTEGER);
  const present = reader.bytesExact("present", Math.ceil(pages / 8));
  const checksums = reader.bytesExact("checksums", Math.ceil(pages / PAGES_PER_BLOCK) * 4);
  reader.end();
  if (offset + bytes.length > source.sizeBytes) throw reader.invalid("offset", "lies outside the file");
  const checksumView = new DataView(checksums.buffer);
  for (let block = 0, first = 0; first < pages; block++, first += PAGES_PER_BLOCK) {
    let checksum = 0;
    for (const run of presentRuns(present, first, Math.min(first + PAGES_PER_BLOCK, pages))) {
      const part = bytes.subarray(run.first * PAGE_BYTES, run.end * PAGE_BYTES);
      source.readAt(offset + run.first * PAGE_BYTES, part);
      checksum = crc32c(part, checksum);
      memory.written(start + run.first * PAGE_BYTES, part.length);
    }
    if (checksum === checksumView.getUint32(block * 4, true)) continue;
    const at = `memory 0x${(start + first * PAGE_BYTES).toString(16)}`;
    throw new StateError(
      "checksum",
      at,
      `The state's ${at} is damaged: its checksum does not match. Use an intact copy.`,
    );
  }
}

/** Runs of present pages in [first, end). */
function* presentRuns(present: Uint8Array, first: number, end: number): Generator<{ first: number; end: number }> {
  for (let page = first; page < end; page++) {
    if ((present[page >> 3]! & (1 << (page & 7))) === 0) continue;
    const start = page;
    while (page < end && (present[page >> 3]! & (1 << (page & 7))) !== 0) page++;
    yield { first: start, end: page };
  }
}

function foreign(): StateError {
  return new StateError(
    "foreign",
    "memory",
    "The state's memory has another size than this machine's. It belongs to another machine.",
  );
}
