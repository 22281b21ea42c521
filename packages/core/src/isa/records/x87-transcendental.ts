/**
 * x87 transcendental instructions (SDM vol. 2): FSIN FCOS FSINCOS FPTAN FPATAN F2XM1 FYL2X FYL2XP1. FCW.PC does not
 * matter to them, FCW.RC does.
 */
import * as L from "../../cpu/layout.ts";
import {
  FSW_C1,
  FSW_C2,
  FSW_DE,
  FSW_IE,
  FSW_SF,
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
import { arctangent } from "../../cpu/x87-arctangent.ts";
import { BIAS } from "../../cpu/x87-arithmetic.ts";
import { INTEGER_BIT, resultFlags, resultSignExponent } from "../../cpu/x87-convert.ts";
import { exponential, logarithm, logarithmOfSum } from "../../cpu/x87-logarithm.ts";
import { COSINE, SINE, TANGENT, trigonometric } from "../../cpu/x87-trigonometry.ts";
import { type Builder, type Expr, i32, i64, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { unary, writeResult } from "./x87-arithmetic.ts";
import { defineX87 } from "./x87-form.ts";

unary("f2xm1", "F0", exponential);

/** ST(1) = f(ST(0), ST(1)), then a pop. */
function binaryPop(name: string, modrm: string, compute: Routine): void {
  const apply: Routine = routine(`x87_apply_${name}`, [], undefined, (b) => {
    const write = (significand: Expr | bigint, signExponent: Expr | number, flags: Expr | number): void => {
      b.if(b.call(writeResult, 1, significand, signExponent, flags), () => b.call(pop));
      b.return();
    };
    b.if(inUse(b, 0).and(inUse(b, 1)).eqz(), () =>
      write(INDEFINITE_SIGNIFICAND, INDEFINITE_SIGN_EXPONENT, FSW_IE | FSW_SF),
    );
    const [x, y] = [stAt(b, 0), stAt(b, 1)];
    const value = b.call(compute, significandAt(b, x), signExponentAt(b, x), significandAt(b, y), signExponentAt(b, y));
    write(value, resultSignExponent(b), resultFlags(b));
  });
  defineX87(name, [`D9 =${modrm}`], (s) => {
    s.commit();
    s.b.call(apply);
  });
}
binaryPop("fpatan", "F3", arctangent);
binaryPop("fyl2x", "F1", logarithm);
binaryPop("fyl2xp1", "F9", logarithmOfSum);

function putC2(b: Builder, value: Expr): void {
  b.put(L.FSW, b.get(L.FSW).and(~FSW_C2).or(value));
}

/** ST(0) = f(ST(0)); C2 and nothing else if it is out of range. */
function trigonometricUnary(name: string, modrm: string, which: number): void {
  const apply: Routine = routine(`x87_apply_${name}`, [], undefined, (b) => {
    putC2(b, i32(0));
    b.if(inUse(b, 0).eqz(), () => {
      b.call(writeResult, 0, INDEFINITE_SIGNIFICAND, INDEFINITE_SIGN_EXPONENT, FSW_IE | FSW_SF);
      b.return();
    });
    const at = stAt(b, 0);
    const value = b.call(trigonometric, significandAt(b, at), signExponentAt(b, at), which);
    const flags = resultFlags(b);
    b.if(flags.and(FSW_C2), () => {
      putC1(b, 0);
      putC2(b, i32(FSW_C2));
      b.return();
    });
    b.call(writeResult, 0, value, resultSignExponent(b), flags);
  });
  defineX87(name, [`D9 =${modrm}`], (s) => {
    s.commit();
    s.b.call(apply);
  });
}
trigonometricUnary("fsin", "FE", SINE);
trigonometricUnary("fcos", "FF", COSINE);

/**
 * ST(0) = f(ST(0)), and the second value is pushed: the cosine, or 1 beside a tangent. A NaN is both, and so is the
 * indefinite.
 */
function trigonometricPair(name: string, modrm: string, which: number): void {
  const apply: Routine = routine(`x87_apply_${name}`, [], undefined, (b) => {
    const putPair = (first: Expr, firstSign: Expr, second: Expr, secondSign: Expr): void => {
      putSt(b, 0, first, firstSign);
      b.put(L.FTOP, b.get(L.FTOP).sub(1).and(7));
      putSt(b, 0, second, secondSign);
      b.return();
    };
    const fault = (c1: number): void => {
      putC1(b, c1);
      b.if(b.call(signal, FSW_IE | FSW_SF), () => b.return());
      const [significand, signExponent] = [i64(INDEFINITE_SIGNIFICAND), i32(INDEFINITE_SIGN_EXPONENT)];
      putPair(significand, signExponent, significand, signExponent);
    };
    putC2(b, i32(0));
    b.if(inUse(b, 0).eqz(), () => fault(0));
    b.if(inUse(b, 7), () => fault(1));
    const at = stAt(b, 0);
    const x = significandAt(b, at);
    const xs = signExponentAt(b, at);
    const value = b.call(trigonometric, x, xs, which);
    const signExponent = resultSignExponent(b);
    const flags = resultFlags(b);
    putC1(b, 0);
    b.if(flags.and(FSW_C2), () => {
      putC2(b, i32(FSW_C2));
      b.return();
    });
    const blocked = b.keep(flags.and(b.get(L.FCW).not()).and(FSW_IE | FSW_DE));
    b.if(blocked, () => {
      b.call(signal, flags.and(FSW_IE | FSW_DE));
      b.return();
    });
    const [other, otherSign] = [b.variable(i64(INTEGER_BIT)), b.variable(i32(BIAS))];
    const all = b.variable(flags);
    if (which === SINE) {
      other.set(b.call(trigonometric, x, xs, COSINE));
      otherSign.set(resultSignExponent(b));
      all.set(flags.or(resultFlags(b)));
    }
    const nan = b.keep(signExponent.and(0x7fff).eq(0x7fff));
    putC1(b, all.get().shrU(9).and(1));
    b.call(signal, all.get().and(~FSW_C1));
    putPair(value, signExponent, select(nan, value, other.get()), select(nan, signExponent, otherSign.get()));
  });
  defineX87(name, [`D9 =${modrm}`], (s) => {
    s.commit();
    s.b.call(apply);
  });
}
trigonometricPair("fsincos", "FB", SINE);
trigonometricPair("fptan", "F2", TANGENT);
