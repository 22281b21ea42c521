/**
 * RCPPS and RSQRTPS (SDM vol. 2): approximations with a relative error of at most 1.5 * 2^-12, without flags and
 * independent of MXCSR. Each CPU has its own table; here the result is the exact one, rounded to 12 bits. Denormal
 * operands count as zero, and tiny results are zero.
 */
import { type Expr, i64, op } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { F32, F64, isInfinite, isNan, signOf } from "./softfloat.ts";
import { asFloat, bitsOf } from "./softfloat-compare.ts";

/** Bits of a fraction that are left out. */
const DROPPED = 11;

/** The positive number `exact` (f64) as 12-bit binary32, with a sign of 0 or 1. */
function shortened(exact: Expr, sign: Expr): Expr {
  const bits = op("i32.reinterpret_f32", op("f32.demote_f64", exact))
    .add(1 << (DROPPED - 1))
    .and(-1 << DROPPED);
  return bits.u64().or(sign.shl(31));
}

const wide = (bits: Expr): Expr => op("f64.promote_f32", asFloat(F32, bits));
const ONE = 0x3ff0000000000000n;
const one = (): Expr => asFloat(F64, i64(ONE));

export const approximateReciprocal: Routine = routine("rcp_f32", ["i64"], "i64", (b, x) => {
  b.if(isNan(F32, x), () => b.return(x.or(F32.quiet)));
  const magnitude = b.keep(x.and(F32.magnitude));
  const sign = b.keep(signOf(F32, x));
  b.if(magnitude.ltU(F32.minNormal), () => b.return(sign.shl(31).or(F32.infinity)));
  const quotient = b.keep(bitsOf(F64, op("f64.div", one(), wide(magnitude))));
  // 2^-126, the smallest normal number of binary32.
  b.if(quotient.ltU(BigInt(1023 - 126) << 52n), () => b.return(sign.shl(31)));
  b.return(shortened(asFloat(F64, quotient), sign));
});

export const approximateRoot: Routine = routine("rsqrt_f32", ["i64"], "i64", (b, x) => {
  b.if(isNan(F32, x), () => b.return(x.or(F32.quiet)));
  const magnitude = b.keep(x.and(F32.magnitude));
  const sign = b.keep(signOf(F32, x));
  b.if(magnitude.ltU(F32.minNormal), () => b.return(sign.shl(31).or(F32.infinity)));
  b.if(sign.nez(), () => b.return(i64(F32.defaultNan)));
  b.if(isInfinite(F32, x), () => b.return(i64(0)));
  b.return(shortened(op("f64.div", one(), op("f64.sqrt", wide(magnitude))), i64(0)));
});
