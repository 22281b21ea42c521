/** The bytes that a vCPU is about to execute, read by walking the guest's own tables; nothing of the guest changes. */
import type { VcpuState } from "../cpu/state.ts";
import type { CodeSize } from "../isa/decoder.ts";

const PRESENT = 1n;
const LARGE = 0x80n;
const ADDRESS = 0xf_ffff_ffff_f000n;
const CR0_PG = 1n << 31n;
const CS_LONG = 0x2000;
const CS_BIG = 0x4000;
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

/** Guest-physical address of a linear one; undefined where nothing is mapped, or the table is not in RAM. */
function physical(ram: Uint8Array, state: VcpuState, address: bigint): bigint | undefined {
  const isLong = ((state.msrs[EFER] ?? 0n) & EFER_LMA) !== 0n;
  const linear = isLong ? address : address & 0xffff_ffffn;
  if ((state.cr0 & CR0_PG) === 0n) return linear;
  const view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  const { levels, root } = pagingOf(state, linear);
  if (levels === PAE && (root & PRESENT) === 0n) return undefined;
  let table = root & ADDRESS;
  for (const shift of levels.shifts) {
    const index = (linear >> shift) & ((1n << levels.indexBits) - 1n);
    const at = Number(table + index * BigInt(levels.entryBytes));
    if (at + levels.entryBytes > ram.length) return undefined;
    const entry = levels.entryBytes === 4 ? BigInt(view.getUint32(at, true)) : view.getBigUint64(at, true);
    if ((entry & PRESENT) === 0n) return undefined;
    if (shift === 12n || (shift <= levels.largest && (entry & LARGE) !== 0n)) {
      const offset = (1n << shift) - 1n;
      const high = shift === 22n ? (entry & 0x1f_e000n) << 19n : 0n;
      return (entry & ADDRESS & ~offset) | high | (linear & offset);
    }
    table = entry & ADDRESS;
  }
  return undefined;
}

/** Up to 15 bytes at CS:RIP; fewer where memory ends. */
export function codeAt(ram: Uint8Array, state: VcpuState): Uint8Array {
  const bytes: number[] = [];
  for (let i = 0n; i < 15n; i++) {
    const at = physical(ram, state, BigInt.asUintN(64, state.cs.base + state.rip + i));
    if (at === undefined || at >= BigInt(ram.length)) break;
    bytes.push(ram[Number(at)] ?? 0);
  }
  return Uint8Array.from(bytes);
}

export function codeSizeOf(state: VcpuState): CodeSize {
  const isLong = ((state.msrs[EFER] ?? 0n) & EFER_LMA) !== 0n;
  if (isLong && state.cs.attributes & CS_LONG) return 64;
  return state.cs.attributes & CS_BIG ? 32 : 16;
}
