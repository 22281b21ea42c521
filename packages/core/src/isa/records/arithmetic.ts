/** Integer arithmetic and logic (SDM vol. 2): ADD ADC SUB SBB CMP AND OR XOR TEST INC DEC NEG NOT MUL IMUL DIV IDIV XADD CMPXCHG. */
import { mulHigh } from "../../cpu/flag-operations.ts";
import { FLAG, type Width } from "../../cpu/flags.ts";
import * as L from "../../cpu/layout.ts";
import { EXC_DE } from "../../cpu/raise.ts";
import { type Expr, i32, i64, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";

type Kernel = (s: Semantics, width: Width, a: Expr, c: Expr) => { result: Expr; flags: () => void };

const carryIn = (s: Semantics, width: Width): Expr => {
  const cf = FLAG.cf(s.b);
  return width === 64 ? cf.u64() : cf;
};

const KERNELS: Readonly<Record<string, Kernel>> = {
  add: (s, w, a, c) => {
    const result = s.b.keep(s.mask(w, a.add(c)));
    return { result, flags: () => s.addFlags(w, a, c, result) };
  },
  adc: (s, w, a, c) => {
    const result = s.b.keep(s.mask(w, a.add(c).add(carryIn(s, w))));
    return { result, flags: () => s.addFlags(w, a, c, result, true) };
  },
  sub: (s, w, a, c) => {
    const result = s.b.keep(s.mask(w, a.sub(c)));
    return { result, flags: () => s.subFlags(w, a, c, result) };
  },
  sbb: (s, w, a, c) => {
    const result = s.b.keep(s.mask(w, a.sub(c).sub(carryIn(s, w))));
    return { result, flags: () => s.subFlags(w, a, c, result, true) };
  },
  and: (s, w, a, c) => logic(s, w, a.and(c)),
  or: (s, w, a, c) => logic(s, w, a.or(c)),
  xor: (s, w, a, c) => logic(s, w, a.xor(c)),
};

function logic(s: Semantics, w: Width, value: Expr): { result: Expr; flags: () => void } {
  const result = s.b.keep(value);
  return { result, flags: () => s.logicFlags(w, result) };
}

const kernel = (name: string): Kernel => {
  const k = KERNELS[name];
  if (!k) throw new Error(name);
  return k;
};

for (const [i, name] of ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"].entries()) {
  const op = (low: number): string => (i * 8 + low).toString(16).padStart(2, "0");
  const isCmp = name === "cmp";
  const lock = isCmp ? "" : "lock";
  define({
    name,
    feature: "base",
    forms: [
      `${op(0)} /r | Eb,Gb | ${lock}`,
      `${op(1)} /r | Ev,Gv | ${lock}`,
      `${op(2)} /r | Gb,Eb`,
      `${op(3)} /r | Gv,Ev`,
      `${op(4)} | AL,Ib`,
      `${op(5)} | rAX,Iz`,
      `80 /${i} | Eb,Ib | ${lock}`,
      `81 /${i} | Ev,Iz | ${lock}`,
      `82 /${i} | Eb,Ib | i64 ${lock}`,
      `83 /${i} | Ev,Ibs | ${lock}`,
    ],
    semantics: (s) => {
      const w = s.width(0);
      if (isCmp) {
        const a = s.read(0);
        s.compareFlags(w, a, s.read(1));
        return;
      }
      const source = s.isMemory(1) ? s.read(1) : undefined;
      const a = s.readModify(0);
      const { result, flags } = kernel(name)(s, w, a, source ?? s.read(1));
      s.write(0, result);
      flags();
    },
  });
}

define({
  name: "test",
  feature: "base",
  forms: [
    "84 /r | Eb,Gb",
    "85 /r | Ev,Gv",
    "A8 | AL,Ib",
    "A9 | rAX,Iz",
    "F6 /0 | Eb,Ib",
    "F6 /1 | Eb,Ib",
    "F7 /0 | Ev,Iz",
    "F7 /1 | Ev,Iz",
  ],
  semantics: (s) => {
    const a = s.read(0);
    kernel("and")(s, s.width(0), a, s.read(1)).flags();
  },
});

for (const [name, opcode, reg, legacy] of [
  ["inc", "FE", 0, "40"],
  ["dec", "FE", 1, "48"],
] as const) {
  define({
    name,
    feature: "base",
    forms: [`${opcode} /${reg} | Eb | lock`, `FF /${reg} | Ev | lock`, `${legacy} +r | Zv | i64`],
    semantics: (s) => {
      const w = s.width(0);
      const a = s.readModify(0);
      const one = w === 64 ? i64(1) : i32(1);
      const result = s.b.keep(s.mask(w, name === "inc" ? a.add(one) : a.sub(one)));
      s.write(0, result);
      s.stepFlags(name, w, result);
    },
  });
}

define({
  name: "neg",
  feature: "base",
  forms: ["F6 /3 | Eb | lock", "F7 /3 | Ev | lock"],
  semantics: (s) => {
    const w = s.width(0);
    const a = s.readModify(0);
    const result = s.b.keep(s.mask(w, a.neg()));
    s.write(0, result);
    s.subFlags(w, w === 64 ? i64(0) : i32(0), a, result);
  },
});

define({
  name: "not",
  feature: "base",
  forms: ["F6 /2 | Eb | lock", "F7 /2 | Ev | lock"],
  semantics: (s) => s.write(0, s.mask(s.width(0), s.readModify(0).not())),
});

define({
  name: "xadd",
  feature: "base",
  forms: ["0F C0 /r | Eb,Gb | lock", "0F C1 /r | Ev,Gv | lock"],
  semantics: (s) => {
    const w = s.width(0);
    const a = s.readModify(0);
    const c = s.read(1);
    const result = s.b.keep(s.mask(w, a.add(c)));
    // With one register for both operands the sum stays.
    if (s.isMemory(0)) {
      s.write(0, result);
      s.write(1, a);
    } else {
      s.write(1, a);
      s.write(0, result);
    }
    s.addFlags(w, a, c, result);
  },
});

define({
  name: "cmpxchg",
  feature: "base",
  forms: ["0F B0 /r | Eb,Gb | lock", "0F B1 /r | Ev,Gv | lock"],
  semantics: (s) => {
    const w = s.width(0);
    const dest = s.readModify(0);
    const acc = s.gpr(0, w);
    const source = s.read(1);
    const equal = s.b.keep(acc.eq(dest));
    // The destination is always written; the accumulator gets it when they differ.
    if (s.isMemory(0)) s.write(0, select(equal, source, dest));
    s.b.if(
      equal,
      () => {
        if (!s.isMemory(0)) s.write(0, source);
      },
      () => s.putGpr(0, w, dest),
    );
    s.compareFlags(w, acc, dest);
  },
});

function signed(w: Width, value: Expr): Expr {
  return w === 8 ? value.extend8S() : w === 16 ? value.extend16S() : value;
}

define({
  name: "mul",
  feature: "base",
  forms: ["F6 /4 | Eb", "F7 /4 | Ev"],
  semantics: (s) => wideMultiply(s, false),
});
define({
  name: "imul",
  feature: "base",
  forms: ["F6 /5 | Eb", "F7 /5 | Ev", "0F AF /r | Gv,Ev"],
  semantics: (s) => {
    if (s.shape.operands.length === 1) {
      wideMultiply(s, true);
      return;
    }
    const source = s.read(1);
    truncatedMultiply(s, s.read(0), source);
  },
});
define({
  name: "imul3",
  names: ["imul", "imul", "imul"],
  feature: "base",
  forms: ["69 /r | Gv,Ev,Iz", "6B /r | Gv,Ev,Ibs"],
  semantics: (s) => truncatedMultiply(s, s.read(1), s.read(2)),
});

/** SF, ZF and PF of the low half, AF 0 (the manual leaves these undefined). */
function truncatedMultiply(s: Semantics, a: Expr, c: Expr): void {
  const w = s.width(0);
  const b = s.b;
  if (w === 64) {
    const low = b.keep(a.mul(c));
    s.write(0, low);
    s.productFlags(true, w, { a, c, low }, () => mulHigh(b, true, a, c).ne(low.shrS(63)));
    return;
  }
  if (s.isTranslated && w === 32) {
    const low = b.keep(a.mul(c));
    s.write(0, low);
    s.productFlags(true, w, { a, c, low }, () => i32(0));
    return;
  }
  const product = b.keep(signed(w, a).s64().mul(signed(w, c).s64()));
  const low = b.keep(s.mask(w, product.lo32()));
  s.write(0, low);
  s.productFlags(true, w, { a, c, low }, () => product.ne(signed(w, low).s64()));
}

function wideMultiply(s: Semantics, isSigned: boolean): void {
  const w = s.width(0);
  const b = s.b;
  const c = s.read(0);
  const a = s.gpr(0, w);
  if (w === 64) {
    const low = b.keep(a.mul(c));
    const high = b.keep(mulHigh(b, isSigned, a, c));
    s.putGpr(0, 64, low);
    s.putGpr(2, 64, high);
    s.productFlags(isSigned, w, { a, c, low }, () => (isSigned ? high.ne(low.shrS(63)) : high.nez()));
    return;
  }
  const widen = (v: Expr): Expr => (isSigned ? signed(w, v).s64() : v.u64());
  const product = b.keep(widen(a).mul(widen(c)));
  const low = b.keep(s.mask(w, product.lo32()));
  const high = b.keep(s.mask(w, product.shrU(w).lo32()));
  if (w === 8) s.putGpr(0, 16, product.lo32());
  else {
    s.putGpr(0, w, low);
    s.putGpr(2, w, high);
  }
  s.productFlags(isSigned, w, { a, c, low }, () => (isSigned ? product.ne(signed(w, low).s64()) : high.nez()));
}

/** Unsigned 128 / 64: quotient as result, remainder in RESULT[0]. The quotient must fit: `high` < `divisor`. */
const divide128: Routine = routine("divide128", ["i64", "i64", "i64"], "i64", (b, high, low, divisor) => {
  b.if(high.eqz(), () => {
    b.put(L.result(0), low.remU(divisor));
    b.return(low.divU(divisor));
  });
  const remainder = b.variable(high);
  const quotient = b.variable(low);
  const count = b.variable(i32(64));
  b.loop((again) => {
    const carried = b.keep(remainder.get().shrS(63));
    remainder.set(remainder.get().shl(1).or(quotient.get().shrU(63)));
    quotient.set(quotient.get().shl(1));
    b.if(carried.nez().or(remainder.get().geU(divisor)), () => {
      remainder.set(remainder.get().sub(divisor));
      quotient.set(quotient.get().or(1));
    });
    count.set(count.get().sub(1));
    b.br(again, count.get());
  });
  b.put(L.result(0), remainder.get());
  b.return(quotient.get());
});

define({
  name: "div",
  feature: "base",
  forms: ["F6 /6 | Eb", "F7 /6 | Ev"],
  semantics: (s) => {
    const w = s.width(0);
    const b = s.b;
    const divisor = s.read(0);
    s.faultIf(divisor.eqz(), EXC_DE);
    if (w === 64) {
      const high = s.gpr(2, 64);
      s.faultIf(high.geU(divisor), EXC_DE);
      const low = s.gpr(0, 64);
      const putLong = (): void => {
        const quotient = b.call(divide128, high, low, divisor);
        s.putGpr(0, 64, quotient);
        s.putGpr(2, 64, b.get(L.result(0)));
      };
      if (!s.isTranslated) {
        putLong();
        return;
      }
      b.if(
        high.eqz(),
        () => {
          const [quotient, remainder] = [b.keep(low.divU(divisor)), b.keep(low.remU(divisor))];
          s.putGpr(0, 64, quotient);
          s.putGpr(2, 64, remainder);
        },
        putLong,
        true,
      );
      return;
    }
    const dividend = b.keep(w === 8 ? s.gpr(0, 16).u64() : s.gpr(2, w).u64().shl(w).or(s.gpr(0, w).u64()));
    const by = b.keep(divisor.u64());
    const quotient = b.keep(dividend.divU(by));
    s.faultIf(quotient.shrU(w).nez(), EXC_DE);
    putQuotient(s, w, quotient.lo32(), dividend.remU(by).lo32());
  },
});

function putQuotient(s: Semantics, w: Width, quotient: Expr, remainder: Expr): void {
  if (w === 8) {
    s.putGpr(0, 16, quotient.and(0xff).or(remainder.shl(8)));
    return;
  }
  s.putGpr(0, w, quotient);
  s.putGpr(2, w, remainder);
}

/** Signed 128 / 64. */
function divideLong(s: Semantics, high: Expr, low: Expr, divisor: Expr): void {
  const b = s.b;
  const negative = b.keep(high.ltS(0));
  const byNegative = b.keep(divisor.ltS(0));
  const lowMagnitude = b.keep(select(negative, low.neg(), low));
  const highMagnitude = b.keep(select(negative, high.not().add(low.eqz().u64()), high));
  const by = b.keep(select(byNegative, divisor.neg(), divisor));
  s.faultIf(highMagnitude.geU(by), EXC_DE);
  const quotient = b.call(divide128, highMagnitude, lowMagnitude, by);
  const sign = b.keep(negative.ne(byNegative));
  // 2^63 fits only when the quotient is negative.
  s.faultIf(quotient.gtU(i64(0x7fffffffffffffffn).add(sign.u64())), EXC_DE);
  const remainder = b.get(L.result(0));
  s.putGpr(0, 64, select(sign, quotient.neg(), quotient));
  s.putGpr(2, 64, select(negative, remainder.neg(), remainder));
}

define({
  name: "idiv",
  feature: "base",
  forms: ["F6 /7 | Eb", "F7 /7 | Ev"],
  semantics: (s) => {
    const w = s.width(0);
    const b = s.b;
    const divisor = s.read(0);
    s.faultIf(divisor.eqz(), EXC_DE);
    if (w === 64) {
      const low = s.gpr(0, 64);
      const high = s.gpr(2, 64);
      if (!s.isTranslated) {
        divideLong(s, high, low, divisor);
        return;
      }
      // CQO and IDIV: the dividend is 64 bits, and so is the quotient, but for one.
      const isPlain = high.eq(low.shrS(63)).and(low.ne(i64(-(2n ** 63n))));
      b.if(
        isPlain,
        () => {
          const [quotient, remainder] = [b.keep(low.divS(divisor)), b.keep(low.remS(divisor))];
          s.uncommitted(() => s.putGpr(0, 64, quotient));
          s.uncommitted(() => s.putGpr(2, 64, remainder));
        },
        () => divideLong(s, high, low, divisor),
        true,
      );
      return;
    }
    const dividend = b.keep(
      w === 8
        ? s.gpr(0, 16).extend16S().s64()
        : w === 16
          ? s.gpr(2, 16).shl(16).or(s.gpr(0, 16)).s64()
          : s.gpr(2, 32).u64().shl(32).or(s.gpr(0, 32).u64()),
    );
    const by = b.keep(signed(w, divisor).s64());
    // The one quotient that WebAssembly would trap on does not fit anyway.
    s.faultIf(dividend.eq(i64(-(2n ** 63n))).and(by.eq(-1)), EXC_DE);
    const quotient = b.keep(dividend.divS(by));
    const fits = w === 32 ? quotient.extend32S() : w === 16 ? quotient.extend16S() : quotient.extend8S();
    s.faultIf(fits.ne(quotient), EXC_DE);
    const remainder = dividend.remS(by).lo32();
    putQuotient(s, w, s.mask(w, quotient.lo32()), s.mask(w, remainder));
  },
});
