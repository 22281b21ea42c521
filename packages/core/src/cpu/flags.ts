/**
 * RFLAGS (SDM vol. 1, 3.4.3). The six arithmetic flags are kept lazily: an instruction stores its sign-extended result
 * and one auxiliary word made from its carry-out vector; a flag is computed when it is read. Every combination of flags
 * can be represented, so POPF and partial updates need no special form. See FLAG_RESULT and FLAG_AUX in cpu/layout.ts.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
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

export type Width = 8 | 16 | 32 | 64;

/** The value's low `width` bits, sign-extended to i64. */
export function signExtend(width: Width, value: Expr): Expr {
  if (width === 64) return value;
  if (value.type === "i64")
    return width === 32 ? value.extend32S() : width === 16 ? value.extend16S() : value.extend8S();
  return (width === 32 ? value : width === 16 ? value.extend16S() : value.extend8S()).s64();
}

/**
 * A back-end that keeps operands of the last flag-setting instruction instead of flags (jit/lazy-flags.ts). Answers
 * undefined where FLAG_RESULT and FLAG_AUX have to be asked.
 */
export interface LazyFlags {
  set(operation: "add" | "sub" | "logic", width: Width, a: Expr, c: Expr, result: Expr): void;
  flag(name: "cf" | "of" | "sf"): Expr | undefined;
  condition(cc: number): Expr | undefined;
}

/** Carry-out vectors of `a + c = result` and `a - c = result`, of kept values; with or without a carry in. */
export const carriesOf: Readonly<Record<"add" | "sub", (a: Expr, c: Expr, result: Expr) => Expr>> = {
  add: (a, c, result) => a.and(c).or(a.or(c).and(result.not())),
  sub: (a, c, result) => a.not().and(c).or(a.xor(c).not().and(result)),
};

/** Bits CF, CF^OF and AF of the auxiliary word, from a carry-out vector of `width` bits. */
export function auxOfCarries(b: Builder, width: Width, carries: Expr): Expr {
  const c = b.keep(carries);
  switch (width) {
    case 64:
      return c.shrU(32).lo32().and(0xc0000000).or(c.lo32().and(8));
    case 32:
      return c.and(0xc0000008 | 0);
    default:
      return c
        .shl(32 - width)
        .and(0xc0000000)
        .or(c.and(8));
  }
}

/** Flags of an addition `a + c (+ carry, if `carried`) = result`. Operands and result are kept values of `width` bits. */
export function setFlagsAdd(b: Builder, width: Width, a: Expr, c: Expr, result: Expr, carried = false): void {
  if (b.lazyFlags && !carried) {
    b.lazyFlags.set("add", width, a, c, result);
    return;
  }
  const aux = auxOfCarries(b, width, carriesOf.add(a, c, result));
  b.put(FLAG_RESULT, signExtend(width, result));
  b.put(FLAG_AUX, aux);
}

/** Flags of a subtraction `a - c (- borrow, if `carried`) = result`. */
export function setFlagsSub(b: Builder, width: Width, a: Expr, c: Expr, result: Expr, carried = false): void {
  if (b.lazyFlags && !carried) {
    b.lazyFlags.set("sub", width, a, c, result);
    return;
  }
  const aux = auxOfCarries(b, width, carriesOf.sub(a, c, result));
  b.put(FLAG_RESULT, signExtend(width, result));
  b.put(FLAG_AUX, aux);
}

/** AND, OR, XOR, TEST: CF, OF and AF become 0. */
export function setFlagsLogic(b: Builder, width: Width, result: Expr): void {
  if (b.lazyFlags) {
    b.lazyFlags.set("logic", width, i64(0), i64(0), result);
    return;
  }
  b.put(FLAG_RESULT, signExtend(width, result));
  b.put(FLAG_AUX, 0);
}

/** SF, ZF, PF from the result; CF and OF as given (i32, 0 or 1); AF 0 or as given. */
export function setFlagsResult(b: Builder, width: Width, result: Expr, cf: Expr, of: Expr, af?: Expr): void {
  const carry = b.keep(cf);
  let aux = carry.shl(31).or(carry.xor(of).shl(30));
  if (af) aux = aux.or(af.shl(3));
  b.put(FLAG_RESULT, signExtend(width, result));
  b.put(FLAG_AUX, aux);
}

/** CF changes, the other flags stay. */
export function setCarry(b: Builder, cf: Expr): void {
  const aux = b.get(FLAG_AUX);
  const c = b.keep(cf);
  const of = aux.xor(aux.shl(1)).shrU(31);
  const next = aux.and(0x3fffffff).or(c.shl(31)).or(c.xor(of).shl(30));
  b.put(FLAG_AUX, next);
}

/** CF and OF change, the other flags stay. */
export function setCarryOverflow(b: Builder, cf: Expr, of: Expr): void {
  const c = b.keep(cf);
  b.put(FLAG_AUX, b.get(FLAG_AUX).and(0x3fffffff).or(c.shl(31)).or(c.xor(of).shl(30)));
}

export const carry = (b: Builder): Expr => b.lazyFlags?.flag("cf") ?? b.get(FLAG_AUX).shrU(31);
const overflow = (b: Builder): Expr => b.lazyFlags?.flag("of") ?? b.get(FLAG_AUX).add(0x40000000).shrU(31);
const zero = (b: Builder): Expr => b.get(FLAG_RESULT).eqz();
const sign = (b: Builder): Expr =>
  b.lazyFlags?.flag("sf") ?? b.get(FLAG_RESULT).shrU(63).lo32().xor(b.get(FLAG_AUX).and(1));
const adjust = (b: Builder): Expr => b.get(FLAG_AUX).shrU(3).and(1);
function parity(b: Builder): Expr {
  const low = b.get(FLAG_RESULT).lo32().xor(b.get(FLAG_AUX).shrU(8)).and(0xff);
  return low.popcnt().and(1).xor(1);
}
export const FLAG: Readonly<Record<"cf" | "of" | "zf" | "sf" | "af" | "pf", (b: Builder) => Expr>> = {
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
export function setFlags(
  b: Builder,
  changes: Partial<Record<"cf" | "of" | "zf" | "sf" | "af" | "pf", Expr | number>>,
): void {
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
