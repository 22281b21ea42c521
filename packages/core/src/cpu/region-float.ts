/**
 * SSE arithmetic for regions, where the quick way in line is not proven right (cpu/mxcsr.ts): PE is not set yet, a
 * result is zero, tiny, infinite or a NaN, exceptions are unmasked, rounding is another. Values travel as bits.
 * RESULT[2] is 1 if the interpreter has to do the instruction: an operand or the result is denormal, or an exception is
 * unmasked. Then nothing has changed. Else MXCSR has the flags.
 *
 * While PE is clear, many programs compute with small integers, exactly: whether a result of numbers far from all limits
 * is exact is found without softfloat where that is easy.
 */
import { type Builder, type Expr, op } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { distance, FLOAT_FLAGS, isQuickBesidesDenormals, MXCSR_IE, MXCSR_IM, MXCSR_PE } from "./mxcsr.ts";
import { F32, F64, type FloatFormat, isDenormal, isZero } from "./softfloat.ts";
import { type FloatOperation, softArithmetic, softSquareRoot } from "./softfloat-arithmetic.ts";
import { asFloat, bitsOf } from "./softfloat-compare.ts";
import { extractLane, laneCount, replaceLane } from "./softfloat-vector.ts";

type Name = FloatFormat["name"];

const MOST = (f: FloatFormat): bigint => 2n * (f.infinity - f.minNormal - 1n);
/** Bits of a normal number's significand up to the last one. */
const significantBits = (f: FloatFormat, x: Expr): Expr =>
  op("i64.sub", BigInt(f.fractionBits + 1), x.or(f.minNormal).ctz());

/** Ends the routine with a result whose flags are known. */
function give(b: Builder, value: Expr, flags: Expr | number): void {
  const kept = b.keep(value);
  b.put(L.MXCSR, b.get(L.MXCSR).or(flags));
  b.put(L.result(2), 0);
  b.return(kept);
}

/** Ends the routine if a sum of normal numbers (a + c = sum, of the format's own type) is exact, or known not to be. */
function giveSum(b: Builder, f: FloatFormat, a: Expr, c: Expr, sum: Expr): void {
  const of = (name: string, x: Expr, y: Expr): Expr => b.keep(op(`${f.name}.${name}`, x, y));
  const second = of("sub", sum, a);
  const lost = of("add", of("sub", a, of("sub", sum, second)), of("sub", c, second));
  const isInexact = isZero(f, b.keep(bitsOf(f, lost).u64())).eqz();
  give(b, bitsOf(f, sum).u64(), isInexact.shl(5));
}

/** The same for a product of x and y. One bit more than there is room for may be one too many, or not. */
function giveProduct(b: Builder, f: FloatFormat, factors: readonly [Expr, Expr], result: Expr): void {
  const bits = b.keep(significantBits(f, factors[0]).add(significantBits(f, factors[1])));
  b.if(bits.leU(f.fractionBits + 1), () => give(b, result, 0));
  b.if(bits.gtU(f.fractionBits + 2), () => give(b, result, MXCSR_PE));
}

/** A quotient is exact if the divisor times it is the dividend, as a product that is exact. */
function giveQuotient(b: Builder, f: FloatFormat, x: Expr, y: Expr, result: Expr): void {
  const bits = b.keep(significantBits(f, result).add(significantBits(f, y)));
  b.if(bits.gtU(f.fractionBits + 2), () => give(b, result, MXCSR_PE));
  b.if(bits.leU(f.fractionBits + 1), () => {
    const back = bitsOf(f, op(`${f.name}.mul`, asFloat(f, result), asFloat(f, y))).u64();
    give(b, result, back.ne(x).shl(5));
  });
}

/** Masked, to nearest: PE may be clear. */
const isSimple = (b: Builder): Expr => isQuickBesidesDenormals(b.get(L.MXCSR).or(MXCSR_PE));

function makeArithmetic(f: FloatFormat, operation: FloatOperation): Routine {
  return routine(`region_${operation}_${f.name}`, ["i64", "i64"], "i64", (b, x, y) => {
    leaveIfDenormal(b, f, x, y);
    b.if(isSimple(b), () => {
      const [a, c] = [b.keep(asFloat(f, x)), b.keep(asFloat(f, y))];
      const quick = b.keep(op(`${f.name}.${operation}`, a, c));
      const result = b.keep(bitsOf(f, quick).u64());
      const isUsual = (bits: Expr): Expr => within(f, bits);
      if (operation === "add" || operation === "sub") {
        const areFinite = isBelowInfinity(f, x).and(isBelowInfinity(f, y));
        b.if(areFinite.and(isUsual(result).or(isZero(f, result))), () =>
          giveSum(b, f, a, operation === "add" ? c : b.keep(op(`${f.name}.neg`, c)), quick),
        );
      } else {
        // A zero that is not a tiny product's.
        const isExactZero = operation === "mul" ? isZero(f, x).or(isZero(f, y)) : isZero(f, x);
        const isFiniteResult = isZero(f, result).and(isBelowInfinity(f, x)).and(isBelowInfinity(f, y));
        b.if(isExactZero.and(isFiniteResult), () => give(b, result, 0));
        b.if(isUsual(result).and(isBelowInfinity(f, x)).and(isBelowInfinity(f, y)), () => {
          if (operation === "mul") giveProduct(b, f, [x, y], result);
          else giveQuotient(b, f, x, y, result);
        });
      }
    });
    exactly(b, f, () => b.call(softArithmetic[operation][f.name], x, y));
  });
}

/** All lanes. Flags of lanes that went before one that is left to the interpreter are taken back. */
function makePacked(f: FloatFormat, operation: FloatOperation): Routine {
  const lane = regionArithmetic[operation][f.name];
  return routine(`${lane.name}x${laneCount(f)}`, ["v128", "v128"], "v128", (b, x, y) => {
    const before = b.get(L.MXCSR);
    let result = x;
    for (let i = 0; i < laneCount(f); i++) {
      const value = b.call(lane, extractLane(f, x, i), extractLane(f, y, i));
      b.if(b.get(L.result(2)).lo32(), () => {
        b.put(L.MXCSR, before);
        b.return(x);
      });
      result = b.keep(replaceLane(f, result, i, value));
    }
    b.return(result);
  });
}

function makeRoot(f: FloatFormat): Routine {
  return routine(`region_sqrt_${f.name}`, ["i64"], "i64", (b, x) => {
    leaveIfDenormal(b, f, x);
    exactly(b, f, () => b.call(softSquareRoot[f.name], x));
  });
}

const within = (f: FloatFormat, bits: Expr): Expr =>
  f.bits === 64 ? distance(f, bits).ltU(MOST(f)) : distance(f, bits.lo32()).ltU(MOST(f));
const isBelowInfinity = (f: FloatFormat, x: Expr): Expr => x.and(f.magnitude).ltU(f.infinity);

function leaveIfDenormal(b: Builder, f: FloatFormat, ...operands: readonly Expr[]): void {
  b.put(L.result(2), 1);
  for (const x of operands) b.if(isDenormal(f, x), () => b.return(x));
}

function exactly(b: Builder, f: FloatFormat, compute: () => Expr): void {
  b.put(FLOAT_FLAGS, 0);
  const value = b.keep(compute());
  const flags = b.get(FLOAT_FLAGS);
  const unmasked = flags.and(b.get(L.MXCSR).shrU(7).not()).and(0x3f);
  b.if(unmasked.or(isDenormal(f, value)), () => b.return(value));
  give(b, value, flags);
}

/** An invalid comparison: 1 if its exception is unmasked, and the interpreter has to do the instruction; else IE is set. */
export const regionInvalid: Routine = routine("region_invalid", [], "i32", (b) => {
  const mxcsr = b.get(L.MXCSR);
  b.if(mxcsr.and(MXCSR_IM).eqz(), () => b.return(1));
  b.put(L.MXCSR, mxcsr.or(MXCSR_IE));
  b.return(0);
});

const formats = (make: (f: FloatFormat) => Routine): Readonly<Record<Name, Routine>> => ({
  f32: make(F32),
  f64: make(F64),
});
export const regionArithmetic: Readonly<Record<FloatOperation, Readonly<Record<Name, Routine>>>> = {
  add: formats((f) => makeArithmetic(f, "add")),
  sub: formats((f) => makeArithmetic(f, "sub")),
  mul: formats((f) => makeArithmetic(f, "mul")),
  div: formats((f) => makeArithmetic(f, "div")),
};
export const regionPacked: Readonly<Record<FloatOperation, Readonly<Record<Name, Routine>>>> = {
  add: formats((f) => makePacked(f, "add")),
  sub: formats((f) => makePacked(f, "sub")),
  mul: formats((f) => makePacked(f, "mul")),
  div: formats((f) => makePacked(f, "div")),
};
export const regionRoot: Readonly<Record<Name, Routine>> = formats(makeRoot);
export const REGION_FLOAT_ROUTINES: readonly Routine[] = [
  ...[regionArithmetic, regionPacked]
    .flatMap((all) => Object.values(all))
    .flatMap((byFormat) => Object.values(byFormat)),
  ...Object.values(regionRoot),
  regionInvalid,
];
