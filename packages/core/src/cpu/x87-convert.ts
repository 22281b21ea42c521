/**
 * Conversions between the x87's 80-bit format and single, double and integer formats (SDM vol. 1, 4.2, 4.8 and 8.3.4),
 * rounded as FCW.RC says. An 80-bit value is two operands: significand (i64) and sign with exponent (i32, 16 bits).
 * Second results: RESULT[0] sign and exponent, RESULT[1] the flags raised (FSW bits, C1 for "rounded up" included).
 * Flags are only collected here; the caller signals them.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { FSW_C1, FSW_DE, FSW_IE, FSW_OE, FSW_PE, FSW_UE } from "./x87.ts";

const BIAS = 16383;
export const INTEGER_BIT: bigint = 1n << 63n;
export const QUIET_BIT: bigint = 1n << 62n;

export const resultFlags = (b: Builder): Expr => b.keep(b.get(L.result(1)).lo32());
export const resultSignExponent = (b: Builder): Expr => b.keep(b.get(L.result(0)).lo32());

function answer(b: Builder, significand: Expr, signExponent: Expr, flags: Expr | number): void {
  const kept = b.keep(significand);
  b.put(L.result(0), signExponent.u64());
  b.put(L.result(1), typeof flags === "number" ? i64(flags) : flags.u64());
  b.return(kept);
}

/** An encoding the 387 and later do not support: a finite number or NaN without its integer bit. */
export function isUnsupported(exponent: Expr, significand: Expr): Expr {
  return exponent.nez().and(significand.geS(0));
}

/** Widens an IEEE value of `fractionBits` and `exponentBits`, given in the low bits of an i64. */
function makeWiden(name: string, fractionBits: number, exponentBits: number): Routine {
  const most = (1 << exponentBits) - 1;
  const bias = most >> 1;
  return routine(name, ["i64"], "i64", (b, bits) => {
    const sign = b.keep(
      bits
        .shrU(fractionBits + exponentBits)
        .shl(15)
        .lo32(),
    );
    const exponent = b.keep(bits.shrU(fractionBits).lo32().and(most));
    const fraction = b.keep(bits.and((1n << BigInt(fractionBits)) - 1n));
    const aligned = b.keep(fraction.shl(63 - fractionBits));
    b.if(exponent.eq(most), () => {
      b.if(fraction.eqz(), () => answer(b, i64(INTEGER_BIT), sign.or(0x7fff), 0));
      const signalling = select(aligned.and(QUIET_BIT).eqz(), i32(FSW_IE), i32(0));
      answer(b, aligned.or(INTEGER_BIT | QUIET_BIT), sign.or(0x7fff), signalling);
    });
    b.if(exponent.eqz(), () => {
      b.if(fraction.eqz(), () => answer(b, i64(0), sign, 0));
      const zeros = b.keep(fraction.clz());
      // The last bit of the fraction has the weight 2^(1 - bias - fractionBits).
      const scaled = i32(BIAS + 63 + 1 - bias - fractionBits).sub(zeros.lo32());
      answer(b, fraction.shl(zeros), sign.or(scaled), FSW_DE);
    });
    answer(b, aligned.or(INTEGER_BIT), sign.or(exponent.add(BIAS - bias)), 0);
  });
}
export const fromSingle: Routine = makeWiden("x87_from_single", 23, 8);
export const fromDouble: Routine = makeWiden("x87_from_double", 52, 11);

/** A signed 64-bit integer, exactly. */
export const fromInteger: Routine = routine("x87_from_integer", ["i64"], "i64", (b, value) => {
  b.if(value.eqz(), () => answer(b, i64(0), i32(0), 0));
  const negative = b.keep(value.ltS(0));
  const magnitude = b.keep(select(negative, value.neg(), value));
  const zeros = b.keep(magnitude.clz());
  answer(
    b,
    magnitude.shl(zeros),
    i32(BIAS + 63)
      .sub(zeros.lo32())
      .or(negative.shl(15)),
    0,
  );
});

/**
 * `significand` shifted right by `shift` (0 or more) and rounded; `sign` is 0 or not. RESULT[1]: PE if inexact, C1 if
 * the magnitude grew.
 */
export const roundShift: Routine = routine(
  "x87_round_shift",
  ["i64", "i32", "i32"],
  "i64",
  (b, significand, shift, sign) => {
    b.if(shift.eqz(), () => {
      b.put(L.result(1), 0);
      b.return(significand);
    });
    const whole = b.variable(i64(0));
    // What is cut off, as a fraction of 2^64; beyond 64 bits only that there is something.
    const rest = b.variable(significand.nez().u64());
    b.if(shift.ltU(64), () => {
      whole.set(significand.shrU(shift.u64()));
      rest.set(significand.shl(i32(64).sub(shift).u64()));
    });
    b.if(shift.eq(64), () => rest.set(significand));
    const kept = b.keep(whole.get());
    const fraction = b.keep(rest.get());
    const up = b.call(roundsUp, fraction, kept.lo32().and(1), sign);
    const inexact = select(fraction.nez(), i64(FSW_PE), i64(0));
    b.put(L.result(1), inexact.or(select(up, i64(FSW_C1), i64(0))));
    b.return(kept.add(up.u64()));
  },
);

/** Whether a magnitude grows by one: `fraction` is cut off (of 2^64), `odd` its last bit. FCW.RC: 0 nearest, 1 down, 2 up, 3 zero. */
export const roundsUp: Routine = routine("x87_rounds_up", ["i64", "i32", "i32"], "i32", (b, fraction, odd, sign) => {
  const mode = b.keep(b.get(L.FCW).shrU(10).and(3));
  b.if(mode.eqz(), () => {
    const more = fraction.gtU(i64(INTEGER_BIT));
    b.return(more.or(fraction.eq(i64(INTEGER_BIT)).and(odd)));
  });
  const toward = select(sign, i32(1), i32(2));
  b.return(mode.eq(toward).and(fraction.nez()));
});

/** Narrows to an IEEE format, in the low bits of an i64. RESULT[1]: flags; with OE or UE unmasked no value is meant. */
function makeNarrow(name: string, fractionBits: number, exponentBits: number): Routine {
  const most = (1 << exponentBits) - 1;
  const bias = most >> 1;
  const cut = 63 - fractionBits;
  const infinity = BigInt(most) << BigInt(fractionBits);
  const quiet = 1n << BigInt(fractionBits - 1);
  return routine(name, ["i64", "i32"], "i64", (b, given, signExponent) => {
    const give = (value: Expr, flags: Expr | number): void => {
      const kept = b.keep(value);
      b.put(L.result(1), typeof flags === "number" ? i64(flags) : flags.u64());
      b.return(kept);
    };
    const negative = b.keep(signExponent.shrU(15));
    const sign = b.keep(negative.u64().shl(fractionBits + exponentBits));
    const exponent = b.keep(signExponent.and(0x7fff));
    b.if(isUnsupported(exponent, given), () =>
      give(i64((1n << BigInt(fractionBits + exponentBits)) | infinity | quiet), FSW_IE),
    );
    b.if(exponent.eq(0x7fff), () => {
      b.if(given.eq(i64(INTEGER_BIT)), () => give(sign.or(infinity), 0));
      const payload = given.and(i64(INTEGER_BIT - 1n)).shrU(cut);
      give(sign.or(payload).or(infinity | quiet), select(given.and(QUIET_BIT).eqz(), i32(FSW_IE), i32(0)));
    });
    b.if(given.eqz(), () => give(sign, 0));
    const zeros = b.keep(given.clz());
    const significand = b.keep(given.shl(zeros));
    // Biased exponent in the target format.
    const scaled = b.keep(
      select(exponent.eqz(), i32(1), exponent)
        .sub(zeros.lo32())
        .sub(BIAS - bias),
    );
    const rounded = b.call(roundShift, significand, cut, negative);
    const carry = b.keep(rounded.shrU(fractionBits + 1).lo32());
    const flags = b.keep(b.get(L.result(1)).lo32());
    const final = b.keep(scaled.add(carry));
    const control = b.get(L.FCW);
    b.if(final.geS(most), () => {
      b.if(control.and(FSW_OE).eqz(), () => give(i64(0), FSW_OE));
      const mode = b.keep(control.shrU(10).and(3));
      const toInfinity = b.keep(mode.eqz().or(mode.eq(select(negative, i32(1), i32(2)))));
      const value = select(toInfinity, i64(infinity), i64(infinity - 1n));
      give(sign.or(value), select(toInfinity, i32(FSW_OE | FSW_PE | FSW_C1), i32(FSW_OE | FSW_PE)));
    });
    b.if(final.leS(0), () => {
      b.if(control.and(FSW_UE).eqz(), () => give(i64(0), FSW_UE));
      const small = b.call(roundShift, significand, i32(cut + 1).sub(scaled), negative);
      const lost = b.keep(b.get(L.result(1)).lo32());
      give(sign.or(small), lost.or(select(lost.and(FSW_PE), i32(FSW_UE), i32(0))));
    });
    // Adding the integer bit moves the exponent on by one: it counts from one less. A carry moves it on by itself.
    const packed = scaled.sub(1).u64().shl(fractionBits).add(rounded);
    give(sign.or(packed), flags);
  });
}
export const toSingle: Routine = makeNarrow("x87_to_single", 23, 8);
export const toDouble: Routine = makeNarrow("x87_to_double", 52, 11);

/** To a signed integer of `bits` (16, 32, 64), sign-extended; out of range: the integer indefinite and IE. */
export const toInteger: Routine = routine(
  "x87_to_integer",
  ["i64", "i32", "i32"],
  "i64",
  (b, significand, signExponent, bits) => {
    const negative = b.keep(signExponent.shrU(15));
    const exponent = b.keep(signExponent.and(0x7fff));
    const lowest = b.keep(i64(-1).shl(bits.sub(1).u64()));
    const invalid = (condition: Expr): void =>
      b.if(condition, () => {
        b.put(L.result(1), FSW_IE);
        b.return(lowest);
      });
    invalid(isUnsupported(exponent, significand).or(exponent.gtU(BIAS + 63)));
    const shift = b.keep(i32(BIAS + 63).sub(exponent));
    const rounded = b.call(roundShift, significand, shift, negative);
    const limit = lowest.not().add(negative.u64());
    invalid(rounded.gtU(limit));
    b.return(select(negative, rounded.neg(), rounded));
  },
);
