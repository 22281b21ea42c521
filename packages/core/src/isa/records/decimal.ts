/**
 * Decimal adjustment (SDM vol. 2): AAA AAS AAM AAD DAA DAS, and SALC; all invalid in 64-bit mode. Flags that the manual
 * leaves undefined: OF is 0, SF, ZF and PF are those of AL, and CF and AF of AAM and AAD are 0.
 */
import { FLAG } from "../../cpu/flags.ts";
import { EXC_DE } from "../../cpu/raise.ts";
import { type Expr, i32, select } from "../../ir/builder.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";

/** The low digit of AL has to be adjusted. */
function lowNeeds(s: Semantics, al: Expr): Expr {
  return s.b.keep(al.and(15).gtU(9).or(FLAG.af(s.b)));
}

for (const [name, opcode, sign] of [
  ["aaa", "37", 1],
  ["aas", "3F", -1],
] as const) {
  define({
    name,
    feature: "base",
    forms: [`${opcode} | | i64`],
    semantics: (s) => {
      const ax = s.gpr(0, 16);
      const needs = lowNeeds(s, s.b.keep(ax.and(0xff)));
      // AAA adds 106h to AX; AAS takes 6 from AX and then 1 from AH.
      const adjusted = s.b.keep(select(needs, ax.add(0x106 * sign), ax).and(0xff0f));
      s.putGpr(0, 16, adjusted);
      s.resultFlags(8, s.b.keep(adjusted.and(0xff)), needs, i32(0), needs);
    },
  });
}

for (const [name, opcode] of [
  ["daa", "27"],
  ["das", "2F"],
] as const) {
  const isAdd = name === "daa";
  define({
    name,
    feature: "base",
    forms: [`${opcode} | | i64`],
    semantics: (s) => {
      const { b } = s;
      const al = s.gpr(0, 8);
      const oldCf = b.keep(FLAG.cf(b));
      const low = lowNeeds(s, al);
      const high = b.keep(al.gtU(0x99).or(oldCf));
      const by = b.keep(select(low, i32(6), i32(0)).add(select(high, i32(0x60), i32(0))));
      const result = b.keep((isAdd ? al.add(by) : al.sub(by)).and(0xff));
      // DAS keeps the borrow of the low digit's adjustment.
      const cf = isAdd ? high : b.keep(high.or(low.and(al.ltU(6))));
      s.putGpr(0, 8, result);
      s.resultFlags(8, result, cf, i32(0), low);
    },
  });
}

define({
  name: "aam",
  feature: "base",
  forms: ["D4 | Ib | i64"],
  semantics: (s) => {
    const base = s.b.keep(s.immediate(8));
    s.faultIf(base.eqz(), EXC_DE);
    const al = s.gpr(0, 8);
    const digit = s.b.keep(al.remU(base));
    s.putGpr(0, 16, al.divU(base).shl(8).or(digit));
    s.logicFlags(8, digit);
  },
});
define({
  name: "aad",
  feature: "base",
  forms: ["D5 | Ib | i64"],
  semantics: (s) => {
    const al = s.gpr(0, 8);
    const tens = s.b.keep(s.gpr(0, 16).shrU(8).mul(s.immediate(8)).and(0xff));
    const value = s.b.keep(al.add(tens).and(0xff));
    s.putGpr(0, 16, value);
    s.addFlags(8, al, tens, value);
  },
});
define({
  name: "salc",
  feature: "base",
  forms: ["D6 | | i64"],
  semantics: (s) => s.putGpr(0, 8, select(FLAG.cf(s.b), i32(0xff), i32(0))),
});
