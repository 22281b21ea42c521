/**
 * Conversions between binary32, binary64 and integers (see softfloat.ts). Conversions to integers know only IE and PE:
 * what does not fit gives the "integer indefinite" value, the most negative one.
 */
import { type Expr, i32, i64, op, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { MXCSR_IE, MXCSR_PE, MXCSR_RC_SHIFT, noteFlags, ROUND_DOWN, ROUND_NEAREST, ROUND_UP } from "./mxcsr.ts";
import {
  F32,
  F64,
  type FloatFormat,
  isInfinite,
  isNan,
  isSignaling,
  isZero,
  LEADING,
  noteDenormals,
  roundPack,
  signed,
  signOf,
  squash,
  unpack,
} from "./softfloat.ts";

type FormatName = FloatFormat["name"];

function makeToInteger(f: FloatFormat, bits: 32 | 64): Routine {
  const indefinite = i64(-1n << BigInt(bits - 1));
  const largest = (1n << BigInt(bits - 1)) - 1n;
  return routine(`${f.name}_to_i${bits}`, ["i64", "i32"], "i64", (b, operand, rc) => {
    const invalid = (): void => {
      noteFlags(b, MXCSR_IE);
      b.return(indefinite);
    };
    b.if(isNan(f, operand).or(isInfinite(f, operand)), invalid);
    const x = squash(b, f, operand);
    b.if(isZero(f, x), () => b.return(i64(0)));
    const sign = b.keep(signOf(f, x));
    const u = unpack(b, f, x);
    // Bits of the significand below the binary point.
    const below = b.keep(i64(LEADING + f.bias).sub(u.exponent));
    b.if(below.ltS(-1), invalid);
    const m = u.significand;
    const isFar = b.keep(below.gtS(64));
    const whole = select(below.gtS(63), i64(0), select(below.ltS(0), m.shl(1), m.shrU(below)));
    // The bits below the point, the first of them in bit 63.
    const fraction = select(below.leS(0), i64(0), select(isFar, i64(1), m.shl(i64(64).sub(below))));
    const integer = b.keep(whole);
    const lost = b.keep(fraction);
    const half = i64(1n << 63n);
    const nearest = lost.gtU(half).or(lost.eq(half).and(integer.and(1).nez()));
    const away = lost.nez().and(rc.eq(select(sign.eqz(), i32(ROUND_UP), i32(ROUND_DOWN))));
    const rounded = b.keep(integer.add(select(rc.eq(ROUND_NEAREST), nearest, away).u64()));
    b.if(rounded.gtU(sign.add(largest)), invalid);
    b.if(lost.nez(), () => noteFlags(b, MXCSR_PE));
    b.return(rounded.xor(i64(0).sub(sign)).add(sign));
  });
}

/** (bits, rounding mode) -> the integer, sign-extended to 64 bits. */
export const floatToInteger: Readonly<Record<FormatName, Readonly<Record<32 | 64, Routine>>>> = {
  f32: { 32: makeToInteger(F32, 32), 64: makeToInteger(F32, 64) },
  f64: { 32: makeToInteger(F64, 32), 64: makeToInteger(F64, 64) },
};

function makeFromInteger(f: FloatFormat): Routine {
  return routine(`i64_to_${f.name}`, ["i64"], "i64", (b, x) => {
    b.if(x.eqz(), () => b.return(i64(0)));
    const sign = b.keep(x.shrU(63));
    const magnitude = b.keep(x.xor(i64(0).sub(sign)).add(sign));
    const zeros = b.keep(magnitude.clz());
    // -2^63 has its one in bit 63 and zeros below.
    const m = select(zeros.eqz(), magnitude.shrU(1), magnitude.shl(zeros.sub(1)));
    b.return(b.call(roundPack[f.name], sign, i64(63 + f.bias).sub(zeros), m));
  });
}

/** Signed 64-bit integer -> bits. */
export const integerToFloat: Readonly<Record<FormatName, Routine>> = {
  f32: makeFromInteger(F32),
  f64: makeFromInteger(F64),
};

const NAN_SHIFT = F64.fractionBits - F32.fractionBits;

/** binary64 -> binary32. */
export const narrowFloat: Routine = routine("f64_to_f32", ["i64"], "i64", (b, operand) => {
  const narrowSign = (): Expr => operand.shrU(32).and(F32.sign);
  b.if(isNan(F64, operand), () => {
    noteFlags(b, isSignaling(F64, operand));
    b.return(
      narrowSign()
        .or(operand.shrU(NAN_SHIFT).and(F32.quiet - 1n))
        .or(F32.infinity | F32.quiet),
    );
  });
  const x = squash(b, F64, operand);
  noteDenormals(b, F64, x);
  b.if(isZero(F64, x), () => b.return(narrowSign()));
  b.if(isInfinite(F64, x), () => b.return(narrowSign().or(F32.infinity)));
  const u = unpack(b, F64, x);
  b.return(b.call(roundPack.f32, signOf(F64, x), u.exponent.sub(F64.bias - F32.bias), u.significand));
});

/** binary32 -> binary64, always exact. */
export const widenFloat: Routine = routine("f32_to_f64", ["i64"], "i64", (b, operand) => {
  b.if(isNan(F32, operand), () => {
    noteFlags(b, isSignaling(F32, operand));
    b.return(
      signed(F64, signOf(F32, operand), i64(F64.infinity | F64.quiet)).or(operand.and(F32.quiet - 1n).shl(NAN_SHIFT)),
    );
  });
  const x = squash(b, F32, operand);
  noteDenormals(b, F32, x);
  b.return(op("i64.reinterpret_f64", op("f64.promote_f32", op("f32.reinterpret_i32", x.lo32()))));
});

/** The rounding mode in MXCSR. */
export const roundingMode: Routine = routine("rounding_mode", [], "i32", (b) =>
  b.return(b.get(L.MXCSR).shrU(MXCSR_RC_SHIFT).and(3)),
);
