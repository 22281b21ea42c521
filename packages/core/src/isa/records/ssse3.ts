/**
 * SSSE3 (SDM vol. 2), each on XMM and on MMX registers: absolute values, signs, byte shuffle, align, horizontal sums and
 * differences, multiply-add of bytes, rounded multiply. The MMX forms compute on the low half of a vector.
 */
import { type Expr, i32, op, select, v128 } from "../../ir/builder.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";
import { combine, joined, lowHalf, vector, writeMmx } from "./mmx-form.ts";
import { BYTE_NUMBERS, byteLanes, named, readVector, shuffle, splat8, splat16 } from "./sse-form.ts";
import { checkPending } from "./x87-form.ts";

type Combination = (target: Expr, source: Expr, s: Semantics) => Expr;

/** 0F 38 `opcode`: lane by lane, so that the MMX form is the same on half a vector. */
function lanewise(name: string, opcode: string, f: Combination): void {
  horizontal(name, opcode, f, (target, source, s) => lowHalf(f(s.b.keep(vector(target)), s.b.keep(vector(source)), s)));
}
function horizontal(name: string, opcode: string, onXmm: Combination, onMmx: Combination): void {
  define({
    name,
    feature: "ssse3",
    forms: [`NP 0F 38 ${opcode} /r | Pq,Qq`],
    semantics: combine(onMmx),
  });
  define({
    ...named(name),
    feature: "ssse3",
    forms: [`66 0F 38 ${opcode} /r | Vx,Wx`],
    semantics: (s) => {
      const source = readVector(s, 1);
      s.write(0, onXmm(s.read(0), source, s));
    },
  });
}

for (const [suffix, shape, bits, abs, sign] of [
  ["b", "i8x16", 8, "1C", "08"],
  ["w", "i16x8", 16, "1D", "09"],
  ["d", "i32x4", 32, "1E", "0A"],
] as const) {
  lanewise(`pabs${suffix}`, abs, (_, source) => op(`${shape}.abs`, source));
  lanewise(`psign${suffix}`, sign, (target, source, { b }) => {
    const negative = b.keep(op(`${shape}.shr_s`, source, bits - 1));
    const signed = op(`${shape}.sub`, op("v128.xor", target, negative), negative);
    return op("v128.andnot", signed, op(`${shape}.eq`, source, v128(0n)));
  });
}

/** Bit 7 of a number clears the byte; a swizzle does so for all numbers above 15. */
horizontal(
  "pshufb",
  "00",
  (target, source) => op("i8x16.swizzle", target, op("v128.and", source, splat8(0x8f))),
  (target, source) => lowHalf(op("i8x16.swizzle", vector(target), op("v128.and", vector(source), splat8(0x87)))),
);

const EVEN = [0, 2, 4, 6, 8, 10, 12, 14];
const ODD = [1, 3, 5, 7, 9, 11, 13, 15];
for (const [name, opcode, bytes, operator] of [
  ["phaddw", "01", 2, "i16x8.add"],
  ["phaddd", "02", 4, "i32x4.add"],
  ["phaddsw", "03", 2, "i16x8.add_sat_s"],
  ["phsubw", "05", 2, "i16x8.sub"],
  ["phsubd", "06", 4, "i32x4.sub"],
  ["phsubsw", "07", 2, "i16x8.sub_sat_s"],
] as const) {
  const count = 16 / bytes;
  const pairs = (x: Expr, y: Expr): Expr =>
    op(
      operator,
      shuffle(byteLanes(bytes, EVEN.slice(0, count)), x, y),
      shuffle(byteLanes(bytes, ODD.slice(0, count)), x, y),
    );
  horizontal(name, opcode, pairs, (target, source, { b }) => {
    const both = b.keep(joined(target, source));
    return lowHalf(pairs(both, both));
  });
}

lanewise("pmaddubsw", "04", (target, source) => {
  const even = op("i16x8.mul", op("v128.and", target, splat16(0xff)), op("i16x8.shr_s", op("i16x8.shl", source, 8), 8));
  const odd = op("i16x8.mul", op("i16x8.shr_u", target, 8), op("i16x8.shr_s", source, 8));
  return op("i16x8.add_sat_s", even, odd);
});
/** The product of the two most negative numbers is not saturated. */
lanewise("pmulhrsw", "0B", (target, source) => {
  const isLowest = (x: Expr): Expr => op("i16x8.eq", x, splat16(0x8000));
  const product = op("i16x8.q15mulr_sat_s", target, source);
  return op("v128.xor", product, op("v128.and", isLowest(target), isLowest(source)));
});

/** The 16 bytes of `low` (below) and `high` (above) from byte `count` on, 0 to 32. */
function align(low: Expr, high: Expr, count: Expr): Expr {
  const first = op("i8x16.swizzle", low, op("i8x16.add", BYTE_NUMBERS, op("i8x16.splat", count)));
  const second = op("i8x16.swizzle", high, op("i8x16.add", BYTE_NUMBERS, op("i8x16.splat", count.sub(16))));
  return op("v128.or", first, second);
}
const atMost = (limit: number, value: Expr): Expr => select(value.gtU(limit), i32(limit), value);
define({
  ...named("palignr"),
  feature: "ssse3",
  forms: ["66 0F 3A 0F /r | Vx,Wx,Ib"],
  semantics: (s) => {
    const source = readVector(s, 1);
    s.write(0, align(source, s.read(0), s.b.keep(atMost(32, s.immediate(8)))));
  },
});
define({
  name: "palignr",
  feature: "ssse3",
  forms: ["NP 0F 3A 0F /r | Pq,Qq,Ib"],
  semantics: (s) => {
    checkPending(s);
    const source = s.read(1);
    const from = op("i8x16.splat", atMost(16, s.immediate(8)));
    const numbers = op("i8x16.add", BYTE_NUMBERS, from);
    writeMmx(s, 0, lowHalf(op("i8x16.swizzle", joined(source, s.read(0)), numbers)));
  },
});
