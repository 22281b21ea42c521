/** x87 comparisons (SDM vol. 2): FCOM FUCOM FICOM FTST FCOMI FUCOMI and their popping forms, FXAM. */
import * as L from "../../cpu/layout.ts";
import {
  FSW_C0,
  FSW_C1,
  FSW_C2,
  FSW_C3,
  FSW_DE,
  FSW_IE,
  FSW_SF,
  inUse,
  pop,
  putC1,
  signal,
  signExponentAt,
  significandAt,
  stAt,
} from "../../cpu/x87.ts";
import {
  fromDouble,
  fromInteger,
  fromSingle,
  INTEGER_BIT,
  isUnsupported,
  QUIET_BIT,
  resultFlags,
  resultSignExponent,
} from "../../cpu/x87-convert.ts";
import { type Expr, i32, i64, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import type { Semantics } from "../semantics.ts";
import { defineX87 } from "./x87-form.ts";

const UNORDERED = FSW_C0 | FSW_C2 | FSW_C3;

/** An operand's class for comparisons: 0 ordered, 1 quiet NaN, 2 signalling or unsupported. */
const nanClass: Routine = routine("x87_nan_class", ["i64", "i32"], "i32", (b, significand, signExponent) => {
  const exponent = b.keep(signExponent.and(0x7fff));
  b.if(isUnsupported(exponent, significand), () => b.return(2));
  b.if(exponent.ne(0x7fff).or(significand.eq(i64(INTEGER_BIT))), () => b.return(0));
  b.return(select(significand.and(QUIET_BIT).eqz(), i32(2), i32(1)));
});

const isDenormal: Routine = routine("x87_is_denormal", ["i64", "i32"], "i32", (b, significand, signExponent) => {
  b.return(signExponent.and(0x7fff).eqz().and(significand.nez()));
});

/**
 * Compares ST(0) with a value that raised `flags` when it was made: C0, C2, C3 of FSW as the result, flags signalled,
 * RESULT[2] the unmasked ones. `quiet`: a quiet NaN is not invalid.
 */
const compareTop: Routine = routine(
  "x87_compare_top",
  ["i64", "i32", "i32", "i32"],
  "i32",
  (b, other, otherSign, flags, quiet) => {
    const give = (code: Expr | number, raised: Expr | number): void => {
      const kept = typeof code === "number" ? i32(code) : b.keep(code);
      b.put(L.result(2), b.call(signal, raised).u64());
      b.return(kept);
    };
    b.if(inUse(b, 0).eqz().or(flags.and(FSW_SF).nez()), () => {
      putC1(b, 0);
      give(UNORDERED, FSW_IE | FSW_SF);
    });
    const at = stAt(b, 0);
    const top = significandAt(b, at);
    const topSign = signExponentAt(b, at);
    const worst = b.keep(b.call(nanClass, top, topSign).or(b.call(nanClass, other, otherSign)));
    const invalid = b.keep(worst.shrU(1).or(worst.and(quiet.eqz())).or(flags.and(FSW_IE)));
    b.if(invalid, () => give(UNORDERED, FSW_IE));
    const denormal = b.keep(
      b
        .call(isDenormal, top, topSign)
        .or(b.call(isDenormal, other, otherSign))
        .shl(1)
        .or(flags.and(FSW_DE)),
    );
    b.if(worst, () => give(UNORDERED, 0));
    b.if(top.or(other).eqz(), () => give(FSW_C3, denormal));
    // Magnitudes by exponent, then significand; a denormal's exponent counts as 1.
    const exponent = (x: Expr): Expr => b.keep(select(x.and(0x7fff).eqz(), i32(1), x.and(0x7fff)));
    const [a, c] = [exponent(topSign), exponent(otherSign)];
    const negative = b.keep(topSign.shrU(15));
    b.if(negative.ne(otherSign.shrU(15)).or(top.eqz()).or(other.eqz()), () => {
      const less = select(top.eqz(), otherSign.shrU(15).eqz(), negative);
      give(select(less, i32(FSW_C0), i32(0)), denormal);
    });
    b.if(a.eq(c).and(top.eq(other)), () => give(FSW_C3, denormal));
    const smaller = a.ltU(c).or(a.eq(c).and(top.ltU(other)));
    give(select(smaller.ne(negative), i32(FSW_C0), i32(0)), denormal);
  },
);

/** Compares with ST(i). */
const compareRegister: Routine = routine("x87_compare_register", ["i32", "i32"], "i32", (b, index, quiet) => {
  const at = stAt(b, index);
  const missing = select(inUse(b, index), i32(0), i32(FSW_SF));
  b.return(b.call(compareTop, significandAt(b, at), signExponentAt(b, at), missing, quiet));
});

function putCodes(s: Semantics, codes: Expr): void {
  s.put(
    L.FSW,
    s
      .get(L.FSW)
      .and(~(UNORDERED | FSW_C1))
      .or(codes),
  );
}

function popIfDone(s: Semantics, pops: number): void {
  if (pops)
    s.b.if(
      s.b
        .get(L.result(2))
        .lo32()
        .and(FSW_IE | FSW_DE)
        .eqz(),
      () => {
        for (let i = 0; i < pops; i++) s.b.call(pop);
      },
    );
}

function compare(s: Semantics, quiet: boolean, pops: number): void {
  const b = s.b;
  const { kind, width } = s.operand(0);
  if (kind === "f") {
    s.commit();
    putCodes(s, b.call(compareRegister, s.register(0), quiet ? 1 : 0));
  } else {
    const significand = b.call(width === 32 ? fromSingle : fromDouble, s.read(0).u64());
    s.commit();
    putCodes(s, b.call(compareTop, significand, resultSignExponent(b), resultFlags(b), 0));
  }
  popIfDone(s, pops);
}

defineX87("fcom", ["D8 /2 | Md", "DC /2 | Mq", "D8 /2 | Ft", "DC /2 | Ft"], (s) => compare(s, false, 0));
defineX87("fcomp", ["D8 /3 | Md", "DC /3 | Mq", "D8 /3 | Ft", "DC /3 | Ft", "DE /2 | Ft"], (s) => compare(s, false, 1));
defineX87("fucom", ["DD /4 | Ft"], (s) => compare(s, true, 0));
defineX87("fucomp", ["DD /5 | Ft"], (s) => compare(s, true, 1));

function compareTwoPops(name: string, form: string, quiet: number): void {
  defineX87(name, [form], (s) => {
    s.commit();
    putCodes(s, s.b.call(compareRegister, 1, quiet));
    popIfDone(s, 2);
  });
}
compareTwoPops("fcompp", "DE =D9", 0);
compareTwoPops("fucompp", "DA =E9", 1);

function compareInteger(s: Semantics, pops: number): void {
  const b = s.b;
  const value = s.read(0);
  const significand = b.call(fromInteger, s.operand(0).width === 16 ? value.extend16S().s64() : value.s64());
  s.commit();
  putCodes(s, b.call(compareTop, significand, resultSignExponent(b), 0, 0));
  popIfDone(s, pops);
}
defineX87("ficom", ["DE /2 | Mw", "DA /2 | Md"], (s) => compareInteger(s, 0));
defineX87("ficomp", ["DE /3 | Mw", "DA /3 | Md"], (s) => compareInteger(s, 1));

defineX87("ftst", ["D9 =E4"], (s) => {
  s.commit();
  putCodes(s, s.b.call(compareTop, 0n, 0, 0, 0));
});

function compareToFlags(name: string, form: string, quiet: number, pops: number): void {
  defineX87(name, [form], (s) => {
    s.commit();
    const codes = s.b.call(compareRegister, s.register(0), quiet);
    const bit = (mask: number): Expr => codes.and(mask).nez();
    s.setFlags({ zf: bit(FSW_C3), pf: bit(FSW_C2), cf: bit(FSW_C0), of: 0, sf: 0, af: 0 });
    popIfDone(s, pops);
  });
}
compareToFlags("fcomi", "DB /6 | Ft", 0, 0);
compareToFlags("fucomi", "DB /5 | Ft", 1, 0);
compareToFlags("fcomip", "DF /6 | Ft", 0, 1);
compareToFlags("fucomip", "DF /5 | Ft", 1, 1);

/** Class of ST(0) in C3, C2, C0 and its sign in C1. */
const examine: Routine = routine("x87_examine", [], "i32", (b) => {
  const at = stAt(b, 0);
  const significand = significandAt(b, at);
  const signExponent = signExponentAt(b, at);
  const exponent = b.keep(signExponent.and(0x7fff));
  const sign = b.keep(signExponent.shrU(15).shl(9));
  b.if(inUse(b, 0).eqz(), () => b.return(sign.or(FSW_C3 | FSW_C0)));
  b.if(exponent.eqz(), () => b.return(sign.or(FSW_C3).or(select(significand.eqz(), i32(0), i32(FSW_C2)))));
  b.if(significand.geS(0), () => b.return(sign));
  b.if(exponent.ne(0x7fff), () => b.return(sign.or(FSW_C2)));
  b.return(sign.or(FSW_C0).or(select(significand.eq(i64(INTEGER_BIT)), i32(FSW_C2), i32(0))));
});
defineX87("fxam", ["D9 =E5"], (s) => {
  s.commit();
  s.put(
    L.FSW,
    s
      .get(L.FSW)
      .and(~(UNORDERED | FSW_C1))
      .or(s.b.call(examine)),
  );
});
