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

/** Guest-physical address of a linear one; undefined where nothing is mapped, or the table is not in RAM. */
function physical(ram: Uint8Array, state: VcpuState, linear: bigint): bigint | undefined {
  if ((state.cr0 & CR0_PG) === 0n) return linear;
  const view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  let table = state.cr3 & ADDRESS;
  for (let shift = 39n; ; shift -= 9n) {
    const at = table + ((linear >> shift) & 0x1ffn) * 8n;
    if (at + 8n > BigInt(ram.length)) return undefined;
    const entry = view.getBigUint64(Number(at), true);
    if ((entry & PRESENT) === 0n) return undefined;
    if (shift === 12n || (shift < 39n && (entry & LARGE) !== 0n)) {
      const offset = (1n << shift) - 1n;
      return (entry & ADDRESS & ~offset) | (linear & offset);
    }
    table = entry & ADDRESS;
  }
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
