/**
 * The common cases of 80-bit arithmetic, for translated code and for the interpreter: normal numbers, rounded to nearest
 * at 64 bits (SDM vol. 1, 8.1.5 and 4.8.4). What is not common goes to cpu/x87-arithmetic.ts and cpu/x87-convert.ts, whose
 * answers are passed on, so that these routines are right for every operand as long as all exceptions are masked.
 *
 * The value is a significand or a narrowed number; SECOND has sign and exponent, and above them flags (FSW bits, C1 for
 * "rounded up" among them).
 */
import { type Builder, type Expr, type Field, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { FSW_C1, FSW_IE, FSW_PE } from "./x87.ts";
import {
  addValues,
  BIAS,
  divideSignificands,
  divideValues,
  multiplyValues,
  remainderFraction,
} from "./x87-arithmetic.ts";
import { fromDouble, fromSingle, INTEGER_BIT, QUIET_BIT, toDouble, toSingle } from "./x87-convert.ts";

const SECOND: Field = { offset: L.result(0).offset, type: "i32", bits: 32 };
const FLAGS_SHIFT = 16;
/** FCW.RC and PC, and what they are for 64 bits and to nearest. */
const ROUNDING = 0xf00;
const NEAREST_64 = 0x300;
const MAX_NORMAL = 0x7ffe;

/** A value in two parts: sign and exponent in the low 16 bits of an i32. */
export interface Extended {
  readonly significand: Expr;
  readonly signExponent: Expr;
}
export interface Rounded extends Extended {
  /** FSW bits. */
  readonly flags: Expr;
}

/** What a routine of this file gave. */
export function roundedResult(b: Builder, significand: Expr): Rounded {
  const second = b.get(SECOND);
  return { significand, signExponent: b.keep(second.and(0xffff)), flags: b.keep(second.shrU(FLAGS_SHIFT)) };
}

function give(b: Builder, significand: Expr, second: Expr): void {
  const kept = b.keep(significand);
  b.put(SECOND, second);
  b.return(kept);
}
/** Passes on what a routine of cpu/x87-arithmetic.ts or cpu/x87-convert.ts answers. */
function passOn(b: Builder, significand: Expr): void {
  const second = b.keep(
    b
      .get(L.result(0))
      .lo32()
      .and(0xffff)
      .or(b.get(L.result(1)).lo32().shl(FLAGS_SHIFT)),
  );
  give(b, significand, second);
}

const isNormal = (exponent: Expr): Expr => exponent.sub(1).ltU(MAX_NORMAL);
const roundsSimply = (b: Builder): Expr => b.get(L.FCW).and(ROUNDING).eq(NEAREST_64);

/** Ends the routine with high:low, whose leading bit is set, rounded to nearest, if the exponent is that of a normal number. */
function giveNearest(b: Builder, sign: Expr, exponent: Expr, high: Expr, low: Expr, given: Expr): void {
  const up = b.keep(low.shrU(63).and(low.shl(1).nez().u64().or(high)));
  const rounded = b.keep(high.add(up));
  const carried = b.keep(rounded.eqz());
  const final = b.keep(exponent.add(carried));
  const flags = low
    .nez()
    .shl(FLAGS_SHIFT + bitOf(FSW_PE))
    .or(up.lo32().shl(FLAGS_SHIFT + bitOf(FSW_C1)))
    .or(given.shl(FLAGS_SHIFT));
  b.if(isNormal(final), () => give(b, rounded.or(carried.u64().shl(63)), sign.or(final).or(flags)), undefined, true);
}
const bitOf = (flag: number): number => 31 - Math.clz32(flag);

/** `how`: 8000h to subtract the second value, and FSW bits of its making. */
const OPERANDS = ["i64", "i32", "i64", "i32", "i32"] as const;
const SUBTRACT = 0x8000;

export const sum: Routine = routine("x87_sum", OPERANDS, "i64", (b, x, xs, y, ys, how) => {
  const given = b.keep(how.and(0x7fff));
  const xe = b.keep(xs.and(0x7fff));
  const ye = b.keep(ys.and(0x7fff));
  const flip = b.keep(how.and(SUBTRACT));
  const areNormal = x.and(y).ltS(0).and(isNormal(xe)).and(isNormal(ye));
  b.if(
    areNormal.and(roundsSimply(b)),
    () => {
      const swap = b.keep(xe.ltU(ye).or(xe.eq(ye).and(x.ltU(y))));
      const big = b.keep(select(swap, y, x));
      const small = b.keep(select(swap, x, y));
      const exponent = b.keep(select(swap, ye, xe));
      const distance = b.keep(exponent.sub(select(swap, xe, ye)).u64());
      const sign = b.keep(select(swap, ys.xor(flip), xs).and(0x8000));
      b.if(
        distance.ltU(64),
        () => {
          const high = b.keep(small.shrU(distance));
          // By 64 at a distance of none.
          const low = b.keep(small.shl(1).shl(i64(63).sub(distance)));
          b.if(
            xs.xor(ys).xor(flip).and(0x8000),
            () => {
              const difference = b.keep(big.sub(high).sub(low.nez().u64()));
              const rest = b.keep(low.neg());
              b.if(difference.nez(), () => {
                const zeros = b.keep(difference.clz());
                const lower = rest.shrU(1).shrU(i64(63).sub(zeros));
                const moved = b.keep(difference.shl(zeros).or(lower));
                giveNearest(b, sign, exponent.sub(zeros.lo32()), moved, b.keep(rest.shl(zeros)), given);
              });
            },
            () => {
              const total = b.keep(big.add(high));
              const carried = b.keep(total.ltU(big).u64());
              const lower = b.keep(select(carried.lo32(), low.shrU(1).or(low.and(1)).or(total.shl(63)), low));
              const upper = b.keep(total.shrU(carried).or(carried.shl(63)));
              giveNearest(b, sign, exponent.add(carried.lo32()), upper, lower, given);
            },
          );
        },
        undefined,
        true,
      );
    },
    undefined,
    true,
  );
  const changed = ys.xor(flip);
  const isNan = b.keep(ye.eq(0x7fff).and(y.shl(1).nez()));
  // The sign of a NaN is not the operation's to change.
  passOn(b, b.call(addValues, x, xs, y, b.keep(select(isNan, ys, changed)), given));
});

export const product: Routine = routine("x87_product", OPERANDS, "i64", (b, x, xs, y, ys, given) => {
  const xe = b.keep(xs.and(0x7fff));
  const ye = b.keep(ys.and(0x7fff));
  b.if(
    x.and(y).ltS(0).and(isNormal(xe)).and(isNormal(ye)).and(roundsSimply(b)),
    () => {
      const low = b.keep(x.mul(y));
      const high = b.keep(highOfProduct(b, x, y));
      const shift = b.keep(high.shrU(63).xor(1));
      const upper = b.keep(high.shl(shift).or(low.shrU(63).and(shift)));
      const exponent = xe
        .add(ye)
        .sub(BIAS - 1)
        .sub(shift.lo32());
      giveNearest(b, b.keep(xs.xor(ys).and(0x8000)), exponent, upper, b.keep(low.shl(shift)), given);
    },
    undefined,
    true,
  );
  passOn(b, b.call(multiplyValues, x, xs, y, ys, given));
});

/** As multiplyHigh, in line. */
function highOfProduct(b: Builder, x: Expr, y: Expr): Expr {
  const [x0, x1] = [b.keep(x.and(0xffffffffn)), b.keep(x.shrU(32))];
  const [y0, y1] = [b.keep(y.and(0xffffffffn)), b.keep(y.shrU(32))];
  const middle = b.keep(x0.mul(y0).shrU(32).add(x1.mul(y0)));
  const cross = b.keep(middle.and(0xffffffffn).add(x0.mul(y1)));
  return x1.mul(y1).add(middle.shrU(32)).add(cross.shrU(32));
}

export const quotient: Routine = routine("x87_quotient", OPERANDS, "i64", (b, x, xs, y, ys, given) => {
  const xe = b.keep(xs.and(0x7fff));
  const ye = b.keep(ys.and(0x7fff));
  b.if(
    x.and(y).ltS(0).and(isNormal(xe)).and(isNormal(ye)).and(roundsSimply(b)),
    () => {
      const over = b.keep(x.geU(y));
      const high = b.keep(x.shrU(over.u64()));
      const low = b.keep(select(over, x.shl(63), i64(0)));
      const value = b.call(divideSignificands, high, low, y);
      const fraction = remainderFraction(b, b.get(L.result(2)), y);
      const exponent = b.keep(
        xe
          .sub(ye)
          .add(BIAS - 1)
          .add(over),
      );
      giveNearest(b, b.keep(xs.xor(ys).and(0x8000)), exponent, value, fraction, given);
    },
    undefined,
    true,
  );
  passOn(b, b.call(divideValues, x, xs, y, ys, given));
});

interface Narrow {
  readonly fractionBits: number;
  readonly exponentBits: number;
  readonly otherwise: Routine;
}
function makeNarrow(name: string, { fractionBits, exponentBits, otherwise }: Narrow): Routine {
  const most = (1 << exponentBits) - 1;
  const bias = most >> 1;
  const cut = 63 - fractionBits;
  const half = (1n << BigInt(cut - 1)) - 1n;
  const infinity = BigInt(most) << BigInt(fractionBits);
  return routine(name, ["i64", "i32"], "i64", (b, significand, signExponent) => {
    const exponent = b.keep(signExponent.and(0x7fff).sub(BIAS - bias));
    const negative = b.keep(
      signExponent
        .shrU(15)
        .u64()
        .shl(fractionBits + exponentBits),
    );
    const isNearest = b.get(L.FCW).and(0xc00).eqz();
    const isQuick = significand
      .ltS(0)
      .and(exponent.sub(1).ltU(most - 1))
      .and(isNearest);
    b.if(
      isQuick,
      () => {
        const whole = b.keep(significand.shrU(cut));
        const rest = b.keep(significand.and((1n << BigInt(cut)) - 1n));
        const up = b.keep(rest.add(half).add(whole.and(1)).shrU(cut));
        // The integer bit moves the exponent on by one.
        const magnitude = b.keep(exponent.sub(1).u64().shl(fractionBits).add(whole).add(up));
        const flags = rest
          .nez()
          .shl(FLAGS_SHIFT + bitOf(FSW_PE))
          .or(up.lo32().shl(FLAGS_SHIFT + bitOf(FSW_C1)));
        b.if(magnitude.ltU(infinity), () => give(b, negative.or(magnitude), flags), undefined, true);
      },
      undefined,
      true,
    );
    b.if(significand.or(signExponent.and(0x7fff).u64()).eqz(), () => give(b, negative, i32(0)));
    passOn(b, b.call(otherwise, significand, signExponent));
  });
}
/** To binary64 and binary32, in the low bits. */
export const narrowDouble: Routine = makeNarrow("x87_narrow_double", {
  fractionBits: 52,
  exponentBits: 11,
  otherwise: toDouble,
});
export const narrowSingle: Routine = makeNarrow("x87_narrow_single", {
  fractionBits: 23,
  exponentBits: 8,
  otherwise: toSingle,
});

const makeWiden = (name: string, otherwise: Routine): Routine =>
  routine(name, ["i64"], "i64", (b, bits) => passOn(b, b.call(otherwise, bits)));
const widenDouble = makeWiden("x87_widen_double", fromDouble);
const widenSingle = makeWiden("x87_widen_single", fromSingle);

/** A number of `width` bits (i64) as an extended one: in line unless it is a zero, denormal, infinity or NaN. */
export function widen(b: Builder, width: 32 | 64, given: Expr): Rounded {
  const [fractionBits, exponentBits] = width === 64 ? [52, 11] : [23, 8];
  const most = (1 << exponentBits) - 1;
  const bits = b.keep(given);
  const exponent = b.keep(bits.shrU(fractionBits).lo32().and(most));
  const significand = b.variable(bits.shl(63 - fractionBits).or(INTEGER_BIT));
  const sign = bits
    .shrU(width - 16)
    .lo32()
    .and(0x8000);
  const second = b.variable(sign.or(exponent.add(BIAS - (most >> 1))));
  b.if(
    exponent
      .add(1)
      .and(most - 1)
      .eqz(),
    () => {
      significand.set(b.call(width === 64 ? widenDouble : widenSingle, bits));
      second.set(b.get(SECOND));
    },
    undefined,
    false,
  );
  const kept = b.keep(second.get());
  return {
    significand: b.keep(significand.get()),
    signExponent: b.keep(kept.and(0xffff)),
    flags: b.keep(kept.shrU(FLAGS_SHIFT)),
  };
}

export const QUICK_ROUTINES: readonly Routine[] = [
  ...[sum, product, quotient, narrowDouble, narrowSingle, widenDouble, widenSingle],
];

/** The operand that `widen` made, for arithmetic: a signalling NaN that became quiet is signalling again. */
export function asOperand(b: Builder, { significand, signExponent, flags }: Rounded): Rounded {
  const quieted = flags.and(FSW_IE).u64().shl(bitOf64(QUIET_BIT));
  return { significand: b.keep(significand.xor(quieted)), signExponent, flags: b.keep(flags.and(~FSW_IE)) };
}
const bitOf64 = (bit: bigint): number => bit.toString(2).length - 1;

/** x op y for operations as ModRM numbers them: 0 add, 1 mul, 4 sub, 5 subr, 6 div, 7 divr. `given`: flags of making y. */
export function operation(b: Builder, number: number, x: Extended, y: Extended, given: Expr | number): Rounded {
  const flags = typeof given === "number" ? i32(given) : given;
  const isReversed = number === 5 || number === 7;
  const [first, second] = isReversed ? [y, x] : [x, y];
  const routine = number === 1 ? product : number < 6 ? sum : quotient;
  const how = number === 4 || number === 5 ? flags.or(SUBTRACT) : flags;
  return roundedResult(
    b,
    b.call(routine, first.significand, first.signExponent, second.significand, second.signExponent, how),
  );
}
