/**
 * F2XM1, FYL2X and FYL2XP1 (SDM vol. 2), within one unit in the last place and rounded as FCW.RC says, always to 64
 * bits: Taylor series of the exponential function and of the inverse hyperbolic tangent in 128-bit fractions.
 *
 * Like processors, they raise PE whenever they compute, even where the result happens to be exact. What the manual
 * leaves undefined is as on AMD's: F2XM1 beyond -1 to 1 gives its operand back, and so does FYL2XP1 from -1 down; above
-1 it takes any value.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { FSW_PE, FSW_ZE } from "./x87.ts";
import {
  BIAS,
  denormalFlag,
  exponentOf,
  give,
  giveInvalid,
  MAX_EXPONENT,
  normalize,
  returnNan,
  signOf,
  stopAtDenormal,
} from "./x87-arithmetic.ts";
import { INTEGER_BIT } from "./x87-convert.ts";
import {
  addWide,
  callScaled,
  correctScaled,
  divideScaled,
  factorial,
  finishScaled,
  fixed,
  giveScaled,
  isZero,
  multiplyWide,
  reciprocals,
  type Scaled,
  scaledOf,
  scaleWide,
  selectWide,
  series,
  shiftWide,
  subtractWide,
  wideConstant,
} from "./x87-wide.ts";

/** 2^128 times the natural logarithm of 2, and 2^127 times the logarithm of e to the base 2. */
const LN_2 = 0xb17217f7d1cf79abc9e3b39803f2f6afn;
const LOG2_E = 0xb8aa3b295c17f0bbbe87fed0691d3e89n;
/** 2^63 times the square root of 2: from here on a logarithm is that of a half of the significand. */
const SQRT_2 = 0xb504f333f9de6484n;

/** 2^x - 1. */
export const exponential: Routine = routine("x87_exponential", ["i64", "i32"], "i64", (b, x, xs) => {
  returnNan(b, x, xs, i64(0), i32(0));
  const xe = exponentOf(b, xs);
  const sign = signOf(b, xs);
  const flags = denormalFlag(b, x, xe);
  stopAtDenormal(b, flags);
  b.if(x.eqz(), () => give(b, x, xs, 0));
  b.if(xe.eq(MAX_EXPONENT), () => {
    b.if(sign, () => give(b, INTEGER_BIT, 0x8000 | BIAS, 0));
    give(b, x, xs, 0);
  });
  b.if(xe.geU(BIAS), () => {
    b.if(
      sign
        .nez()
        .and(xe.eq(BIAS))
        .and(x.eq(i64(INTEGER_BIT))),
      () => give(b, INTEGER_BIT, 0x8000 | (BIAS - 1), FSW_PE),
    );
    give(b, x, xs, FSW_PE);
  });
  const n = normalize(b, x, xe);
  const own = scaledOf(b, n.significand, n.exponent);
  // x times ln 2, and e to that power.
  const w = scaleWide(b, multiplyWide(b, own, wideConstant(LN_2)), own.exponent);
  const t = series(
    b,
    fixed(b, w, 0),
    reciprocals(30, (k) => factorial(k + 2)),
    sign.nez(),
  );
  finishScaled(b, sign, correctScaled(b, w, t, sign.eqz()), flags);
});

/** Magnitude of log2(1 + f), for f from sqrt(1/2) - 1 to sqrt(2) - 1 and not zero; it has f's sign. */
const nearOne: Routine = routine(
  "x87_logarithm_near_one",
  ["i64", "i64", "i32", "i32"],
  "i64",
  (b, high, low, exponent, negative) => {
    const f: Scaled = { high, low, exponent };
    // ln (1 + f) = 2 artanh u, u = f / (2 + f).
    const part = fixed(b, f, 2);
    const two = wideConstant(1n << 127n);
    const sum = selectWide(b, negative, subtractWide(b, two, part), addWide(b, two, part));
    const u = divideScaled(b, f, scaleWide(b, sum, i32(2)));
    const square = shiftWide(b, multiplyWide(b, u, u), u.exponent.shl(1).neg());
    const t = series(
      b,
      square,
      reciprocals(23, (k) => BigInt(2 * k + 3)),
      0,
    );
    const s = scaleWide(b, multiplyWide(b, u, wideConstant(LOG2_E)), u.exponent.add(2));
    giveScaled(b, correctScaled(b, s, t, 1));
  },
);
const callNearOne = (b: Builder, f: Scaled, negative: Expr): Scaled =>
  callScaled(b, nearOne, f.high, f.low, f.exponent, negative);

/** What `ofScaled` leaves in L.wide(7): bit 15 the logarithm's sign, bit 0: it is exact. */
const LOGARITHM = L.wide(7);

/** Magnitude of log2 of a number that is not 1. */
const ofScaled: Routine = routine("x87_binary_logarithm", ["i64", "i64", "i32"], "i64", (b, high, low, exponent) => {
  // 2^power * (1 + f), or 1 - f with `upper`
  const upper = b.keep(high.gtU(i64(SQRT_2)));
  const power = b.keep(exponent.sub(upper.eqz()));
  const powerSign = b.keep(power.shrU(31).shl(15));
  const magnitude = b.keep(select(powerSign, power.neg(), power).u64());
  const m = { high, low };
  const above = { high: b.keep(high.and(i64(INTEGER_BIT - 1n))), low };
  const f = selectWide(b, upper, subtractWide(b, wideConstant(0n), m), above);
  b.put(LOGARITHM, powerSign.or(1).u64());
  b.if(isZero(f), () => giveScaled(b, scaleWide(b, { high: i64(0), low: magnitude }, i32(128))));
  const scaled = scaleWide(b, f, select(upper, i32(0), i32(1)));
  const near = callNearOne(b, scaled, upper);
  const nearSign = b.keep(upper.shl(15));
  b.put(LOGARITHM, select(power.eqz(), nearSign, powerSign).u64());
  b.if(power.eqz(), () => giveScaled(b, near));
  const [whole, part] = [{ high: b.keep(magnitude.shl(48)), low: i64(0) }, fixed(b, near, 16)];
  const same = powerSign.eq(nearSign);
  const sum = selectWide(b, same, addWide(b, whole, part), subtractWide(b, whole, part));
  giveScaled(b, scaleWide(b, sum, i32(16)));
});

/** Ends a routine with the product of a logarithm, whose sign is in bit 15 of `logSign`, and the finite y, which is not zero. */
function finishProduct(
  b: Builder,
  log: Scaled,
  logSign: Expr,
  exact: Expr | number,
  y: Expr,
  ys: Expr,
  flags: Expr,
): void {
  const n = normalize(b, y, exponentOf(b, ys));
  const factor = scaledOf(b, n.significand, n.exponent);
  const exponent = log.exponent.add(factor.exponent);
  const product = scaleWide(b, multiplyWide(b, log, factor), exponent);
  finishScaled(b, signOf(b, ys.xor(logSign)), product, b.keep(flags.or(FSW_PE)), exact);
}

/** Ends a routine with y times the logarithm of a number that is not 1. */
function finishGeneral(b: Builder, x: Scaled, y: Expr, ys: Expr, flags: Expr): void {
  const log = callScaled(b, ofScaled, x.high, x.low, x.exponent);
  const info = b.keep(b.get(LOGARITHM).lo32());
  finishProduct(b, log, info, b.keep(info.and(1)), y, ys, flags);
}

/** Ends a routine where y decides: zero or infinite, times a logarithm that is neither. `logSign` in its place. */
function decideByFactor(b: Builder, logSign: Expr, y: Expr, ys: Expr, flags: Expr): void {
  const sign = signOf(b, ys.xor(logSign));
  b.if(exponentOf(b, ys).eq(MAX_EXPONENT), () => give(b, INTEGER_BIT, sign.or(MAX_EXPONENT), flags));
  b.if(y.eqz(), () => give(b, 0n, sign, flags));
}

/** y * log2(x). */
export const logarithm: Routine = routine("x87_logarithm", ["i64", "i32", "i64", "i32"], "i64", (b, x, xs, y, ys) => {
  returnNan(b, x, xs, y, ys);
  const [xe, ye] = [exponentOf(b, xs), exponentOf(b, ys)];
  const yInfinite = b.keep(ye.eq(MAX_EXPONENT));
  const flags = b.keep(denormalFlag(b, x, xe).or(denormalFlag(b, y, ye)));
  b.if(x.eqz(), () => {
    b.if(y.eqz(), () => giveInvalid(b));
    const sign = signOf(b, ys.xor(0x8000));
    b.if(yInfinite, () => give(b, INTEGER_BIT, sign.or(MAX_EXPONENT), 0));
    give(b, INTEGER_BIT, sign.or(MAX_EXPONENT), FSW_ZE);
  });
  b.if(xs.and(0x8000), () => giveInvalid(b));
  b.if(xe.eq(MAX_EXPONENT), () => {
    b.if(y.eqz(), () => giveInvalid(b));
    stopAtDenormal(b, flags);
    give(b, INTEGER_BIT, signOf(b, ys).or(MAX_EXPONENT), flags);
  });
  const n = normalize(b, x, xe);
  const isOne = b.keep(n.exponent.eq(BIAS).and(n.significand.eq(i64(INTEGER_BIT))));
  b.if(isOne.and(yInfinite), () => giveInvalid(b));
  stopAtDenormal(b, flags);
  b.if(isOne, () => give(b, 0n, signOf(b, ys), flags));
  decideByFactor(b, b.keep(select(n.exponent.ltS(BIAS), i32(0x8000), i32(0))), y, ys, flags);
  finishGeneral(b, scaledOf(b, n.significand, n.exponent), y, ys, flags);
});

/** y * log2(1 + x). */
export const logarithmOfSum: Routine = routine(
  "x87_logarithm_of_sum",
  ["i64", "i32", "i64", "i32"],
  "i64",
  (b, x, xs, y, ys) => {
    returnNan(b, x, xs, y, ys);
    const [xe, ye] = [exponentOf(b, xs), exponentOf(b, ys)];
    const xSign = signOf(b, xs);
    const yInfinite = b.keep(ye.eq(MAX_EXPONENT));
    const flags = b.keep(denormalFlag(b, x, xe).or(denormalFlag(b, y, ye)));
    b.if(x.eqz().and(yInfinite), () => giveInvalid(b));
    b.if(xe.eq(MAX_EXPONENT).and(xSign.nez().or(y.eqz())), () => giveInvalid(b));
    stopAtDenormal(b, flags);
    b.if(xSign.nez().and(xe.geU(BIAS)).and(xe.ne(MAX_EXPONENT)), () => give(b, x, xs, flags.or(FSW_PE)));
    b.if(x.eqz(), () => give(b, 0n, signOf(b, xs.xor(ys)), flags));
    b.if(xe.eq(MAX_EXPONENT), () => give(b, INTEGER_BIT, signOf(b, ys).or(MAX_EXPONENT), flags));
    decideByFactor(b, xSign, y, ys, flags);
    const n = normalize(b, x, xe);
    const own = scaledOf(b, n.significand, n.exponent);
    b.if(own.exponent.gtS(62), () => finishGeneral(b, own, y, ys, flags));
    b.if(own.exponent.geS(-1), () => {
      // Exact: bits down to 2^-65.
      const [one, part] = [wideConstant(1n << 65n), fixed(b, own, 63)];
      const sum = selectWide(b, xSign, subtractWide(b, one, part), addWide(b, one, part));
      finishGeneral(b, scaleWide(b, sum, i32(63)), y, ys, flags);
    });
    finishProduct(b, callNearOne(b, own, xSign.shrU(15)), xSign, 0, y, ys, flags);
  },
);
