/** Compares the state of two executions field by field, by the manual's names. */
import type { SegmentRegister, VcpuState } from "../cpu/state.ts";

export interface Difference {
  readonly field: string;
  readonly first: string;
  readonly second: string;
}

const GPR = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"] as const;
const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"] as const;
const CONTROL = ["rip", "rflags", "cr0", "cr2", "cr3", "cr4", "cr8", "xcr0"] as const;
const FLAGS = ["halted", "interruptShadow", "nmiPending", "nmiMasked", "retired"] as const;
const DEBUG = ["dr0", "dr1", "dr2", "dr3", "dr6", "dr7"] as const;
/** Bytes of an FXSAVE image that hold state. */
const FXSAVE_BYTES = 416;
const MOST_ADDRESSES = 8;

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** "0x..." of bytes, the highest first. */
function littleEndian(bytes: Uint8Array, at: number, length: number): string {
  let text = "";
  for (let i = length - 1; i >= 0; i--) text += (bytes[at + i] ?? 0).toString(16).padStart(2, "0");
  return `0x${text}`;
}

function* fieldsOf(state: VcpuState): Iterable<readonly [string, string]> {
  for (const [i, value] of state.gpr.entries()) yield [GPR[i] ?? `r${i}`, hex(value)];
  for (const name of CONTROL) yield [name, hex(state[name])];
  for (const name of SEGMENTS) {
    const segment: SegmentRegister = state[name];
    yield [`${name}.selector`, hex(segment.selector)];
    yield [`${name}.base`, hex(segment.base)];
    yield [`${name}.limit`, hex(segment.limit)];
    yield [`${name}.attributes`, hex(segment.attributes)];
  }
  for (const name of ["gdtr", "idtr"] as const) yield [name, `${hex(state[name].base)}/${hex(state[name].limit)}`];
  for (const [i, value] of state.pdptes.entries()) yield [`pdpte${i}`, hex(value)];
  for (const [i, value] of state.dr.entries()) yield [DEBUG[i] ?? "dr", hex(value)];
  for (const [index, value] of Object.entries(state.msrs)) yield [`msr ${hex(Number(index))}`, hex(value)];
  for (const name of FLAGS) yield [name, String(state[name])];
  yield ["x87 control", littleEndian(state.fxsave, 0, 24)];
  yield ["mxcsr", littleEndian(state.fxsave, 24, 4)];
  for (let i = 0; i < 8; i++) yield [`st${i}`, littleEndian(state.fxsave, 32 + 16 * i, 10)];
  for (let at = 160; at < FXSAVE_BYTES; at += 16) yield [`xmm${(at - 160) / 16}`, littleEndian(state.fxsave, at, 16)];
}

/** The fields in which two states differ. */
export function compareStates(first: VcpuState, second: VcpuState): Difference[] {
  const others = new Map(fieldsOf(second));
  const differences: Difference[] = [];
  for (const [field, value] of fieldsOf(first)) {
    const other = others.get(field) ?? "(none)";
    others.delete(field);
    if (other !== value) differences.push({ field, first: value, second: other });
  }
  for (const [field, value] of others) differences.push({ field, first: "(none)", second: value });
  return differences;
}

/** The first bytes in which two memories of one size differ. */
export function compareMemory(first: Uint8Array, second: Uint8Array): Difference[] {
  const words = Math.floor(first.length / 8);
  const a = new BigUint64Array(first.buffer, first.byteOffset, words);
  const b = new BigUint64Array(second.buffer, second.byteOffset, words);
  const differences: Difference[] = [];
  for (let i = 0; i < words && differences.length < MOST_ADDRESSES; i++)
    if (a[i] !== b[i])
      differences.push({ field: `memory ${hex(i * 8)}`, first: hex(a[i] ?? 0), second: hex(b[i] ?? 0) });
  return differences;
}
