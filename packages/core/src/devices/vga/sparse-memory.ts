/**
 * Video memory in a saved state: a bit for each page of 4 KiB that is not all zero, and those pages one after the other.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";

const PAGE_BYTES = 4096;

export function saveSparse(memory: Uint8Array): StateValue {
  const pages = memory.length / PAGE_BYTES;
  const present = new Uint8Array(Math.ceil(pages / 8));
  const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.length / 4);
  let count = 0;
  for (let page = 0; page < pages; page++) {
    if (isZero(words, page * (PAGE_BYTES / 4))) continue;
    present[page >> 3]! |= 1 << (page & 7);
    count++;
  }
  const bytes = new Uint8Array(count * PAGE_BYTES);
  let to = 0;
  for (let page = 0; page < pages; page++) {
    if ((present[page >> 3]! & (1 << (page & 7))) === 0) continue;
    bytes.set(memory.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), to);
    to += PAGE_BYTES;
  }
  return { present, bytes };
}

/** Checks only; what it returns puts the state there. */
export function parseSparse(reader: StateReader, memory: Uint8Array): () => void {
  const pages = memory.length / PAGE_BYTES;
  const present = reader.bytesExact("present", Math.ceil(pages / 8));
  const bytes = reader.bytes("bytes", memory.length);
  reader.end();
  let count = 0;
  for (const byte of present) for (let bit = 0; bit < 8; bit++) count += (byte >> bit) & 1;
  if (bytes.length !== count * PAGE_BYTES) throw reader.invalid("bytes", "has another length than its pages");
  return () => {
    memory.fill(0);
    let from = 0;
    for (let page = 0; page < pages; page++) {
      if ((present[page >> 3]! & (1 << (page & 7))) === 0) continue;
      memory.set(bytes.subarray(from, from + PAGE_BYTES), page * PAGE_BYTES);
      from += PAGE_BYTES;
    }
  };
}

function isZero(words: Uint32Array, from: number): boolean {
  for (let i = from; i < from + PAGE_BYTES / 4; i++) if (words[i] !== 0) return false;
  return true;
}
