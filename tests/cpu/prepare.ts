// The machine state a case starts from: boundary values in all registers first, then whatever the instruction needs
// to do something comparable: addresses that land, counts that end, quotients that fit, branch targets.
//
// Addresses win: a register that takes part in an address is pinned and keeps its value.

import * as iced from "iced-x86";
import {
  chooseAddress,
  gprNumber,
  type MemoryOperand,
  type Placement,
  placeMemoryOperand,
  segmentBase,
  setAddressRegister,
} from "./memory-operand.ts";
import type { Random } from "./random.ts";
import { DATA_BASE, DATA_SIZE, FLAG, FXSAVE, type WindowPatch } from "./subject.ts";
import { type ElementType, fillElements, integer64, SHIFT_COUNTS } from "./values.ts";
import { fillFxsave, fxsaveImage } from "./x87-state.ts";

const { Code, MemorySize, MemorySizeExt, Mnemonic, OpKind, Register, RegisterExt } = iced;
export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;
const WINDOW_MIDDLE: bigint = DATA_BASE + BigInt(DATA_SIZE / 2);
const LARGEST_SINGLE_ACCESS = 16;

/** A state being built. `isUsable` turns false when the encoding cannot be made safe. */
export interface Preparation {
  readonly instruction: iced.Instruction;
  readonly mnemonic: string;
  readonly random: Random;
  readonly code: Uint8Array;
  readonly gpr: BigUint64Array;
  readonly fxsave: Uint8Array;
  readonly patches: WindowPatch[];
  readonly pinned: Set<number>;
  rflags: bigint;
  untilDone: boolean;
  memory: MemoryOperand | null;
  isUsable: boolean;
}

const SSE_SUFFIX = /(ss|sd|ps|pd)$/;
const INTEGER_LANES: readonly ElementType[] = ["int8", "int16", "int32", "int64", "raw"];

/** What the vector lanes of an instruction hold, as far as its name says. */
function laneType(mnemonic: string, random: Random): ElementType {
  if (random.oneIn(12)) return random.pick(INTEGER_LANES);
  if (mnemonic.startsWith("cvt")) return random.pick(["float32", "float64", "int32", "int64"]);
  if (mnemonic.startsWith("p") || mnemonic.startsWith("mov"))
    return random.pick([...INTEGER_LANES, "float32", "float64"]);
  const suffix = SSE_SUFFIX.exec(mnemonic)?.[1];
  if (suffix === "ss" || suffix === "ps") return "float32";
  if (suffix === "sd" || suffix === "pd") return "float64";
  return random.pick(INTEGER_LANES);
}

export function prepare(
  instruction: iced.Instruction,
  offsets: { readonly at: number; readonly size: number },
  code: Uint8Array,
  random: Random,
): Preparation | null {
  const mnemonic = Mnemonic[instruction.mnemonic]!.toLowerCase();
  const lanes = laneType(mnemonic, random);
  const state: Preparation = {
    instruction,
    mnemonic,
    random,
    code,
    gpr: BigUint64Array.from({ length: 16 }, () => integer64(random)),
    fxsave: new Uint8Array(512),
    patches: [],
    pinned: new Set(),
    rflags: randomFlags(random),
    untilDone: false,
    memory: null,
    isUsable: true,
  };
  fillFxsave(state.fxsave, mnemonic, lanes, random);
  if (random.oneIn(3)) state.gpr[RCX] = BigInt(random.pick(SHIFT_COUNTS)) | (random.uint64() & ~0xffn);
  placeExplicit(state, offsets);
  placeImplicit(state);
  if (!state.isUsable) return null;
  patchOperand(state, lanes);
  tune(state);
  return state.isUsable ? state : null;
}

/** For code bytes that do not decode: registers still hold something, and nothing is meant to be accessed. */
export function prepareUndecodable(random: Random): Pick<Preparation, "gpr" | "fxsave" | "rflags"> {
  const fxsave = new Uint8Array(512);
  fillFxsave(fxsave, "ud2", "raw", random);
  const gpr = BigUint64Array.from({ length: 16 }, () => DATA_BASE + BigInt(random.below(DATA_SIZE / 16) * 8));
  return { gpr, fxsave, rflags: randomFlags(random) };
}

function randomFlags(random: Random): bigint {
  let flags = FLAG.TF | FLAG.IF | 2n;
  for (const bit of [FLAG.CF, FLAG.PF, FLAG.AF, FLAG.ZF, FLAG.SF, FLAG.OF]) if (random.oneIn(2)) flags |= bit;
  if (random.oneIn(4)) flags |= FLAG.DF;
  if (random.oneIn(24)) flags |= FLAG.AC;
  return flags;
}

function hasLockedAccess(instruction: iced.Instruction): boolean {
  return instruction.hasLockPrefix || instruction.mnemonic === Mnemonic.Xchg;
}

function placementOf(state: Preparation): Placement {
  const { instruction } = state;
  const sizeBytes = instruction.memorySize === MemorySize.Unknown ? 1 : MemorySizeExt.size(instruction.memorySize);
  const isBitString = state.mnemonic.startsWith("bt") && bitOffsetRegister(instruction) >= 0;
  return {
    sizeBytes,
    mayStraddle: sizeBytes <= LARGEST_SINGLE_ACCESS && !hasLockedAccess(instruction),
    oneLine: hasLockedAccess(instruction),
    margin: isBitString ? DATA_SIZE / 2 - 64 : 0,
  };
}

function placeExplicit(state: Preparation, offsets: { readonly at: number; readonly size: number }): void {
  const { instruction, random } = state;
  const count = instruction.opCount;
  for (let operand = 0; operand < count; operand++) {
    if (instruction.opKind(operand) !== OpKind.Memory) continue;
    if (instruction.mnemonic === Mnemonic.Xlatb) return;
    const target = chooseAddress(random, placementOf(state));
    state.memory = placeMemoryOperand(instruction, offsets, state.code, state.gpr, target, random);
    if (state.memory === null) {
      state.isUsable = false;
      return;
    }
    // Exceptions of type 4 (Intel: #GP); AMD's CPUs let the SHA instructions read any address.
    if (state.mnemonic.startsWith("sha") && (state.memory.address & 15n) !== 0n) state.isUsable = false;
    if (state.memory.base >= 0) state.pinned.add(state.memory.base);
    if (state.memory.index >= 0) state.pinned.add(state.memory.index);
    // A stack pointer that serves an address far away would put the stack anywhere.
    const isFar = state.memory.index >= 0 || instruction.memoryDisplSize > 1 || instruction.hasSegmentPrefix;
    if (usesStack(state) && state.memory.base === RSP && isFar) state.isUsable = false;
    return;
  }
}

function usesStack({ instruction, mnemonic }: Preparation): boolean {
  return instruction.isStackInstruction || mnemonic === "enter" || mnemonic === "leave";
}

function pin(state: Preparation, register: number, value: bigint): void {
  if (state.pinned.has(register)) return;
  state.gpr[register] = value;
  state.pinned.add(register);
}

function placeImplicit(state: Preparation): void {
  const { instruction, random, mnemonic } = state;
  if (instruction.isStringInstruction) placeString(state);
  else if (mnemonic.startsWith("maskmov")) {
    const is32 = instruction.op0Kind === OpKind.MemorySegEDI;
    const offset = DATA_BASE + BigInt(64 + random.below(DATA_SIZE - 128)) - segmentBase(instruction.memorySegment);
    if (is32 && offset < 0n) state.isUsable = false;
    setAddressRegister(state.gpr, RDI, BigInt.asUintN(64, offset), is32, random);
  } else if (mnemonic === "xlatb") {
    const is32 = instruction.memoryBase === Register.EBX;
    const target = chooseAddress(random, { sizeBytes: 1, mayStraddle: true, oneLine: false, margin: 0 });
    const offset = BigInt.asUintN(64, target - segmentBase(instruction.memorySegment));
    if (is32 && offset > 0xffff_ffffn) state.isUsable = false;
    const value = BigInt.asUintN(is32 ? 32 : 64, offset - (state.gpr[RAX]! & 0xffn));
    setAddressRegister(state.gpr, RBX, value, is32, random);
  } else if (usesStack(state)) placeStack(state);
  const bitOffset = mnemonic.startsWith("bt") && state.memory !== null ? bitOffsetRegister(instruction) : -1;
  if (bitOffset >= 0) {
    if (state.pinned.has(bitOffset)) state.isUsable = false;
    const reach = (DATA_SIZE / 2 - 128) * 8;
    const offset = BigInt(random.below(2 * reach) - reach);
    const size = RegisterExt.size(instruction.op1Register);
    const noise = size === 8 ? 0n : random.uint64() << BigInt(size * 8);
    state.gpr[bitOffset] = BigInt.asUintN(64, noise | BigInt.asUintN(size * 8, offset));
  }
}

function bitOffsetRegister(instruction: iced.Instruction): number {
  return instruction.opCount === 2 && instruction.op1Kind === OpKind.Register ? gprNumber(instruction.op1Register) : -1;
}

function placeString(state: Preparation): void {
  const { instruction, random } = state;
  const sizeBytes = Math.max(1, MemorySizeExt.size(instruction.memorySize));
  const want = { sizeBytes, mayStraddle: true, oneLine: false, margin: 0 };
  let is32 = false;
  for (let operand = 0; operand < instruction.opCount; operand++) {
    const kind = instruction.opKind(operand);
    const isSource = kind === OpKind.MemorySegESI || kind === OpKind.MemorySegRSI;
    if (!isSource && kind !== OpKind.MemoryESEDI && kind !== OpKind.MemoryESRDI) continue;
    is32 = kind === OpKind.MemorySegESI || kind === OpKind.MemoryESEDI;
    const base = isSource ? segmentBase(instruction.memorySegment) : 0n;
    const offset = BigInt.asUintN(64, chooseAddress(random, want) - base);
    // A 32-bit offset cannot reach back over the segment's base: it lands above the window and faults.
    setAddressRegister(state.gpr, isSource ? RSI : RDI, offset, is32, random);
    state.pinned.add(isSource ? RSI : RDI);
  }
  if (instruction.hasRepPrefix || instruction.hasRepnePrefix) {
    const count = random.oneIn(8) ? random.below(300) : random.pick([0, 1, 1, 2, 3, 4, 7, 8, 15, 16, 17, 33]);
    setAddressRegister(state.gpr, RCX, BigInt(count), is32, random);
    state.pinned.add(RCX);
    state.untilDone = !random.oneIn(4);
    if (random.oneIn(2) && (state.mnemonic.startsWith("cmps") || state.mnemonic.startsWith("scas"))) {
      makeRun(state, count * sizeBytes);
    }
  }
}

/** Equal bytes under both pointers and in RAX, so that REPE runs on. */
function makeRun(state: Preparation, length: number): void {
  const { random } = state;
  const bytes = new Uint8Array(Math.min(DATA_SIZE, 4 * length + 64)).fill(random.pick([0, 0x55, 0xff]));
  const offset = random.below(DATA_SIZE - bytes.length + 1);
  for (let i = random.below(3); i > 0; i--) bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
  state.patches.push({ offset, bytes });
  state.gpr[RAX] = BigInt(bytes[0]!) * 0x0101_0101_0101_0101n;
  const room = BigInt(Math.max(1, bytes.length - length));
  for (const register of [RSI, RDI]) {
    if (random.oneIn(4)) continue;
    const at = (BigInt(random.uint32()) * room) >> 32n;
    state.gpr[register] = DATA_BASE + BigInt(offset) + ((state.rflags & FLAG.DF) !== 0n ? BigInt(length) : 0n) + at;
  }
}

function placeStack(state: Preparation): void {
  const { instruction, random, mnemonic } = state;
  const want = { sizeBytes: 8, mayStraddle: true, oneLine: false, margin: 0 };
  if (mnemonic === "enter") {
    pin(state, RBP, WINDOW_MIDDLE + BigInt(random.below(2048)));
    pin(state, RSP, WINDOW_MIDDLE + BigInt(random.below(DATA_SIZE / 2)));
    return;
  }
  const top = chooseAddress(random, want);
  if (mnemonic === "leave") {
    pin(state, RBP, top);
    return;
  }
  const pushed = instruction.stackPointerIncrement < 0 ? BigInt(-instruction.stackPointerIncrement) : 0n;
  pin(state, RSP, BigInt.asUintN(64, top + pushed));
}

const LANES_OF_MEMORY: readonly (readonly [RegExp, ElementType])[] = [
  [/Float32/, "float32"],
  [/Float64/, "float64"],
  [/Float80/, "float80"],
  [/Bcd/, "bcd80"],
];

/** Puts typed data under the memory operand. */
function patchOperand(state: Preparation, lanes: ElementType): void {
  const { instruction, random, memory } = state;
  if (memory === null || instruction.memorySize === MemorySize.Unknown) return;
  const size = MemorySizeExt.size(instruction.memorySize);
  const name = MemorySize[instruction.memorySize]!;
  const type = LANES_OF_MEMORY.find(([pattern]) => pattern.test(name))?.[1] ?? lanes;
  let bytes = new Uint8Array(size);
  fillElements(bytes, size === 1 ? "int8" : type, random);
  if (name.startsWith("Fxsave")) bytes = fxsaveImage(random, true);
  patchAt(state, memory.address, bytes);
}

/** Patches the part of `bytes` that is inside the window. */
export function patchAt(state: Preparation, address: bigint, bytes: Uint8Array): void {
  const offset = Number(BigInt.asIntN(64, address - DATA_BASE));
  if (offset <= -bytes.length || offset >= DATA_SIZE) return;
  const from = Math.max(0, -offset);
  const to = Math.min(bytes.length, DATA_SIZE - offset);
  state.patches.push({ offset: offset + from, bytes: bytes.slice(from, to) });
}

function word(value: bigint, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}

/** Writes an operand, register or memory, unless an address depends on it. */
function setOperand(state: Preparation, operand: number, value: bigint): void {
  const { instruction } = state;
  if (instruction.opKind(operand) === OpKind.Memory) {
    if (state.memory !== null)
      patchAt(state, state.memory.address, word(value, MemorySizeExt.size(instruction.memorySize)));
    return;
  }
  const register = instruction.opRegister(operand);
  const number = gprNumber(register);
  if (number < 0 || state.pinned.has(number)) return;
  const shift = register >= Register.AH && register <= Register.BH ? 8n : 0n;
  const mask = ((1n << BigInt(8 * RegisterExt.size(register))) - 1n) << shift;
  state.gpr[number] = (state.gpr[number]! & ~mask) | ((value << shift) & mask);
}

/** Linux's gates that user programs may use are two exceptions and its system calls. */
const LINUX_SYSTEM_CALL = 0x80;

function tune(state: Preparation): void {
  const { instruction, random, mnemonic } = state;
  if (instruction.code === Code.Int_imm8 && instruction.immediate8 === LINUX_SYSTEM_CALL) state.isUsable = false;
  if (mnemonic === "div" || mnemonic === "idiv") tuneDivision(state);
  else if (mnemonic === "cmpxchg") {
    if (random.oneIn(2)) setOperand(state, 0, state.gpr[RAX]!);
  } else if (mnemonic === "cmpxchg8b" || mnemonic === "cmpxchg16b") {
    if (random.oneIn(2) && state.memory !== null) {
      const half = mnemonic === "cmpxchg8b" ? 4 : 8;
      patchAt(state, state.memory.address, word(state.gpr[RAX]!, half));
      patchAt(state, state.memory.address + BigInt(half), word(state.gpr[RDX]!, half));
    }
  } else if (mnemonic.startsWith("loop") || /^j[er]?cxz$/.test(mnemonic)) {
    state.gpr[RCX] = random.pick([0n, 1n, 2n, 3n, 0xffff_ffffn, 0x1_0000_0000n, 0x1_0000_0001n, random.uint64()]);
  } else if (mnemonic === "ret" || ((mnemonic === "call" || mnemonic === "jmp") && !instruction.nearBranchTarget)) {
    const target = branchTarget(random);
    if (mnemonic === "ret") patchAt(state, state.gpr[RSP]!, word(target, 8));
    else setOperand(state, 0, target);
  } else if (mnemonic === "popf" || mnemonic === "popfq") {
    patchAt(state, state.gpr[RSP]!, word(random.uint64() & (random.oneIn(2) ? 0xffff_ffffn : 0x3f_ffffn), 8));
  } else if (mnemonic === "lddqu" || /^pcmp[ei]str/.test(mnemonic)) {
    // "An alignment-check exception (#AC) may or may not be generated (depending on processor implementation)."
    state.rflags &= ~FLAG.AC;
    if (mnemonic !== "lddqu") tuneStrings(state);
  } else if (mnemonic === "ldmxcsr") {
    const reserved = random.oneIn(10) ? random.uint32() : 0;
    setOperand(state, 0, BigInt((random.below(0x1_0000) | reserved) >>> 0));
  } else if (instruction.code === Code.Bswap_r16 || random.oneIn(4)) {
    makeOperandsEqual(state);
  }
}

/** Strings of few different elements, so that they match, and lengths around the vector's. */
function tuneStrings(state: Preparation): void {
  const { random, fxsave } = state;
  if (random.oneIn(4)) return;
  const isWords = random.oneIn(2);
  const alphabet = Array.from({ length: 1 + random.below(5) }, () => random.below(256));
  const text = (bytes: Uint8Array): void => {
    const zeroOneIn = random.pick([3, 8, 20, 1000]);
    for (let i = 0; i < bytes.length; i++)
      bytes[i] = random.oneIn(zeroOneIn) || (isWords && i % 2 === 1 && !random.oneIn(9)) ? 0 : random.pick(alphabet);
  };
  text(fxsave.subarray(FXSAVE.XMM, FXSAVE.XMM + 256));
  if (state.memory !== null) {
    const bytes = new Uint8Array(16);
    text(bytes);
    patchAt(state, state.memory.address, bytes);
  }
  for (const register of [RAX, RDX]) {
    if (state.pinned.has(register) || random.oneIn(5)) continue;
    const length = random.below(random.oneIn(3) ? 5 : 19) * (random.oneIn(4) ? -1 : 1);
    state.gpr[register] = BigInt.asUintN(random.oneIn(2) ? 64 : 32, BigInt(length));
  }
}

function branchTarget(random: Random): bigint {
  switch (random.below(4)) {
    case 0:
      return random.uint64();
    case 1:
      return random.pick([0x0000_8000_0000_0000n, 0xffff_8000_0000_0000n, 0x7fff_ffff_ffffn, 0xffff_7fff_ffff_ffffn]);
    default:
      return random.uint64() & 0x7fff_ffff_ffffn;
  }
}

/** Comparisons, subtractions and carries meet equal operands. */
function makeOperandsEqual(state: Preparation): void {
  const { instruction } = state;
  if (instruction.opCount !== 2 || instruction.op1Kind !== OpKind.Register) return;
  const number = gprNumber(instruction.op1Register);
  if (number >= 0) setOperand(state, 0, state.gpr[number]!);
}

/** Half of the divisions get a quotient that fits. */
function tuneDivision(state: Preparation): void {
  const { instruction, random, mnemonic } = state;
  if (random.oneIn(3)) return;
  const isMemory = instruction.op0Kind === OpKind.Memory;
  const size = isMemory ? MemorySizeExt.size(instruction.memorySize) : RegisterExt.size(instruction.op0Register);
  const bits = BigInt(8 * size);
  const isSigned = mnemonic === "idiv";
  const limit = (value: bigint): bigint =>
    isSigned ? BigInt.asIntN(8 * size, value) : BigInt.asUintN(8 * size, value);
  const divisor = limit(integer64(random)) || 1n;
  const quotient = limit(integer64(random));
  const magnitude = divisor < 0n ? -divisor : divisor;
  let dividend = quotient * divisor;
  const rest = BigInt.asUintN(64, random.uint64()) % magnitude;
  dividend += dividend < 0n ? -rest : rest;
  const low = BigInt.asUintN(8 * size, dividend);
  const high = BigInt.asUintN(8 * size, dividend >> bits);
  if (!state.pinned.has(RAX)) {
    if (size === 1) state.gpr[RAX] = (state.gpr[RAX]! & ~0xffffn) | (high << 8n) | low;
    else state.gpr[RAX] = size === 8 ? low : (state.gpr[RAX]! & ~((1n << bits) - 1n)) | low;
  }
  if (size > 1 && !state.pinned.has(RDX)) {
    state.gpr[RDX] = size === 8 ? high : (state.gpr[RDX]! & ~((1n << bits) - 1n)) | high;
  }
  setOperand(state, 0, BigInt.asUintN(8 * size, divisor));
}
