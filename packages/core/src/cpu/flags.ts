/**
 * RFLAGS (SDM vol. 1, 3.4.3). The six arithmetic flags are kept lazily: an instruction stores its sign-extended result
 * and one auxiliary word made from its carry-out vector; a flag is computed when it is read. Every combination of flags
 * can be represented, so POPF and partial updates need no special form. See FLAG_RESULT and FLAG_AUX in cpu/layout.ts.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import {
  addCarries,
  auxOf,
  auxOfCarries,
  auxOfFlags,
  carryOf,
  type FlagOperands,
  type FlagOperation,
  maskTo,
  overflowOf,
  subCarries,
  type Width,
} from "./flag-operations.ts";
import { FLAG_AUX, FLAG_RESULT, SYSTEM_FLAGS } from "./layout.ts";

export const RF_CF = 1 << 0;
export const RF_PF = 1 << 2;
export const RF_AF = 1 << 4;
export const RF_ZF = 1 << 6;
export const RF_SF = 1 << 7;
export const RF_TF = 1 << 8;
export const RF_IF = 1 << 9;
export const RF_DF = 1 << 10;
export const RF_OF = 1 << 11;
export const RF_IOPL = 3 << 12;
export const RF_NT = 1 << 14;
export const RF_RF = 1 << 16;
export const RF_VM = 1 << 17;
export const RF_AC = 1 << 18;
export const RF_VIF = 1 << 19;
export const RF_VIP = 1 << 20;
export const RF_ID = 1 << 21;
export const RF_ARITHMETIC: number = RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF | RF_OF;

export type { Width };

/** The value's low `width` bits, sign-extended to i64. */
export function signExtend(width: Width, value: Expr): Expr {
  if (width === 64) return value;
  if (value.type === "i64")
    return width === 32 ? value.extend32S() : width === 16 ? value.extend16S() : value.extend8S();
  return (width === 32 ? value : width === 16 ? value.extend16S() : value.extend8S()).s64();
}

export type FlagName = "cf" | "of" | "zf" | "sf" | "af" | "pf";

/**
 * A back-end that keeps operands of the last flag-setting instruction instead of flags (jit/lazy-flags.ts). Operands are
 * kept values. `flag` and `condition` answer undefined where FLAG_RESULT and FLAG_AUX have to be asked.
 */
export interface LazyFlags {
  /** `carry`: for "carries", whose vector is made when somebody asks for it; for INC and DEC CF as it was is kept. */
  set(operation: FlagOperation, width: Width, operands: FlagOperands, carries?: () => Expr): void;
  /** FLAG_RESULT and FLAG_AUX as given. */
  put(result: Expr, aux: Expr): void;
  /** CF changes, and OF if it is given; the other flags stay. */
  setCarry(cf: () => Expr, of?: () => Expr): void;
  flag(name: FlagName): Expr | undefined;
  condition(cc: number): Expr | undefined;
}

/** Flags of an addition `a + c (+ carry, if `carried`) = result`. Operands and result are kept values of `width` bits. */
export function setFlagsAdd(b: Builder, width: Width, a: Expr, c: Expr, result: Expr, carried = false): void {
  const carries = (): Expr => addCarries(a, c, result);
  if (b.lazyFlags) {
    if (carried) b.lazyFlags.set("carries", width, { result }, carries);
    else b.lazyFlags.set("add", width, { a, c, result });
    return;
  }
  const aux = auxOfCarries(b, width, carries());
  b.put(FLAG_RESULT, signExtend(width, result));
  b.put(FLAG_AUX, aux);
}

/** Flags of a subtraction `a - c (- borrow, if `carried`) = result`. */
export function setFlagsSub(b: Builder, width: Width, a: Expr, c: Expr, result: Expr, carried = false): void {
  const carries = (): Expr => subCarries(a, c, result);
  if (b.lazyFlags) {
    if (carried) b.lazyFlags.set("carries", width, { result }, carries);
    else b.lazyFlags.set("sub", width, { a, c, result });
    return;
  }
  const aux = auxOfCarries(b, width, carries());
  b.put(FLAG_RESULT, signExtend(width, result));
  b.put(FLAG_AUX, aux);
}

/** Flags of a subtraction whose result nobody wants. */
export function setFlagsCompare(b: Builder, width: Width, a: Expr, c: Expr): void {
  if (b.lazyFlags) b.lazyFlags.set("cmp", width, { a, c });
  else setFlagsSub(b, width, a, c, b.keep(maskTo(width, a.sub(c))));
}

/** INC, DEC: CF stays. */
export function setFlagsStep(b: Builder, operation: "inc" | "dec", width: Width, result: Expr): void {
  if (b.lazyFlags) {
    b.lazyFlags.set(operation, width, { result });
    return;
  }
  const aux = auxOf(b, operation, width, { result, c: b.keep(carry(b)) });
  b.put(FLAG_RESULT, signExtend(width, result));
  b.put(FLAG_AUX, aux);
}

/** SHL, SHR, SAR of `value` by `count`, which is not zero. */
export function setFlagsShift(
  b: Builder,
  operation: "shl" | "shr" | "sar",
  width: Width,
  value: Expr,
  count: Expr,
  result: Expr,
): void {
  const operands = { a: value, c: count, result };
  if (b.lazyFlags) b.lazyFlags.set(operation, width, operands);
  else {
    const cf = b.keep(carryOf(b, operation, width, operands));
    setFlagsResult(b, width, result, cf, overflowOf(b, operation, width, operands));
  }
}

/** MUL, IMUL: CF and OF say whether the product `a * c`, whose low half is `low`, was too long; `lost` is that (i32). */
export function setFlagsProduct(
  b: Builder,
  isSigned: boolean,
  width: Width,
  operands: { readonly a: Expr; readonly c: Expr; readonly low: Expr },
  lost: () => Expr,
): void {
  const { a, c, low } = operands;
  if (b.lazyFlags) b.lazyFlags.set(isSigned ? "imul" : "mul", width, { a, c, result: low });
  else {
    const overflow = b.keep(lost());
    setFlagsResult(b, width, low, overflow, overflow);
  }
}

/** AND, OR, XOR, TEST: CF, OF and AF become 0. */
export function setFlagsLogic(b: Builder, width: Width, result: Expr): void {
  if (b.lazyFlags) {
    b.lazyFlags.set("logic", width, { result });
    return;
  }
  b.put(FLAG_RESULT, signExtend(width, result));
  b.put(FLAG_AUX, 0);
}

/** FLAG_RESULT and FLAG_AUX. */
export function putFlags(b: Builder, result: Expr, aux: Expr): void {
  if (b.lazyFlags) {
    b.lazyFlags.put(b.keep(result), b.keep(aux));
    return;
  }
  b.put(FLAG_RESULT, result);
  b.put(FLAG_AUX, aux);
}

/** SF, ZF, PF from the result; CF and OF as given (i32, 0 or 1); AF 0 or as given. */
export function setFlagsResult(b: Builder, width: Width, result: Expr, cf: Expr, of: Expr, af?: Expr): void {
  const aux = auxOfFlags(b.keep(cf), of);
  putFlags(b, signExtend(width, result), af ? aux.or(af.shl(3)) : aux);
}

/** CF changes, the other flags stay. */
export function setCarry(b: Builder, cf: Expr): void {
  if (b.lazyFlags) {
    const kept = b.keep(cf);
    b.lazyFlags.setCarry(() => kept);
    return;
  }
  const aux = b.get(FLAG_AUX);
  const c = b.keep(cf);
  const of = aux.xor(aux.shl(1)).shrU(31);
  const next = aux.and(0x3fffffff).or(c.shl(31)).or(c.xor(of).shl(30));
  b.put(FLAG_AUX, next);
}

/** CF and OF change, the other flags stay. Each is asked for once, or not at all. */
export function setCarryOverflow(b: Builder, cf: () => Expr, of: () => Expr): void {
  if (b.lazyFlags) {
    b.lazyFlags.setCarry(cf, of);
    return;
  }
  const c = b.keep(cf());
  const v = of();
  b.put(FLAG_AUX, b.get(FLAG_AUX).and(0x3fffffff).or(auxOfFlags(c, v)));
}

export const carry = (b: Builder): Expr => b.lazyFlags?.flag("cf") ?? b.get(FLAG_AUX).shrU(31);
const overflow = (b: Builder): Expr => b.lazyFlags?.flag("of") ?? b.get(FLAG_AUX).add(0x40000000).shrU(31);
const zero = (b: Builder): Expr => b.lazyFlags?.flag("zf") ?? b.get(FLAG_RESULT).eqz();
const sign = (b: Builder): Expr =>
  b.lazyFlags?.flag("sf") ?? b.get(FLAG_RESULT).shrU(63).lo32().xor(b.get(FLAG_AUX).and(1));
const adjust = (b: Builder): Expr => b.get(FLAG_AUX).shrU(3).and(1);
function parity(b: Builder): Expr {
  const known = b.lazyFlags?.flag("pf");
  if (known) return known;
  const low = b.get(FLAG_RESULT).lo32().xor(b.get(FLAG_AUX).shrU(8)).and(0xff);
  return low.popcnt().and(1).xor(1);
}
export const FLAG: Readonly<Record<FlagName, (b: Builder) => Expr>> = {
  cf: carry,
  of: overflow,
  zf: zero,
  sf: sign,
  af: adjust,
  pf: parity,
};

/** Condition `cc` of Jcc, SETcc, CMOVcc (SDM vol. 2, appendix B.1.4.7): i32, 0 or 1. */
export function condition(b: Builder, cc: number): Expr {
  const known = b.lazyFlags?.condition(cc);
  if (known) return known;
  const positive = ((): Expr => {
    switch (cc >> 1) {
      case 0:
        return overflow(b);
      case 1:
        return carry(b);
      case 2:
        return zero(b);
      case 3:
        return carry(b).or(zero(b));
      case 4:
        return sign(b);
      case 5:
        return parity(b);
      case 6:
        return sign(b).xor(overflow(b));
      default:
        return sign(b).xor(overflow(b)).or(zero(b));
    }
  })();
  return cc & 1 ? positive.xor(1) : positive;
}

/** RFLAGS as an image, all flags (i32). */
export const readFlags: Routine = routine("read_flags", [], "i32", (b) => {
  let all = b.get(SYSTEM_FLAGS).or(carry(b)).or(parity(b).shl(2));
  all = all.or(adjust(b).shl(4)).or(zero(b).shl(6)).or(sign(b).shl(7)).or(overflow(b).shl(11));
  b.return(all);
});

/** Sets the arithmetic flags from an RFLAGS image (i32). */
export const writeArithmeticFlags: Routine = routine("write_arithmetic_flags", ["i32"], undefined, (b, image) => {
  const zf = b.keep(image.shrU(6).and(1));
  const sf = b.keep(image.shrU(7).and(1));
  const cf = b.keep(image.and(1));
  const of = b.keep(image.shrU(11).and(1));
  // Zero result for ZF; else bit 8 set, whose low byte has even parity.
  b.put(FLAG_RESULT, select(zf, i64(0), i64(0x100)));
  const pfOff = image.shrU(2).and(1).xor(1);
  b.put(FLAG_AUX, cf.shl(31).or(cf.xor(of).shl(30)).or(image.shrU(1).and(8)).or(pfOff.shl(8)).or(sf));
});

/** Changes some arithmetic flags, given as i32 0 or 1; the others stay. */
export function setFlags(b: Builder, changes: Partial<Record<FlagName, Expr | number>>): void {
  const { cf, of, zf, sf, af, pf } = changes;
  if (
    cf !== undefined &&
    of !== undefined &&
    zf !== undefined &&
    sf !== undefined &&
    af !== undefined &&
    pf !== undefined
  ) {
    const value = (flag: Expr | number): Expr => (typeof flag === "number" ? i32(flag) : b.keep(flag));
    const carry = value(cf);
    const rest = value(af).shl(3).or(value(pf).xor(1).shl(8)).or(value(sf));
    putFlags(b, select(value(zf), i64(0), i64(0x100)), auxOfFlags(carry, value(of)).or(rest));
    return;
  }
  const at = { cf: 0, pf: 2, af: 4, zf: 6, sf: 7, of: 11 } as const;
  let mask = 0;
  let image: Expr = i32(0);
  for (const [name, bit] of Object.entries(at) as [keyof typeof at, number][]) {
    const value = changes[name];
    if (value === undefined) continue;
    mask |= 1 << bit;
    image = image.or((typeof value === "number" ? i32(value) : value).shl(bit));
  }
  const kept = b.keep(image);
  b.call(writeArithmeticFlags, b.call(readFlags).and(~mask).or(kept));
}
