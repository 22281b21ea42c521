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
import { widen } from "../../cpu/x87-quick.ts";
import { type Expr, i32, i64, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import type { Semantics } from "../semantics.ts";
import type { X87Stack } from "../translation.ts";
import { defineX87, stackIndex, TRANSLATED_ROUTINES } from "./x87-form.ts";

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
 * Compares two values; `how`: flags of making the second, and QUIET. C0, C2, C3 as the result, and above them, shifted
 * by RAISED, flags.
 */
const compareValues: Routine = routine(
  "x87_compare_values",
  ["i64", "i32", "i64", "i32", "i32"],
  "i32",
  (b, top, topSign, other, otherSign, how) => {
    const give = (code: Expr | number, raised: Expr | number): void => {
      const flags = typeof raised === "number" ? i32(raised) : raised;
      b.return((typeof code === "number" ? i32(code) : code).or(flags.shl(RAISED)));
    };
    const topExponent = b.keep(topSign.and(0x7fff));
    const otherExponent = b.keep(otherSign.and(0x7fff));
    const negative = b.keep(topSign.shrU(15));
    const byMagnitude = (a: Expr, c: Expr, denormal: Expr | number): void => {
      b.if(a.eq(c).and(top.eq(other)), () => give(FSW_C3, denormal));
      const smaller = a.ltU(c).or(a.eq(c).and(top.ltU(other)));
      give(select(smaller.ne(negative), i32(FSW_C0), i32(0)), denormal);
    };
    const areNormal = top.and(other).ltS(0).and(topExponent.sub(1).ltU(0x7ffe)).and(otherExponent.sub(1).ltU(0x7ffe));
    b.if(areNormal.and(how.and(~QUIET).eqz()), () => {
      b.if(topSign.xor(otherSign).and(0x8000), () => give(select(negative, i32(FSW_C0), i32(0)), 0));
      byMagnitude(topExponent, otherExponent, 0);
    });
    const worst = b.keep(b.call(nanClass, top, topSign).or(b.call(nanClass, other, otherSign)));
    const invalid = worst
      .shrU(1)
      .or(worst.and(how.and(QUIET).eqz()))
      .or(how.and(FSW_IE));
    b.if(invalid, () => give(UNORDERED, FSW_IE));
    const denormal = b.keep(
      b
        .call(isDenormal, top, topSign)
        .or(b.call(isDenormal, other, otherSign))
        .shl(1)
        .or(how.and(FSW_DE)),
    );
    b.if(worst, () => give(UNORDERED, 0));
    b.if(top.or(other).eqz(), () => give(FSW_C3, denormal));
    b.if(negative.ne(otherSign.shrU(15)).or(top.eqz()).or(other.eqz()), () => {
      const less = select(top.eqz(), otherSign.shrU(15).eqz(), negative);
      give(select(less, i32(FSW_C0), i32(0)), denormal);
    });
    // Magnitudes by exponent, then significand; a denormal's exponent counts as 1.
    const exponent = (x: Expr): Expr => b.keep(select(x.eqz(), i32(1), x));
    byMagnitude(exponent(topExponent), exponent(otherExponent), denormal);
  },
);
TRANSLATED_ROUTINES.add(compareValues);
const RAISED = 16;
const QUIET = 1 << 16;

/**
 * Compares ST(0) with a value that raised `flags` when it was made: C0, C2, C3 of FSW as the result, flags signalled,
 * RESULT[2] the unmasked ones. `quiet`: a quiet NaN is not invalid.
 */
const compareTop: Routine = routine(
  "x87_compare_top",
  ["i64", "i32", "i32", "i32"],
  "i32",
  (b, other, otherSign, flags, quiet) => {
    b.if(inUse(b, 0).eqz().or(flags.and(FSW_SF).nez()), () => {
      putC1(b, 0);
      b.put(L.result(2), b.call(signal, FSW_IE | FSW_SF).u64());
      b.return(UNORDERED);
    });
    const at = stAt(b, 0);
    const how = flags.or(quiet.shl(16));
    const answer = b.call(compareValues, significandAt(b, at), signExponentAt(b, at), other, otherSign, how);
    b.put(L.result(2), b.call(signal, answer.shrU(RAISED)).u64());
    b.return(answer.and(UNORDERED));
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

/** The answer of `compareValues` in FSW, in a translated block. */
function putAnswer(x87: X87Stack, answer: Expr, pops: number): void {
  x87.raiseOnly(answer.shrU(RAISED));
  x87.putCodes(answer.and(UNORDERED));
  for (let i = 0; i < pops; i++) x87.pop();
}
function quickAnswer(s: Semantics, x87: X87Stack, index: number, quiet: boolean | number): Expr {
  const [top, other] = [x87.get(0), x87.get(index)];
  const operands = [top.significand, top.signExponent, other.significand, other.signExponent];
  return s.b.call(compareValues, ...operands, quiet ? QUIET : 0);
}
const quickCompare =
  (quiet: boolean, pops: number) =>
  (s: Semantics, x87: X87Stack): boolean => {
    const b = s.b;
    const { kind, width } = s.operand(0);
    const index = kind === "f" ? stackIndex(s) : undefined;
    if (!x87.has(0) || (index !== undefined && !x87.has(index))) return false;
    if (index !== undefined) {
      s.commit();
      putAnswer(x87, quickAnswer(s, x87, index, quiet), pops);
      return true;
    }
    const other = widen(b, width === 32 ? 32 : 64, s.read(0).u64());
    s.commit();
    const { significand, signExponent } = x87.get(0);
    const operands = [significand, signExponent, other.significand, other.signExponent];
    putAnswer(x87, b.call(compareValues, ...operands, other.flags), pops);
    return true;
  };
function defineCompare(name: string, forms: readonly string[], quiet: boolean, pops: number): void {
  defineX87(name, forms, (s) => compare(s, quiet, pops), { quick: quickCompare(quiet, pops) });
}
defineCompare("fcom", ["D8 /2 | Md", "DC /2 | Mq", "D8 /2 | Ft", "DC /2 | Ft"], false, 0);
defineCompare("fcomp", ["D8 /3 | Md", "DC /3 | Mq", "D8 /3 | Ft", "DC /3 | Ft", "DE /2 | Ft"], false, 1);
defineCompare("fucom", ["DD /4 | Ft"], true, 0);
defineCompare("fucomp", ["DD /5 | Ft"], true, 1);

function compareTwoPops(name: string, form: string, quiet: number): void {
  const quick = (s: Semantics, x87: X87Stack): boolean => {
    if (!x87.has(0) || !x87.has(1)) return false;
    s.commit();
    putAnswer(x87, quickAnswer(s, x87, 1, quiet), 2);
    return true;
  };
  const body = (s: Semantics): void => {
    s.commit();
    putCodes(s, s.b.call(compareRegister, 1, quiet));
    popIfDone(s, 2);
  };
  defineX87(name, [form], body, { quick });
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

defineX87(
  "ftst",
  ["D9 =E4"],
  (s) => {
    s.commit();
    putCodes(s, s.b.call(compareTop, 0n, 0, 0, 0));
  },
  {
    quick: (s, x87) => {
      if (!x87.has(0)) return false;
      s.commit();
      const { significand, signExponent } = x87.get(0);
      putAnswer(x87, s.b.call(compareValues, significand, signExponent, 0n, 0, 0), 0);
      return true;
    },
  },
);

function compareToFlags(name: string, form: string, quiet: number, pops: number): void {
  const toFlags = (s: Semantics, codes: Expr): void => {
    const bit = (mask: number): Expr => codes.and(mask).nez();
    s.setFlags({ zf: bit(FSW_C3), pf: bit(FSW_C2), cf: bit(FSW_C0), of: 0, sf: 0, af: 0 });
  };
  const quick = (s: Semantics, x87: X87Stack): boolean => {
    const index = stackIndex(s);
    if (!x87.has(0) || !x87.has(index)) return false;
    s.commit();
    const answer = quickAnswer(s, x87, index, quiet);
    toFlags(s, answer);
    x87.raiseOnly(answer.shrU(RAISED));
    for (let i = 0; i < pops; i++) x87.pop();
    return true;
  };
  const body = (s: Semantics): void => {
    s.commit();
    toFlags(s, s.b.call(compareRegister, s.register(0), quiet));
    popIfDone(s, pops);
  };
  defineX87(name, [form], body, { quick });
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
