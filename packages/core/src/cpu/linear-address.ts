/**
 * Where a linear address lies, by walking the guest's own tables (Intel SDM vol. 3, chapter 5) from outside: nothing of the
 * guest changes, and access rights are not looked at. Four levels, PAE, and two levels; five levels no CPU of ours has.
 */
import type { VcpuState } from "./state.ts";

const PRESENT = 1n;
const LARGE = 0x80n;
const ADDRESS = 0xf_ffff_ffff_f000n;
const CR0_PG = 1n << 31n;
const EFER = String(0xc0000080);
const EFER_LMA = 0x400n;
const CR4_PSE = 0x10n;
const CR4_PAE = 0x20n;

/** The tables of a paging mode: shift of each level's index, bits of an index, bytes of an entry, levels with large pages. */
interface Levels {
  readonly shifts: readonly bigint[];
  readonly indexBits: bigint;
  readonly entryBytes: 4 | 8;
  readonly largest: bigint;
}
const FOUR_LEVELS: Levels = { shifts: [39n, 30n, 21n, 12n], indexBits: 9n, entryBytes: 8, largest: 30n };
const PAE: Levels = { shifts: [21n, 12n], indexBits: 9n, entryBytes: 8, largest: 21n };
const TWO_LEVELS: Levels = { shifts: [22n, 12n], indexBits: 10n, entryBytes: 4, largest: 22n };
const TWO_LEVELS_SMALL: Levels = { ...TWO_LEVELS, largest: 12n };

function pagingOf(state: VcpuState, linear: bigint): { levels: Levels; root: bigint } {
  if (((state.msrs[EFER] ?? 0n) & EFER_LMA) !== 0n) return { levels: FOUR_LEVELS, root: state.cr3 & ADDRESS };
  if ((state.cr4 & CR4_PAE) !== 0n) return { levels: PAE, root: state.pdptes[Number((linear >> 30n) & 3n)] ?? 0n };
  const levels = (state.cr4 & CR4_PSE) !== 0n ? TWO_LEVELS : TWO_LEVELS_SMALL;
  return { levels, root: state.cr3 & 0xffff_f000n };
}

/** An entry of a table, little-endian; undefined where there is no memory. GUEST-CONTROLLED: the address. */
export type TableReader = (gpa: number, bytes: 4 | 8) => bigint | undefined;

/** Guest-physical address of a linear one; undefined where nothing is mapped, or a table is not in memory. */
export function physicalAddress(read: TableReader, state: VcpuState, address: bigint): bigint | undefined {
  const isLong = ((state.msrs[EFER] ?? 0n) & EFER_LMA) !== 0n;
  const linear = isLong ? address : address & 0xffff_ffffn;
  if ((state.cr0 & CR0_PG) === 0n) return linear;
  const { levels, root } = pagingOf(state, linear);
  if (levels === PAE && (root & PRESENT) === 0n) return undefined;
  let table = root & ADDRESS;
  for (const shift of levels.shifts) {
    const index = (linear >> shift) & ((1n << levels.indexBits) - 1n);
    const entry = read(Number(table + index * BigInt(levels.entryBytes)), levels.entryBytes);
    if (entry === undefined || (entry & PRESENT) === 0n) return undefined;
    if (shift === 12n || (shift <= levels.largest && (entry & LARGE) !== 0n)) {
      const offset = (1n << shift) - 1n;
      const high = shift === 22n ? (entry & 0x1f_e000n) << 19n : 0n;
      return (entry & ADDRESS & ~offset) | high | (linear & offset);
    }
    table = entry & ADDRESS;
  }
  return undefined;
}
