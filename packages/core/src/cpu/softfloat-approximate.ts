/**
 * RCPPS and RSQRTPS (SDM vol. 2): approximations with a relative error of at most 1.5 * 2^-12, without flags and
 * independent of MXCSR. Denormal operands count as zero, and tiny results are zero.
 *
 * The manual leaves the bits to each CPU. Intel's take the operand's first 11 fraction bits (10 for the root) as an
 * index, and answer for the middle of that interval, rounded to 12 bits: so does this, without a table.
 */
import { type Expr, i64, op } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { F32, F64, isInfinite, isNan, signOf } from "./softfloat.ts";
import { asFloat, bitsOf } from "./softfloat-compare.ts";

const RECIPROCAL_INDEX_BITS = 11;
const ROOT_INDEX_BITS = 10;
/** Fraction bits of binary64 that a result does not have. */
const DROPPED = BigInt(F64.fractionBits - 12);

/** The middle of the interval that `magnitude` is in, as binary64. */
function middle(magnitude: Expr, indexBits: number): Expr {
  const below = 1n << BigInt(F32.fractionBits - indexBits);
  return op("f64.promote_f32", asFloat(F32, magnitude.and(-below).or(below >> 1n)));
}

/** A positive number, as bits of binary64, rounded to binary32 with 12 fraction bits; its sign is 0 or 1. It is never a tie. */
function shortened(exact: Expr, sign: Expr): Expr {
  const rounded = exact.add(1n << (DROPPED - 1n)).and(-1n << DROPPED);
  return bitsOf(F32, op("f32.demote_f64", asFloat(F64, rounded)))
    .u64()
    .or(sign.shl(31));
}

const one = (): Expr => asFloat(F64, i64(0x3ff0000000000000n));

export const approximateReciprocal: Routine = routine("rcp_f32", ["i64"], "i64", (b, x) => {
  b.if(isNan(F32, x), () => b.return(x.or(F32.quiet)));
  const magnitude = b.keep(x.and(F32.magnitude));
  const sign = b.keep(signOf(F32, x));
  b.if(magnitude.ltU(F32.minNormal), () => b.return(sign.shl(31).or(F32.infinity)));
  b.if(isInfinite(F32, x), () => b.return(sign.shl(31)));
  const quotient = b.keep(bitsOf(F64, op("f64.div", one(), middle(magnitude, RECIPROCAL_INDEX_BITS))));
  const minNormal = BigInt(F64.bias - F32.bias + 1) << BigInt(F64.fractionBits);
  b.if(quotient.ltU(minNormal), () => b.return(sign.shl(31)));
  b.return(shortened(quotient, sign));
});

export const approximateRoot: Routine = routine("rsqrt_f32", ["i64"], "i64", (b, x) => {
  b.if(isNan(F32, x), () => b.return(x.or(F32.quiet)));
  const magnitude = b.keep(x.and(F32.magnitude));
  const sign = b.keep(signOf(F32, x));
  b.if(magnitude.ltU(F32.minNormal), () => b.return(sign.shl(31).or(F32.infinity)));
  b.if(sign.nez(), () => b.return(i64(F32.defaultNan)));
  b.if(isInfinite(F32, x), () => b.return(i64(0)));
  const root = op("f64.sqrt", middle(magnitude, ROOT_INDEX_BITS));
  b.return(shortened(bitsOf(F64, op("f64.div", one(), root)), i64(0)));
});
