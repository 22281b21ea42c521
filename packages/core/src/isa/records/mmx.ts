/**
 * MMX instructions (SDM vol. 2), and those on MMX registers that SSE and SSE2 added, except conversions: moves, packed
 * integer arithmetic, comparisons, logic, shifts, pack and unpack. They are vector operators on the low half.
 */
import * as L from "../../cpu/layout.ts";
import { type Expr, i32, i64, op, select } from "../../ir/builder.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";
import { combine, enterMmx, joined, lowHalf, vector, writeMmx } from "./mmx-form.ts";
import { byteLanes, shuffle } from "./sse-form.ts";
import { checkPending } from "./x87-form.ts";

define({
  name: "emms",
  feature: "mmx",
  forms: ["NP 0F 77"],
  semantics: (s) => {
    checkPending(s);
    s.put(L.FTOP, 0);
    s.put(L.FTAG, 0);
  },
});

/** Moves; a narrower source is zero-extended. */
function move(s: Semantics): void {
  checkPending(s);
  const value = s.read(1);
  const { kind, width } = s.operand(0);
  writeMmx(s, 0, kind === "p" ? value.u64() : width === 32 ? value.lo32() : value);
}
define({ name: "movd", feature: "mmx", forms: ["NP W0 0F 6E /r | Pq,Ed", "NP W0 0F 7E /r | Ed,Pd"], semantics: move });
define({
  name: "movq",
  feature: "mmx",
  forms: ["NP 0F 6F /r | Pq,Qq", "NP 0F 7F /r | Qq,Pq", "NP W1 0F 6E /r | Pq,Eq | o64", "NP W1 0F 7E /r | Eq,Pq | o64"],
  semantics: move,
});
define({ name: "movntq", feature: "mmx", forms: ["NP 0F E7 /r | Mq,Pq"], semantics: move });
define({
  name: "movq2dq",
  feature: "sse2",
  forms: ["F3 0F D6 /r | Vx,Nq"],
  semantics: (s) => {
    checkPending(s);
    s.write(0, joined(s.read(1), i64(0)));
    enterMmx(s);
  },
});
define({
  name: "movdq2q",
  feature: "sse2",
  forms: ["F2 0F D6 /r | Pq,Uq"],
  semantics: move,
});

for (const [name, opcode, operator] of [
  ["paddb", "FC", "i8x16.add"],
  ["paddw", "FD", "i16x8.add"],
  ["paddd", "FE", "i32x4.add"],
  ["paddsb", "EC", "i8x16.add_sat_s"],
  ["paddsw", "ED", "i16x8.add_sat_s"],
  ["paddusb", "DC", "i8x16.add_sat_u"],
  ["paddusw", "DD", "i16x8.add_sat_u"],
  ["psubb", "F8", "i8x16.sub"],
  ["psubw", "F9", "i16x8.sub"],
  ["psubd", "FA", "i32x4.sub"],
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
] as const)
  define({
    name,
    feature: "mmx",
    forms: [`NP 0F ${opcode} /r | Pq,Qq`],
    semantics: combine((target, source) => lowHalf(op(operator, vector(target), vector(source)))),
  });

for (const [name, opcode, f] of [
  ["pand", "DB", (target: Expr, source: Expr) => target.and(source)],
  ["pandn", "DF", (target: Expr, source: Expr) => target.not().and(source)],
  ["por", "EB", (target: Expr, source: Expr) => target.or(source)],
  ["pxor", "EF", (target: Expr, source: Expr) => target.xor(source)],
  ["paddq", "D4", (target: Expr, source: Expr) => target.add(source)],
  ["psubq", "FB", (target: Expr, source: Expr) => target.sub(source)],
  ["pmuludq", "F4", (target: Expr, source: Expr) => target.and(0xffffffffn).mul(source.and(0xffffffffn))],
] as const)
  define({ name, feature: "mmx", forms: [`NP 0F ${opcode} /r | Pq,Qq`], semantics: combine(f) });

for (const [name, opcode, sign] of [
  ["pmulhw", "E5", "s"],
  ["pmulhuw", "E4", "u"],
] as const)
  define({
    name,
    feature: "mmx",
    forms: [`NP 0F ${opcode} /r | Pq,Qq`],
    semantics: combine((target, source) => {
      const products = op(`i32x4.extmul_low_i16x8_${sign}`, vector(target), vector(source));
      return lowHalf(shuffle(byteLanes(2, [1, 3, 5, 7, 1, 3, 5, 7]), products, vector(i64(0))));
    }),
  });

define({
  name: "psadbw",
  feature: "mmx",
  forms: ["NP 0F F6 /r | Pq,Qq"],
  semantics: (s) => {
    checkPending(s);
    const b = s.b;
    const source = s.read(1);
    const target = s.read(0);
    const bigger = op("i8x16.max_u", vector(target), vector(source));
    const differences = b.keep(lowHalf(op("i8x16.sub", bigger, op("i8x16.min_u", vector(target), vector(source)))));
    const words = differences.and(0x00ff00ff00ff00ffn).add(differences.shrU(8).and(0x00ff00ff00ff00ffn));
    writeMmx(s, 0, words.mul(0x0001000100010001n).shrU(48));
  },
});

/** Packs the words or dwords of destination, then source. */
for (const [name, opcode, operator] of [
  ["packsswb", "63", "i8x16.narrow_i16x8_s"],
  ["packuswb", "67", "i8x16.narrow_i16x8_u"],
  ["packssdw", "6B", "i16x8.narrow_i32x4_s"],
] as const)
  define({
    name,
    feature: "mmx",
    forms: [`NP 0F ${opcode} /r | Pq,Qq`],
    semantics: combine((target, source) => lowHalf(op(operator, joined(target, source), vector(i64(0))))),
  });

/** Interleaves lanes of `bytes` from the low (source read as 32 bits) or high halves. */
for (const [name, opcode, bytes, first] of [
  ["punpcklbw", "60", 1, 0],
  ["punpcklwd", "61", 2, 0],
  ["punpckldq", "62", 4, 0],
  ["punpckhbw", "68", 1, 4],
  ["punpckhwd", "69", 2, 2],
  ["punpckhdq", "6A", 4, 1],
] as const) {
  const count = 4 / bytes;
  const pairs = Array.from({ length: count }, (_, i) => [first + i, 16 / bytes + first + i]).flat();
  define({
    name,
    feature: "mmx",
    forms: [`NP 0F ${opcode} /r | Pq,${first ? "Qq" : "Qd"}`],
    semantics: combine((target, source) =>
      lowHalf(shuffle(byteLanes(bytes, [...pairs, ...pairs]), vector(target), vector(source))),
    ),
  });
}

/** Shifts of lanes by one count; one that is too large gives zeros, or copies of the sign. */
for (const [name, opcode, group, reg, bits, operator] of [
  ["psrlw", "D1", "71", 2, 16, "i16x8.shr_u"],
  ["psraw", "E1", "71", 4, 16, "i16x8.shr_s"],
  ["psllw", "F1", "71", 6, 16, "i16x8.shl"],
  ["psrld", "D2", "72", 2, 32, "i32x4.shr_u"],
  ["psrad", "E2", "72", 4, 32, "i32x4.shr_s"],
  ["pslld", "F2", "72", 6, 32, "i32x4.shl"],
  ["psrlq", "D3", "73", 2, 64, "i64x2.shr_u"],
  ["psllq", "F3", "73", 6, 64, "i64x2.shl"],
] as const)
  define({
    name,
    feature: "mmx",
    forms: [`NP 0F ${opcode} /r | Pq,Qq`, `NP 0F ${group} /${reg} | Nq,Ib`],
    semantics: (s) => {
      checkPending(s);
      const count = s.b.keep(s.read(1).u64());
      const target = vector(s.read(0));
      const tooFar = count.gtU(bits - 1);
      if (operator.endsWith("shr_s"))
        writeMmx(s, 0, lowHalf(op(operator, target, select(tooFar, i32(bits - 1), count.lo32()))));
      else writeMmx(s, 0, select(tooFar, i64(0), lowHalf(op(operator, target, count.lo32()))));
    },
  });

define({
  name: "pshufw",
  feature: "mmx",
  forms: ["NP 0F 70 /r | Pq,Qq,Ib"],
  semantics: (s) => {
    checkPending(s);
    const source = s.read(1);
    const order = s.read(2);
    let result: Expr = i64(0);
    for (let i = 0; i < 4; i++) {
      const from = order
        .shrU(2 * i)
        .and(3)
        .shl(4)
        .u64();
      result = result.or(
        source
          .shrU(from)
          .and(0xffff)
          .shl(16 * i),
      );
    }
    writeMmx(s, 0, result);
  },
});

define({
  name: "pextrw",
  feature: "mmx",
  forms: ["NP 0F C5 /r | Gy,Nq,Ib"],
  semantics: (s) => {
    checkPending(s);
    const word = s.read(1).shrU(s.read(2).and(3).shl(4).u64()).and(0xffff);
    s.write(0, s.width(0) === 64 ? word : word.lo32());
    enterMmx(s);
  },
});
define({
  name: "pinsrw",
  feature: "mmx",
  forms: ["NP 0F C4 /r | Pq,Mw,Ib", "NP 0F C4 /r | Pq,Ry,Ib"],
  semantics: (s) => {
    checkPending(s);
    const word = s.read(1).u64().and(0xffff);
    const place = s.b.keep(s.read(2).and(3).shl(4).u64());
    writeMmx(s, 0, s.read(0).and(i64(0xffff).shl(place).not()).or(word.shl(place)));
  },
});
define({
  name: "pmovmskb",
  feature: "mmx",
  forms: ["NP 0F D7 /r | Gy,Nq"],
  semantics: (s) => {
    checkPending(s);
    const bits = op("i8x16.bitmask", joined(s.read(1), i64(0)));
    s.write(0, s.width(0) === 64 ? bits.u64() : bits);
    enterMmx(s);
  },
});

define({
  name: "maskmovq",
  feature: "mmx",
  isLong: true,
  uses: ["asz", "mode"],
  forms: ["NP 0F F7 /r | Pq,Nq"],
  semantics: (s) => {
    checkPending(s);
    const b = s.b;
    const rdi = s.get(L.RDI);
    const offset = s.asz === 64 ? rdi : rdi.and(s.asz === 32 ? 0xffffffffn : 0xffffn);
    const linear = offset.add(b.load("i64.load", "cpu", b.load("i32.load16_u", "host", s.up, L.UOP_SEGMENT_BASE)));
    enterMmx(s);
    const probe = s.probe(64, s.mode64 ? linear : linear.and(0xffffffffn), s.segment(), true);
    const mask = b.keep(lowHalf(op("i8x16.shr_s", vector(s.read(1)), 7)));
    s.store(probe, s.read(0).and(mask).or(s.probed(probe).and(mask.not())));
  },
});
