/**
 * x87 loads, stores and moves between registers (SDM vol. 2): FLD FST FSTP FILD FIST FISTP FISTTP, the constants, FXCH, FCHS,
 * FABS, FCMOVcc, FBLD and FBSTP.
 */
import { commitStore, writeLinear } from "../../cpu/access.ts";
import * as L from "../../cpu/layout.ts";
import {
  FSW_C1,
  FSW_EXCEPTIONS,
  FSW_IE,
  FSW_PE,
  FSW_SF,
  INDEFINITE_SIGN_EXPONENT,
  INDEFINITE_SIGNIFICAND,
  inUse,
  pop,
  push,
  putC1,
  putSignExponent,
  putSignificand,
  putSt,
  signal,
  signExponentAt,
  significandAt,
  stAt,
} from "../../cpu/x87.ts";
import {
  fromDouble,
  fromInteger,
  fromSingle,
  resultFlags,
  resultSignExponent,
  toDouble,
  toInteger,
  toSingle,
} from "../../cpu/x87-convert.ts";
import { fromDecimal, toDecimal } from "../../cpu/x87-decimal.ts";
import { type Extended, narrowDouble, narrowSingle, type Rounded, roundedResult, widen } from "../../cpu/x87-quick.ts";
import { type Builder, type Expr, i32, i64, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { FAULT, type Semantics } from "../semantics.ts";
import type { X87Stack } from "../translation.ts";
import { defineX87, stackIndex, TRANSLATED_ROUTINES } from "./x87-form.ts";

const FCW_RC = 0xc00;

/** Pushes what a conversion routine gave. */
function pushConverted(s: Semantics, convert: Routine, value: Expr): void {
  const significand = s.b.call(convert, value);
  s.commit();
  s.b.call(push, significand, resultSignExponent(s.b), resultFlags(s.b));
}

/** A 10-byte operand: eight bytes, then two, at an offset that wraps. */
function load80(s: Semantics): { significand: Expr; signExponent: Expr } {
  const significand = s.load(64, s.address(), s.segment());
  return { significand, signExponent: s.load(16, s.address(8), s.segment()) };
}

function quickLoad(s: Semantics, x87: X87Stack): boolean {
  const { kind, width } = s.operand(0);
  const source = kind === "f" ? stackIndex(s) : undefined;
  if ((source !== undefined && !x87.has(source)) || !x87.hasRoom()) return false;
  if (source !== undefined) {
    const value = x87.get(source);
    s.commit();
    x87.push(value);
    x87.raise(0);
  } else if (width === 80) {
    const value = load80(s);
    s.commit();
    x87.push(value);
    x87.raise(0);
  } else {
    const value = widen(s.b, width === 32 ? 32 : 64, s.read(0).u64());
    s.commit();
    x87.push(value);
    x87.raise(value.flags);
  }
  return true;
}

function load(s: Semantics): void {
  const b = s.b;
  const { kind, width } = s.operand(0);
  if (kind === "f") {
    const at = stAt(b, s.register(0));
    const missing = inUse(b, s.register(0)).eqz();
    s.commit();
    const flags = b.keep(select(missing, i32(FSW_IE | FSW_SF), i32(0)));
    const significand = select(flags, i64(INDEFINITE_SIGNIFICAND), significandAt(b, at));
    b.call(push, significand, select(flags, i32(INDEFINITE_SIGN_EXPONENT), signExponentAt(b, at)), flags);
  } else if (width === 80) {
    const { significand, signExponent } = load80(s);
    s.commit();
    b.call(push, significand, signExponent, 0);
  } else pushConverted(s, width === 32 ? fromSingle : fromDouble, s.read(0).u64());
}
defineX87("fld", ["D9 /0 | Md", "DD /0 | Mq", "DB /5 | Mt", "D9 /0 | Ft"], load, { quick: quickLoad });

/** An integer operand as an i64. */
function readInteger(s: Semantics): Expr {
  const value = s.read(0);
  return s.operand(0).width === 16 ? value.extend16S().s64() : value.s64();
}
defineX87("fild", ["DF /0 | Mw", "DB /0 | Md", "DF /5 | Mq"], (s) => pushConverted(s, fromInteger, readInteger(s)), {
  quick: (s, x87) => {
    if (!x87.hasRoom()) return false;
    const significand = s.b.call(fromInteger, readInteger(s));
    s.commit();
    x87.push({ significand, signExponent: resultSignExponent(s.b) });
    x87.raise(0);
    return true;
  },
});

defineX87("fbld", ["DF /4 | Mt"], (s) => {
  const { significand, signExponent } = load80(s);
  s.commit();
  const sign = signExponent.and(0x8000);
  const value = s.b.call(fromInteger, s.b.call(fromDecimal, significand, signExponent));
  s.b.call(push, value, resultSignExponent(s.b).or(sign), 0);
});

/** Mnemonic, ModRM, sign and exponent, significand rounded to nearest, and how it differs when rounded down and up. */
const CONSTANTS: readonly (readonly [string, string, number, bigint, number, number])[] = [
  ["fld1", "E8", 0x3fff, 0x8000000000000000n, 0, 0],
  ["fldl2t", "E9", 0x4000, 0xd49a784bcd1b8afen, 0, 1],
  ["fldl2e", "EA", 0x3fff, 0xb8aa3b295c17f0bcn, -1, 0],
  ["fldpi", "EB", 0x4000, 0xc90fdaa22168c235n, -1, 0],
  ["fldlg2", "EC", 0x3ffd, 0x9a209a84fbcff799n, -1, 0],
  ["fldln2", "ED", 0x3ffe, 0xb17217f7d1cf79acn, -1, 0],
  ["fldz", "EE", 0, 0n, 0, 0],
];
for (const [name, modrm, signExponent, significand, down, up] of CONSTANTS) {
  const value = (s: Semantics): Expr => {
    if (!down && !up) return i64(significand);
    const mode = s.b.keep(s.get(L.FCW).shrU(10).and(3));
    const lower = select(mode.and(1), i64(significand + BigInt(down)), i64(significand));
    return select(mode.eq(2), i64(significand + BigInt(up)), lower);
  };
  const quick = (s: Semantics, x87: X87Stack): boolean => {
    if (!x87.hasRoom()) return false;
    s.commit();
    x87.push({ significand: value(s), signExponent: i32(signExponent) });
    x87.raise(0);
    return true;
  };
  defineX87(
    name,
    [`D9 =${modrm}`],
    (s) => {
      s.commit();
      s.b.call(push, value(s), signExponent, 0);
    },
    { quick },
  );
}

/** Signals a store's flags with C1; 1 if the value is to be stored: no exception but PE is unmasked. */
const settle: Routine = routine("x87_settle", ["i32"], "i32", (b, flags) => {
  putC1(b, flags.shrU(9).and(1));
  const unmasked = b.call(signal, flags.and(~FSW_C1));
  b.return(unmasked.and(~FSW_PE).eqz());
});

/** ST(0) narrowed, as an i64; its flags in RESULT[1], not signalled yet. */
function makeStore(name: string, convert: Routine, indefinite: bigint): Routine {
  return routine(name, [], "i64", (b) => {
    b.if(inUse(b, 0).eqz(), () => {
      b.put(L.result(1), FSW_IE | FSW_SF);
      b.return(i64(indefinite));
    });
    const at = stAt(b, 0);
    b.return(b.call(convert, significandAt(b, at), signExponentAt(b, at)));
  });
}
const storeSingle = makeStore("x87_store_single", toSingle, 0xffc00000n);
const storeDouble = makeStore("x87_store_double", toDouble, 0xfff8000000000000n);
const storeInteger: Routine = routine("x87_store_integer", ["i32"], "i64", (b, bits) => {
  b.if(inUse(b, 0).eqz(), () => {
    b.put(L.result(1), FSW_IE | FSW_SF);
    b.return(i64(-1).shl(bits.sub(1).u64()));
  });
  const at = stAt(b, 0);
  b.return(b.call(toInteger, significandAt(b, at), signExponentAt(b, at), bits));
});

/** As toInteger, towards zero. */
const toTruncated: Routine = routine("x87_to_truncated", ["i64", "i32", "i32"], "i64", (b, significand, sign, bits) => {
  const control = b.keep(b.get(L.FCW));
  b.put(L.FCW, control.or(FCW_RC));
  const value = b.call(toInteger, significand, sign, bits);
  b.put(L.FCW, control);
  b.return(value);
});
TRANSLATED_ROUTINES.add(toTruncated);
/** FISTTP: rounds towards zero, whatever FCW.RC says. */
const storeTruncated: Routine = routine("x87_store_truncated", ["i32"], "i64", (b, bits) => {
  const control = b.keep(b.get(L.FCW));
  b.put(L.FCW, control.or(FCW_RC));
  const value = b.call(storeInteger, bits);
  b.put(L.FCW, control);
  b.return(value);
});

/** Stores to memory what `make` gives, and pops. An unmasked exception forbids both, and memory is not looked at. */
function storeMemory(s: Semantics, popping: boolean, make: (b: Builder) => Expr): void {
  const b = s.b;
  const width = s.operand(0).width;
  const value = make(b);
  const flags = resultFlags(b);
  b.if(
    flags.and(s.get(L.FCW).not()).and(FSW_EXCEPTIONS & ~FSW_PE),
    () => b.call(settle, flags),
    () => {
      const probe = s.probe(width, s.address(), s.segment());
      s.store(probe, width === 64 ? value : value.lo32());
      b.call(settle, flags);
      if (popping) b.call(pop);
    },
  );
  s.commit();
}

/** ST(0) or, if empty, the masked response; 0 in RESULT[2]: an unmasked stack fault. Sign and exponent in RESULT[0]. */
const readTop: Routine = routine("x87_read_top", [], "i64", (b) => {
  b.put(L.result(2), 1);
  b.if(inUse(b, 0).eqz(), () => {
    b.put(L.result(2), b.call(settle, FSW_IE | FSW_SF).u64());
    b.put(L.result(0), INDEFINITE_SIGN_EXPONENT);
    b.return(i64(INDEFINITE_SIGNIFICAND));
  });
  putC1(b, 0);
  const at = stAt(b, 0);
  b.put(L.result(0), signExponentAt(b, at).u64());
  b.return(significandAt(b, at));
});

/** As `makeStore`, for operands of 10 bytes: the upper two in RESULT[0]. The indefinite of both formats has the same bits. */
function makeStore80(name: string, convert: Routine | undefined): Routine {
  return routine(name, [], "i64", (b) => {
    b.put(L.result(0), INDEFINITE_SIGN_EXPONENT);
    b.if(inUse(b, 0).eqz(), () => {
      b.put(L.result(1), FSW_IE | FSW_SF);
      b.return(i64(INDEFINITE_SIGNIFICAND));
    });
    const at = stAt(b, 0);
    if (convert) b.return(b.call(convert, significandAt(b, at), signExponentAt(b, at)));
    b.put(L.result(0), signExponentAt(b, at).u64());
    b.put(L.result(1), 0);
    b.return(significandAt(b, at));
  });
}
const storeExtended = makeStore80("x87_store_extended", undefined);
const storeDecimal = makeStore80("x87_store_decimal", toDecimal);

/** Stores 10 bytes and pops. The low eight are stored before the rest is probed, as processors do: a fault leaves them there. */
function store80(s: Semantics, make: Routine): void {
  const b = s.b;
  const low = b.call(make);
  const high = resultSignExponent(b);
  const flags = resultFlags(b);
  b.if(
    flags.and(s.get(L.FCW).not()).and(FSW_EXCEPTIONS & ~FSW_PE),
    () => b.call(settle, flags),
    () => {
      const va = s.address();
      const write = (bytes: number, op: string, at: Expr, value: Expr): void => {
        const host = b.call(writeLinear, at, bytes, s.segment(), 0);
        b.if(host.eqz(), () => s.leave(FAULT));
        b.store(op, "host", host, value);
        b.call(commitStore, host);
      };
      write(8, "i64.store", va, low);
      write(2, "i32.store16", s.address(8), high);
      b.call(settle, flags);
      b.call(pop);
    },
  );
  s.commit();
}

function storeRegister(s: Semantics, popping: boolean): void {
  const b = s.b;
  s.commit();
  const significand = b.call(readTop);
  b.if(b.get(L.result(2)).lo32(), () => {
    putSt(b, s.register(0), significand, resultSignExponent(b));
    if (popping) b.call(pop);
  });
}

function store(s: Semantics, popping: boolean): void {
  const { kind, width } = s.operand(0);
  if (kind === "f") storeRegister(s, popping);
  else if (width === 80) store80(s, storeExtended);
  else storeMemory(s, popping, (b) => b.call(width === 32 ? storeSingle : storeDouble));
}
/** Stores to memory what `make` gives for ST(0), in a translated block. */
function quickStoreMemory(s: Semantics, x87: X87Stack, popping: boolean, make: (value: Extended) => Rounded): boolean {
  if (!x87.has(0)) return false;
  const width = s.operand(0).width;
  const value = make(x87.get(0));
  const probe = s.probe(width, s.address(), s.segment());
  s.store(probe, width === 64 ? value.significand : value.significand.lo32());
  x87.raise(value.flags);
  if (popping) x87.pop();
  return true;
}
function quickStore(s: Semantics, x87: X87Stack, popping: boolean): boolean {
  const { kind, width } = s.operand(0);
  // The address of eight bytes and of two.
  if (kind === "m" && width === 80) return false;
  if (kind === "m")
    return quickStoreMemory(s, x87, popping, ({ significand, signExponent }) =>
      roundedResult(s.b, s.b.call(width === 32 ? narrowSingle : narrowDouble, significand, signExponent)),
    );
  const index = stackIndex(s);
  if (!x87.has(0) || !x87.has(index)) return false;
  s.commit();
  if (index) x87.put(index, x87.get(0));
  x87.raise(0);
  if (popping) x87.pop();
  return true;
}
defineX87("fst", ["D9 /2 | Md", "DD /2 | Mq", "DD /2 | Ft"], (s) => store(s, false), {
  quick: (s, x87) => quickStore(s, x87, false),
});
defineX87(
  "fstp",
  ["D9 /3 | Md", "DD /3 | Mq", "DB /7 | Mt", "DD /3 | Ft", "DF /2 | Ft", "DF /3 | Ft"],
  (s) => store(s, true),
  { quick: (s, x87) => quickStore(s, x87, true) },
);
// FSTP without the check: an empty register is popped, not stored.
defineX87("fstpnce", ["D9 /3 | Ft"], (s) => {
  const b = s.b;
  const at = stAt(b, 0);
  s.commit();
  putC1(b, 0);
  b.if(inUse(b, 0), () => putSt(b, s.register(0), significandAt(b, at), signExponentAt(b, at)));
  b.call(pop);
});
/** ST(0) as an integer of `bits`, in a translated block. */
const quickInteger =
  (popping: boolean, convert: Routine) =>
  (s: Semantics, x87: X87Stack): boolean =>
    quickStoreMemory(s, x87, popping, ({ significand, signExponent }) => ({
      significand: s.b.call(convert, significand, signExponent, s.operand(0).width),
      signExponent,
      flags: resultFlags(s.b),
    }));
defineX87(
  "fist",
  ["DF /2 | Mw", "DB /2 | Md"],
  (s) => storeMemory(s, false, (b) => b.call(storeInteger, s.operand(0).width)),
  { quick: quickInteger(false, toInteger) },
);
defineX87(
  "fistp",
  ["DF /3 | Mw", "DB /3 | Md", "DF /7 | Mq"],
  (s) => storeMemory(s, true, (b) => b.call(storeInteger, s.operand(0).width)),
  { quick: quickInteger(true, toInteger) },
);
defineX87(
  "fisttp",
  ["DF /1 | Mw", "DB /1 | Md", "DD /1 | Mq"],
  (s) => storeMemory(s, true, (b) => b.call(storeTruncated, s.operand(0).width)),
  { feature: "sse3", quick: quickInteger(true, toTruncated) },
);

defineX87("fbstp", ["DF /6 | Mt"], (s) => store80(s, storeDecimal));

/** Signals a stack fault if ST(0) or ST(i) is empty: 0 both are there, 1 masked, 2 unmasked. */
const missingOperand: Routine = routine("x87_missing_operand", ["i32"], "i32", (b, index) => {
  b.if(inUse(b, 0).and(inUse(b, index)), () => b.return(0));
  putC1(b, 0);
  b.return(select(b.call(signal, FSW_IE | FSW_SF), i32(2), i32(1)));
});
const fillIfEmpty: Routine = routine("x87_fill_if_empty", ["i32"], undefined, (b, index) => {
  b.if(inUse(b, index).eqz(), () => putSt(b, index, i64(INDEFINITE_SIGNIFICAND), i32(INDEFINITE_SIGN_EXPONENT)));
});

const exchange: Routine = routine("x87_exchange", ["i32"], undefined, (b, index) => {
  putC1(b, 0);
  b.if(b.call(missingOperand, index), () => {
    b.if(b.get(L.FCW).and(FSW_IE).eqz(), () => b.return());
    b.call(fillIfEmpty, 0);
    b.call(fillIfEmpty, index);
  });
  const [one, other] = [stAt(b, 0), stAt(b, index)];
  const [oneSignificand, oneExponent] = [significandAt(b, one), signExponentAt(b, one)];
  const [otherSignificand, otherExponent] = [significandAt(b, other), signExponentAt(b, other)];
  putSignificand(b, one, otherSignificand);
  putSignExponent(b, one, otherExponent);
  putSignificand(b, other, oneSignificand);
  putSignExponent(b, other, oneExponent);
});
defineX87(
  "fxch",
  ["D9 /1 | Ft", "DD /1 | Ft", "DF /1 | Ft"],
  (s) => {
    s.commit();
    s.b.call(exchange, s.register(0));
  },
  {
    quick: (s, x87) => {
      const index = stackIndex(s);
      if (!x87.has(0) || !x87.has(index)) return false;
      const [top, other] = [x87.get(0), x87.get(index)];
      s.commit();
      x87.put(0, other);
      x87.put(index, top);
      x87.raise(0);
      return true;
    },
  },
);

/** ST(0)'s sign and exponent changed. */
function changeSign(name: string, modrm: string, change: (signExponent: Expr) => Expr): void {
  const quick = (s: Semantics, x87: X87Stack): boolean => {
    if (!x87.has(0)) return false;
    const { significand, signExponent } = x87.get(0);
    s.commit();
    x87.put(0, { significand, signExponent: change(signExponent) });
    x87.raise(0);
    return true;
  };
  const body = (s: Semantics): void => {
    const b = s.b;
    s.commit();
    putC1(b, 0);
    b.if(
      b.call(missingOperand, 0),
      () => b.if(b.get(L.FCW).and(FSW_IE), () => b.call(fillIfEmpty, 0)),
      () => {
        const at = stAt(b, 0);
        putSignExponent(b, at, change(signExponentAt(b, at)));
      },
    );
  };
  defineX87(name, [`D9 =${modrm}`], body, { quick });
}
changeSign("fchs", "E0", (x) => x.xor(0x8000));
changeSign("fabs", "E1", (x) => x.and(0x7fff));

/** Condition codes of Jcc that FCMOVcc has. */
const MOVES: readonly (readonly [string, string, number])[] = [
  ["fcmovb", "DA /0", 2],
  ["fcmove", "DA /1", 4],
  ["fcmovbe", "DA /2", 6],
  ["fcmovu", "DA /3", 10],
  ["fcmovnb", "DB /0", 3],
  ["fcmovne", "DB /1", 5],
  ["fcmovnbe", "DB /2", 7],
  ["fcmovnu", "DB /3", 11],
];
for (const [name, opcode, condition] of MOVES) {
  const quick = (s: Semantics, x87: X87Stack): boolean => {
    const b = s.b;
    const index = stackIndex(s);
    if (!x87.has(0) || !x87.has(index)) return false;
    const isMoved = b.keep(s.condition(condition));
    const [top, other] = [x87.get(0), x87.get(index)];
    s.commit();
    x87.put(0, {
      significand: select(isMoved, other.significand, top.significand),
      signExponent: select(isMoved, other.signExponent, top.signExponent),
    });
    return true;
  };
  const body = (s: Semantics): void => {
    const b = s.b;
    s.commit();
    const missing = b.call(missingOperand, s.register(0));
    b.if(
      missing,
      () => b.if(missing.eq(1), () => putSt(b, 0, i64(INDEFINITE_SIGNIFICAND), i32(INDEFINITE_SIGN_EXPONENT))),
      () =>
        b.if(s.condition(condition), () => {
          const at = stAt(b, s.register(0));
          putSt(b, 0, significandAt(b, at), signExponentAt(b, at));
        }),
    );
  };
  defineX87(name, [`${opcode} | Ft`], body, { quick });
}
