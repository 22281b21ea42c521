/**
 * 128-bit arithmetic for the x87's transcendental instructions. A wide number is two i64, `high` and `low`, and stands
 * either for a fraction of 2^128 or, with its leading bit set and an exponent beside it, for the value
 * high:low / 2^128 * 2^exponent. Products and quotients are truncated: each is less than 3 units of 2^-128 too small.
 *
 * Routines give the high half as their value and the low half in LOW, an exponent or a count in EXPONENT.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { FSW_PE, FSW_UE } from "./x87.ts";
import { BIAS, multiplyHigh, roundPack } from "./x87-arithmetic.ts";
import { INTEGER_BIT } from "./x87-convert.ts";

const LOW = L.wide(0);
const EXPONENT = L.wide(1);
const [SUM_HIGH, SUM_LOW] = [L.wide(2), L.wide(3)];
const [ARGUMENT_HIGH, ARGUMENT_LOW] = [L.wide(4), L.wide(5)];
/** 1: the terms of the series have alternating signs. */
const ALTERNATING = L.wide(6);

export interface Wide {
  readonly high: Expr;
  readonly low: Expr;
}
/** A wide number with its leading bit set, and its exponent (i32). */
export interface Scaled extends Wide {
  readonly exponent: Expr;
}

const MASK_64 = (1n << 64n) - 1n;

export const wideConstant = (value: bigint): Wide => ({ high: i64(value >> 64n), low: i64(value & MASK_64) });
const wideResult = (b: Builder, high: Expr): Wide => ({ high, low: b.get(LOW) });
const scaledResult = (b: Builder, high: Expr): Scaled => ({
  high,
  low: b.get(LOW),
  exponent: b.keep(b.get(EXPONENT).lo32()),
});

/** Ends a routine with a wide number. */
export function giveWide(b: Builder, { high, low }: Wide): void {
  b.put(LOW, low);
  b.return(high);
}
export function giveScaled(b: Builder, { high, low, exponent }: Scaled): void {
  b.put(EXPONENT, exponent.s64());
  giveWide(b, { high, low });
}
export const callWide = (b: Builder, routine: Routine, ...args: readonly (Expr | number)[]): Wide =>
  wideResult(b, b.call(routine, ...args));
export const callScaled = (b: Builder, routine: Routine, ...args: readonly (Expr | number)[]): Scaled =>
  scaledResult(b, b.call(routine, ...args));

export function addWide(b: Builder, x: Wide, y: Wide): Wide {
  const low = b.keep(x.low.add(y.low));
  return { low, high: b.keep(x.high.add(y.high).add(low.ltU(y.low).u64())) };
}
export function subtractWide(b: Builder, x: Wide, y: Wide): Wide {
  const low = b.keep(x.low.sub(y.low));
  return { low, high: b.keep(x.high.sub(y.high).sub(x.low.ltU(y.low).u64())) };
}
export function isBelow(x: Wide, y: Wide): Expr {
  return x.high.ltU(y.high).or(x.high.eq(y.high).and(x.low.ltU(y.low)));
}
export const isZero = (x: Wide): Expr => x.high.or(x.low).eqz();
export function selectWide(b: Builder, condition: Expr, yes: Wide, no: Wide): Wide {
  const kept = b.keep(condition);
  return { high: b.keep(select(kept, yes.high, no.high)), low: b.keep(select(kept, yes.low, no.low)) };
}

const multiply: Routine = routine("wide_multiply", ["i64", "i64", "i64", "i64"], "i64", (b, xh, xl, yh, yl) => {
  const outer = b.call(multiplyHigh, xh, yl);
  const inner = b.call(multiplyHigh, xl, yh);
  const first = b.keep(xh.mul(yh).add(outer));
  const second = b.keep(first.add(inner));
  b.put(LOW, second);
  const carries = first.ltU(outer).u64().add(second.ltU(inner).u64());
  b.return(b.call(multiplyHigh, xh, yh).add(carries));
});
export const multiplyWide = (b: Builder, x: Wide, y: Wide): Wide => callWide(b, multiply, x.high, x.low, y.high, y.low);

const shiftRight: Routine = routine("wide_shift_right", ["i64", "i64", "i32"], "i64", (b, high, low, count) => {
  b.if(count.eqz(), () => giveWide(b, { high, low }));
  b.if(count.ltU(64), () => {
    const lower = low.shrU(count.u64()).or(high.shl(i32(64).sub(count).u64()));
    giveWide(b, { high: high.shrU(count.u64()), low: lower });
  });
  b.if(count.ltU(128), () => giveWide(b, { high: i64(0), low: high.shrU(count.sub(64).u64()) }));
  giveWide(b, { high: i64(0), low: i64(0) });
});
/** `count`: 0 or more. */
export const shiftWide = (b: Builder, x: Wide, count: Expr): Wide => callWide(b, shiftRight, x.high, x.low, count);

const scale: Routine = routine("wide_scale", ["i64", "i64", "i32"], "i64", (b, high, low, exponent) => {
  b.if(high.eqz(), () => {
    const zeros = b.keep(low.clz());
    const moved = exponent.sub(64).sub(zeros.lo32());
    giveScaled(b, { high: low.shl(zeros), low: i64(0), exponent: moved });
  });
  const zeros = b.keep(high.clz());
  b.if(zeros.eqz(), () => giveScaled(b, { high, low, exponent }));
  const upper = high.shl(zeros).or(low.shrU(i64(64).sub(zeros)));
  giveScaled(b, { high: upper, low: low.shl(zeros), exponent: exponent.sub(zeros.lo32()) });
});
/** A number that is not zero, with its leading bit moved to the top. */
export const scaleWide = (b: Builder, x: Wide, exponent: Expr): Scaled => callScaled(b, scale, x.high, x.low, exponent);

/** x * 2^128 / y, for x < y. */
const divide: Routine = routine("wide_divide", ["i64", "i64", "i64", "i64"], "i64", (b, xh, xl, yh, yl) => {
  const [restHigh, restLow] = [b.variable(xh), b.variable(xl)];
  const [high, low] = [b.variable(i64(0)), b.variable(i64(0))];
  const count = b.variable(i32(128));
  b.loop((again) => {
    const carried = b.keep(restHigh.get().ltS(0));
    restHigh.set(restHigh.get().shl(1).or(restLow.get().shrU(63)));
    restLow.set(restLow.get().shl(1));
    high.set(high.get().shl(1).or(low.get().shrU(63)));
    low.set(low.get().shl(1));
    const less = isBelow({ high: restHigh.get(), low: restLow.get() }, { high: yh, low: yl });
    b.if(carried.or(less.eqz()), () => {
      const borrow = b.keep(restLow.get().ltU(yl).u64());
      restLow.set(restLow.get().sub(yl));
      restHigh.set(restHigh.get().sub(yh).sub(borrow));
      low.set(low.get().or(1));
    });
    count.set(count.get().sub(1));
    b.br(again, count.get());
  });
  giveWide(b, { high: high.get(), low: low.get() });
});
/** Quotient of two numbers with their leading bits set. */
export function divideScaled(b: Builder, x: Scaled, y: Scaled): Scaled {
  const over = b.keep(isBelow(x, y).eqz());
  const halved = callWide(b, shiftRight, x.high, x.low, over);
  const quotient = callWide(b, divide, halved.high, halved.low, y.high, y.low);
  return { ...quotient, exponent: b.keep(x.exponent.sub(y.exponent).add(over)) };
}

/** SUM = coefficient plus or minus ARGUMENT * SUM. */
const step: Routine = routine("wide_series_step", ["i64", "i64"], undefined, (b, high, low) => {
  const sum = { high: b.get(SUM_HIGH), low: b.get(SUM_LOW) };
  const product = multiplyWide(b, sum, { high: b.get(ARGUMENT_HIGH), low: b.get(ARGUMENT_LOW) });
  const put = (next: Wide): void => {
    b.put(SUM_HIGH, next.high);
    b.put(SUM_LOW, next.low);
  };
  b.if(
    b.get(ALTERNATING).lo32(),
    () => put(subtractWide(b, { high, low }, product)),
    () => put(addWide(b, { high, low }, product)),
  );
});

/**
 * The sum of coefficients[k] * x^(k + 1), every second one subtracted if `alternating` (i32, or 0 and 1). x is a
 * fraction, and so are the coefficients and all sums. With `coefficients` falling at least by half each time, the
 * error is below 2^-125.
 */
export function series(b: Builder, x: Wide, coefficients: readonly bigint[], alternating: Expr | number): Wide {
  b.put(ARGUMENT_HIGH, x.high);
  b.put(ARGUMENT_LOW, x.low);
  b.put(ALTERNATING, typeof alternating === "number" ? i64(alternating) : alternating.u64());
  const [last, ...rest] = coefficients.map(wideConstant).reverse();
  b.put(SUM_HIGH, last!.high);
  b.put(SUM_LOW, last!.low);
  for (const { high, low } of rest) b.call(step, high, low);
  return multiplyWide(b, x, { high: b.get(SUM_HIGH), low: b.get(SUM_LOW) });
}

/** The first `count` values of `denominator` as fractions: 2^128 / denominator(k). */
export const reciprocals = (count: number, denominator: (k: number) => bigint): bigint[] =>
  Array.from({ length: count }, (_, k) => (1n << 128n) / denominator(k));
export function factorial(n: number): bigint {
  let product = 1n;
  for (let i = 2n; i <= BigInt(n); i++) product *= i;
  return product;
}

/** x * (1 - t), or x * (1 + t) with `up`; t is a fraction below a half, counted as at least 2^-128. */
const correct: Routine = routine(
  "wide_correct",
  ["i64", "i64", "i32", "i64", "i64", "i32"],
  "i64",
  (b, high, low, exponent, th, tl, up) => {
    const x = { high, low };
    const product = multiplyWide(b, x, { high: th, low: tl });
    b.if(up, () => {
      const sum = addWide(b, x, product);
      b.if(sum.high.geU(high).and(isBelow(sum, x).eqz()), () => giveScaled(b, { ...sum, exponent }));
      const lower = sum.low.shrU(1).or(sum.high.shl(63));
      giveScaled(b, { high: sum.high.shrU(1).or(INTEGER_BIT), low: lower, exponent: exponent.add(1) });
    });
    const lost = b.keep(isZero(product).u64());
    const difference = subtractWide(b, x, { high: product.high, low: b.keep(product.low.or(lost)) });
    giveScaled(b, scaleWide(b, difference, exponent));
  },
);
export const correctScaled = (b: Builder, x: Scaled, t: Wide, up: Expr | number): Scaled =>
  callScaled(b, correct, x.high, x.low, x.exponent, t.high, t.low, up);

/** x as a fraction of 2^(128 - integerBits). */
export const fixed = (b: Builder, x: Scaled, integerBits: number): Wide =>
  shiftWide(b, x, i32(integerBits).sub(x.exponent));

/** A significand with its leading bit in bit 63 and its biased exponent. */
export const scaledOf = (b: Builder, significand: Expr, exponent: Expr): Scaled => ({
  high: significand,
  low: i64(0),
  exponent: b.keep(exponent.sub(BIAS - 1)),
});

/**
 * Ends a routine of cpu/x87-arithmetic.ts with a wide number, rounded to 64 bits whatever FCW.PC says (SDM vol. 1,
 * 8.1.5.2). `more`: further flags; `exact` 1: there is nothing below the number's last bit.
 */
export function finishScaled(b: Builder, sign: Expr, x: Scaled, more: Expr, exact: Expr | number = 0): void {
  const rest = typeof exact === "number" ? i64(1 - exact) : exact.eqz().u64();
  const value = b.call(roundPack, sign, x.exponent.add(BIAS - 1), x.high, x.low.or(rest), i32(0));
  // An exact result that is denormal: where `more` says inexact, it is an underflow.
  const inexact = more
    .and(FSW_PE)
    .nez()
    .and(b.get(L.result(0)).and(0x7fff).eqz());
  const underflow = select(inexact, i32(FSW_UE), i32(0));
  b.put(L.result(1), b.get(L.result(1)).or(more.or(underflow).u64()));
  b.return(value);
}
