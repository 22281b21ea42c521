// Bytes of an instruction form with random operands, prefixes and addressing: the inverse of a decoder, small because
// it need not be right about everything. The caller decodes the bytes with iced and takes what comes out.
//
// Encoding as in Intel SDM volume 2, chapter 2: legacy prefixes in any order, REX or VEX, opcode, ModRM, SIB, displacement,
// immediate.

import { OpCodeOperandKind as Kind, MandatoryPrefix, OpCodeTableKind } from "iced-x86";
import type { Form } from "./forms.ts";
import type { Random } from "./random.ts";

export const MAX_LENGTH = 15;
const OPERAND_SIZE = 0x66;
const ADDRESS_SIZE = 0x67;
const LOCK = 0xf0;
const REPNE = 0xf2;
const REP = 0xf3;
const SEGMENTS = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const IMMEDIATE_BYTES = [
  0x00, 0x01, 0x02, 0x07, 0x08, 0x0f, 0x10, 0x1f, 0x20, 0x21, 0x3f, 0x40, 0x41, 0x7f, 0x80, 0xff,
];

const MODRM_KINDS: ReadonlySet<number> = new Set([
  Kind.mem,
  Kind.r8_or_mem,
  Kind.r16_or_mem,
  Kind.r32_or_mem,
  Kind.r64_or_mem,
  Kind.mm_or_mem,
  Kind.xmm_or_mem,
  Kind.r8_reg,
  Kind.r16_reg,
  Kind.r16_reg_mem,
  Kind.r16_rm,
  Kind.r32_reg,
  Kind.r32_reg_mem,
  Kind.r32_rm,
  Kind.r64_reg,
  Kind.r64_reg_mem,
  Kind.r64_rm,
  Kind.seg_reg,
  Kind.mm_reg,
  Kind.mm_rm,
  Kind.xmm_reg,
  Kind.xmm_rm,
  Kind.cr_reg,
  Kind.dr_reg,
]);
const OPCODE_REGISTER_KINDS: ReadonlySet<number> = new Set([
  Kind.r8_opcode,
  Kind.r16_opcode,
  Kind.r32_opcode,
  Kind.r64_opcode,
  Kind.sti_opcode,
]);
const IMMEDIATE_SIZE: ReadonlyMap<number, number> = new Map([
  [Kind.imm8, 1],
  [Kind.imm8sex16, 1],
  [Kind.imm8sex32, 1],
  [Kind.imm8sex64, 1],
  [Kind.imm16, 2],
  [Kind.imm32, 4],
  [Kind.imm32sex64, 4],
  [Kind.imm64, 8],
  [Kind.br64_1, 1],
  [Kind.br64_4, 4],
]);
/** The order of CR numbers tried; the invalid ones (#UD) come up seldom. */
const CONTROL_REGISTERS = [0, 2, 3, 4, 8, 0, 2, 3, 4, 8, 1];

/** How far the encoder may stray from the shortest encoding. */
export interface EncodeOptions {
  /** Redundant prefixes, LOCK and REP, segment overrides, 67h. */
  readonly prefixes: boolean;
}

export function encodeForm(form: Form, random: Random, options: EncodeOptions): Uint8Array {
  if (form.vexW !== null) return encodeVexForm(form, random, options);
  const operand = encodeOperand(form, random);
  const prefixes = choosePrefixes(form, random, options.prefixes);
  let rex = operand.rex | (form.needsRexW ? 8 : 0);
  if (rex !== 0 || random.oneIn(options.prefixes ? 6 : 3)) rex |= 0x40;
  if (options.prefixes && random.oneIn(12)) rex = 0x40 | random.below(16) | (form.needsRexW ? 8 : 0);
  const bytes = [...prefixes, ...(rex === 0 ? [] : [rex]), ...operand.bytes];
  if (options.prefixes && random.oneIn(100)) pad(bytes, random);
  return Uint8Array.from(bytes);
}

/** Registers of VEX.vvvv, and what it is without one. */
const VVVV_KINDS: ReadonlySet<number> = new Set([Kind.r32_vvvv, Kind.r64_vvvv]);

/** The prefix in its three-byte form: R, X and B as in `rex`. */
function vexBytes(form: Form, rex: number, vvvv: number, isWide: boolean): number[] {
  const map = { [OpCodeTableKind.T0F]: 1, [OpCodeTableKind.T0F38]: 2, [OpCodeTableKind.T0F3A]: 3 }[form.table] ?? 0;
  const pp =
    { [MandatoryPrefix.P66]: 1, [MandatoryPrefix.PF3]: 2, [MandatoryPrefix.PF2]: 3 }[form.mandatoryPrefix] ?? 0;
  const second = ((~rex & 7) << 5) | map;
  return [0xc4, second, ((form.vexW ?? 0) << 7) | ((~vvvv & 15) << 3) | (isWide ? 4 : 0) | pp];
}

function encodeVexForm(form: Form, random: Random, options: EncodeOptions): Uint8Array {
  const operand = encodeOperand(form, random);
  const escapes = opcodeBytes(form).length - 1;
  const hasRegister = form.opKinds.some((kind) => VVVV_KINDS.has(kind));
  const isWrong = options.prefixes && random.oneIn(60);
  const vvvv = hasRegister || isWrong ? random.below(16) : 0;
  const bytes: number[] = [];
  if (options.prefixes) {
    if (random.oneIn(10)) bytes.push(ADDRESS_SIZE);
    if (random.oneIn(8)) bytes.push(random.pick(SEGMENTS));
    // #UD, all of them.
    if (random.oneIn(40)) bytes.push(random.pick([OPERAND_SIZE, REP, REPNE, LOCK, 0x48]));
  }
  bytes.push(...vexBytes(form, operand.rex, vvvv, isWrong && random.oneIn(2)), ...operand.bytes.slice(escapes));
  if (options.prefixes && random.oneIn(100)) pad(bytes, random);
  return Uint8Array.from(bytes);
}

/** One plain encoding of the form: first registers, or [rbx] in memory. */
export function sampleBytes(form: Form): Uint8Array {
  const bytes: number[] = [];
  if (form.needsAddressSizePrefix) bytes.push(ADDRESS_SIZE);
  if (form.vexW === null) {
    bytes.push(...requiredPrefixes(form));
    if (form.needsRexW) bytes.push(0x48);
    bytes.push(...opcodeBytes(form));
  } else bytes.push(...vexBytes(form, 0, 0, false), ...opcodeBytes(form).slice(-1));
  const modrm = modrmBase(form);
  if (modrm >= 0) bytes.push(form.variant === "memory" ? modrm | 3 : modrm | 0xc0);
  for (const size of immediateSizes(form)) bytes.push(...new Array<number>(size).fill(0));
  return Uint8Array.from(bytes);
}

function requiredPrefixes(form: Form): number[] {
  const bytes: number[] = [];
  if (form.needsOperandSizePrefix || form.mandatoryPrefix === MandatoryPrefix.P66) bytes.push(OPERAND_SIZE);
  if (form.mandatoryPrefix === MandatoryPrefix.PF3) bytes.push(REP);
  if (form.mandatoryPrefix === MandatoryPrefix.PF2) bytes.push(REPNE);
  return bytes;
}

function choosePrefixes(form: Form, random: Random, isFree: boolean): number[] {
  const bytes = requiredPrefixes(form);
  if (form.needsAddressSizePrefix || (isFree && random.oneIn(10))) bytes.push(ADDRESS_SIZE);
  if (form.isString && random.oneIn(2)) bytes.push(random.pick([REP, REPNE]));
  if (isFree) {
    if (random.oneIn(form.canLock ? 3 : 60)) bytes.push(LOCK);
    if (form.mandatoryPrefix === MandatoryPrefix.None && random.oneIn(16)) bytes.push(random.pick([REP, REPNE]));
    if (random.oneIn(16)) bytes.push(OPERAND_SIZE);
    if (random.oneIn(8)) bytes.push(random.pick(SEGMENTS));
    if (random.oneIn(40)) bytes.push(random.pick(SEGMENTS));
    for (let i = bytes.length - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [bytes[i], bytes[j]] = [bytes[j]!, bytes[i]!];
    }
  }
  return bytes;
}

function pad(bytes: number[], random: Random): void {
  const length = random.pick([MAX_LENGTH, MAX_LENGTH, MAX_LENGTH + 1]);
  const filler = random.pick([0x2e, 0x3e, 0x26, 0x36]);
  while (bytes.length < length) bytes.unshift(filler);
}

function opcodeBytes(form: Form): number[] {
  const escapes = {
    [OpCodeTableKind.Normal]: [],
    [OpCodeTableKind.T0F]: [0x0f],
    [OpCodeTableKind.T0F38]: [0x0f, 0x38],
    [OpCodeTableKind.T0F3A]: [0x0f, 0x3a],
  }[form.table];
  if (escapes === undefined)
    throw new RangeError(`${form.name} is in an opcode map that legacy encoding does not reach`);
  return [...escapes, ...(form.opCodeLength === 2 ? [form.opCode >> 8, form.opCode & 0xff] : [form.opCode])];
}

/** ModRM with the opcode extension in place, or -1 when the form has none. */
function modrmBase(form: Form): number {
  if (form.opCodeLength === 2) return -1;
  if (form.groupIndex >= 0) return form.groupIndex << 3;
  if (form.rmGroupIndex >= 0) return form.rmGroupIndex;
  return form.opKinds.some((kind) => MODRM_KINDS.has(kind)) ? 0 : -1;
}

function immediateSizes(form: Form): number[] {
  return form.opKinds.map((kind) =>
    kind === Kind.mem_offs ? (form.needsAddressSizePrefix ? 4 : 8) : (IMMEDIATE_SIZE.get(kind) ?? 0),
  );
}

/** Everything from the opcode on, and the REX bits it needs. */
function encodeOperand(form: Form, random: Random): { rex: number; bytes: number[] } {
  const bytes = opcodeBytes(form);
  let rex = 0;
  if (form.opKinds.some((kind) => OPCODE_REGISTER_KINDS.has(kind))) {
    bytes[bytes.length - 1]! |= random.below(8);
    if (random.oneIn(2)) rex |= 1;
  }
  const modrm = modrmBase(form);
  if (modrm >= 0) {
    let value = modrm;
    if (form.groupIndex < 0 && form.opKinds.length > 0) {
      value |= regField(form, random) << 3;
      if (random.oneIn(2) && !form.opKinds.includes(Kind.seg_reg) && !form.opKinds.includes(Kind.dr_reg)) rex |= 4;
    }
    if (form.variant === "memory") rex |= encodeMemory(value, bytes, random);
    else {
      bytes.push(0xc0 | value | (form.rmGroupIndex >= 0 ? 0 : random.below(8)));
      if (random.oneIn(2)) rex |= 1;
    }
  }
  for (const size of immediateSizes(form)) {
    const isBoundary = random.oneIn(2);
    const value = isBoundary ? random.pick(IMMEDIATE_BYTES) : 0;
    const fill = isBoundary ? random.pick([0, 0xff, value]) : 0;
    for (let i = 0; i < size; i++) bytes.push(isBoundary ? (i === 0 ? value : fill) : random.below(256));
  }
  return { rex, bytes };
}

function regField(form: Form, random: Random): number {
  if (form.opKinds.includes(Kind.seg_reg)) return random.pick([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6]);
  if (form.opKinds.includes(Kind.cr_reg)) return random.pick(CONTROL_REGISTERS) & 7;
  return random.below(8);
}

/** Appends ModRM, SIB and displacement of a random addressing form; returns REX.X and REX.B. */
function encodeMemory(reg: number, bytes: number[], random: Random): number {
  const mod = random.below(3);
  const rm = random.below(8);
  const rex = random.below(4);
  bytes.push((mod << 6) | reg | rm);
  let displacementSize = [0, 1, 4][mod]!;
  if (rm === 4) {
    const base = random.below(8);
    bytes.push((random.below(4) << 6) | (random.below(8) << 3) | base);
    if (mod === 0 && base === 5) displacementSize = 4;
  } else if (rm === 5 && mod === 0) displacementSize = 4;
  for (let i = 0; i < displacementSize; i++) bytes.push(random.below(256));
  return rex;
}
