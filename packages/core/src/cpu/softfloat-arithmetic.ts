/**
 * Add, subtract, multiply, divide and square root of binary32 and binary64 (see softfloat.ts), in the order that the
 * CPU checks: NaNs, invalid operands and division by zero, denormal operands, then the result.
 */
import { type Builder, type Expr, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { MXCSR_RC_SHIFT, MXCSR_ZE, noteFlags, ROUND_DOWN } from "./mxcsr.ts";
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
  returnInvalidIf,
  returnNan,
  roundPack,
  shiftRightJam,
  signed,
  signOf,
  squash,
  unpack,
} from "./softfloat.ts";

export type FloatOperation = "add" | "sub" | "mul" | "div";

/** The sum of two finite numbers, the first at least as large as the second, which may be zero. */
function addMagnitudes(b: Builder, f: FloatFormat, large: Expr, small: Expr): void {
  const sign = b.keep(signOf(f, large));
  const x = unpack(b, f, large);
  const y = unpack(b, f, small);
  const aligned = shiftRightJam(b, y.significand, x.exponent.sub(y.exponent));
  const addend = b.keep(select(isZero(f, small), i64(0), aligned));
  b.if(sign.eq(signOf(f, small)), () => {
    const sum = b.keep(x.significand.add(addend));
    b.if(sum.ltS(0), () => b.return(b.call(roundPack[f.name], sign, x.exponent.add(1), sum.shrU(1).or(sum.and(1)))));
    b.return(b.call(roundPack[f.name], sign, x.exponent, sum));
  });
  const difference = b.keep(x.significand.sub(addend));
  b.if(difference.eqz(), () => b.return(signed(f, zeroOfDifference(b))));
  const shift = b.keep(difference.clz().sub(63 - LEADING));
  b.return(b.call(roundPack[f.name], sign, x.exponent.sub(shift), difference.shl(shift)));
}

/** Sign of an exact zero sum of numbers that are not zeros of one sign: minus when rounding down. */
function zeroOfDifference(b: Builder): Expr {
  return b.get(L.MXCSR).shrU(MXCSR_RC_SHIFT).and(3).eq(ROUND_DOWN).u64();
}

function makeAdd(f: FloatFormat, subtracts: boolean): Routine {
  return routine(`${subtracts ? "sub" : "add"}_${f.name}`, ["i64", "i64"], "i64", (b, first, second) => {
    returnNan(b, f, first, second);
    const x = squash(b, f, first);
    const y = b.keep(squash(b, f, second).xor(subtracts ? f.sign : 0n));
    const opposite = b.keep(signOf(f, x).ne(signOf(f, y)));
    returnInvalidIf(b, f, isInfinite(f, x).and(isInfinite(f, y)).and(opposite));
    noteDenormals(b, f, x, y);
    b.if(isInfinite(f, x), () => b.return(x));
    b.if(isInfinite(f, y), () => b.return(y));
    const xIsLarge = b.keep(x.and(f.magnitude).geU(y.and(f.magnitude)));
    const large = b.keep(select(xIsLarge, x, y));
    b.if(isZero(f, large), () => b.return(signed(f, select(opposite, zeroOfDifference(b), signOf(f, x)))));
    addMagnitudes(b, f, large, b.keep(select(xIsLarge, y, x)));
  });
}

/** High 64 bits of the product of two unsigned words. */
const multiplyHigh: Routine = routine("multiply_high", ["i64", "i64"], "i64", (b, x, y) => {
  const xLow = b.keep(x.and(0xffffffffn));
  const xHigh = b.keep(x.shrU(32));
  const yLow = b.keep(y.and(0xffffffffn));
  const yHigh = b.keep(y.shrU(32));
  const cross = b.keep(xHigh.mul(yLow).add(xLow.mul(yLow).shrU(32)));
  const middle = cross.and(0xffffffffn).add(xLow.mul(yHigh));
  b.return(xHigh.mul(yHigh).add(cross.shrU(32)).add(middle.shrU(32)));
});

function makeMultiply(f: FloatFormat): Routine {
  return routine(`mul_${f.name}`, ["i64", "i64"], "i64", (b, first, second) => {
    returnNan(b, f, first, second);
    const x = squash(b, f, first);
    const y = squash(b, f, second);
    const anyInfinite = b.keep(isInfinite(f, x).or(isInfinite(f, y)));
    const anyZero = b.keep(isZero(f, x).or(isZero(f, y)));
    returnInvalidIf(b, f, anyInfinite.and(anyZero));
    noteDenormals(b, f, x, y);
    const sign = b.keep(signOf(f, x).xor(signOf(f, y)));
    b.if(anyInfinite, () => b.return(signed(f, sign, f.infinity)));
    b.if(anyZero, () => b.return(signed(f, sign)));
    const u = unpack(b, f, x);
    const v = unpack(b, f, y);
    // One bit more in each factor brings the product's high word to the place of a significand.
    const p = b.keep(u.significand.shl(1));
    const q = b.keep(v.significand.shl(1));
    const high = b.keep(b.call(multiplyHigh, p, q).or(p.mul(q).nez().u64()));
    const carry = b.keep(high.shrU(63));
    const exponent = u.exponent.add(v.exponent).sub(f.bias).add(carry);
    b.return(b.call(roundPack[f.name], sign, exponent, high.shrU(carry).or(high.and(carry))));
  });
}

function makeDivide(f: FloatFormat): Routine {
  return routine(`div_${f.name}`, ["i64", "i64"], "i64", (b, first, second) => {
    returnNan(b, f, first, second);
    const x = squash(b, f, first);
    const y = squash(b, f, second);
    returnInvalidIf(
      b,
      f,
      isInfinite(f, x)
        .and(isInfinite(f, y))
        .or(isZero(f, x).and(isZero(f, y))),
    );
    const sign = b.keep(signOf(f, x).xor(signOf(f, y)));
    b.if(isZero(f, y).and(isInfinite(f, x).eqz()), () => {
      noteFlags(b, MXCSR_ZE);
      b.return(signed(f, sign, f.infinity));
    });
    noteDenormals(b, f, x, y);
    b.if(isInfinite(f, x), () => b.return(signed(f, sign, f.infinity)));
    b.if(isZero(f, x).or(isInfinite(f, y)), () => b.return(signed(f, sign)));
    const u = unpack(b, f, x);
    const v = unpack(b, f, y);
    // Bits above the ratio of the two significands, which is made 1 or more.
    const smaller = b.keep(u.significand.ltU(v.significand).u64());
    const quotientBits = f.fractionBits + 3;
    const rest = b.variable(u.significand.shl(smaller));
    const quotient = b.variable(i64(0));
    const left = b.variable(i64(quotientBits));
    b.loop((again) => {
      const fits = b.keep(rest.get().geU(v.significand));
      const lessened = b.keep(rest.get().sub(select(fits, v.significand, i64(0))));
      quotient.set(quotient.get().shl(1).or(fits.u64()));
      rest.set(lessened.shl(1));
      left.set(left.get().sub(1));
      b.br(again, left.get().nez());
    });
    const significand = quotient
      .get()
      .shl(LEADING + 1 - quotientBits)
      .or(rest.get().nez().u64());
    b.return(b.call(roundPack[f.name], sign, u.exponent.sub(v.exponent).add(f.bias).sub(smaller), significand));
  });
}

function makeSquareRoot(f: FloatFormat): Routine {
  return routine(`sqrt_${f.name}`, ["i64"], "i64", (b, operand) => {
    b.if(isNan(f, operand), () => {
      noteFlags(b, isSignaling(f, operand));
      b.return(operand.or(f.quiet));
    });
    const x = squash(b, f, operand);
    b.if(isZero(f, x), () => b.return(x));
    returnInvalidIf(b, f, signOf(f, x).nez());
    b.if(isInfinite(f, x), () => b.return(x));
    noteDenormals(b, f, x);
    const u = unpack(b, f, x);
    const power = b.keep(u.exponent.sub(f.bias));
    // Two bits of the radicand for each bit of the root, the first pair 01, 10 or 11.
    const radicand = b.variable(u.significand.shl(power.and(1)));
    const rest = b.variable(i64(0));
    const root = b.variable(i64(0));
    const rootBits = f.fractionBits + 3;
    const left = b.variable(i64(rootBits));
    b.loop((again) => {
      rest.set(rest.get().shl(2).or(radicand.get().shrU(62)));
      radicand.set(radicand.get().shl(2));
      const trial = b.keep(root.get().shl(2).or(1));
      const fits = b.keep(rest.get().geU(trial));
      rest.set(rest.get().sub(select(fits, trial, i64(0))));
      root.set(root.get().shl(1).or(fits.u64()));
      left.set(left.get().sub(1));
      b.br(again, left.get().nez());
    });
    const significand = root
      .get()
      .shl(LEADING + 1 - rootBits)
      .or(rest.get().nez().u64());
    b.return(b.call(roundPack[f.name], i64(0), power.shrS(1).add(f.bias), significand));
  });
}

const bothFormats = (make: (f: FloatFormat) => Routine): Readonly<Record<FloatFormat["name"], Routine>> => ({
  f32: make(F32),
  f64: make(F64),
});

/** (first operand's bits, second's) -> the result's bits; flags to FLOAT_FLAGS. */
export const softArithmetic: Readonly<Record<FloatOperation, Readonly<Record<FloatFormat["name"], Routine>>>> = {
  add: bothFormats((f) => makeAdd(f, false)),
  sub: bothFormats((f) => makeAdd(f, true)),
  mul: bothFormats(makeMultiply),
  div: bothFormats(makeDivide),
};
export const softSquareRoot: Readonly<Record<FloatFormat["name"], Routine>> = bothFormats(makeSquareRoot);
