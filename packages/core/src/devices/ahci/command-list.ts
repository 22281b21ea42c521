/**
 * The list of commands of an AHCI port in guest memory (AHCI 1.3.1, 4.2.2 and 4.2.3): headers, and the tables that they name. All
 * of it is the driver's, and hostile.
 */
import type { GuestMemory } from "../../memory/guest-memory.ts";
import type { CommandFrame } from "./drive.ts";
import { gather, PRD_START, type PrdTable } from "./prd-table.ts";
import { ACMD_BYTES, address, HEADER_BYTES, TABLE } from "./registers.ts";

export interface CommandHeader {
  readonly gpa: number;
  readonly flags: number;
  /** The command table. */
  readonly table: number;
  readonly prds: PrdTable;
}

/** Of `flags`. */
export const HEADER_FLAG = { CFL: 0x1f, ATAPI: 0x20, CLEAR_BUSY: 0x400 } as const;

/** Undefined: not in memory. `clb` and `clbu` as PxCLB and PxCLBU. */
export function readHeader(
  memory: GuestMemory,
  { clb, clbu }: { readonly clb: number; readonly clbu: number },
  slot: number,
): CommandHeader | undefined {
  const list = address(clb, clbu >>> 0);
  if (list === undefined) return undefined;
  const gpa = list + slot * HEADER_BYTES;
  const bytes = new Uint8Array(HEADER_BYTES);
  if (!memory.read(gpa, bytes)) return undefined;
  const view = new DataView(bytes.buffer);
  const table = address(view.getUint32(8, true) & ~0x7f, view.getUint32(12, true));
  if (table === undefined) return undefined;
  const prds = { gpa: table + TABLE.PRDT, entries: view.getUint16(2, true) };
  return { gpa, flags: view.getUint16(0, true), table, prds };
}

/** How many bytes were transferred. */
export function writeTransferred(memory: GuestMemory, { gpa }: CommandHeader, bytes: number): void {
  memory.write32(gpa + 4, bytes);
}

/** What the drive sees of the command whose register frame is `fis`. */
export function commandFrame(memory: GuestMemory, header: CommandHeader, slot: number, fis: Uint8Array): CommandFrame {
  return {
    fis,
    slot,
    packet: () => {
      const bytes = new Uint8Array(ACMD_BYTES);
      return memory.read(header.table + TABLE.ACMD, bytes) ? bytes : undefined;
    },
    data: (length) => {
      const bytes = new Uint8Array(length);
      return gather(memory, header.prds, PRD_START, bytes) ? bytes : undefined;
    },
  };
}
