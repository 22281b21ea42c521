/**
 * IEEE 754 arithmetic in integers, as SSE does it (SDM vol. 1, 4.8 and 11.5.2): what all operations share. Both formats
 * are computed alike, in 64-bit words: values travel as their bits in an i64, and an unpacked number is a sign, a
 * biased exponent and a significand whose leading one is bit 62, so that value = significand / 2^62 * 2^(exponent - bias).
 *
 * Flags go to FLOAT_FLAGS (cpu/mxcsr.ts). Tininess is detected after rounding. A result that raises an unmasked
 * exception is not computed, since SSE never stores it.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import {
  MXCSR_DAZ,
  MXCSR_DE,
  MXCSR_FTZ,
  MXCSR_IE,
  MXCSR_OE,
  MXCSR_OM,
  MXCSR_PE,
  MXCSR_RC_SHIFT,
  MXCSR_UE,
  MXCSR_UM,
  noteFlags,
  ROUND_DOWN,
  ROUND_UP,
} from "./mxcsr.ts";

export interface FloatFormat {
  readonly name: "f32" | "f64";
  readonly bits: 32 | 64;
  readonly fractionBits: number;
  /** The exponent of infinities and NaNs. */
  readonly exponentMax: number;
  readonly bias: number;
  readonly sign: bigint;
  /** Everything but the sign. */
  readonly magnitude: bigint;
  readonly infinity: bigint;
  /** The smallest normal number. */
  readonly minNormal: bigint;
  readonly quiet: bigint;
  readonly defaultNan: bigint;
}

function format(name: FloatFormat["name"], bits: 32 | 64, fractionBits: number): FloatFormat {
  const exponentMax = (1 << (bits - 1 - fractionBits)) - 1;
  const sign = 1n << BigInt(bits - 1);
  const infinity = BigInt(exponentMax) << BigInt(fractionBits);
  const quiet = 1n << BigInt(fractionBits - 1);
  return {
    name,
    bits,
    fractionBits,
    exponentMax,
    bias: exponentMax >> 1,
    sign,
    magnitude: sign - 1n,
    infinity,
    minNormal: 1n << BigInt(fractionBits),
    quiet,
    defaultNan: sign | infinity | quiet,
  };
}

export const F32: FloatFormat = format("f32", 32, 23);
export const F64: FloatFormat = format("f64", 64, 52);

/** Bit that the leading one of an unpacked significand has. */
export const LEADING = 62;

export const isNan = (f: FloatFormat, x: Expr): Expr => x.and(f.magnitude).gtU(f.infinity);
export const isSignaling = (f: FloatFormat, x: Expr): Expr => isNan(f, x).and(x.and(f.quiet).eqz());
export const isInfinite = (f: FloatFormat, x: Expr): Expr => x.and(f.magnitude).eq(f.infinity);
export const isZero = (f: FloatFormat, x: Expr): Expr => x.and(f.magnitude).eqz();
export const isDenormal = (f: FloatFormat, x: Expr): Expr =>
  x
    .and(f.magnitude)
    .sub(1)
    .ltU(f.minNormal - 1n);
/** The sign, 0 or 1 (i64). */
export const signOf = (f: FloatFormat, x: Expr): Expr => x.shrU(f.bits - 1).and(1);
/** A zero or infinity with a sign of 0 or 1. */
export const signed = (f: FloatFormat, sign: Expr, magnitude: bigint | Expr = 0n): Expr =>
  sign.shl(f.bits - 1).or(magnitude);

/** The operand under DAZ: a denormal becomes zero of its sign. */
export function squash(b: Builder, f: FloatFormat, x: Expr): Expr {
  return b.keep(select(b.get(L.MXCSR).and(MXCSR_DAZ).nez().and(isDenormal(f, x)), x.and(f.sign), x));
}

/** Notes DE if one of the operands is denormal. Comes after the checks for NaNs and invalid operands. */
export function noteDenormals(b: Builder, f: FloatFormat, ...operands: Expr[]): void {
  const any = operands.map((x) => isDenormal(f, x)).reduce((all, one) => all.or(one));
  noteFlags(b, select(any, i32(MXCSR_DE), i32(0)));
}

/** Returns the NaN of an operation on `x` and `y` if one of them is a NaN: the first, quieted. */
export function returnNan(b: Builder, f: FloatFormat, x: Expr, y: Expr): void {
  b.if(isNan(f, x).or(isNan(f, y)), () => {
    noteFlags(b, isSignaling(f, x).or(isSignaling(f, y)));
    b.return(select(isNan(f, x), x, y).or(f.quiet));
  });
}

/** Returns the default NaN of an invalid operation. */
export function returnInvalidIf(b: Builder, f: FloatFormat, condition: Expr): void {
  b.if(condition, () => {
    noteFlags(b, MXCSR_IE);
    b.return(i64(f.defaultNan));
  });
}

export interface Unpacked {
  readonly exponent: Expr;
  readonly significand: Expr;
}

/** A finite number that is not zero. */
export function unpack(b: Builder, f: FloatFormat, x: Expr): Unpacked {
  const exponent = b.keep(x.and(f.magnitude).shrU(f.fractionBits));
  const fraction = b.keep(x.and(f.minNormal - 1n));
  const isSubnormal = b.keep(exponent.eqz());
  const m = b.keep(fraction.or(select(isSubnormal, i64(0), i64(f.minNormal))));
  const shift = b.keep(m.clz().sub(63 - LEADING));
  return {
    significand: b.keep(m.shl(shift)),
    exponent: b.keep(
      exponent
        .add(isSubnormal.u64())
        .sub(shift)
        .add(LEADING - f.fractionBits),
    ),
  };
}

/** `x` shifted right by 0 to 63 or more, with the lowest bit set if a one was lost. */
export function shiftRightJam(b: Builder, x: Expr, by: Expr): Expr {
  const amount = b.keep(by);
  const value = b.keep(x);
  const lost = value.shl(i64(64).sub(amount)).nez().and(amount.nez()).u64();
  return select(amount.gtU(63), value.nez().u64(), value.shrU(amount).or(lost));
}

/** Whether the result is inexact, as PE or 0. */
const inexact = (lost: Expr): Expr => select(lost.nez(), i32(MXCSR_PE), i32(0));

function makeRoundPack(f: FloatFormat): Routine {
  const roundBits = LEADING - f.fractionBits;
  const mask = (1n << BigInt(roundBits)) - 1n;
  const half = 1n << BigInt(roundBits - 1);
  return routine(`round_pack_${f.name}`, ["i64", "i64", "i64"], "i64", (b, sign, exponent, significand) => {
    const mxcsr = b.get(L.MXCSR);
    const rc = b.keep(mxcsr.shrU(MXCSR_RC_SHIFT).and(3));
    const awayFromZero = rc.eq(select(sign.eqz(), i32(ROUND_UP), i32(ROUND_DOWN)));
    const increment = b.keep(select(rc.eqz(), i64(half), select(awayFromZero, i64(mask), i64(0))));
    const m = b.variable(significand);
    const e = b.variable(exponent);
    const tinyFlag = b.variable(i32(0));
    b.if(exponent.leS(0), () => {
      // Tiny: rounded as if the exponent had no lower bound, the number is still below the smallest normal one.
      const tiny = exponent.ltS(0).or(significand.add(increment).geS(0));
      b.if(tiny, () => {
        b.if(mxcsr.and(MXCSR_UM).eqz(), () => {
          noteFlags(b, inexact(significand.and(mask)).or(MXCSR_UE));
          b.return(i64(0));
        });
        b.if(mxcsr.and(MXCSR_FTZ), () => {
          noteFlags(b, MXCSR_UE | MXCSR_PE);
          b.return(signed(f, sign));
        });
        tinyFlag.set(i32(MXCSR_UE));
      });
      m.set(shiftRightJam(b, significand, i64(1).sub(exponent)));
      e.set(i64(1));
    });
    const lost = b.keep(m.get().and(mask));
    const tie = rc.eqz().and(lost.eq(half)).u64();
    const rounded = b.keep(m.get().add(increment).shrU(roundBits).and(tie.xor(-1)));
    // The hidden one adds itself to the exponent field, as does a carry out of the fraction.
    const exponentField = b.keep(e.get().sub(1));
    b.if(exponentField.add(rounded.shrU(f.fractionBits)).geS(f.exponentMax), () => {
      noteFlags(b, select(mxcsr.and(MXCSR_OM), i32(MXCSR_PE), inexact(lost)).or(MXCSR_OE));
      b.return(signed(f, sign, i64(f.infinity).sub(increment.eqz().u64())));
    });
    b.if(lost.nez(), () => noteFlags(b, tinyFlag.get().or(MXCSR_PE)));
    b.return(signed(f, sign, exponentField.shl(f.fractionBits).add(rounded)));
  });
}

/** (sign 0 or 1, exponent, significand with leading one at bit 62) -> bits. Rounds as MXCSR says. */
export const roundPack: Readonly<Record<FloatFormat["name"], Routine>> = {
  f32: makeRoundPack(F32),
  f64: makeRoundPack(F64),
};
