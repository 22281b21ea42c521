/**
 * What SSE records share: 16-byte operands, which must be aligned in memory (#GP(0), SDM vol. 1, 11.4.1.1) except
 * where an instruction says otherwise, and the names of instructions that exist for MMX registers too.
 */
import { EXC_GP } from "../../cpu/raise.ts";
import { type Expr, opWith, v128 } from "../../ir/builder.ts";
import type { InstructionRecord } from "../record.ts";
import type { Semantics } from "../semantics.ts";

/** #GP(0) unless the memory operand is aligned to 16 bytes. */
export function checkAligned(s: Semantics): void {
  s.faultIf(s.address().and(15).nez(), EXC_GP, 0);
}

/** Operand `i` as 128 bits, aligned if it is memory. */
export function readVector(s: Semantics, i: number): Expr {
  if (s.isMemory(i)) checkAligned(s);
  return s.read(i);
}

/** Writes all of XMM operand 0, whatever width the form gives it. */
export function writeXmm(s: Semantics, value: Expr): void {
  s.commit();
  s.b.store("v128.store", "cpu", s.register(0), value);
}

/** A 128-bit value with `low` (i32 or i64) at its low end and zeros above. */
export function zeroExtended(low: Expr): Expr {
  return opWith(low.type === "i64" ? "i64x2.replace_lane" : "i32x4.replace_lane", 0, v128(0n), low);
}

/** i8x16.shuffle with its 16 lane numbers (0-15 of `x`, 16-31 of `y`). */
export function shuffle(lanes: readonly number[], x: Expr, y: Expr): Expr {
  let immediate = 0n;
  for (const [i, lane] of lanes.entries()) immediate |= BigInt(lane) << BigInt(8 * i);
  return opWith("i8x16.shuffle", immediate, x, y);
}

export const BYTE_NUMBERS: Expr = v128(0x0f0e0d0c_0b0a0908_07060504_03020100n);
/** A constant in every lane. */
export const splat8 = (value: number): Expr => v128(BigInt(value) * 0x01010101_01010101_01010101_01010101n);
export const splat16 = (value: number): Expr => v128(BigInt(value) * 0x00010001_00010001_00010001_00010001n);
export const splat32 = (value: number): Expr => v128(BigInt(value) * 0x00000001_00000001_00000001_00000001n);

/** Lane numbers of bytes for lanes of `bytes` each. */
export function byteLanes(bytes: number, lanes: readonly number[]): number[] {
  return lanes.flatMap((lane) => Array.from({ length: bytes }, (_, i) => lane * bytes + i));
}

/** The XMM form of an instruction that an MMX record has too: a name of its own, the manual's mnemonic. */
export function named(mnemonic: string): Pick<InstructionRecord, "name" | "names"> {
  return { name: `${mnemonic}_xmm`, names: [mnemonic, mnemonic, mnemonic] };
}
