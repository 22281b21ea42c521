/**
 * Packed decimal integers of 18 digits and a sign byte (SDM vol. 1, 4.7), as FBLD and FBSTP see them: the low 64 bits
 * hold digits 0-15, the upper 16 digits 16-17 and the sign.
 */
import { i32, i64 } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { FSW_IE } from "./x87.ts";
import { isUnsupported, roundShift } from "./x87-convert.ts";

const BIAS = 16383;
const LARGEST = 999_999_999_999_999_999n;

/** Magnitude of packed digits; digits above 9 count as they are, as on processors. */
export const fromDecimal: Routine = routine("x87_from_decimal", ["i64", "i32"], "i64", (b, low, high) => {
  const value = b.variable(high.shrU(4).and(15).mul(10).add(high.and(15)).u64());
  const left = b.variable(low);
  const count = b.variable(i32(16));
  b.loop((again) => {
    value.set(value.get().mul(10).add(left.get().shrU(60)));
    left.set(left.get().shl(4));
    count.set(count.get().sub(1));
    b.br(again, count.get());
  });
  b.return(value.get());
});

/**
 * An 80-bit value rounded to packed digits: the low 64 bits, the upper 16 in RESULT[0], flags in RESULT[1]; without
 * enough digits the decimal indefinite and IE.
 */
export const toDecimal: Routine = routine("x87_to_decimal", ["i64", "i32"], "i64", (b, significand, signExponent) => {
  const sign = b.keep(signExponent.and(0x8000));
  const exponent = b.keep(signExponent.and(0x7fff));
  const invalid = b.variable(isUnsupported(exponent, significand).or(exponent.gtU(BIAS + 62)));
  const whole = b.variable(i64(0));
  b.if(invalid.get().eqz(), () => {
    whole.set(b.call(roundShift, significand, i32(BIAS + 63).sub(exponent), sign));
    invalid.set(whole.get().gtU(i64(LARGEST)));
  });
  b.if(invalid.get(), () => {
    b.put(L.result(0), 0xffff);
    b.put(L.result(1), FSW_IE);
    b.return(i64(0xc000000000000000n));
  });
  const digits = b.variable(i64(0));
  const count = b.variable(i32(16));
  b.loop((again) => {
    digits.set(digits.get().shrU(4).or(whole.get().remU(10n).shl(60)));
    whole.set(whole.get().divU(10n));
    count.set(count.get().sub(1));
    b.br(again, count.get());
  });
  const top = whole.get().divU(10n).shl(4).or(whole.get().remU(10n));
  b.put(L.result(0), sign.u64().or(top));
  b.return(digits.get());
});
