/**
 * A vCPU's registers as GDB knows x86-64's: the description that it is given (features org.gnu.gdb.i386.core and .sse, GDB
 * manual, G.5.14), and each register's bytes out of and into the architectural state. x87 and SSE are FXSAVE's image (SDM
 * vol. 1, table 10-2). Segment registers are read only: a selector alone does not say what it describes.
 */
import type { VcpuState } from "@twinmetal/core";

interface Register {
  readonly name: string;
  readonly bytes: number;
  readonly type: string;
  /** Little-endian. */
  read(state: VcpuState): bigint;
  /** Undefined: cannot be written. */
  readonly write?: (state: VcpuState, value: bigint) => VcpuState;
}

/** VcpuState's numbers of GDB's order. */
const GPR = { rax: 0, rbx: 3, rcx: 1, rdx: 2, rsi: 6, rdi: 7, rbp: 5, rsp: 4 } as const;
const SEGMENTS = ["cs", "ss", "ds", "es", "fs", "gs"] as const;
/** FXSAVE's fields, with 64-bit pointers: GDB's name, offset, bytes. */
const X87_CONTROL = [
  ["fctrl", 0, 2],
  ["fstat", 2, 2],
  ["ftag", 4, 1],
  ["fiseg", -1, 0],
  ["fioff", 8, 4],
  ["foseg", -1, 0],
  ["fooff", 16, 4],
  ["fop", 6, 2],
] as const;
const [MXCSR_AT, ST0_AT, XMM0_AT] = [24, 32, 160];

const general = (name: string, index: number, type: string): Register => ({
  name,
  bytes: 8,
  type,
  read: ({ gpr }) => gpr[index]!,
  write: (state, value) => ({ ...state, gpr: state.gpr.map((old, i) => (i === index ? value : old)) }),
});

function fxsaved(name: string, at: number, bytes: number, width: number, type: string): Register {
  return {
    name,
    bytes: width,
    type,
    read: ({ fxsave }) => toValue(fxsave.subarray(at, at + bytes)),
    write: (state, value) => {
      const fxsave = state.fxsave.slice();
      fxsave.set(toBytes(value, bytes), at);
      return { ...state, fxsave };
    },
  };
}

const CORE: readonly Register[] = [
  ...Object.entries(GPR).map(([name, index]) => general(name, index, /^r[bs]p$/.test(name) ? "data_ptr" : "int64")),
  ...Array.from({ length: 8 }, (_, i) => general(`r${8 + i}`, 8 + i, "int64")),
  { name: "rip", bytes: 8, type: "code_ptr", read: ({ rip }) => rip, write: (state, rip) => ({ ...state, rip }) },
  {
    name: "eflags",
    bytes: 4,
    type: "int32",
    read: ({ rflags }) => rflags,
    write: (state, rflags) => ({ ...state, rflags: rflags | 2n }),
  },
  ...SEGMENTS.map((name): Register => ({ name, bytes: 4, type: "int32", read: (s) => BigInt(s[name].selector) })),
  ...Array.from({ length: 8 }, (_, i) => fxsaved(`st${i}`, ST0_AT + 16 * i, 10, 10, "i387_ext")),
  ...X87_CONTROL.map(([name, at, bytes]): Register => {
    if (at < 0) return { name, bytes: 4, type: "int", read: () => 0n };
    return fxsaved(name, at, bytes, 4, "int");
  }),
];
const SSE: readonly Register[] = [
  ...Array.from({ length: 16 }, (_, i) => fxsaved(`xmm${i}`, XMM0_AT + 16 * i, 16, 16, "uint128")),
  fxsaved("mxcsr", MXCSR_AT, 4, 4, "int"),
];
const REGISTERS = [...CORE, ...SSE];
/** What `g` answers, in bytes. */
export const REGISTERS_BYTES: number = REGISTERS.reduce((sum, { bytes }) => sum + bytes, 0);

/** All of them, in the description's order. */
export function registerBytes(state: VcpuState): Uint8Array {
  return Buffer.concat(REGISTERS.map(({ read, bytes }) => toBytes(read(state), bytes)));
}

/** Undefined: there is no such register. */
export function oneRegister(state: VcpuState, number: number): Uint8Array | undefined {
  const register = REGISTERS[number];
  return register && toBytes(register.read(state), register.bytes);
}

/** The state with one register changed; undefined where it cannot be. */
export function withRegister(state: VcpuState, number: number, bytes: Uint8Array): VcpuState | undefined {
  const register = REGISTERS[number];
  if (!register || bytes.length !== register.bytes) return undefined;
  const value = toValue(bytes);
  return register.write ? register.write(state, value) : register.read(state) === value ? state : undefined;
}

/** The state with all of them, in the description's order; what cannot be written stays. */
export function withRegisters(state: VcpuState, bytes: Uint8Array): VcpuState | undefined {
  if (bytes.length !== REGISTERS_BYTES) return undefined;
  let at = 0;
  return REGISTERS.reduce((next, { bytes: size, write }) => {
    const value = toValue(bytes.subarray(at, at + size));
    at += size;
    return write ? write(next, value) : next;
  }, state);
}

export const TARGET_DESCRIPTION: string = [
  `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target><architecture>i386:x86-64</architecture>`,
  feature("org.gnu.gdb.i386.core", CORE),
  feature("org.gnu.gdb.i386.sse", SSE),
  "</target>",
].join("\n");

function feature(name: string, registers: readonly Register[]): string {
  const lines = registers.map(({ name, bytes, type }) => `<reg name="${name}" bitsize="${bytes * 8}" type="${type}"/>`);
  return `<feature name="${name}">\n${lines.join("\n")}\n</feature>`;
}

function toBytes(value: bigint, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}

function toValue(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
