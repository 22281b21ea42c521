// Makes an instruction's effective addresses land where a case wants them: chooses a linear address in, across or
// outside the data window, and solves base, index and displacement for it. All addressing forms of 64-bit mode:
// base, index, scale, disp8/32, RIP-relative, absolute, moffs, 32-bit addresses (67h), FS and GS.

import * as iced from "iced-x86";
import type { Random } from "./random.ts";
import { CODE_BASE, DATA_BASE, DATA_SIZE, FS_BASE, GS_BASE, PAGE_SIZE } from "./subject.ts";
import { integer64 } from "./values.ts";

const { Register, RegisterExt } = iced;
export const DATA_END: bigint = DATA_BASE + BigInt(DATA_SIZE);
const MASK32 = 0xffff_ffffn;

export interface Placement {
  readonly sizeBytes: number;
  /** The accesses may straddle the window's end; false where a fault would leave partial stores behind. */
  readonly mayStraddle: boolean;
  /** Stay within one 64-byte line: locked accesses, which some hosts punish when split. */
  readonly oneLine: boolean;
  /** Bytes around the address that must be in the window too. */
  readonly margin: number;
}

/** A linear address for an operand. */
export function chooseAddress(random: Random, want: Placement): bigint {
  const size = Math.max(want.sizeBytes, 1);
  if (want.margin > 0) return inside(random, want, want.margin);
  switch (random.below(48)) {
    case 0:
    case 1:
      return want.mayStraddle && size > 1 ? DATA_END - BigInt(1 + random.below(size - 1)) : inside(random, want, 0);
    case 2:
      return DATA_END + BigInt(random.below(PAGE_SIZE - size));
    case 3:
      return DATA_BASE - BigInt(want.mayStraddle ? 1 + random.below(size + 16) : size + 64 + random.below(64));
    case 4:
      return want.mayStraddle ? 0x0000_8000_0000_0000n + BigInt(random.below(4096)) : inside(random, want, 0);
    case 5:
      return random.oneIn(2) && want.mayStraddle
        ? (random.uint64() & 0x7fff_ffff_ffff_ffffn) | 0x4000_0000_0000_0000n
        : DATA_END - BigInt(size);
    case 6:
      return CODE_BASE + BigInt(random.below(PAGE_SIZE - 16 - size));
    case 7: {
      const page = DATA_BASE + BigInt(PAGE_SIZE * (1 + random.below(2)));
      return want.oneLine || size === 1 ? inside(random, want, 0) : page - BigInt(1 + random.below(size - 1));
    }
    default:
      return inside(random, want, 0);
  }
}

function inside(random: Random, want: Placement, margin: number): bigint {
  const size = Math.max(want.sizeBytes, 1);
  let offset = margin + random.below(DATA_SIZE - size - 2 * margin);
  const alignment = Math.min(64, 1 << Math.ceil(Math.log2(size)));
  if (!random.oneIn(7)) offset &= -alignment;
  else if (want.oneLine && (offset & 63) + size > 64) offset &= -alignment;
  return DATA_BASE + BigInt(Math.min(offset, DATA_SIZE - size));
}

export function segmentBase(segment: number): bigint {
  return segment === Register.FS ? FS_BASE : segment === Register.GS ? GS_BASE : 0n;
}

/** Number of the full register in encoding order, or -1. */
export function gprNumber(register: number): number {
  return register !== Register.None && RegisterExt.isGPR(register)
    ? RegisterExt.number(RegisterExt.fullRegister(register))
    : -1;
}

/** Writes an address into a register; with 32-bit addressing the upper half is noise. */
export function setAddressRegister(
  gpr: BigUint64Array,
  number: number,
  value: bigint,
  is32: boolean,
  random: Random,
): void {
  gpr[number] = is32 ? (value & MASK32) | (BigInt(random.pick([0, 0, 0xffff_ffff, random.uint32()])) << 32n) : value;
}

export interface MemoryOperand {
  /** Linear address of the operand's first byte. */
  readonly address: bigint;
  readonly base: number;
  readonly index: number;
}

/**
 * Changes `gpr` (and, where the address is in the instruction itself, `code`) so that the operand is at `target`,
 * or close to it where scaling allows no better. Null when this encoding cannot reach it.
 */
export function placeMemoryOperand(
  instruction: iced.Instruction,
  offsets: { readonly at: number; readonly size: number },
  code: Uint8Array,
  gpr: BigUint64Array,
  target: bigint,
  random: Random,
): MemoryOperand | null {
  const is32 = addressIs32(instruction);
  const bits = is32 ? 32 : 64;
  const wrap = (value: bigint): bigint => BigInt.asUintN(bits, value);
  const segment = segmentBase(instruction.memorySegment);
  const offset = BigInt.asUintN(64, target - segment);
  if (is32 && offset > MASK32) return null;
  const base = gprNumber(instruction.memoryBase);
  const index = gprNumber(instruction.memoryIndex);
  const done = (at: bigint): MemoryOperand => ({ address: BigInt.asUintN(64, at + segment), base, index });

  if (instruction.isIpRelMemoryOperand || (base < 0 && index < 0)) {
    const relative = instruction.isIpRelMemoryOperand ? offset - instruction.nextIP : offset;
    const stored = is32 ? BigInt.asIntN(32, relative) : BigInt.asIntN(64, relative);
    if (offsets.size === 0 || (offsets.size === 4 && stored !== BigInt.asIntN(32, stored))) return null;
    for (let i = 0; i < offsets.size; i++) code[offsets.at + i] = Number((stored >> BigInt(8 * i)) & 0xffn);
    return done(offset);
  }
  const displacement = instruction.memoryDisplacement;
  const scale = BigInt(instruction.memoryIndexScale);
  let wanted = wrap(offset - displacement);
  if (index < 0) {
    setAddressRegister(gpr, base, wanted, is32, random);
  } else if (base < 0) {
    wanted -= wanted % scale;
    setAddressRegister(gpr, index, wanted / scale, is32, random);
  } else if (base === index) {
    const factor = scale + 1n;
    if (factor === 2n) wanted &= ~1n;
    const value = factor === 2n ? wanted / 2n : wrap(wanted * inverse(factor, bits));
    setAddressRegister(gpr, base, value, is32, random);
  } else {
    gpr[index] = integer64(random);
    setAddressRegister(gpr, base, wrap(wanted - gpr[index]! * scale), is32, random);
  }
  return done(wrap(wanted + displacement));
}

export function addressIs32(instruction: iced.Instruction): boolean {
  const register = instruction.memoryBase !== Register.None ? instruction.memoryBase : instruction.memoryIndex;
  if (register === Register.EIP) return true;
  if (register === Register.RIP) return false;
  return register === Register.None ? instruction.memoryDisplSize === 4 : RegisterExt.size(register) === 4;
}

/** Multiplicative inverse of an odd number modulo 2^bits (Newton). */
function inverse(odd: bigint, bits: number): bigint {
  let x = odd;
  for (let i = 0; i < 6; i++) x = BigInt.asUintN(bits, x * (2n - odd * x));
  return x;
}
