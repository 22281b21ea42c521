/**
 * SSE2 integer instructions on XMM registers (SDM vol. 2): packed add, subtract, multiply, compare, minimum, maximum,
 * average, logic, shifts, pack, unpack, shuffle, word insert and extract; and the logic of SSE, which is the same.
 */
import { type Expr, i32, op, opWith, select, v128 } from "../../ir/builder.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";
import { BYTE_NUMBERS, byteLanes, named, readVector, shuffle } from "./sse-form.ts";
import { shuffleBytes32, shuffleFields, writeMask } from "./sse-move.ts";

/** 66 0F `opcode`: destination = f(destination, source). */
function packed(mnemonic: string, opcode: string, f: (target: Expr, source: Expr, s: Semantics) => Expr): void {
  define({
    ...named(mnemonic),
    feature: "sse2",
    forms: [`66 0F ${opcode} /r | Vx,Wx`],
    semantics: (s) => {
      const source = readVector(s, 1);
      s.write(0, f(s.read(0), source, s));
    },
  });
}

for (const [mnemonic, opcode, operator] of [
  ["paddb", "FC", "i8x16.add"],
  ["paddw", "FD", "i16x8.add"],
  ["paddd", "FE", "i32x4.add"],
  ["paddq", "D4", "i64x2.add"],
  ["paddsb", "EC", "i8x16.add_sat_s"],
  ["paddsw", "ED", "i16x8.add_sat_s"],
  ["paddusb", "DC", "i8x16.add_sat_u"],
  ["paddusw", "DD", "i16x8.add_sat_u"],
  ["psubb", "F8", "i8x16.sub"],
  ["psubw", "F9", "i16x8.sub"],
  ["psubd", "FA", "i32x4.sub"],
  ["psubq", "FB", "i64x2.sub"],
  ["psubsb", "E8", "i8x16.sub_sat_s"],
  ["psubsw", "E9", "i16x8.sub_sat_s"],
  ["psubusb", "D8", "i8x16.sub_sat_u"],
  ["psubusw", "D9", "i16x8.sub_sat_u"],
  ["pmullw", "D5", "i16x8.mul"],
  ["pmaddwd", "F5", "i32x4.dot_i16x8_s"],
  ["pavgb", "E0", "i8x16.avgr_u"],
  ["pavgw", "E3", "i16x8.avgr_u"],
  ["pminub", "DA", "i8x16.min_u"],
  ["pmaxub", "DE", "i8x16.max_u"],
  ["pminsw", "EA", "i16x8.min_s"],
  ["pmaxsw", "EE", "i16x8.max_s"],
  ["pcmpeqb", "74", "i8x16.eq"],
  ["pcmpeqw", "75", "i16x8.eq"],
  ["pcmpeqd", "76", "i32x4.eq"],
  ["pcmpgtb", "64", "i8x16.gt_s"],
  ["pcmpgtw", "65", "i16x8.gt_s"],
  ["pcmpgtd", "66", "i32x4.gt_s"],
  ["packsswb", "63", "i8x16.narrow_i16x8_s"],
  ["packuswb", "67", "i8x16.narrow_i16x8_u"],
  ["packssdw", "6B", "i16x8.narrow_i32x4_s"],
  ["pand", "DB", "v128.and"],
  ["por", "EB", "v128.or"],
  ["pxor", "EF", "v128.xor"],
] as const) {
  packed(mnemonic, opcode, (target, source) => op(operator, target, source));
}
packed("pandn", "DF", (target, source) => op("v128.andnot", source, target));

for (const [mnemonic, opcode, sign] of [
  ["pmulhw", "E5", "s"],
  ["pmulhuw", "E4", "u"],
] as const) {
  packed(mnemonic, opcode, (target, source) => {
    const low = op(`i32x4.extmul_low_i16x8_${sign}`, target, source);
    const high = op(`i32x4.extmul_high_i16x8_${sign}`, target, source);
    return shuffle(byteLanes(2, [1, 3, 5, 7, 9, 11, 13, 15]), low, high);
  });
}
packed("pmuludq", "F4", (target, source) => {
  const even = (v: Expr): Expr => shuffle(byteLanes(4, [0, 2, 0, 2]), v, v);
  return op("i64x2.extmul_low_i32x4_u", even(target), even(source));
});
packed("psadbw", "F6", (target, source, { b }) => {
  const one = op("i8x16.sub_sat_u", target, source);
  const distance = b.keep(op("v128.or", one, op("i8x16.sub_sat_u", source, target)));
  const evenBytes = op("v128.and", distance, v128(0x00ff00ff_00ff00ff_00ff00ff_00ff00ffn));
  const words = op("i16x8.add", evenBytes, op("i16x8.shr_u", distance, 8));
  const pairs = b.keep(op("i32x4.dot_i16x8_s", words, v128(0x00010001_00010001_00010001_00010001n)));
  const low = op("v128.and", pairs, v128(0x00000000_ffffffff_00000000_ffffffffn));
  return op("i64x2.add", low, op("i64x2.shr_u", pairs, 32));
});

/** Interleaves the low or high halves in elements of `bytes`. */
function interleave(bytes: number, isHigh: boolean): number[] {
  const half = 8 / bytes;
  const first = isHigh ? half : 0;
  return byteLanes(
    bytes,
    Array.from({ length: 2 * half }, (_, i) => first + (i >> 1) + (i & 1 ? 2 * half : 0)),
  );
}
for (const [mnemonic, opcode, bytes, isHigh] of [
  ["punpcklbw", "60", 1, false],
  ["punpcklwd", "61", 2, false],
  ["punpckldq", "62", 4, false],
  ["punpcklqdq", "6C", 8, false],
  ["punpckhbw", "68", 1, true],
  ["punpckhwd", "69", 2, true],
  ["punpckhdq", "6A", 4, true],
  ["punpckhqdq", "6D", 8, true],
] as const) {
  packed(mnemonic, opcode, (target, source) => shuffle(interleave(bytes, isHigh), target, source));
}

/** Shifts: a count of the width or more gives zeros, or signs; it is never taken modulo the width. */
for (const [mnemonic, opcode, group, digit, shape, operator] of [
  ["psrlw", "D1", "71", 2, "i16x8", "shr_u"],
  ["psrld", "D2", "72", 2, "i32x4", "shr_u"],
  ["psrlq", "D3", "73", 2, "i64x2", "shr_u"],
  ["psraw", "E1", "71", 4, "i16x8", "shr_s"],
  ["psrad", "E2", "72", 4, "i32x4", "shr_s"],
  ["psllw", "F1", "71", 6, "i16x8", "shl"],
  ["pslld", "F2", "72", 6, "i32x4", "shl"],
  ["psllq", "F3", "73", 6, "i64x2", "shl"],
] as const) {
  const width = { i16x8: 16, i32x4: 32, i64x2: 64 }[shape];
  define({
    ...named(mnemonic),
    feature: "sse2",
    forms: [`66 0F ${opcode} /r | Vx,Wx`, `66 0F ${group} /${digit} | Ux,Ib`],
    semantics: (s) => {
      const { b } = s;
      const count =
        s.operand(1).kind === "i" ? s.immediate(8) : b.keep(opWith("i64x2.extract_lane", 0, readVector(s, 1)));
      const isLarge = count.gtU(width - 1);
      const amount = count.lo32();
      const target = s.read(0);
      if (operator === "shr_s") s.write(0, op(`${shape}.shr_s`, target, select(isLarge, i32(width - 1), amount)));
      else s.write(0, select(isLarge, v128(0n), op(`${shape}.${operator}`, target, amount)));
    },
  });
}

/** PSLLDQ and PSRLDQ move bytes; a swizzle gives zero for numbers outside 0 to 15. */
function shiftBytes(s: Semantics, direction: "add" | "sub"): void {
  const immediate = s.immediate(8);
  const count = select(immediate.gtU(15), i32(16), immediate);
  s.write(0, op("i8x16.swizzle", s.read(0), op(`i8x16.${direction}`, BYTE_NUMBERS, op("i8x16.splat", count))));
}
define({ name: "psrldq", feature: "sse2", forms: ["66 0F 73 /3 | Ux,Ib"], semantics: (s) => shiftBytes(s, "add") });
define({ name: "pslldq", feature: "sse2", forms: ["66 0F 73 /7 | Ux,Ib"], semantics: (s) => shiftBytes(s, "sub") });

define({
  name: "pshufd",
  feature: "sse2",
  forms: ["66 0F 70 /r | Vx,Wx,Ib"],
  semantics: (s) => {
    const source = readVector(s, 1);
    s.write(0, op("i8x16.swizzle", source, shuffleBytes32(s.immediate(8))));
  },
});

/** Byte numbers of the four words of one half that a shuffle's immediate chooses, in both halves. */
function shuffleBytes16(immediate: Expr, s: Semantics): Expr {
  const splat = (value: bigint): Expr => v128(value * 0x00000001_00000001_00000001_00000001n);
  const first = op("i32x4.add", op("i32x4.mul", shuffleFields(immediate), splat(0x0202n)), splat(0x0100n));
  const bytes = s.b.keep(first);
  return op("i16x8.narrow_i32x4_u", bytes, bytes);
}
define({
  name: "pshuflw",
  feature: "sse2",
  forms: ["F2 0F 70 /r | Vx,Wx,Ib"],
  semantics: (s) => {
    const source = readVector(s, 1);
    const chosen = shuffle(byteLanes(8, [0, 3]), shuffleBytes16(s.immediate(8), s), BYTE_NUMBERS);
    s.write(0, op("i8x16.swizzle", source, chosen));
  },
});
define({
  name: "pshufhw",
  feature: "sse2",
  forms: ["F3 0F 70 /r | Vx,Wx,Ib"],
  semantics: (s) => {
    const source = readVector(s, 1);
    const high = op("i8x16.add", shuffleBytes16(s.immediate(8), s), v128(0x08080808_08080808_08080808_08080808n));
    s.write(0, op("i8x16.swizzle", source, shuffle(byteLanes(8, [2, 1]), high, BYTE_NUMBERS)));
  },
});

define({
  ...named("pextrw"),
  feature: "sse2",
  forms: ["66 0F C5 /r | Gy,Ux,Ib"],
  semantics: (s) => {
    const first = s.immediate(8).and(7).mul(0x0202).add(0x0100);
    writeMask(s, opWith("i16x8.extract_lane_u", 0, op("i8x16.swizzle", s.read(1), op("i16x8.splat", first))));
  },
});
define({
  ...named("pinsrw"),
  feature: "sse2",
  forms: ["66 0F C4 /r | Vx,Ry,Ib", "66 0F C4 /r | Vx,Mw,Ib"],
  semantics: (s) => {
    const { b } = s;
    const word = op("i16x8.splat", s.read(1).lo32());
    const place = b.keep(
      op("i16x8.eq", op("i16x8.splat", s.immediate(8).and(7)), v128(0x00070006_00050004_00030002_00010000n)),
    );
    s.write(0, op("v128.or", op("v128.and", word, place), op("v128.andnot", s.read(0), place)));
  },
});
define({
  ...named("pmovmskb"),
  feature: "sse2",
  forms: ["66 0F D7 /r | Gy,Ux"],
  semantics: (s) => writeMask(s, op("i8x16.bitmask", s.read(1))),
});

for (const [mnemonic, opcode, operator] of [
  ["and", "54", "v128.and"],
  ["andn", "55", "v128.andnot"],
  ["or", "56", "v128.or"],
  ["xor", "57", "v128.xor"],
] as const) {
  for (const [suffix, prefix] of [
    ["ps", "NP"],
    ["pd", "66"],
  ] as const) {
    define({
      name: mnemonic + suffix,
      feature: prefix === "NP" ? "sse" : "sse2",
      forms: [`${prefix} 0F ${opcode} /r | Vx,Wx`],
      semantics: (s) => {
        const source = readVector(s, 1);
        s.write(0, mnemonic === "andn" ? op(operator, source, s.read(0)) : op(operator, s.read(0), source));
      },
    });
  }
}
