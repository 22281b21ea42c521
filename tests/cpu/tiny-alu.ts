// ADD, ADC, SUB, SBB, CMP, INC and DEC on general registers, written out by hand and decoded by iced: a subject
// that proves the rig and nothing else. It knows the three faults that such instructions can have: #UD for LOCK,
// #GP for more than 15 bytes, #PF for code that runs into the next page.

import * as iced from "iced-x86";
import type { FormFilter } from "./forms.ts";
import { CODE_END, type CpuCase, type CpuResult, type CpuSubject, FLAG } from "./subject.ts";

const { Decoder, DecoderError, OpKind, Register, RegisterExt } = iced;

const MNEMONICS = ["add", "adc", "sub", "sbb", "cmp", "inc", "dec"] as const;
type TinyMnemonic = (typeof MNEMONICS)[number];

/** Its register forms. */
export function tinyAluFilter(features: ReadonlySet<string>): FormFilter {
  const isRegisterForm = (bytes: Uint8Array): boolean => bytes.at(-1)! >= 0xc0;
  return { features, mnemonics: new Set(MNEMONICS), implemented: isRegisterForm };
}

/** Mistakes that can be planted. */
export interface TinyAluBugs {
  readonly noCarryIn?: boolean;
  readonly wrongOverflow?: boolean;
  readonly keepsUpperHalf?: boolean;
  readonly noParity?: boolean;
}

export function tinyAlu(bugs: TinyAluBugs): CpuSubject {
  return { name: "tiny ALU", step: (input) => step(input, bugs) };
}

function step(input: CpuCase, bugs: TinyAluBugs): CpuResult {
  const decoder = new Decoder(64, input.code, iced.DecoderOptions.None);
  decoder.ip = input.rip;
  const instruction = decoder.decode();
  try {
    if (!instruction.isInvalid) return execute(input, instruction, bugs);
    if (input.code.length > 15) return fault(input, 13);
    return decoder.lastError === DecoderError.NoMoreBytes ? fault(input, 14, 0x14, CODE_END) : fault(input, 6);
  } finally {
    instruction.free();
    decoder.free();
  }
}

function fault(input: CpuCase, vector: number, errorCode = 0, cr2 = 0n): CpuResult {
  const { rip, rflags, gpr, fxsave } = input;
  return { exception: { vector, errorCode, cr2 }, rip, rflags: rflags | FLAG.RF, gpr, fxsave, writes: new Map() };
}

function execute(input: CpuCase, instruction: iced.Instruction, bugs: TinyAluBugs): CpuResult {
  const gpr = input.gpr.slice();
  const target = instruction.op0Register;
  const bits = 8 * RegisterExt.size(target);
  const a = readRegister(gpr, target);
  const b = instruction.opCount === 1 ? 1n : readOperand(gpr, instruction, bits);
  const name = (iced.Mnemonic[instruction.mnemonic] ?? "").toLowerCase() as TinyMnemonic;
  const carryIn = (name === "adc" || name === "sbb") && !bugs.noCarryIn ? input.rflags & FLAG.CF : 0n;
  const isSubtraction = name === "sub" || name === "sbb" || name === "cmp" || name === "dec";
  const wide = isSubtraction ? a - b - carryIn : a + b + carryIn;
  const value = BigInt.asUintN(bits, wide);
  const top = BigInt(bits - 1);
  let rflags = input.rflags;
  const set = (flag: bigint, isSet: boolean): void => {
    rflags = isSet ? rflags | flag : rflags & ~flag;
  };
  const signs = isSubtraction ? (a ^ b) & (a ^ value) : ~(a ^ b) & (a ^ value);
  if (name !== "inc" && name !== "dec") set(FLAG.CF, wide !== value);
  set(FLAG.OF, ((signs >> top) & 1n) === 1n && !(bugs.wrongOverflow && bits === 16));
  set(FLAG.SF, ((value >> top) & 1n) === 1n);
  set(FLAG.ZF, value === 0n);
  set(FLAG.AF, ((a ^ b ^ value) & 0x10n) !== 0n);
  if (!bugs.noParity) set(FLAG.PF, hasEvenParity(value));
  if (name !== "cmp") writeRegister(gpr, target, value, bugs.keepsUpperHalf ?? false);
  return { exception: null, rip: CODE_END, rflags, gpr, fxsave: input.fxsave, writes: new Map() };
}

function hasEvenParity(value: bigint): boolean {
  let ones = 0;
  for (let byte = Number(value & 0xffn); byte !== 0; byte >>= 1) ones ^= byte & 1;
  return ones === 0;
}

function readOperand(gpr: BigUint64Array, instruction: iced.Instruction, bits: number): bigint {
  return instruction.op1Kind === OpKind.Register
    ? readRegister(gpr, instruction.op1Register)
    : BigInt.asUintN(bits, instruction.immediate(1));
}

const isHighByte = (register: number): boolean => register >= Register.AH && register <= Register.BH;

function readRegister(gpr: BigUint64Array, register: number): bigint {
  const value = gpr[RegisterExt.number(RegisterExt.fullRegister(register))]!;
  return BigInt.asUintN(8 * RegisterExt.size(register), isHighByte(register) ? value >> 8n : value);
}

function writeRegister(gpr: BigUint64Array, register: number, value: bigint, keepsUpperHalf: boolean): void {
  const number = RegisterExt.number(RegisterExt.fullRegister(register));
  const size = RegisterExt.size(register);
  if (size >= 4 && !keepsUpperHalf) {
    gpr[number] = value;
    return;
  }
  const shift = isHighByte(register) ? 8n : 0n;
  const mask = ((1n << BigInt(8 * size)) - 1n) << shift;
  gpr[number] = (gpr[number]! & ~mask) | (value << shift);
}
