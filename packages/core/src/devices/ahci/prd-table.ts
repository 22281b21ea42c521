/**
 * The physical region descriptor table of an AHCI command (AHCI 1.3.1, 4.2.3.3): where in guest memory a command's data
 * goes. It stays in guest memory and is read a part at a time, as far as a piece of the transfer needs: a region has two
 * bytes at least, so that the work is bounded by the bytes. Left out: the interrupt bit of a region.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import { address } from "./registers.ts";

const ENTRY_BYTES = 16;
const DBC_MASK = 0x3f_fffe;

/** A place in the table's data. */
export interface PrdCursor {
  readonly entry: number;
  /** Within the region. */
  readonly offset: number;
}

export const PRD_START: PrdCursor = { entry: 0, offset: 0 };

export interface PrdTable {
  readonly gpa: number;
  readonly entries: number;
}

/** Calls `visit` for each stretch of memory; the place behind it, or undefined: the table ends, or `visit` said false. */
export function walkPrds(
  memory: GuestMemory,
  table: PrdTable,
  from: PrdCursor,
  length: number,
  visit: (gpa: number, at: number, length: number) => boolean,
): PrdCursor | undefined {
  let { entry, offset } = from;
  for (let at = 0; at < length; ) {
    if (entry >= table.entries) return undefined;
    const gpa = table.gpa + entry * ENTRY_BYTES;
    const low = memory.read32(gpa);
    const high = memory.read32(gpa + 4);
    const dbc = memory.read32(gpa + 12);
    if (low === undefined || high === undefined || dbc === undefined) return undefined;
    const regionBytes = (dbc & DBC_MASK) + 2;
    if (offset >= regionBytes) {
      // The driver made the region shorter in the middle of the transfer.
      if (offset > regionBytes) return undefined;
      entry++;
      offset = 0;
      continue;
    }
    const base = address(low & ~1, high);
    const part = Math.min(regionBytes - offset, length - at);
    if (base === undefined || !visit(base + offset, at, part)) return undefined;
    at += part;
    offset += part;
    if (offset === regionBytes) {
      entry++;
      offset = 0;
    }
  }
  return { entry, offset };
}

/** Fills `into` from the guest's regions. False: they are too short, or no memory. */
export function gather(memory: GuestMemory, table: PrdTable, from: PrdCursor, into: Uint8Array): boolean {
  const end = walkPrds(memory, table, from, into.length, (gpa, at, length) =>
    memory.read(gpa, into.subarray(at, at + length)),
  );
  return end !== undefined;
}

/** Copies `bytes` to the guest's regions, as far as those go. The number of bytes that fit. */
export function scatter(memory: GuestMemory, table: PrdTable, from: PrdCursor, bytes: Uint8Array): number {
  let done = 0;
  walkPrds(memory, table, from, bytes.length, (gpa, at, length) => {
    if (!memory.write(gpa, bytes.subarray(at, at + length))) return false;
    done = at + length;
    return true;
  });
  return done;
}
