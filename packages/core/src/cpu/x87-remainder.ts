/**
 * The x87 operations that take numbers apart: remainder (FPREM, FPREM1), rounding to an integer, scaling by a power of
 * two, extraction of exponent and significand (SDM vol. 2). Values travel as in cpu/x87-arithmetic.ts; FCW.PC does not
 * matter here.
 */
import { type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { FSW_C0, FSW_C1, FSW_C2, FSW_C3 } from "./x87.ts";
import {
  BIAS,
  decideNan,
  denormalFlag,
  exponentOf,
  finish,
  give,
  giveInvalid,
  MAX_EXPONENT,
  normalize,
  returnNan,
  signOf,
  stopAtDenormal,
} from "./x87-arithmetic.ts";
import { INTEGER_BIT, roundShift } from "./x87-convert.ts";

/** To an integer in the direction of FCW.RC. */
export const roundToInteger: Routine = routine("x87_round_to_integer", ["i64", "i32"], "i64", (b, x, xs) => {
  returnNan(b, x, xs, i64(0), i32(0));
  const xe = exponentOf(b, xs);
  const flags = denormalFlag(b, x, xe);
  stopAtDenormal(b, flags);
  b.if(x.eqz().or(xe.geU(BIAS + 63)), () => give(b, x, xs, flags));
  const sign = signOf(b, xs);
  const whole = b.call(roundShift, x, i32(BIAS + 63).sub(xe), sign);
  const rounding = b.keep(b.get(L.result(1)).lo32().or(flags));
  b.if(whole.eqz(), () => give(b, 0n, sign, rounding));
  const zeros = b.keep(whole.clz());
  give(b, whole.shl(zeros), sign.or(i32(BIAS + 63).sub(zeros.lo32())), rounding);
});

/** x * 2^trunc(y). */
export const scale: Routine = routine("x87_scale", ["i64", "i32", "i64", "i32"], "i64", (b, x, xs, y, ys) => {
  returnNan(b, x, xs, y, ys);
  const [xe, ye] = [exponentOf(b, xs), exponentOf(b, ys)];
  const sign = signOf(b, xs);
  const down = b.keep(signOf(b, ys).nez());
  const xInfinite = b.keep(xe.eq(MAX_EXPONENT));
  const flags = b.keep(denormalFlag(b, x, xe).or(denormalFlag(b, y, ye)));
  b.if(ye.eq(MAX_EXPONENT), () => {
    b.if(select(down, xInfinite, x.eqz()), () => giveInvalid(b));
    stopAtDenormal(b, flags);
    b.if(down, () => give(b, 0n, sign, flags));
    give(b, INTEGER_BIT, sign.or(MAX_EXPONENT), flags);
  });
  stopAtDenormal(b, flags);
  b.if(xInfinite.or(x.eqz()), () => give(b, x, xs, flags));
  const n = normalize(b, x, xe);
  b.if(ye.ltU(BIAS), () => finish(b, sign, n.exponent, n.significand, 0n, flags, i32(0)));
  // Beyond 2^16 every scaling ends in zero or infinity.
  const far = ye.gtU(BIAS + 16);
  const steps = b.keep(
    select(
      far,
      i32(0x10000),
      y
        .shrU(
          i32(BIAS + 63)
            .sub(ye)
            .and(63)
            .u64(),
        )
        .lo32(),
    ),
  );
  finish(b, sign, n.exponent.add(select(down, steps.neg(), steps)), n.significand, 0n, flags, i32(0));
});

/** RESULT[2] of `remainder` where there is no quotient: C0 and C3 stay as they are. */
export const NO_QUOTIENT = 1;

/**
 * Remainder of x by y. `nearest`: the quotient is rounded to nearest, else truncated. RESULT[2]: C0, C1, C2, C3 for FSW:
 * the quotient's last three bits in C0, C3, C1, or C2 when an exponent difference of 64 or more was only reduced.
 */
export const remainder: Routine = routine(
  "x87_remainder",
  ["i64", "i32", "i64", "i32", "i32"],
  "i64",
  (b, x, xs, y, ys, nearest) => {
    b.if(b.call(decideNan, x, xs, y, ys), () => {
      const value = b.get(L.result(2));
      b.put(L.result(2), NO_QUOTIENT);
      b.return(value);
    });
    const [xe, ye] = [exponentOf(b, xs), exponentOf(b, ys)];
    const sign = signOf(b, xs);
    const flags = b.keep(denormalFlag(b, x, xe).or(denormalFlag(b, y, ye)));
    b.put(L.result(2), NO_QUOTIENT);
    b.if(xe.eq(MAX_EXPONENT).or(y.eqz()), () => giveInvalid(b));
    stopAtDenormal(b, flags);
    b.put(L.result(2), 0);
    b.if(x.eqz(), () => give(b, x, xs, flags));
    const p = normalize(b, x, xe);
    b.if(ye.eq(MAX_EXPONENT), () => finish(b, sign, p.exponent, p.significand, 0n, flags, i32(0)));
    const q = normalize(b, y, ye);
    const divisor = q.significand;
    const distance = b.keep(p.exponent.sub(q.exponent));
    b.if(distance.ltS(-1).or(distance.ltS(0).and(nearest.eqz())), () =>
      finish(b, sign, p.exponent, p.significand, 0n, flags, i32(0)),
    );
    b.if(distance.eq(-1), () => {
      // Between a quarter and all of the divisor: above half, one divisor is nearer.
      b.if(p.significand.leU(divisor), () => finish(b, sign, p.exponent, p.significand, 0n, flags, i32(0)));
      b.put(L.result(2), FSW_C1);
      const rest = b.keep(divisor.sub(p.significand).add(divisor));
      const zeros = b.keep(rest.clz());
      finish(b, sign.xor(0x8000), p.exponent.sub(zeros.lo32()), rest.shl(zeros), 0n, flags, i32(0));
    });
    const partial = b.keep(distance.geS(64));
    // A reduction takes 32 to 63 bits off the difference.
    const steps = b.keep(select(partial, distance.and(31).or(32), distance));
    const rest = b.variable(p.significand);
    const quotient = b.variable(i32(0));
    const left = b.variable(steps);
    const carry = b.variable(i32(0));
    b.loop((again) => {
      quotient.set(quotient.get().shl(1));
      b.if(carry.get().or(rest.get().geU(divisor)), () => {
        rest.set(rest.get().sub(divisor));
        quotient.set(quotient.get().or(1));
      });
      b.if(left.get().nez(), () => {
        carry.set(rest.get().shrU(63).lo32());
        rest.set(rest.get().shl(1));
        left.set(left.get().sub(1));
        b.br(again);
      });
    });
    const resultSign = b.variable(sign);
    b.if(nearest.and(partial.eqz()), () => {
      const other = b.keep(divisor.sub(rest.get()));
      const nearer = rest
        .get()
        .gtU(other)
        .or(rest.get().eq(other).and(quotient.get().and(1)));
      b.if(nearer, () => {
        rest.set(other);
        quotient.set(quotient.get().add(1));
        resultSign.set(resultSign.get().xor(0x8000));
      });
    });
    const bits = quotient.get();
    const codes = bits.and(1).shl(9).or(bits.and(2).shl(13)).or(bits.and(4).shl(6));
    b.put(L.result(2), select(partial, i32(FSW_C2), codes.and(FSW_C0 | FSW_C1 | FSW_C3)).u64());
    const significand = b.keep(rest.get());
    const finalSign = b.keep(resultSign.get());
    b.if(significand.eqz(), () => give(b, 0n, sign, flags));
    const zeros = b.keep(significand.clz());
    finish(b, finalSign, p.exponent.sub(steps).sub(zeros.lo32()), significand.shl(zeros), 0n, flags, i32(0));
  },
);

/** A finite value's exponent, unbiased, of a value that is not zero. */
export function unbiasedExponent(significand: Expr, exponent: Expr): Expr {
  return select(exponent.eqz(), i32(1), exponent).sub(significand.clz().lo32()).sub(BIAS);
}
