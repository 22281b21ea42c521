/**
 * Sine, cosine and tangent of 80-bit values (SDM vol. 1, 8.3.6 to 8.3.10; vol. 2, FSIN FCOS FSINCOS FPTAN): within one
 * unit in the last place, rounded as FCW.RC says, always to 64 bits. Values travel as in cpu/x87-arithmetic.ts.
 *
 * Arguments are reduced by the processors' own pi, which has 66 bits (SDM vol. 1, 8.3.8), exactly, as the remainder of
 * an integer division: docs/decisions/0005-pi-of-66-bits.md. Then Taylor series in 128-bit fractions.
 */
import { type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { FSW_C2 } from "./x87.ts";
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
  type fixed,
  giveScaled,
  isBelow,
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

/** 2^64 times the pi of SDM vol. 1, 8.3.8. */
const PI_66 = 0xc90fdaa22168c234cn >> 2n;
/** From here on FSW.C2 says that the argument is out of range. */
const LIMIT_EXPONENT = BIAS + 63;
/** Below 2^-2, an argument is not reduced. */
const REDUCED_EXPONENT = BIAS - 2;

/** Which function: what FSINCOS gives as its second result is a call of its own. */
export const SINE = 0;
export const COSINE = 1;
export const TANGENT = 2;

/** What the reduction leaves in L.wide(7): bits 0-1 the quadrant, bit 2: the rest is to be subtracted. */
const QUADRANT = L.wide(7);

/**
 * A normalised magnitude below 2^63 as a multiple of pi / 2, which goes to QUADRANT, and a rest of at most pi / 4 to be
 * added or subtracted. The rest is exact: 66 bits are enough for it.
 */
const reduce: Routine = routine("x87_reduce_angle", ["i64", "i32"], "i64", (b, significand, exponent) => {
  b.put(QUADRANT, 0);
  const x = scaledOf(b, significand, exponent);
  b.if(exponent.ltS(REDUCED_EXPONENT), () => giveScaled(b, x));
  // In units of 2^-65 pi / 2 is PI_66; the significand has to be doubled 0 to 64 times.
  const half = wideConstant(PI_66);
  const [high, low] = [b.variable(i64(0)), b.variable(significand)];
  const quotient = b.variable(i32(0));
  const left = b.variable(exponent.sub(REDUCED_EXPONENT));
  const rest = (): Wide => ({ high: b.keep(high.get()), low: b.keep(low.get()) });
  b.while(
    () => left.get().nez(),
    () => {
      left.set(left.get().sub(1));
      const before = rest();
      const doubled = addWide(b, before, before);
      const fits = b.keep(isBelow(doubled, half).eqz());
      const next = selectWide(b, fits, subtractWide(b, doubled, half), doubled);
      high.set(next.high);
      low.set(next.low);
      quotient.set(quotient.get().shl(1).or(fits));
    },
  );
  const below = rest();
  const above = subtractWide(b, half, below);
  const nearer = b.keep(isBelow(above, below));
  b.put(QUADRANT, quotient.get().add(nearer).and(3).or(nearer.shl(2)).u64());
  giveScaled(b, scaleWide(b, selectWide(b, nearer, above, below), i32(128 - 65)));
});

const squareOf = (b: Parameters<typeof fixed>[0], x: Scaled): Wide =>
  shiftWide(b, multiplyWide(b, x, x), x.exponent.shl(1).neg());

/** Sine of at most pi / 4. */
const sine: Routine = routine("x87_sine", ["i64", "i64", "i32"], "i64", (b, high, low, exponent) => {
  const x = { high, low, exponent };
  const t = series(
    b,
    squareOf(b, x),
    reciprocals(13, (k) => factorial(2 * k + 3)),
    1,
  );
  giveScaled(b, correctScaled(b, x, t, 0));
});
/** Cosine of at most pi / 4: below 1, if only by 2^-128. */
const cosine: Routine = routine("x87_cosine", ["i64", "i64", "i32"], "i64", (b, high, low, exponent) => {
  const t = series(
    b,
    squareOf(b, { high, low, exponent }),
    reciprocals(14, (k) => factorial(2 * k + 2)),
    1,
  );
  const least = t.high.or(t.low).eqz().u64();
  const value = subtractWide(b, wideConstant(0n), { high: t.high, low: b.keep(t.low.or(least)) });
  giveScaled(b, { ...value, exponent: i32(0) });
});
/** Tangent, or with `odd` its reciprocal, of less than 2^-40, where two terms of the series are enough. */
const smallTangent: Routine = routine(
  "x87_small_tangent",
  ["i64", "i64", "i32", "i32"],
  "i64",
  (b, high, low, exponent, odd) => {
    const x = { high, low, exponent };
    const t = multiplyWide(b, squareOf(b, x), wideConstant((1n << 128n) / 3n));
    b.if(odd, () => {
      const one = scaledOf(b, i64(INTEGER_BIT), i32(BIAS));
      giveScaled(b, correctScaled(b, divideScaled(b, one, x), t, 0));
    });
    giveScaled(b, correctScaled(b, x, t, 1));
  },
);

/**
 * A function of x (SINE, COSINE, TANGENT). Flags C2: x is out of range and nothing is to be done.
 */
export const trigonometric: Routine = routine("x87_trigonometric", ["i64", "i32", "i32"], "i64", (b, x, xs, which) => {
  returnNan(b, x, xs, i64(0), i32(0));
  const xe = exponentOf(b, xs);
  const negative = b.keep(xs.shrU(15));
  b.if(xe.eq(MAX_EXPONENT), () => giveInvalid(b));
  b.if(xe.geU(LIMIT_EXPONENT), () => give(b, x, xs, FSW_C2));
  const flags = denormalFlag(b, x, xe);
  stopAtDenormal(b, flags);
  b.if(x.eqz(), () => {
    b.if(which.eq(COSINE), () => give(b, INTEGER_BIT, BIAS, 0));
    give(b, 0n, signOf(b, xs), 0);
  });
  const n = normalize(b, x, xe);
  const rest = callScaled(b, reduce, n.significand, n.exponent);
  const quadrant = b.keep(b.get(QUADRANT).lo32());
  const subtracted = b.keep(quadrant.shrU(2));
  const odd = b.keep(quadrant.and(1));
  const finish = (value: Scaled, sign: Expr): void => finishScaled(b, b.keep(sign.shl(15)), value, flags);
  const call = (f: Routine): Scaled => callScaled(b, f, rest.high, rest.low, rest.exponent);
  b.if(which.eq(TANGENT), () => {
    const sign = b.keep(negative.xor(subtracted).xor(odd));
    b.if(rest.exponent.ltS(-40), () =>
      finish(callScaled(b, smallTangent, rest.high, rest.low, rest.exponent, odd), sign),
    );
    const [s, c] = [call(sine), call(cosine)];
    b.if(odd, () => finish(divideScaled(b, c, s), sign));
    finish(divideScaled(b, s, c), sign);
  });
  // cos x = sin (x + pi / 2), and the sine's sign is that of the half turn, of the rest where it is the sine of that,
  // and of x.
  const turned = b.keep(quadrant.add(select(which.eq(COSINE), i32(1), i32(0))));
  const own = b.keep(select(which.eq(COSINE), i32(0), negative));
  const half = b.keep(turned.shrU(1).and(1).xor(own));
  b.if(turned.and(1), () => finish(call(cosine), half));
  finish(call(sine), half.xor(subtracted));
});
