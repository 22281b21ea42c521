/**
 * SSE and SSE2 data movement (SDM vol. 2): MOVxPS/PD, MOVSS, MOVSD, MOVDQA/U, MOVD, MOVQ, half moves, sign masks,
 * unpack and shuffle of floating-point lanes.
 */

import { F32, F64, type FloatFormat } from "../../cpu/softfloat.ts";
import { type Expr, op, opWith, select, v128 } from "../../ir/builder.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";
import { byteLanes, checkAligned, named, readVector, shuffle, writeXmm, zeroExtended } from "./sse-form.ts";

/** A copy of 128 bits. */
function copy(s: Semantics, isAligned: boolean): void {
  if (isAligned && (s.isMemory(0) || s.isMemory(1))) checkAligned(s);
  s.write(0, s.read(1));
}

for (const [name, prefix, load, store, isAligned] of [
  ["movaps", "NP", "28", "29", true],
  ["movapd", "66", "28", "29", true],
  ["movups", "NP", "10", "11", false],
  ["movupd", "66", "10", "11", false],
  ["movdqa", "66", "6F", "7F", true],
  ["movdqu", "F3", "6F", "7F", false],
] as const) {
  define({
    name,
    feature: prefix === "NP" ? "sse" : "sse2",
    forms: [`${prefix} 0F ${load} /r | Vx,Wx`, `${prefix} 0F ${store} /r | Wx,Vx`],
    semantics: (s) => copy(s, isAligned),
  });
}

/** Scalar moves: a load clears the rest of the register, a move between registers keeps it. */
function moveScalar(s: Semantics, f: FloatFormat): void {
  const value = s.readFloat(1, f);
  if (s.isMemory(1)) writeXmm(s, extendedFloat(f, value));
  else if (s.isMemory(0)) s.write(0, value);
  else s.writeFloat(0, value);
}
/** A vector of a number, and zeros above. */
const extendedFloat = (f: FloatFormat, value: Expr): Expr =>
  opWith(f.bits === 64 ? "f64x2.replace_lane" : "f32x4.replace_lane", 0, v128(0n), value);

define({
  name: "movss",
  feature: "sse",
  forms: ["F3 0F 10 /r | Vd,Wd", "F3 0F 11 /r | Wd,Vd"],
  semantics: (s) => moveScalar(s, F32),
});
define({
  name: "movsd",
  feature: "sse2",
  forms: ["F2 0F 10 /r | Vq,Wq", "F2 0F 11 /r | Wq,Vq"],
  semantics: (s) => moveScalar(s, F64),
});

define({
  name: "movd_xmm",
  names: ["movd", "movd", "movq"],
  feature: "sse2",
  forms: ["66 0F 6E /r | Vy,Ey", "66 0F 7E /r | Ey,Vy"],
  semantics: (s) => {
    if (s.operand(0).kind === "x") writeXmm(s, zeroExtended(s.read(1)));
    else s.write(0, s.read(1));
  },
});

define({
  ...named("movq"),
  feature: "sse2",
  forms: ["F3 0F 7E /r | Vq,Wq", "66 0F D6 /r | Wq,Vq"],
  semantics: (s) => {
    const value = s.readFloat(1, F64);
    if (s.isMemory(0)) s.write(0, value);
    else writeXmm(s, extendedFloat(F64, value));
  },
});

const lowHalf = (vector: Expr): Expr => opWith("i64x2.extract_lane", 0, vector);
const highHalf = (vector: Expr): Expr => opWith("i64x2.extract_lane", 1, vector);
/** XMM operand `i`, all of it. */
const whole = (s: Semantics, i: number): Expr => s.b.load("v128.load", "cpu", s.register(i));

for (const [name, prefix] of [
  ["ps", "NP"],
  ["pd", "66"],
] as const) {
  const feature = prefix === "NP" ? "sse" : "sse2";
  define({
    name: `movl${name}`,
    feature,
    forms: [`${prefix} 0F 12 /r | Vq,Mq`, `${prefix} 0F 13 /r | Mq,Vq`],
    semantics: (s) => s.write(0, s.read(1)),
  });
  define({
    name: `movh${name}`,
    feature,
    forms: [`${prefix} 0F 16 /r | Vq,Mq`, `${prefix} 0F 17 /r | Mq,Vq`],
    semantics: (s) => {
      if (s.isMemory(0)) s.write(0, highHalf(whole(s, 1)));
      else writeXmm(s, opWith("i64x2.replace_lane", 1, whole(s, 0), s.read(1)));
    },
  });
}
define({
  name: "movhlps",
  feature: "sse",
  forms: ["NP 0F 12 /r | Vq,Uq"],
  semantics: (s) => s.write(0, highHalf(whole(s, 1))),
});
define({
  name: "movlhps",
  feature: "sse",
  forms: ["NP 0F 16 /r | Vq,Uq"],
  semantics: (s) => writeXmm(s, opWith("i64x2.replace_lane", 1, whole(s, 0), s.read(1))),
});

/** A mask of few bits in a general register. */
export function writeMask(s: Semantics, bits: Expr): void {
  s.write(0, s.width(0) === 64 ? bits.u64() : bits);
}
define({
  name: "movmskps",
  feature: "sse",
  forms: ["NP 0F 50 /r | Gy,Ux"],
  semantics: (s) => writeMask(s, op("i32x4.bitmask", s.read(1))),
});
define({
  name: "movmskpd",
  feature: "sse2",
  forms: ["66 0F 50 /r | Gy,Ux"],
  semantics: (s) => writeMask(s, op("i64x2.bitmask", s.read(1))),
});

for (const [name, prefix, opcode, bytes, lanes] of [
  ["unpcklps", "NP", "14", 4, [0, 4, 1, 5]],
  ["unpckhps", "NP", "15", 4, [2, 6, 3, 7]],
  ["unpcklpd", "66", "14", 8, [0, 2]],
  ["unpckhpd", "66", "15", 8, [1, 3]],
] as const) {
  define({
    name,
    feature: prefix === "NP" ? "sse" : "sse2",
    forms: [`${prefix} 0F ${opcode} /r | Vx,Wx`],
    semantics: (s) => {
      const source = readVector(s, 1);
      s.write(0, shuffle(byteLanes(bytes, lanes), s.read(0), source));
    },
  });
}

const splat32 = (value: number): bigint => BigInt(value) * 0x00000001_00000001_00000001_00000001n;

/**
 * The four two-bit fields of a shuffle's immediate, one in each 32-bit lane. A multiplication moves each field to bits
 * 6 and 7, since there is no shift by lane.
 */
export function shuffleFields(immediate: Expr): Expr {
  const factors = v128(64n | (16n << 32n) | (4n << 64n) | (1n << 96n));
  const moved = op("i32x4.mul", op("i32x4.splat", immediate), factors);
  return op("v128.and", op("i32x4.shr_u", moved, 6), v128(splat32(3)));
}
/** Byte numbers of the 32-bit lanes that a shuffle's immediate chooses. */
export function shuffleBytes32(immediate: Expr): Expr {
  const first = op("i32x4.mul", shuffleFields(immediate), v128(splat32(0x04040404)));
  return op("i32x4.add", first, v128(splat32(0x03020100)));
}

define({
  name: "shufps",
  feature: "sse",
  forms: ["NP 0F C6 /r | Vx,Wx,Ib"],
  semantics: (s) => {
    const { b } = s;
    const source = readVector(s, 1);
    const chosen = b.keep(shuffleBytes32(s.immediate(8)));
    const low = op("i8x16.swizzle", s.read(0), chosen);
    const high = op("i8x16.swizzle", source, chosen);
    s.write(0, shuffle(byteLanes(4, [0, 1, 6, 7]), low, high));
  },
});

define({
  name: "shufpd",
  feature: "sse2",
  forms: ["66 0F C6 /r | Vx,Wx,Ib"],
  semantics: (s) => {
    const source = readVector(s, 1);
    const target = s.read(0);
    const immediate = s.immediate(8);
    const low = select(immediate.and(1), highHalf(target), lowHalf(target));
    const high = select(immediate.and(2), highHalf(source), lowHalf(source));
    s.write(0, opWith("i64x2.replace_lane", 1, op("i64x2.splat", low), high));
  },
});
