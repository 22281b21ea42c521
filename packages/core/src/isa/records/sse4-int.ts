/**
 * SSE4.1 integer instructions on XMM registers (SDM vol. 2), with SSE4.2's PCMPGTQ: multiply, compare, minimum, maximum,
 * pack, extension, sums of absolute differences, PHMINPOSUW, PTEST, MOVNTDQA.
 */
import { type Expr, op, opWith, v128 } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";
import { BYTE_NUMBERS, byteLanes, checkAligned, readVector, shuffle, writeXmm, zeroExtended } from "./sse-form.ts";

/** 66 0F 38 `opcode`: destination = f(destination, source). */
function packed(name: string, opcode: string, f: (target: Expr, source: Expr) => Expr): void {
  define({
    name,
    feature: name === "pcmpgtq" ? "sse4.2" : "sse4.1",
    forms: [`66 0F 38 ${opcode} /r | Vx,Wx`],
    semantics: (s) => {
      const source = readVector(s, 1);
      s.write(0, f(s.read(0), source));
    },
  });
}

for (const [name, opcode, operator] of [
  ["pcmpeqq", "29", "i64x2.eq"],
  ["packusdw", "2B", "i16x8.narrow_i32x4_u"],
  ["pcmpgtq", "37", "i64x2.gt_s"],
  ["pminsb", "38", "i8x16.min_s"],
  ["pminsd", "39", "i32x4.min_s"],
  ["pminuw", "3A", "i16x8.min_u"],
  ["pminud", "3B", "i32x4.min_u"],
  ["pmaxsb", "3C", "i8x16.max_s"],
  ["pmaxsd", "3D", "i32x4.max_s"],
  ["pmaxuw", "3E", "i16x8.max_u"],
  ["pmaxud", "3F", "i32x4.max_u"],
  ["pmulld", "40", "i32x4.mul"],
] as const)
  packed(name, opcode, (target, source) => op(operator, target, source));

packed("pmuldq", "28", (target, source) => {
  const even = (v: Expr): Expr => shuffle(byteLanes(4, [0, 2, 0, 2]), v, v);
  return op("i64x2.extmul_low_i32x4_s", even(target), even(source));
});

/** Words above their numbers, so that the least of all is the smallest word, and the first of equal ones. */
const smallestWord: Routine = routine("smallest_word", ["v128"], "i32", (b, words) => {
  const numbered = (half: string, first: bigint): Expr => {
    const numbers = v128((first * 0x00000001_00000001_00000001_00000001n) | 0x00000003_00000002_00000001_00000000n);
    return op("v128.or", op("i32x4.shl", op(`i32x4.extend_${half}_i16x8_u`, words), 16), numbers);
  };
  const four = b.keep(op("i32x4.min_u", numbered("low", 0n), numbered("high", 4n)));
  const two = b.keep(op("i32x4.min_u", four, shuffle(byteLanes(4, [2, 3, 0, 1]), four, four)));
  const one = op("i32x4.min_u", two, shuffle(byteLanes(4, [1, 0, 3, 2]), two, two));
  b.return(opWith("i32x4.extract_lane", 0, one).rotl(16));
});
define({
  name: "phminposuw",
  feature: "sse4.1",
  forms: ["66 0F 38 41 /r | Vx,Wx"],
  semantics: (s) => s.write(0, zeroExtended(s.b.call(smallestWord, readVector(s, 1)))),
});

/** Extension of the low elements, in steps of twice the width. */
const STEPS = { b: "i16x8.extend_low_i8x16", w: "i32x4.extend_low_i16x8", d: "i64x2.extend_low_i32x4" } as const;
for (const [pair, digit, size, steps] of [
  ["bw", 0, "q", ["b"]],
  ["bd", 1, "d", ["b", "w"]],
  ["bq", 2, "w", ["b", "w", "d"]],
  ["wd", 3, "q", ["w"]],
  ["wq", 4, "d", ["w", "d"]],
  ["dq", 5, "q", ["d"]],
] as const) {
  for (const [sign, row] of [
    ["s", 2],
    ["z", 3],
  ] as const)
    define({
      name: `pmov${sign}x${pair}`,
      feature: "sse4.1",
      forms: [`66 0F 38 ${row}${digit} /r | Vx,W${size}`],
      semantics: (s) => {
        let value = zeroExtended(s.read(1));
        for (const step of steps) value = op(`${STEPS[step]}_${sign === "s" ? "s" : "u"}`, value);
        writeXmm(s, value);
      },
    });
}

/** (first operand, second, immediate) -> eight sums of four differences between neighbours and one group of bytes. */
const sumsOfDifferences: Routine = routine("sums_of_differences", ["v128", "v128", "i32"], "v128", (b, x, y, how) => {
  const first = b.keep(op("i8x16.add", BYTE_NUMBERS, op("i8x16.splat", how.and(4))));
  const group = b.keep(how.and(3).shl(2));
  let sums: Expr = v128(0n);
  for (let i = 0; i < 4; i++) {
    const neighbours = op("i8x16.swizzle", x, op("i8x16.add", first, op("i8x16.splat", i)));
    const one = op("i8x16.swizzle", y, op("i8x16.splat", group.add(i)));
    const words = (v: Expr): Expr => op("i16x8.extend_low_i8x16_u", v);
    sums = op("i16x8.add", sums, op("i16x8.abs", op("i16x8.sub", words(neighbours), words(one))));
  }
  b.return(sums);
});
define({
  name: "mpsadbw",
  feature: "sse4.1",
  forms: ["66 0F 3A 42 /r | Vx,Wx,Ib"],
  semantics: (s) => {
    const source = readVector(s, 1);
    s.write(0, s.b.call(sumsOfDifferences, s.read(0), source, s.immediate(8)));
  },
});

/** ZF: no bit of the source is in the destination; CF: none is outside it. */
function test(s: Semantics): void {
  const source = readVector(s, 1);
  const target = s.read(0);
  const isEmpty = (v: Expr): Expr => op("v128.any_true", v).eqz();
  const zf = isEmpty(op("v128.and", target, source));
  const cf = isEmpty(op("v128.andnot", source, target));
  s.setFlags({ cf, pf: 0, af: 0, zf, sf: 0, of: 0 });
}
define({ name: "ptest", feature: "sse4.1", forms: ["66 0F 38 17 /r | Vx,Wx"], semantics: test });

define({
  name: "movntdqa",
  feature: "sse4.1",
  forms: ["66 0F 38 2A /r | Vx,Mx"],
  semantics: (s) => {
    checkAligned(s);
    s.write(0, s.read(1));
  },
});
