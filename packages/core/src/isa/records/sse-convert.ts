/**
 * SSE and SSE2 conversions on XMM and general registers (SDM vol. 2): between binary32, binary64 and integers of 32 and
 * 64 bits, scalar and packed. Those with MMX registers are elsewhere.
 */
import * as L from "../../cpu/layout.ts";
import { FLOAT_FLAGS, floatStatus, isQuick, MXCSR_PE, MXCSR_PM, ROUND_ZERO } from "../../cpu/mxcsr.ts";
import { F32, F64, type FloatFormat, isZero } from "../../cpu/softfloat.ts";
import { asFloat, bitsOf } from "../../cpu/softfloat-compare.ts";
import { floatToInteger, integerToFloat, narrowFloat, roundingMode, widenFloat } from "../../cpu/softfloat-convert.ts";
import { extractLane, replaceLane } from "../../cpu/softfloat-vector.ts";
import { type Builder, type Expr, i32, i64, op, opWith, v128 } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";
import { exactly, fromSoft, isSpecial, quicklyOr, toSoft } from "./sse-float.ts";
import { readVector, writeXmm } from "./sse-form.ts";

for (const [name, prefix, f, size] of [
  ["cvtsi2ss", "F3", F32, "d"],
  ["cvtsi2sd", "F2", F64, "q"],
] as const) {
  define({
    name,
    feature: f === F32 ? "sse" : "sse2",
    forms: [`${prefix} 0F 2A /r | V${size},Ey`],
    semantics: (s) => {
      const { b } = s;
      const source = s.read(1);
      const from = `convert_i${s.width(1)}_s`;
      const convert = (): Expr => op(`${f.name}.${from}`, source);
      if (f === F64 && s.width(1) === 32) {
        s.writeFloat(0, convert());
        const place = s.register(0).constant;
        if (place !== undefined) s.floats?.notePlain(Number(place), f, "low");
        return;
      }
      quicklyOr(
        s,
        (done) => {
          b.if(isQuick(b), () => {
            s.writeFloat(0, convert());
            done();
          });
        },
        () => exactly(s, () => fromSoft(f, b.call(integerToFloat[f.name], source.s64()))),
      );
    },
  });
}

/** i32: an inexact conversion to an integer changes no flag and is not trapped. */
const ignoresPrecision = (b: Builder): Expr =>
  b
    .get(L.MXCSR)
    .and(MXCSR_PE | MXCSR_PM)
    .eq(MXCSR_PE | MXCSR_PM);

/** Scalar to integer. The quick way needs a result well inside the range, which a NaN is not. */
function toInteger(s: Semantics, f: FloatFormat, truncates: boolean): void {
  const { b } = s;
  const bits = s.width(0) as 32 | 64;
  const source = s.read(1);
  quicklyOr(
    s,
    (done) => {
      b.if(truncates ? ignoresPrecision(b) : isQuick(b), () => {
        const value = b.keep(truncates ? asFloat(f, source) : op(`${f.name}.nearest`, asFloat(f, source)));
        const limit = asFloat(f, powerOfTwo(f, bits - 1));
        b.if(op(`${f.name}.lt`, op(`${f.name}.abs`, value), limit), () => {
          s.write(0, op(`i${bits}.trunc_sat_${f.name}_s`, value));
          done();
        });
      });
    },
    () =>
      exactly(s, () => {
        const mode = truncates ? i32(ROUND_ZERO) : b.call(roundingMode);
        const integer = b.call(floatToInteger[f.name][bits], toSoft(source), mode);
        return bits === 32 ? integer.lo32() : integer;
      }),
  );
}

function powerOfTwo(f: FloatFormat, power: number): Expr {
  const bits = BigInt(f.bias + power) << BigInt(f.fractionBits);
  return f.bits === 64 ? i64(bits) : i32(bits);
}

for (const [suffix, prefix, f, size] of [
  ["ss", "F3", F32, "d"],
  ["sd", "F2", F64, "q"],
] as const) {
  const feature = f === F32 ? "sse" : "sse2";
  define({
    name: `cvt${suffix}2si`,
    feature,
    forms: [`${prefix} 0F 2D /r | Gy,W${size}`],
    semantics: (s) => toInteger(s, f, false),
  });
  define({
    name: `cvtt${suffix}2si`,
    feature,
    forms: [`${prefix} 0F 2C /r | Gy,W${size}`],
    semantics: (s) => toInteger(s, f, true),
  });
}

define({
  name: "cvtss2sd",
  feature: "sse2",
  forms: ["F3 0F 5A /r | Vq,Wd"],
  semantics: (s) => {
    const { b } = s;
    const source = s.read(1);
    quicklyOr(
      s,
      (done) => {
        b.if(isSpecial(F32, source).eqz(), () => {
          s.write(0, bitsOf(F64, op("f64.promote_f32", asFloat(F32, source))));
          done();
        });
      },
      () => exactly(s, () => b.call(widenFloat, toSoft(source))),
    );
  },
});

define({
  name: "cvtsd2ss",
  feature: "sse2",
  forms: ["F2 0F 5A /r | Vd,Wq"],
  semantics: (s) => {
    const { b } = s;
    const source = s.read(1);
    quicklyOr(
      s,
      (done) => {
        b.if(isQuick(b), () => {
          const result = b.keep(bitsOf(F32, op("f32.demote_f64", asFloat(F64, source))));
          const isNormal = result
            .and(F32.magnitude)
            .sub(F32.minNormal + 1n)
            .ltU(F32.infinity - F32.minNormal - 1n);
          b.if(isNormal.or(isZero(F64, source)), () => {
            s.write(0, result);
            done();
          });
        });
      },
      () => exactly(s, () => b.call(narrowFloat, toSoft(source)).lo32()),
    );
  },
});

/** A packed conversion: `lane` turns lane `i` of the source into bits; lanes of the result beyond `count` are zero. */
function packedRoutine(
  name: string,
  from: FloatFormat,
  to: FloatFormat,
  count: number,
  lane: (b: Builder, bits: Expr) => Expr,
): Routine {
  return routine(name, ["v128"], "v128", (b, source) => {
    b.put(FLOAT_FLAGS, 0);
    let result: Expr = v128(0n);
    for (let i = 0; i < count; i++) result = b.keep(replaceLane(to, result, i, lane(b, extractLane(from, source, i))));
    b.return(result);
  });
}

/** An integer lane travels like the bits of a float of its width. */
const DWORD = F32;
const signExtended = (bits: Expr): Expr => op("i64.extend32_s", bits);
const nearestInteger = (f: FloatFormat) => (b: Builder, bits: Expr) =>
  b.call(floatToInteger[f.name][32], bits, b.call(roundingMode));
const truncatedInteger = (f: FloatFormat) => (b: Builder, bits: Expr) =>
  b.call(floatToInteger[f.name][32], bits, i32(ROUND_ZERO));

for (const [name, prefix, opcode, from, to, count, lane] of [
  ["cvtpd2ps", "66", "5A", F64, F32, 2, (b: Builder, bits: Expr) => b.call(narrowFloat, bits)],
  ["cvtdq2ps", "NP", "5B", DWORD, F32, 4, (b: Builder, bits: Expr) => b.call(integerToFloat.f32, signExtended(bits))],
  ["cvtps2dq", "66", "5B", F32, DWORD, 4, nearestInteger(F32)],
  ["cvttps2dq", "F3", "5B", F32, DWORD, 4, truncatedInteger(F32)],
  ["cvtpd2dq", "F2", "E6", F64, DWORD, 2, nearestInteger(F64)],
  ["cvttpd2dq", "66", "E6", F64, DWORD, 2, truncatedInteger(F64)],
] as const) {
  const lanes = packedRoutine(name, from, to, count, lane);
  define({
    name,
    feature: "sse2",
    forms: [`${prefix} 0F ${opcode} /r | Vx,Wx`],
    semantics: (s) => {
      const source = readVector(s, 1);
      exactly(s, () => s.b.call(lanes, source));
    },
  });
}

/** The low eight bytes of the source become two binary64 numbers. */
for (const [name, prefix, opcode, lane] of [
  ["cvtps2pd", "NP", "5A", (b: Builder, bits: Expr) => b.call(widenFloat, bits)],
  ["cvtdq2pd", "F3", "E6", (b: Builder, bits: Expr) => b.call(integerToFloat.f64, signExtended(bits))],
] as const) {
  const lanes = packedRoutine(name, F32, F64, 2, lane);
  define({
    name,
    feature: "sse2",
    forms: [`${prefix} 0F ${opcode} /r | Vq,Wq`],
    semantics: (s) => {
      const { b } = s;
      const source = opWith("i64x2.replace_lane", 0, v128(0n), s.read(1));
      s.put(FLOAT_FLAGS, 0);
      const result = b.call(lanes, source);
      s.check(b.call(floatStatus));
      writeXmm(s, result);
    },
  });
}
