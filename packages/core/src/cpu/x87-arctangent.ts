/**
 * FPATAN (SDM vol. 2): the angle of a point, over the full circle, within one unit in the last place and rounded as
 * FCW.RC says, always to 64 bits. The smaller coordinate is divided by the larger, the angle of the nearest sixteenth
 * subtracted by the addition theorem, and what is left comes from the Taylor series.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import {
  BIAS,
  denormalFlag,
  exponentOf,
  give,
  MAX_EXPONENT,
  multiplyHigh,
  normalize,
  returnNan,
  signOf,
  stopAtDenormal,
} from "./x87-arithmetic.ts";
import {
  addWide,
  callScaled,
  callWide,
  correctScaled,
  divideScaled,
  finishScaled,
  fixed,
  giveScaled,
  giveWide,
  isBelow,
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
  type Wide,
  wideConstant,
} from "./x87-wide.ts";

/** Angles are fractions of 4: 2^126 is one. */
const ANGLE_BITS = 2;

/** atan(j / 16) * 2^126, by the series for atan x = x / (1 + x^2) * (1 + 2/3 u + 2/3 * 4/5 u^2 ...), u = x^2 / (1 + x^2). */
function arctangentOfSixteenths(j: bigint): bigint {
  const guard = 64n;
  let term = ((j * 16n) << (126n + guard)) / (256n + j * j);
  let sum = 0n;
  for (let k = 1n; term > 0n; k++) {
    sum += term;
    term = (term * j * j * 2n * k) / ((256n + j * j) * (2n * k + 1n));
  }
  return sum >> guard;
}
const TABLE: readonly bigint[] = Array.from({ length: 17 }, (_, j) => arctangentOfSixteenths(BigInt(j)));
/** A quarter turn is twice the angle of 16/16. */
const QUARTER = arctangentOfSixteenths(16n) * 2n;
const HALF = QUARTER * 2n;

const tableAt: Routine = routine("x87_arctangent_table", ["i32"], "i64", (b, index) => {
  b.switch(
    index,
    TABLE.map((angle) => () => giveWide(b, wideConstant(angle))),
    () => giveWide(b, wideConstant(0n)),
  );
  b.return(i64(0));
});

/** Arctangent of a number below 1/16, by its series. */
const small: Routine = routine("x87_small_arctangent", ["i64", "i64", "i32"], "i64", (b, high, low, exponent) => {
  const x = { high, low, exponent };
  const square = shiftWide(b, multiplyWide(b, x, x), exponent.shl(1).neg());
  const t = series(
    b,
    square,
    reciprocals(16, (k) => BigInt(2 * k + 3)),
    1,
  );
  giveScaled(b, correctScaled(b, x, t, 0));
});
const callSmall = (b: Builder, x: Scaled): Scaled => callScaled(b, small, x.high, x.low, x.exponent);

/** A 64-bit number times a small one. */
function times(b: Builder, x: Expr, factor: Expr): Wide {
  const wide = b.keep(factor.u64());
  return { high: b.call(multiplyHigh, x, wide), low: b.keep(x.mul(wide)) };
}
/** Shifted left by 0 to 63. */
function shiftedLeft(b: Builder, x: Wide, count: Expr): Wide {
  const kept = b.keep(count);
  const carried = select(kept.eqz(), i64(0), x.low.shrU(i64(64).sub(kept.u64())));
  return { high: b.keep(x.high.shl(kept.u64()).or(carried)), low: b.keep(x.low.shl(kept.u64())) };
}

/**
 * Arctangent of n / d * 2^-distance, which is at least 1/32 and at most 1, as an angle in fixed point; n and d have their
 * leading bits set.
 */
const large: Routine = routine("x87_large_arctangent", ["i64", "i64", "i32", "i32"], "i64", (b, n, d, distance, j) => {
  // tan (a - b) = (n - d j/16) / (d + n j/16), both times 16 * 2^distance.
  const numerator = shiftedLeft(b, { high: i64(0), low: n }, i32(4));
  const part = shiftedLeft(b, times(b, d, j), distance);
  const denominator = addWide(b, shiftedLeft(b, { high: i64(0), low: d }, distance.add(4)), times(b, n, j));
  const lower = b.keep(isBelow(numerator, part));
  const rest = selectWide(b, lower, subtractWide(b, part, numerator), subtractWide(b, numerator, part));
  const base = callWide(b, tableAt, j);
  b.if(isZero(rest), () => giveWide(b, base));
  const scaled = (x: Wide): Scaled => scaleWide(b, x, i32(128));
  const angle = fixed(b, callSmall(b, divideScaled(b, scaled(rest), scaled(denominator))), ANGLE_BITS);
  giveWide(b, selectWide(b, lower, subtractWide(b, base, angle), addWide(b, base, angle)));
});

/** An angle in fixed point, with the sign, as the result. */
function finishAngle(b: Builder, sign: Expr, angle: Wide, flags: Expr): void {
  finishScaled(b, sign, scaleWide(b, angle, i32(ANGLE_BITS)), flags);
}

/** The angle whose tangent is y / x. */
export const arctangent: Routine = routine("x87_arctangent", ["i64", "i32", "i64", "i32"], "i64", (b, x, xs, y, ys) => {
  returnNan(b, x, xs, y, ys);
  const [xe, ye] = [exponentOf(b, xs), exponentOf(b, ys)];
  const sign = signOf(b, ys);
  const left = b.keep(xs.shrU(15));
  const flags = b.keep(denormalFlag(b, x, xe).or(denormalFlag(b, y, ye)));
  stopAtDenormal(b, flags);
  const [xInfinite, yInfinite] = [b.keep(xe.eq(MAX_EXPONENT)), b.keep(ye.eq(MAX_EXPONENT))];
  b.if(xInfinite.and(yInfinite), () => {
    finishAngle(b, sign, selectWide(b, left, wideConstant((QUARTER * 3n) / 2n), wideConstant(QUARTER / 2n)), flags);
  });
  b.if(y.eqz().or(xInfinite), () => {
    b.if(left, () => finishAngle(b, sign, wideConstant(HALF), flags));
    give(b, 0n, sign, flags);
  });
  b.if(x.eqz().or(yInfinite), () => finishAngle(b, sign, wideConstant(QUARTER), flags));
  const [p, q] = [normalize(b, x, xe), normalize(b, y, ye)];
  const steep = b.keep(p.exponent.ltS(q.exponent).or(p.exponent.eq(q.exponent).and(p.significand.ltU(q.significand))));
  const n = b.keep(select(steep, p.significand, q.significand));
  const d = b.keep(select(steep, q.significand, p.significand));
  const distance = b.keep(select(steep, q.exponent.sub(p.exponent), p.exponent.sub(q.exponent)));
  const ratio = divideScaled(b, scaledOf(b, n, i32(BIAS).sub(distance)), scaledOf(b, d, i32(BIAS)));
  const nearest = b.variable(i32(0));
  // Sixteenths: the ratio times 32, without its fraction, is rounded to even numbers.
  b.if(ratio.exponent.geS(-4), () => {
    nearest.set(ratio.high.shrU(i32(59).sub(ratio.exponent).u64()).lo32().add(1).shrU(1));
  });
  const j = b.keep(nearest.get());
  b.if(j.eqz().and(steep.or(left).eqz()), () => finishScaled(b, sign, callSmall(b, ratio), flags));
  const [high, low] = [b.variable(i64(0)), b.variable(i64(0))];
  const set = (angle: Wide): void => {
    high.set(angle.high);
    low.set(angle.low);
  };
  const angle = (): Wide => ({ high: b.keep(high.get()), low: b.keep(low.get()) });
  b.if(
    j,
    () => set(callWide(b, large, n, d, distance, j)),
    () => set(fixed(b, callSmall(b, ratio), ANGLE_BITS)),
  );
  b.if(steep, () => set(subtractWide(b, wideConstant(QUARTER), angle())));
  b.if(left, () => set(subtractWide(b, wideConstant(HALF), angle())));
  finishAngle(b, sign, angle(), flags);
});
