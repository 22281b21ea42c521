/** The bytes that a vCPU is about to execute, read by walking the guest's own tables; nothing of the guest changes. */
import { physicalAddress } from "../cpu/linear-address.ts";
import type { VcpuState } from "../cpu/state.ts";
import type { CodeSize } from "../isa/decoder.ts";

const CS_LONG = 0x2000;
const CS_BIG = 0x4000;
const EFER = String(0xc0000080);
const EFER_LMA = 0x400n;

function physical(ram: Uint8Array, state: VcpuState, address: bigint): bigint | undefined {
  const view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  const read = (at: number, bytes: 4 | 8): bigint | undefined => {
    if (at + bytes > ram.length) return undefined;
    return bytes === 4 ? BigInt(view.getUint32(at, true)) : view.getBigUint64(at, true);
  };
  return physicalAddress(read, state, address);
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
