/**
 * SSE and SSE2 arithmetic (SDM vol. 2): ADD SUB MUL DIV SQRT MIN MAX in their four forms PS PD SS SD, and the
 * approximations RCP and RSQRT. The quick path is WebAssembly's operator with a proof that no flag changes
 * (cpu/mxcsr.ts); everything else goes through cpu/softfloat*.ts.
 */

import * as L from "../../cpu/layout.ts";
import { distance, FLOAT_FLAGS, floatStatus, isQuick, vectorCeiling } from "../../cpu/mxcsr.ts";
import { regionArithmetic, regionInvalid, regionPacked, regionRoot } from "../../cpu/region-float.ts";
import { F32, F64, type FloatFormat, isDenormal, isNan, isSignaling } from "../../cpu/softfloat.ts";
import { approximateReciprocal, approximateRoot } from "../../cpu/softfloat-approximate.ts";
import { type FloatOperation, softArithmetic, softSquareRoot } from "../../cpu/softfloat-arithmetic.ts";
import { asFloat, bitsOf, softExtreme } from "../../cpu/softfloat-compare.ts";
import { denormalLanes, doubtfulResults, magnitudes, nanLanes, onLanes } from "../../cpu/softfloat-vector.ts";
import { type Expr, op, select } from "../../ir/builder.ts";
import type { Routine } from "../../ir/routine.ts";
import { define, type Feature } from "../record.ts";
import { FAULT, type Semantics } from "../semantics.ts";
import type { FloatKnowledge } from "../translation.ts";
import { readVector } from "./sse-form.ts";

export interface FloatForm {
  readonly suffix: "ps" | "pd" | "ss" | "sd";
  readonly prefix: "NP" | "66" | "F3" | "F2";
  readonly format: FloatFormat;
  readonly isScalar: boolean;
  readonly feature: Feature;
  /** Size letter of the operands. */
  readonly size: "x" | "d" | "q";
}

export const FLOAT_FORMS: readonly FloatForm[] = [
  { suffix: "ps", prefix: "NP", format: F32, isScalar: false, feature: "sse", size: "x" },
  { suffix: "pd", prefix: "66", format: F64, isScalar: false, feature: "sse2", size: "x" },
  { suffix: "ss", prefix: "F3", format: F32, isScalar: true, feature: "sse", size: "d" },
  { suffix: "sd", prefix: "F2", format: F64, isScalar: true, feature: "sse2", size: "q" },
];

/** The source operand: a scalar at its own width, else an aligned vector. */
export const readSource = (s: Semantics, form: FloatForm): Expr => (form.isScalar ? s.read(1) : readVector(s, 1));

/** Bits as softfloat routines take and give them, from and to an operand's own type. */
export const toSoft = (bits: Expr): Expr => bits.u64();
export const fromSoft = (f: FloatFormat, bits: Expr): Expr => (f.bits === 32 ? bits.lo32() : bits);

/** Runs a routine that notes flags, raises what MXCSR does not mask, and writes operand 0. */
export function exactly(s: Semantics, compute: () => Expr): void {
  s.put(FLOAT_FLAGS, 0);
  const result = s.b.keep(compute());
  s.check(s.b.call(floatStatus));
  s.write(0, result);
}

/** `quickly` may leave the block when it has done everything; else the exact way follows. */
export function quicklyOr(s: Semantics, quickly: (done: () => void) => void, exact: () => void): void {
  s.b.block((end) => {
    s.uncommitted(() => quickly(() => s.b.br(end)));
    exact();
  });
}

/** i32: a scalar result that is not zero is far enough from overflow and underflow. */
function isSafeResult(f: FloatFormat, magnitude: Expr): Expr {
  return magnitude.sub(f.minNormal + 1n).ltU(f.infinity - f.minNormal - 1n);
}

/** Of an operand that is not known to be anything else. */
function isNotDenormal(f: FloatFormat, value: Expr): Expr {
  return bitsOf(f, value)
    .shl(1)
    .sub(2)
    .geU(2n * f.minNormal - 2n);
}

/**
 * In a region: `compute` on the operands is right where no operand is denormal and the result is below the region's
 * limit. Else `otherwise` gives the bits, or says that the interpreter has to.
 */
export function translatedScalar(
  s: Semantics,
  f: FloatFormat,
  operands: readonly { readonly value: Expr; readonly at: number }[],
  compute: () => Expr,
  otherwise: Routine,
): void {
  const { b, floats } = s;
  if (!floats) return;
  const places = operands.map(({ at }) => (s.isMemory(at) ? undefined : Number(s.register(at).constant)));
  const unknown = operands.filter((_, i) => {
    const place = places[i];
    return place === undefined || (places.indexOf(place) === i && !floats.isPlain(place, f, "low"));
  });
  const quick = b.keep(compute());
  const result = b.variable(quick);
  b.block((done) => {
    const proven = unknown.reduceRight(
      (then, { value }) =>
        () =>
          b.if(isNotDenormal(f, value), then, undefined, true),
      () => b.br(done),
    );
    b.if(distance(f, bitsOf(f, quick)).ltU(floats.limit(f)), proven, undefined, true);
    const bits = b.call(otherwise, ...operands.map(({ value }) => toSoft(bitsOf(f, value))));
    b.if(b.get(L.result(2)).lo32(), () => s.leave(FAULT), undefined, false);
    result.set(asFloat(f, bits));
    floats.reload();
  });
  s.writeFloat(0, result.get());
  for (const place of places) if (place !== undefined) floats.notePlain(place, f, "low");
  floats.notePlain(Number(s.register(0).constant), f, "low");
}

/**
 * Operands 0 and 1 of a comparison in a region, behind what it does about NaNs: IE, if a quiet one is invalid or it is
 * signalling. Denormal ones and an unmasked IE are the interpreter's.
 */
export function comparedOperands(
  s: Semantics,
  f: FloatFormat,
  floats: FloatKnowledge,
  findsQuietInvalid: boolean,
): readonly [Expr, Expr] {
  const { b } = s;
  const y = s.readFloat(1, f);
  const x = s.readFloat(0, f);
  const leave = (): void => s.leave(FAULT);
  for (const [i, value] of [x, y].entries()) {
    const place = s.isMemory(i) ? undefined : Number(s.register(i).constant);
    if (place !== undefined && floats.isPlain(place, f, "low")) continue;
    b.if(isNotDenormal(f, value).eqz(), leave, undefined, false);
    if (place !== undefined) floats.notePlain(place, f, "low");
  }
  const isUnordered = op(`${f.name}.ne`, x, x).or(op(`${f.name}.ne`, y, y));
  b.if(
    isUnordered,
    () => {
      const invalid = (): void => b.if(b.call(regionInvalid), leave);
      const isSignalling = (value: Expr): Expr => isSignaling(f, b.keep(bitsOf(f, value)));
      if (findsQuietInvalid) invalid();
      else b.if(isSignalling(x).or(isSignalling(y)), invalid);
    },
    undefined,
    false,
  );
  return [x, y];
}

/** `translatedScalar` for all lanes: `target` op `source`, which are operands 0 and 1. */
function translatedPacked(
  s: Semantics,
  f: FloatFormat,
  operation: FloatOperation,
  floats: FloatKnowledge,
  target: Expr,
  source: Expr,
): void {
  const { b } = s;
  const [shape, lanes] = f.bits === 64 ? ["f64x2", "i64x2"] : ["f32x4", "i32x4"];
  const constant = (lane: bigint): Expr => {
    let all = 0n;
    for (let i = 0; i < 128; i += f.bits) all |= BigInt.asUintN(f.bits, lane) << BigInt(i);
    return floats.constant(all);
  };
  const twice = (v: Expr): Expr => op(`${lanes}.shl`, v, 1);
  const signBit = 1n << BigInt(f.bits - 1);
  /** Ones where a lane is denormal. */
  const denormal = (v: Expr): Expr =>
    op(
      `${lanes}.gt_s`,
      constant((2n * f.minNormal - 2n) ^ signBit),
      op(`${lanes}.add`, twice(v), constant(-2n ^ signBit)),
    );
  const places = [0, 1].map((i) => (s.isMemory(i) ? undefined : Number(s.register(i).constant)));
  const unknown = [target, source].filter((_, i) => {
    const place = places[i];
    return place === undefined || (places.indexOf(place) === i && !floats.isPlain(place, f, "all"));
  });
  const quick = b.keep(op(`${shape}.${operation}`, target, source));
  const difference = op(`${lanes}.sub`, constant(vectorCeiling(f)), twice(quick));
  const doubtful = unknown.reduce(
    (sum, v) => op("v128.or", sum, denormal(v)),
    op(`${lanes}.gt_s`, difference, floats.vectorLimit(f)),
  );
  const result = b.variable(quick);
  b.if(
    op("v128.any_true", doubtful),
    () => {
      const value = b.call(regionPacked[operation][f.name], target, source);
      b.if(b.get(L.result(2)).lo32(), () => s.leave(FAULT), undefined, false);
      result.set(value);
      floats.reload();
    },
    undefined,
    false,
  );
  s.write(0, result.get());
  for (const place of places) if (place !== undefined) floats.notePlain(place, f, "all");
}

function scalarArithmetic(s: Semantics, f: FloatFormat, operation: FloatOperation): void {
  const { b } = s;
  if (s.floats) {
    const value = s.readFloat(1, f);
    const target = s.readFloat(0, f);
    const operands = [
      { value: target, at: 0 },
      { value, at: 1 },
    ];
    const compute = (): Expr => op(`${f.name}.${operation}`, target, value);
    translatedScalar(s, f, operands, compute, regionArithmetic[operation][f.name]);
    return;
  }
  const source = s.read(1);
  const target = s.read(0);
  const isExactZero = operation === "add" || operation === "sub";
  quicklyOr(
    s,
    (done) => {
      b.if(isQuick(b), () => {
        const result = b.keep(bitsOf(f, op(`${f.name}.${operation}`, asFloat(f, target), asFloat(f, source))));
        const magnitude = b.keep(result.and(f.magnitude));
        const safe = isSafeResult(f, magnitude);
        const doubtful = isDenormal(f, target).or(isDenormal(f, source));
        b.if((isExactZero ? safe.or(magnitude.eqz()) : safe).gtU(doubtful), () => {
          s.write(0, result);
          done();
        });
      });
    },
    () => exactly(s, () => fromSoft(f, b.call(softArithmetic[operation][f.name], toSoft(target), toSoft(source)))),
  );
}

/** Writes `operation` of two kept vectors to operand 0; `exact` is its way through softfloat routines. */
export function packedArithmetic(
  s: Semantics,
  f: FloatFormat,
  operation: FloatOperation,
  target: Expr,
  source: Expr,
  exact: () => Expr,
): void {
  const { b } = s;
  const shape = f.bits === 64 ? "f64x2" : "f32x4";
  quicklyOr(
    s,
    (done) => {
      b.if(isQuick(b), () => {
        const result = b.keep(op(`${shape}.${operation}`, target, source));
        const isExactZero = operation === "add" || operation === "sub";
        const denormal = [target, source].map((v) => denormalLanes(f, b.keep(magnitudes(f, v))));
        const doubtful = op(
          "v128.or",
          op("v128.or", denormal[0], denormal[1]),
          doubtfulResults(f, b.keep(magnitudes(f, result)), isExactZero),
        );
        b.if(op("v128.any_true", doubtful).eqz(), () => {
          s.write(0, result);
          done();
        });
      });
    },
    () => exactly(s, exact),
  );
}

for (const [operation, opcode] of [
  ["add", "58"],
  ["mul", "59"],
  ["sub", "5C"],
  ["div", "5E"],
] as const) {
  for (const form of FLOAT_FORMS) {
    const { format, size } = form;
    const lanes = onLanes(format, softArithmetic[operation][format.name]);
    define({
      name: operation + form.suffix,
      feature: form.feature,
      forms: [`${form.prefix} 0F ${opcode} /r | V${size},W${size}`],
      semantics: (s) => {
        if (form.isScalar) scalarArithmetic(s, format, operation);
        else {
          const source = readVector(s, 1);
          const target = s.read(0);
          if (s.floats) translatedPacked(s, format, operation, s.floats, target, source);
          else packedArithmetic(s, format, operation, target, source, () => s.b.call(lanes, target, source));
        }
      },
    });
  }
}

for (const form of FLOAT_FORMS) {
  const { format: f, size } = form;
  const lanes = onLanes(f, softSquareRoot[f.name]);
  define({
    name: `sqrt${form.suffix}`,
    feature: form.feature,
    forms: [`${form.prefix} 0F 51 /r | V${size},W${size}`],
    semantics: (s) => {
      const { b } = s;
      if (s.floats && form.isScalar) {
        const value = s.readFloat(1, f);
        translatedScalar(s, f, [{ value, at: 1 }], () => op(`${f.name}.sqrt`, value), regionRoot[f.name]);
        return;
      }
      const source = readSource(s, form);
      quicklyOr(
        s,
        (done) => {
          // A root of a positive normal number is normal.
          const isPlain = form.isScalar ? source.sub(f.minNormal).ltU(f.infinity - f.minNormal) : undefined;
          const quick = isQuick(b);
          b.if(isPlain ? isPlain.and(quick) : quick, () => {
            if (form.isScalar) {
              s.write(0, bitsOf(f, op(`${f.name}.sqrt`, asFloat(f, source))));
              done();
              return;
            }
            const result = b.keep(op(f.bits === 64 ? "f64x2.sqrt" : "f32x4.sqrt", source));
            const denormal = denormalLanes(f, b.keep(magnitudes(f, source)));
            const doubtful = op("v128.or", denormal, doubtfulResults(f, b.keep(magnitudes(f, result)), true));
            b.if(op("v128.any_true", doubtful).eqz(), () => {
              s.write(0, result);
              done();
            });
          });
        },
        () =>
          exactly(s, () =>
            form.isScalar ? fromSoft(f, b.call(softSquareRoot[f.name], toSoft(source))) : b.call(lanes, source, source),
          ),
      );
    },
  });
}

/** Operands that are neither NaN nor denormal set no flag, whatever MXCSR says. */
for (const [operation, opcode] of [
  ["min", "5D"],
  ["max", "5F"],
] as const) {
  for (const form of FLOAT_FORMS) {
    const { format: f, size } = form;
    const soft = softExtreme[operation][f.name];
    const lanes = onLanes(f, soft);
    define({
      name: operation + form.suffix,
      feature: form.feature,
      forms: [`${form.prefix} 0F ${opcode} /r | V${size},W${size}`],
      semantics: (s) => {
        const { b } = s;
        if (s.floats && form.isScalar) {
          const [x, y] = comparedOperands(s, f, s.floats, true);
          s.writeFloat(0, select(op(`${f.name}.${operation === "min" ? "lt" : "gt"}`, x, y), x, y));
          s.floats.notePlain(Number(s.register(0).constant), f, "low");
          return;
        }
        const source = readSource(s, form);
        const target = s.read(0);
        const special = form.isScalar
          ? isSpecial(f, target).or(isSpecial(f, source))
          : op("v128.any_true", specialLanes(s, f, target, source));
        quicklyOr(
          s,
          (done) => {
            b.if(special.eqz(), () => {
              if (form.isScalar) {
                const isKept = op(
                  `${f.name}.${operation === "min" ? "lt" : "gt"}`,
                  asFloat(f, target),
                  asFloat(f, source),
                );
                s.write(0, select(isKept, target, source));
              } else {
                // pmin(a, b) is b < a ? b : a, and pmax(a, b) is a < b ? b : a.
                s.write(0, op(`${f.bits === 64 ? "f64x2" : "f32x4"}.p${operation}`, source, target));
              }
              done();
            });
          },
          () =>
            exactly(s, () =>
              form.isScalar ? fromSoft(f, b.call(soft, toSoft(target), toSoft(source))) : b.call(lanes, target, source),
            ),
        );
      },
    });
  }
}

/** Ones in the lanes where an operand is a NaN or denormal. */
export function specialLanes(s: Semantics, f: FloatFormat, x: Expr, y: Expr): Expr {
  const { b } = s;
  const of = (v: Expr): Expr => {
    const m = b.keep(magnitudes(f, v));
    return op("v128.or", denormalLanes(f, m), nanLanes(f, m));
  };
  return op("v128.or", of(x), of(y));
}

/** i32: a scalar is a NaN or denormal. */
export const isSpecial = (f: FloatFormat, x: Expr): Expr => isNan(f, x).or(isDenormal(f, x));

for (const [mnemonic, opcode, lane] of [
  ["rsqrt", "52", approximateRoot],
  ["rcp", "53", approximateReciprocal],
] as const) {
  for (const form of FLOAT_FORMS.filter(({ format }) => format === F32)) {
    const lanes = onLanes(F32, lane);
    define({
      name: mnemonic + form.suffix,
      feature: "sse",
      forms: [`${form.prefix} 0F ${opcode} /r | V${form.size},W${form.size}`],
      semantics: (s) => {
        const source = readSource(s, form);
        s.write(0, form.isScalar ? s.b.call(lane, source.u64()).lo32() : s.b.call(lanes, source, source));
      },
    });
  }
}
