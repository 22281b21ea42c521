/**
 * x87 arithmetic (SDM vol. 2): FADD FMUL FSUB FDIV with their reversed, popping and integer forms, FSQRT, FRNDINT,
 * FSCALE, FXTRACT, FPREM, FPREM1.
 */
import * as L from "../../cpu/layout.ts";
import {
  FSW_C0,
  FSW_C1,
  FSW_C2,
  FSW_C3,
  FSW_DE,
  FSW_IE,
  FSW_SF,
  FSW_ZE,
  INDEFINITE_SIGN_EXPONENT,
  INDEFINITE_SIGNIFICAND,
  inUse,
  pop,
  putC1,
  putSt,
  signal,
  signExponentAt,
  significandAt,
  stAt,
} from "../../cpu/x87.ts";
import { decideNan, squareRoot } from "../../cpu/x87-arithmetic.ts";
import {
  fromDouble,
  fromInteger,
  fromSingle,
  INTEGER_BIT,
  QUIET_BIT,
  resultFlags,
  resultSignExponent,
} from "../../cpu/x87-convert.ts";
import { asOperand, operation, type Rounded, widen } from "../../cpu/x87-quick.ts";
import { NO_QUOTIENT, remainder, roundToInteger, scale, unbiasedExponent } from "../../cpu/x87-remainder.ts";
import { type Expr, i32, i64, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import type { Semantics } from "../semantics.ts";
import type { X87Stack } from "../translation.ts";
import { defineX87, stackIndex, TRANSLATED_ROUTINES } from "./x87-form.ts";

/** Exceptions that come before there is a result: unmasked, nothing is written. */
const BEFORE = FSW_IE | FSW_DE | FSW_ZE;

/** Signals, with C1, and writes ST(i) unless an exception forbids it. 1 if written. */
export const writeResult: Routine = routine(
  "x87_write_result",
  ["i32", "i64", "i32", "i32"],
  "i32",
  (b, index, significand, signExponent, flags) => {
    const blocked = b.keep(flags.and(b.get(L.FCW).not()).and(BEFORE));
    b.if(blocked, () => {
      putC1(b, 0);
      b.call(signal, flags.and(BEFORE | FSW_SF));
      b.return(0);
    });
    putC1(b, flags.shrU(9).and(1));
    b.call(signal, flags.and(~FSW_C1));
    putSt(b, index, significand, signExponent);
    b.return(1);
  },
);

/** ST(i) = ST(0) op value, for the operations as they are numbered in ModRM; `flags`: of making the value. 1 if written. */
const operate: Routine = routine(
  "x87_operate",
  ["i32", "i32", "i64", "i32", "i32"],
  "i32",
  (b, number, index, given, signExponent, flags) => {
    b.if(inUse(b, 0).eqz().or(flags.and(FSW_SF).nez()), () =>
      b.return(b.call(writeResult, index, INDEFINITE_SIGNIFICAND, INDEFINITE_SIGN_EXPONENT, FSW_IE | FSW_SF)),
    );
    const at = stAt(b, 0);
    // A signalling NaN that a conversion made quiet is signalling again: of two NaNs the larger counts.
    const value = b.keep(select(flags.and(FSW_IE), given.xor(QUIET_BIT), given));
    const denormal = b.keep(flags.and(FSW_DE));
    b.switch(
      number,
      [0, 1, 2, 3, 4, 5, 6, 7].map((n) => () => {
        if (n === 2 || n === 3) return;
        const top = { significand: significandAt(b, at), signExponent: signExponentAt(b, at) };
        const result = operation(b, n, top, { significand: value, signExponent }, denormal);
        b.return(b.call(writeResult, index, result.significand, result.signExponent, result.flags));
      }),
      () => {},
    );
    b.return(0);
  },
);

const operateRegister: Routine = routine(
  "x87_operate_register",
  ["i32", "i32", "i32"],
  "i32",
  (b, number, source, target) => {
    const at = stAt(b, source);
    const missing = select(inUse(b, source), i32(0), i32(FSW_SF));
    b.return(b.call(operate, number, target, significandAt(b, at), signExponentAt(b, at), missing));
  },
);

/** ST(0) = ST(0) op memory or ST(i). */
function toTop(s: Semantics, number: number, integer: boolean): void {
  const b = s.b;
  const { kind, width } = s.operand(0);
  if (kind === "f") {
    s.commit();
    b.call(operateRegister, number, s.register(0), 0);
    return;
  }
  const value = s.read(0);
  const wide = integer && width === 16 ? value.extend16S().s64() : integer ? value.s64() : value.u64();
  const significand = b.call(integer ? fromInteger : width === 32 ? fromSingle : fromDouble, wide);
  s.commit();
  b.call(operate, number, 0, significand, resultSignExponent(b), resultFlags(b));
}

/** ST(0) = ST(0) op memory or ST(i) in a translated block. */
function quickToTop(s: Semantics, x87: X87Stack, number: number, integer: boolean): boolean {
  const b = s.b;
  const { kind, width } = s.operand(0);
  const source = kind === "f" ? stackIndex(s) : undefined;
  if (!x87.has(0) || (source !== undefined && !x87.has(source))) return false;
  const value = ((): Rounded => {
    if (source !== undefined) return { ...x87.get(source), flags: i32(0) };
    const given = s.read(0);
    if (!integer) return asOperand(b, widen(b, width === 32 ? 32 : 64, given.u64()));
    const significand = b.call(fromInteger, width === 16 ? given.extend16S().s64() : given.s64());
    return { significand, signExponent: resultSignExponent(b), flags: i32(0) };
  })();
  s.commit();
  const result = operation(b, number, x87.get(0), value, value.flags);
  x87.put(0, result);
  x87.raise(result.flags);
  return true;
}
function quickToRegister(s: Semantics, x87: X87Stack, number: number, pops: boolean): boolean {
  const index = stackIndex(s);
  if (!x87.has(0) || !x87.has(index)) return false;
  s.commit();
  const result = operation(s.b, number, x87.get(0), x87.get(index), 0);
  x87.put(index, result);
  x87.raise(result.flags);
  if (pops) x87.pop();
  return true;
}

/** Mnemonic, ModRM's reg field, and that of the form whose target is ST(i), where subtraction and division are exchanged. */
const OPERATIONS: readonly (readonly [string, number, number])[] = [
  ["add", 0, 0],
  ["mul", 1, 1],
  ["sub", 4, 5],
  ["subr", 5, 4],
  ["div", 6, 7],
  ["divr", 7, 6],
];
for (const [name, reg, other] of OPERATIONS) {
  defineX87(`f${name}`, [`D8 /${reg} | Md`, `DC /${reg} | Mq`, `D8 /${reg} | Ft`], (s) => toTop(s, reg, false), {
    quick: (s, x87) => quickToTop(s, x87, reg, false),
  });
  defineX87(`fi${name}`, [`DA /${reg} | Md`, `DE /${reg} | Mw`], (s) => toTop(s, reg, true), {
    quick: (s, x87) => quickToTop(s, x87, reg, true),
  });
  defineX87(
    `f${name}_to_register`,
    [`DC /${other} | Ft`],
    (s) => {
      s.commit();
      s.b.call(operateRegister, other, s.register(0), s.register(0));
    },
    { mnemonic: `f${name}`, quick: (s, x87) => quickToRegister(s, x87, other, false) },
  );
  defineX87(
    `f${name}p`,
    [`DE /${other} | Ft`],
    (s) => {
      s.commit();
      s.b.if(s.b.call(operateRegister, other, s.register(0), s.register(0)), () => s.b.call(pop));
    },
    { quick: (s, x87) => quickToRegister(s, x87, other, true) },
  );
}

/** ST(0) = f(ST(0)). */
export function unary(name: string, modrm: string, compute: Routine): void {
  const apply: Routine = routine(`x87_apply_${name}`, [], undefined, (b) => {
    const at = stAt(b, 0);
    b.if(inUse(b, 0).eqz(), () => {
      b.call(writeResult, 0, INDEFINITE_SIGNIFICAND, INDEFINITE_SIGN_EXPONENT, FSW_IE | FSW_SF);
      b.return();
    });
    const value = b.call(compute, significandAt(b, at), signExponentAt(b, at));
    b.call(writeResult, 0, value, resultSignExponent(b), resultFlags(b));
  });
  TRANSLATED_ROUTINES.add(compute);
  const quick = (s: Semantics, x87: X87Stack): boolean => {
    if (!x87.has(0)) return false;
    const { significand, signExponent } = x87.get(0);
    s.commit();
    const value = s.b.call(compute, significand, signExponent);
    x87.put(0, { significand: value, signExponent: resultSignExponent(s.b).and(0xffff) });
    x87.raise(resultFlags(s.b));
    return true;
  };
  defineX87(
    name,
    [`D9 =${modrm}`],
    (s) => {
      s.commit();
      s.b.call(apply);
    },
    { quick },
  );
}
unary("fsqrt", "FA", squareRoot);
unary("frndint", "FC", roundToInteger);

/** ST(0) = f(ST(0), ST(1)). Remainders set C0 to C3 besides. */
function binary(name: string, modrm: string, compute: Routine, nearest?: number): void {
  const apply: Routine = routine(`x87_apply_${name}`, [], undefined, (b) => {
    b.if(inUse(b, 0).and(inUse(b, 1)).eqz(), () => {
      b.call(writeResult, 0, INDEFINITE_SIGNIFICAND, INDEFINITE_SIGN_EXPONENT, FSW_IE | FSW_SF);
      if (nearest !== undefined) b.put(L.FSW, b.get(L.FSW).and(~FSW_C2));
      b.return();
    });
    const [x, y] = [stAt(b, 0), stAt(b, 1)];
    const operands = [significandAt(b, x), signExponentAt(b, x), significandAt(b, y), signExponentAt(b, y)];
    const value = b.call(compute, ...operands, ...(nearest === undefined ? [] : [nearest]));
    const codes = b.keep(b.get(L.result(2)).lo32());
    const flags = resultFlags(b);
    b.call(writeResult, 0, value, resultSignExponent(b), flags);
    if (nearest !== undefined)
      b.if(
        codes.and(NO_QUOTIENT),
        () => b.put(L.FSW, b.get(L.FSW).and(~FSW_C2)),
        () => b.put(L.FSW, b.get(L.FSW).and(~CODES).or(codes)),
      );
  });
  defineX87(name, [`D9 =${modrm}`], (s) => {
    s.commit();
    s.b.call(apply);
  });
}
const CODES = FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3;
binary("fscale", "FD", scale);
binary("fprem", "F8", remainder, 0);
binary("fprem1", "F5", remainder, 1);

/** The exponent replaces ST(0), the significand is pushed. */
const extract: Routine = routine("x87_extract", [], undefined, (b) => {
  const fault = (c1: number): void => {
    putC1(b, c1);
    b.if(b.call(signal, FSW_IE | FSW_SF), () => b.return());
    putPair(
      i64(INDEFINITE_SIGNIFICAND),
      i32(INDEFINITE_SIGN_EXPONENT),
      i64(INDEFINITE_SIGNIFICAND),
      i32(INDEFINITE_SIGN_EXPONENT),
    );
  };
  const putPair = (exponent: Expr, exponentSign: Expr, significand: Expr, signExponent: Expr): void => {
    putSt(b, 0, exponent, exponentSign);
    b.put(L.FTOP, b.get(L.FTOP).sub(1).and(7));
    putSt(b, 0, significand, signExponent);
    b.return();
  };
  b.if(inUse(b, 0).eqz(), () => fault(0));
  b.if(inUse(b, 7), () => fault(1));
  putC1(b, 0);
  const at = stAt(b, 0);
  const x = significandAt(b, at);
  const xs = signExponentAt(b, at);
  b.if(b.call(decideNan, x, xs, i64(0), i32(0)), () => {
    b.if(b.call(signal, resultFlags(b)), () => b.return());
    const value = b.get(L.result(2));
    const sign = resultSignExponent(b);
    putPair(value, sign, value, sign);
  });
  const exponent = b.keep(xs.and(0x7fff));
  const sign = b.keep(xs.and(0x8000));
  b.if(exponent.eq(0x7fff), () => putPair(x, i32(0x7fff), x, xs));
  b.if(x.eqz(), () => {
    b.if(b.call(signal, FSW_ZE), () => b.return());
    putPair(i64(INTEGER_BIT), i32(0xffff), x, xs);
  });
  b.if(exponent.eqz(), () => b.if(b.call(signal, FSW_DE), () => b.return()));
  const power = b.call(fromInteger, unbiasedExponent(x, exponent).s64());
  const powerSign = resultSignExponent(b);
  putPair(power, powerSign, x.shl(x.clz()), sign.or(0x3fff));
});
defineX87("fxtract", ["D9 =F4"], (s) => {
  s.commit();
  s.b.call(extract);
});
