/**
 * Arithmetic on 80-bit values (SDM vol. 1, 4.8, 4.9 and 8.5): add, subtract, multiply, divide, square root, rounded to
 * the precision and in the direction that FCW asks for. Operands and results travel as in cpu/x87-convert.ts:
 * significand as the value, RESULT[0] sign and exponent, RESULT[1] flags (FSW bits, C1 for "rounded up").
 *
 * A denormal operand whose exception is unmasked ends the operation with DE alone; the result is then not meant.
 */
import { type Builder, type Expr, i32, i64, op, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import {
  FSW_C1,
  FSW_DE,
  FSW_IE,
  FSW_OE,
  FSW_PE,
  FSW_UE,
  FSW_ZE,
  INDEFINITE_SIGN_EXPONENT,
  INDEFINITE_SIGNIFICAND,
} from "./x87.ts";
import { INTEGER_BIT, isUnsupported, QUIET_BIT, roundsUp } from "./x87-convert.ts";

export const BIAS = 16383;
export const MAX_EXPONENT = 0x7fff;
/** What the exponent of an overflowed or underflowed result is moved by when the exception is unmasked. */
const WRAP = 0x6000;
const TWO_TO_31 = 0x41e0000000000000n;

interface Wide {
  readonly high: Expr;
  readonly low: Expr;
}

/** Ends a routine with a value. */
export function give(b: Builder, significand: Expr | bigint, signExponent: Expr | number, flags: Expr | number): void {
  const kept = typeof significand === "bigint" ? i64(significand) : b.keep(significand);
  b.put(L.result(0), typeof signExponent === "number" ? i64(signExponent) : signExponent.u64());
  b.put(L.result(1), typeof flags === "number" ? i64(flags) : flags.u64());
  b.return(kept);
}
export function giveInvalid(b: Builder): void {
  give(b, INDEFINITE_SIGNIFICAND, INDEFINITE_SIGN_EXPONENT, FSW_IE);
}

export const exponentOf = (b: Builder, signExponent: Expr): Expr => b.keep(signExponent.and(0x7fff));
/** Sign bit in its place. */
export const signOf = (b: Builder, signExponent: Expr): Expr => b.keep(signExponent.and(0x8000));
const isInfinity = (exponent: Expr): Expr => exponent.eq(MAX_EXPONENT);

/** DE if one of the values is denormal. */
export function denormalFlag(b: Builder, significand: Expr, exponent: Expr): Expr {
  return b.keep(select(exponent.eqz().and(significand.nez()), i32(FSW_DE), i32(0)));
}

/** Ends the routine if `flags` has an unmasked DE. */
export function stopAtDenormal(b: Builder, flags: Expr): void {
  b.if(flags.and(b.get(L.FCW).not()).and(FSW_DE), () => give(b, 0n, 0, FSW_DE));
}

export interface Normal {
  readonly significand: Expr;
  /** Biased; below 1 for denormals. */
  readonly exponent: Expr;
}
/** A finite value that is not zero, with its leading bit in bit 63. */
export function normalize(b: Builder, significand: Expr, exponent: Expr): Normal {
  const zeros = b.keep(significand.clz());
  return {
    significand: b.keep(significand.shl(zeros)),
    exponent: b.keep(select(exponent.eqz(), i32(1), exponent).sub(zeros.lo32())),
  };
}

const isNan = (significand: Expr, exponent: Expr): Expr =>
  exponent.eq(MAX_EXPONENT).and(significand.ne(i64(INTEGER_BIT)));

/**
 * NaNs and unsupported operands: 1 if the result is decided by them, which is then in RESULT[2] (significand), [0], [1].
 * Of two NaNs the one with the larger significand wins, of equal ones the positive.
 */
export const decideNan: Routine = routine("x87_decide_nan", ["i64", "i32", "i64", "i32"], "i32", (b, x, xs, y, ys) => {
  const [xe, ye] = [exponentOf(b, xs), exponentOf(b, ys)];
  const answer = (significand: Expr, signExponent: Expr, flags: Expr): void => {
    b.put(L.result(2), significand);
    b.put(L.result(0), signExponent.u64());
    b.put(L.result(1), flags.u64());
    b.return(1);
  };
  b.if(isUnsupported(xe, x).or(isUnsupported(ye, y)), () =>
    answer(i64(INDEFINITE_SIGNIFICAND), i32(INDEFINITE_SIGN_EXPONENT), i32(FSW_IE)),
  );
  const [xn, yn] = [b.keep(isNan(x, xe)), b.keep(isNan(y, ye))];
  b.if(xn.or(yn).eqz(), () => b.return(0));
  const signalling = xn.and(x.and(QUIET_BIT).eqz()).or(yn.and(y.and(QUIET_BIT).eqz()));
  const flags = b.keep(select(signalling, i32(FSW_IE), i32(0)));
  b.if(yn.eqz(), () => answer(x.or(QUIET_BIT), xs, flags));
  b.if(xn.eqz(), () => answer(y.or(QUIET_BIT), ys, flags));
  b.if(x.eq(y), () => answer(x.or(QUIET_BIT), xs.and(ys), flags));
  const first = b.keep(x.gtU(y));
  answer(select(first, x, y).or(QUIET_BIT), select(first, xs, ys), flags);
});

/** Ends the routine where a NaN decides. */
export function returnNan(b: Builder, x: Expr, xs: Expr, y: Expr, ys: Expr): void {
  b.if(b.call(decideNan, x, xs, y, ys), () => b.return(b.get(L.result(2))));
}

/**
 * Rounds significand (leading bit in bit 63) with `low` as the 64 bits below it, packs it with the sign bit (0 or
 * 8000h) and a biased exponent that may be out of range. `cut`: bits that the precision leaves out (0, 11, 40).
 */
export const roundPack: Routine = routine(
  "x87_round_pack",
  ["i32", "i32", "i64", "i64", "i32"],
  "i64",
  (b, sign, exponent, high, low, cut) => {
    const unit = b.keep(i64(1).shl(cut.u64()));
    const mask = b.keep(unit.sub(1));
    /** Rounds at `cut`; a carry out leaves zero. */
    const round = (m: Expr, below: Expr): { value: Expr; flags: Expr } => {
      const shifted = m.and(mask).shl(i32(64).sub(cut).u64()).or(below.nez().u64());
      const fraction = b.keep(select(cut.eqz(), below, shifted));
      const odd = m.and(unit).nez();
      const up = b.call(roundsUp, fraction, odd, sign);
      const inexact = select(fraction.nez(), i32(FSW_PE), i32(0));
      const flags = b.keep(inexact.or(select(up, i32(FSW_C1), i32(0))));
      return { value: b.keep(m.and(mask.not()).add(select(up, unit, i64(0)))), flags };
    };
    const { value, flags } = round(high, low);
    const carried = b.keep(value.eqz());
    const significand = b.keep(select(carried, i64(INTEGER_BIT), value));
    const final = b.keep(exponent.add(carried));
    const control = b.get(L.FCW);
    b.if(final.geS(MAX_EXPONENT), () => {
      const wrapped = b.keep(final.sub(WRAP));
      b.if(control.and(FSW_OE).eqz().and(wrapped.ltS(MAX_EXPONENT)), () =>
        give(b, significand, sign.or(wrapped), flags.or(FSW_OE)),
      );
      // FSCALE alone can go so far that even the moved exponent does not fit.
      b.if(control.and(FSW_OE).eqz(), () => give(b, INTEGER_BIT, sign.or(MAX_EXPONENT), FSW_OE | FSW_PE | FSW_C1));
      const mode = b.keep(control.shrU(10).and(3));
      const toInfinity = mode.eqz().or(mode.eq(select(sign, i32(1), i32(2))));
      b.if(toInfinity, () => give(b, INTEGER_BIT, sign.or(MAX_EXPONENT), FSW_OE | FSW_PE | FSW_C1));
      give(b, mask.not(), sign.or(MAX_EXPONENT - 1), FSW_OE | FSW_PE);
    });
    b.if(final.leS(0), () => {
      const wrapped = b.keep(final.add(WRAP));
      b.if(control.and(FSW_UE).eqz().and(wrapped.gtS(0)), () =>
        give(b, significand, sign.or(wrapped), flags.or(FSW_UE)),
      );
      b.if(control.and(FSW_UE).eqz(), () => give(b, 0n, sign, FSW_UE | FSW_PE));
      // Denormal: the leading bit moves down, what falls out joins the bits below.
      const shift = b.keep(i32(1).sub(exponent));
      const h = b.variable(i64(0));
      const l = b.variable(i64(1));
      b.if(shift.ltU(64), () => {
        h.set(high.shrU(shift.u64()));
        l.set(high.shl(i32(64).sub(shift).u64()).or(low.nez().u64()));
      });
      b.if(shift.eq(64), () => l.set(high.or(low.nez().u64())));
      const small = round(b.keep(h.get()), b.keep(l.get()));
      const tiny = select(small.flags.and(FSW_PE), i32(FSW_UE), i32(0));
      give(b, small.value, sign.or(small.value.ltS(0)), small.flags.or(tiny));
    });
    give(b, significand, sign.or(final), flags);
  },
);

/** Bits that FCW.PC leaves out of the significand. */
export function precisionCut(b: Builder): Expr {
  const pc = b.keep(b.get(L.FCW).shrU(8).and(3));
  return b.keep(select(pc.eqz(), i32(40), select(pc.eq(2), i32(11), i32(0))));
}

/** Packs, adding `more` to the flags. Ends the routine. */
export function finish(
  b: Builder,
  sign: Expr,
  exponent: Expr,
  high: Expr,
  low: Expr | bigint,
  more: Expr,
  cut: Expr = precisionCut(b),
): void {
  const value = b.call(roundPack, sign, exponent, high, low, cut);
  b.put(L.result(1), b.get(L.result(1)).or(more.u64()));
  b.return(value);
}

/** Sum of two values with their signs. */
export const addValues: Routine = routine(
  "x87_add",
  ["i64", "i32", "i64", "i32", "i32"],
  "i64",
  (b, x, xs, y, ys, given) => {
    returnNan(b, x, xs, y, ys);
    const [xe, ye] = [exponentOf(b, xs), exponentOf(b, ys)];
    const [xSign, ySign] = [signOf(b, xs), signOf(b, ys)];
    const flags = b.keep(given.or(denormalFlag(b, x, xe)).or(denormalFlag(b, y, ye)));
    b.if(isInfinity(xe).and(isInfinity(ye)).and(xSign.ne(ySign)), () => giveInvalid(b));
    stopAtDenormal(b, flags);
    b.if(isInfinity(xe), () => give(b, x, xs, flags));
    b.if(isInfinity(ye), () => give(b, y, ys, flags));
    const zeroSign = (): Expr => select(b.get(L.FCW).and(0xc00).eq(0x400), i32(0x8000), i32(0));
    b.if(x.or(y).eqz(), () => give(b, 0n, select(xSign.eq(ySign), xSign, zeroSign()), 0));
    b.if(x.eqz(), () => {
      const n = normalize(b, y, ye);
      finish(b, ySign, n.exponent, n.significand, 0n, flags);
    });
    b.if(y.eqz(), () => {
      const n = normalize(b, x, xe);
      finish(b, xSign, n.exponent, n.significand, 0n, flags);
    });
    const [p, q] = [normalize(b, x, xe), normalize(b, y, ye)];
    // The larger magnitude first.
    const swap = b.keep(p.exponent.ltS(q.exponent).or(p.exponent.eq(q.exponent).and(p.significand.ltU(q.significand))));
    const big = b.keep(select(swap, q.significand, p.significand));
    const small = b.keep(select(swap, p.significand, q.significand));
    const exponent = b.keep(select(swap, q.exponent, p.exponent));
    const distance = b.keep(exponent.sub(select(swap, p.exponent, q.exponent)));
    const sign = b.keep(select(swap, ySign, xSign));
    const high = b.variable(i64(0));
    const low = b.variable(i64(1));
    b.if(distance.eqz(), () => {
      high.set(small);
      low.set(0n);
    });
    b.if(distance.gtU(0).and(distance.ltU(64)), () => {
      high.set(small.shrU(distance.u64()));
      low.set(small.shl(i32(64).sub(distance).u64()));
    });
    b.if(distance.eq(64), () => low.set(small));
    b.if(distance.gtU(64).and(distance.ltU(128)), () => {
      const lost = small.shl(i32(128).sub(distance).u64()).nez().u64();
      low.set(small.shrU(distance.sub(64).u64()).or(lost));
    });
    const [h, l] = [b.keep(high.get()), b.keep(low.get())];
    b.if(xSign.eq(ySign), () => {
      const sum = b.keep(big.add(h));
      b.if(sum.geU(big), () => finish(b, sign, exponent, sum, l, flags));
      finish(b, sign, exponent.add(1), sum.shrU(1).or(INTEGER_BIT), l.shrU(1).or(l.and(1)).or(sum.shl(63)), flags);
    });
    const difference = b.keep(big.sub(h).sub(l.nez().u64()));
    const rest = b.keep(l.neg());
    b.if(difference.or(rest).eqz(), () => give(b, 0n, zeroSign(), flags));
    b.if(difference.eqz(), () => {
      const zeros = b.keep(rest.clz());
      finish(b, sign, exponent.sub(64).sub(zeros.lo32()), rest.shl(zeros), 0n, flags);
    });
    const zeros = b.keep(difference.clz());
    b.if(zeros.eqz(), () => finish(b, sign, exponent, difference, rest, flags));
    finish(
      b,
      sign,
      exponent.sub(zeros.lo32()),
      difference.shl(zeros).or(rest.shrU(i64(64).sub(zeros))),
      rest.shl(zeros),
      flags,
    );
  },
);

/** High half of an unsigned 64 x 64 product. */
export const multiplyHigh: Routine = routine("x87_multiply_high", ["i64", "i64"], "i64", (b, x, y) => {
  const [x0, x1] = [b.keep(x.and(0xffffffffn)), b.keep(x.shrU(32))];
  const [y0, y1] = [b.keep(y.and(0xffffffffn)), b.keep(y.shrU(32))];
  const middle = b.keep(x0.mul(y0).shrU(32).add(x1.mul(y0)));
  const cross = b.keep(middle.and(0xffffffffn).add(x0.mul(y1)));
  b.return(x1.mul(y1).add(middle.shrU(32)).add(cross.shrU(32)));
});

export const multiplyValues: Routine = routine(
  "x87_multiply",
  ["i64", "i32", "i64", "i32", "i32"],
  "i64",
  (b, x, xs, y, ys, given) => {
    returnNan(b, x, xs, y, ys);
    const [xe, ye] = [exponentOf(b, xs), exponentOf(b, ys)];
    const sign = b.keep(xs.xor(ys).and(0x8000));
    const flags = b.keep(given.or(denormalFlag(b, x, xe)).or(denormalFlag(b, y, ye)));
    const infinite = b.keep(isInfinity(xe).or(isInfinity(ye)));
    const zero = b.keep(x.eqz().or(y.eqz()));
    b.if(infinite.and(zero), () => giveInvalid(b));
    stopAtDenormal(b, flags);
    b.if(infinite, () => give(b, INTEGER_BIT, sign.or(MAX_EXPONENT), flags));
    b.if(zero, () => give(b, 0n, sign, flags));
    const [p, q] = [normalize(b, x, xe), normalize(b, y, ye)];
    const high = b.call(multiplyHigh, p.significand, q.significand);
    const low = b.keep(p.significand.mul(q.significand));
    const exponent = b.keep(p.exponent.add(q.exponent).sub(BIAS - 1));
    b.if(high.ltS(0), () => finish(b, sign, exponent, high, low, flags));
    finish(b, sign, exponent.sub(1), high.shl(1).or(low.shrU(63)), low.shl(1), flags);
  },
);

/**
 * Quotient of high * 2^64 + low by divisor, whose leading bit is set, for high < divisor; the remainder goes to RESULT[2].
 * Two digits of 32 bits, each guessed from the divisor's upper half and at most two too large.
 */
export const divideSignificands: Routine = routine(
  "x87_divide_significands",
  ["i64", "i64", "i64"],
  "i64",
  (b, high, low, divisor) => {
    const upper = b.keep(divisor.shrU(32));
    const lower = b.keep(divisor.and(0xffffffffn));
    const digit = (rest: Expr, next: Expr): { digit: Expr; rest: Expr } => {
      const guess = b.variable(op("i64.div_u", rest, upper));
      const left = b.variable(rest.sub(guess.get().mul(upper)));
      const isTooLarge = (): Expr =>
        guess
          .get()
          .shrU(32)
          .nez()
          .or(guess.get().mul(lower).gtU(left.get().shl(32).or(next)));
      const correct = (): void => {
        guess.set(guess.get().sub(1));
        left.set(left.get().add(upper));
      };
      b.if(isTooLarge(), () => {
        correct();
        b.if(left.get().shrU(32).eqz().and(isTooLarge()), correct);
      });
      const found = b.keep(guess.get());
      return { digit: found, rest: b.keep(rest.shl(32).or(next).sub(found.mul(divisor))) };
    };
    const first = digit(high, b.keep(low.shrU(32)));
    const second = digit(first.rest, b.keep(low.and(0xffffffffn)));
    b.put(L.result(2), second.rest);
    b.return(first.digit.shl(32).or(second.digit));
  },
);

/** The fraction that a remainder of a divisor stands for, as far as rounding needs it: 0, below, at or above half. */
export function remainderFraction(b: Builder, remainder: Expr, divisor: Expr): Expr {
  const twice = divisor.sub(remainder);
  const half = b.keep(twice);
  const value = select(
    remainder.gtU(half),
    i64(INTEGER_BIT + 1n),
    select(remainder.eq(half), i64(INTEGER_BIT), i64(1)),
  );
  return b.keep(select(remainder.eqz(), i64(0), value));
}

export const divideValues: Routine = routine(
  "x87_divide",
  ["i64", "i32", "i64", "i32", "i32"],
  "i64",
  (b, x, xs, y, ys, given) => {
    returnNan(b, x, xs, y, ys);
    const [xe, ye] = [exponentOf(b, xs), exponentOf(b, ys)];
    const sign = b.keep(xs.xor(ys).and(0x8000));
    const flags = b.keep(given.or(denormalFlag(b, x, xe)).or(denormalFlag(b, y, ye)));
    b.if(isInfinity(xe).and(isInfinity(ye)).or(x.eqz().and(y.eqz())), () => giveInvalid(b));
    // A denormal divided by zero is no matter of DE.
    b.if(y.eqz().and(isInfinity(xe).eqz()), () => give(b, INTEGER_BIT, sign.or(MAX_EXPONENT), FSW_ZE));
    stopAtDenormal(b, flags);
    b.if(isInfinity(xe), () => give(b, INTEGER_BIT, sign.or(MAX_EXPONENT), flags));
    b.if(isInfinity(ye).or(x.eqz()), () => give(b, 0n, sign, flags));
    const [p, q] = [normalize(b, x, xe), normalize(b, y, ye)];
    const over = b.keep(p.significand.geU(q.significand));
    const high = b.keep(select(over, p.significand.shrU(1), p.significand));
    const low = select(over, p.significand.shl(63), i64(0));
    const quotient = b.call(divideSignificands, high, low, q.significand);
    const fraction = remainderFraction(b, b.get(L.result(2)), q.significand);
    const exponent = p.exponent
      .sub(q.exponent)
      .add(BIAS - 1)
      .add(over);
    finish(b, sign, exponent, quotient, fraction, flags);
  },
);

/**
 * Integer square root of high * 2^64 + low, high >= 2^62; RESULT[2]: 0 exact, else the fraction as rounding needs it.
 * From the host's root of the upper half, which has 53 bits, one step of Newton's leaves an error of a few units.
 */
const rootOfSignificand: Routine = routine("x87_root_of_significand", ["i64", "i64"], "i64", (b, high, low) => {
  const scale = op("f64.reinterpret_i64", TWO_TO_31);
  const estimate = op("f64.mul", op("f64.sqrt", op("f64.convert_i64_u", high)), scale);
  const root = b.variable(op("i64.trunc_sat_f64_s", estimate).shl(1));
  const rest = (): Wide => {
    const s = b.keep(root.get());
    const squareLow = b.keep(s.mul(s));
    const borrow = low.ltU(squareLow).u64();
    return { high: b.keep(high.sub(b.call(multiplyHigh, s, s)).sub(borrow)), low: b.keep(low.sub(squareLow)) };
  };
  const before = rest();
  // Below 2^77: without its low 14 bits it fits.
  const error = before.high.shl(50).or(before.low.shrU(14));
  root.set(root.get().add(op("i64.div_s", error, root.get().shrU(13))));
  const after = rest();
  const [restHigh, restLow] = [b.variable(after.high), b.variable(after.low)];
  /** Adds 2 * root + 1 to the rest, or takes it off. */
  const move = (sign: 1 | -1): void => {
    const [twiceHigh, twiceLow] = [b.keep(root.get().shrU(63)), b.keep(root.get().shl(1).or(1))];
    if (sign > 0) {
      const sum = b.keep(restLow.get().add(twiceLow));
      restHigh.set(restHigh.get().add(twiceHigh).add(sum.ltU(twiceLow).u64()));
      restLow.set(sum);
    } else {
      const borrow = b.keep(restLow.get().ltU(twiceLow).u64());
      restHigh.set(restHigh.get().sub(twiceHigh).sub(borrow));
      restLow.set(restLow.get().sub(twiceLow));
    }
  };
  b.while(
    () => restHigh.get().ltS(0),
    () => {
      root.set(root.get().sub(1));
      move(1);
    },
  );
  // Up to twice the root belongs to it.
  const isMore = (): Expr => {
    const twiceHigh = b.keep(root.get().shrU(63).u64());
    const isEqual = restHigh.get().eq(twiceHigh);
    return restHigh
      .get()
      .gtU(twiceHigh)
      .or(isEqual.and(restLow.get().gtU(root.get().shl(1))));
  };
  b.while(isMore, () => {
    move(-1);
    root.set(root.get().add(1));
  });
  const above = restHigh.get().nez().or(restLow.get().gtU(root.get()));
  const fraction = select(above, i64(INTEGER_BIT + 1n), i64(1));
  b.put(L.result(2), select(restHigh.get().or(restLow.get()).eqz(), i64(0), fraction));
  b.return(root.get());
});

export const squareRoot: Routine = routine("x87_square_root", ["i64", "i32"], "i64", (b, x, xs) => {
  returnNan(b, x, xs, i64(0), i32(0));
  const xe = exponentOf(b, xs);
  b.if(x.eqz(), () => give(b, x, xs, 0));
  b.if(xs.and(0x8000), () => giveInvalid(b));
  const flags = denormalFlag(b, x, xe);
  stopAtDenormal(b, flags);
  b.if(isInfinity(xe), () => give(b, x, xs, 0));
  const n = normalize(b, x, xe);
  const unbiased = b.keep(n.exponent.sub(BIAS));
  const odd = b.keep(unbiased.and(1));
  const root = b.call(
    rootOfSignificand,
    select(odd, n.significand, n.significand.shrU(1)),
    select(odd, i64(0), n.significand.shl(63)),
  );
  finish(b, i32(0), unbiased.shrS(1).add(BIAS), root, b.get(L.result(2)), flags);
});
