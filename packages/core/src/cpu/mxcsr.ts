/**
 * MXCSR, control and status of SSE floating point (SDM vol. 1, 10.2.3 and 11.5): its bits, when the host's own
 * floating-point operators may stand for the guest's, and how the exceptions that an operation met reach the guest.
 *
 * The quick path holds while PE is already set, rounding is to nearest, every exception is masked, and FTZ and DAZ are
 * clear. Then an operation whose operands are not denormal and whose result is finite and above the smallest normal
 * number changes no flag, and WebAssembly's operator gives x86's bits. Everything else is computed in cpu/softfloat*.ts.
 */
import { type Builder, type Expr, type Field, i32, i64, op, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { EXC_UD, EXC_XM, raise } from "./raise.ts";
import type { FloatFormat } from "./softfloat.ts";

export const MXCSR_IE = 1;
export const MXCSR_DE = 2;
export const MXCSR_ZE = 4;
export const MXCSR_OE = 8;
export const MXCSR_UE = 16;
export const MXCSR_PE = 32;
export const MXCSR_DAZ = 64;
export const MXCSR_IM = 0x80;
export const MXCSR_OM = 0x400;
export const MXCSR_UM = 0x800;
export const MXCSR_PM = 0x1000;
/** The rounding control field starts here: 0 nearest, 1 down, 2 up, 3 toward zero. */
export const MXCSR_RC_SHIFT = 13;
export const MXCSR_FTZ = 0x8000;
/** MXCSR_MASK of FXSAVE: the other bits are reserved. */
export const MXCSR_MASK = 0xffff;
export const MXCSR_RESET = 0x1f80;

export const ROUND_NEAREST = 0;
export const ROUND_DOWN = 1;
export const ROUND_UP = 2;
export const ROUND_ZERO = 3;

const CONTROL_AND_PE = 0xffe0;
const CR4_OSXMMEXCPT = 0x400;

/** Flags that the lanes of the running instruction have met so far, in MXCSR's positions. */
export const FLOAT_FLAGS: Field = { offset: L.result(3).offset, type: "i32", bits: 32 };

/** i32, not zero: the quick path's conditions on MXCSR hold. */
export function isQuick(b: Builder): Expr {
  return b
    .get(L.MXCSR)
    .and(CONTROL_AND_PE)
    .eq(MXCSR_RESET | MXCSR_PE);
}

/** i32: the conditions hold but for FTZ and DAZ, which are about denormal numbers alone. */
export const isQuickBesidesDenormals = (mxcsr: Expr): Expr => mxcsr.and(NO_FLUSHING).eq(MXCSR_RESET | MXCSR_PE);
const NO_FLUSHING = CONTROL_AND_PE & ~(MXCSR_FTZ | MXCSR_DAZ);

/**
 * A scalar result may have set a flag other than PE unless `distance` from the format's smallest number above the
 * smallest normal one is below this limit: that many numbers are finite, or none where the quick path does not hold.
 */
export function resultLimit(f: FloatFormat, mxcsr: Expr): Expr {
  const most = 2n * (f.infinity - f.minNormal - 1n);
  const [yes, no] = f.bits === 64 ? [i64(most), i64(0)] : [i32(most), i32(0)];
  return select(isQuickBesidesDenormals(mxcsr), yes, no);
}
/** Of bits, as an unsigned number; the sign is left out. */
export const distance = (f: FloatFormat, bits: Expr): Expr => bits.shl(1).sub(2n * (f.minNormal + 1n));

/**
 * The same for vectors, whose lanes compare as signed numbers: a lane is doubtful if CEILING less twice its bits is above the
 * limit. Such differences are odd, so that none is as low as the limit where the quick path does not hold.
 */
export function vectorLimit(f: FloatFormat, mxcsr: Expr): Expr {
  const least = 1n << BigInt(f.bits - 1);
  const most = (2n * (f.infinity - f.minNormal - 2n) + 1n) ^ least;
  const [yes, no] = f.bits === 64 ? [i64(most), i64(least)] : [i32(most), i32(least)];
  return op(f.bits === 64 ? "i64x2.splat" : "i32x4.splat", select(isQuickBesidesDenormals(mxcsr), yes, no));
}
export const vectorCeiling = (f: FloatFormat): bigint =>
  BigInt.asUintN(f.bits, (2n * f.infinity - 1n) ^ (1n << BigInt(f.bits - 1)));

/** Adds to FLOAT_FLAGS. */
export function noteFlags(b: Builder, flags: Expr | number): void {
  b.put(FLOAT_FLAGS, b.get(FLOAT_FLAGS).or(flags));
}

/**
 * Ends a floating-point instruction: FLOAT_FLAGS go to MXCSR. 1 = #XM is pending (#UD without CR4.OSXMMEXCPT) and the
 * destination must not change. If an unmasked exception belongs to the operands (IE, DE, ZE), no result was computed,
 * and the flags of results stay as they were.
 */
export const floatStatus: Routine = routine("float_status", [], "i32", (b) => {
  const mxcsr = b.get(L.MXCSR);
  const flags = b.get(FLOAT_FLAGS);
  const unmasked = b.keep(flags.and(mxcsr.shrU(7).not()).and(0x3f));
  b.if(unmasked.eqz(), () => {
    b.put(L.MXCSR, mxcsr.or(flags));
    b.return(0);
  });
  const OPERAND_FLAGS = MXCSR_IE | MXCSR_DE | MXCSR_ZE;
  b.put(L.MXCSR, mxcsr.or(select(unmasked.and(OPERAND_FLAGS), flags.and(OPERAND_FLAGS), flags)));
  raise(b, select(b.get(L.CR4).lo32().and(CR4_OSXMMEXCPT), i32(EXC_XM), i32(EXC_UD)));
  b.return(1);
});
