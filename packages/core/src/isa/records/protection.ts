/**
 * Instructions that look at descriptors without loading them (LAR LSL VERR VERW), ARPL, BOUND, and the loads of far
 * pointers (LDS LES LSS LFS LGS). SDM vol. 2 and vol. 3, 5.10.
 */

import { descriptorLimit, readSystem } from "../../cpu/descriptors.ts";
import * as L from "../../cpu/layout.ts";
import { EXC_BR } from "../../cpu/raise.ts";
import { loadSegment } from "../../cpu/segments.ts";
import { type Expr, i32, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";

const HIDDEN = 0;
const VISIBLE = 1;
const FAULTED = 2;
/** Bits of the system descriptor types that LAR and LSL know; in IA-32e mode only those with 64-bit meaning. */
const LAR_TYPES = 0x1a3e;
const LAR_TYPES_LONG = 0x1a04;
const LSL_TYPES = 0x0a0e;
const LSL_TYPES_LONG = 0x0a04;

/**
 * The descriptor of a selector into RESULT[0], if the current and the requested privilege level may see it. `systemTypes`:
 * a bit for each system descriptor type that counts. HIDDEN, VISIBLE, or FAULTED: a page fault is pending.
 */
const lookUp: Routine = routine("look_up_descriptor", ["i32", "i32"], "i32", (b, selector, systemTypes) => {
  b.if(selector.and(0xfffc).eqz(), () => b.return(HIDDEN));
  const isLocal = b.keep(selector.and(4));
  b.if(isLocal.nez().and(b.get(L.segAttributes(L.LDTR)).shrU(16)), () => b.return(HIDDEN));
  const limit = select(isLocal, b.get(L.segLimit(L.LDTR)), b.get(L.GDTR_LIMIT));
  b.if(limit.ltU(selector.or(7)), () => b.return(HIDDEN));
  const base = select(isLocal, b.get(L.segBase(L.LDTR)), b.get(L.GDTR_BASE));
  const host = b.call(readSystem, base.add(selector.and(0xfff8).u64()), 8);
  b.if(host.eqz(), () => b.return(FAULTED));
  const descriptor = b.load("i64.load", "host", host);
  b.put(L.result(0), descriptor);
  const rights = b.keep(descriptor.shrU(40).lo32());
  const isSystem = b.keep(rights.and(0x10).eqz());
  b.if(isSystem.and(systemTypes.shrU(rights.and(15)).and(1).eqz()), () => b.return(HIDDEN));
  // Conforming code is visible from everywhere.
  b.if(rights.and(0x1c).eq(0x1c), () => b.return(VISIBLE));
  const dpl = b.keep(rights.shrU(5).and(3));
  b.return(dpl.geU(b.get(L.CPL)).and(dpl.geU(selector.and(3))));
});

function longActive(s: Semantics): Expr {
  return s.get(L.EFER).lo32().and(0x400);
}

/** VISIBLE or HIDDEN (i32) of the selector in operand `i`. */
function visible(s: Semantics, i: number, types: number, typesLong: number): Expr {
  s.protectedOnly();
  const found = s.b.call(lookUp, s.read(i), select(longActive(s), i32(typesLong), i32(types)));
  s.check(found.eq(FAULTED));
  return found;
}

for (const [name, opcode, types, typesLong] of [
  ["lar", "02", LAR_TYPES, LAR_TYPES_LONG],
  ["lsl", "03", LSL_TYPES, LSL_TYPES_LONG],
] as const) {
  define({
    name,
    feature: "base",
    forms: [`0F ${opcode} /r | Gv,Ew`],
    semantics: (s) => {
      const found = visible(s, 1, types, typesLong);
      s.b.if(found, () => {
        const descriptor = s.get(L.result(0));
        const value = s.b.keep(name === "lar" ? descriptor.shrU(32).lo32().and(0xf0ff00) : descriptorLimit(descriptor));
        const width = s.width(0);
        s.uncommitted(() => s.write(0, width === 64 ? value.u64() : width === 16 ? value.and(0xffff) : value));
      });
      s.setFlags({ zf: found });
    },
  });
}

for (const [name, digit] of [
  ["verr", 4],
  ["verw", 5],
] as const) {
  define({
    name,
    feature: "base",
    forms: [`0F 00 /${digit} | Ew`],
    semantics: (s) => {
      const found = visible(s, 0, 0, 0);
      const type = s.b.keep(s.get(L.result(0)).shrU(40).lo32());
      // Data is readable, code if bit 1 says so; data is writable if bit 1 says so, code never.
      const may = name === "verr" ? type.and(8).eqz().or(type.and(2).nez()) : type.and(10).eq(2);
      s.setFlags({ zf: found.and(may) });
    },
  });
}

define({
  name: "arpl",
  feature: "base",
  forms: ["63 /r | Ew,Gw | i64"],
  semantics: (s) => {
    s.protectedOnly();
    const target = s.readModify(0);
    const rpl = s.b.keep(s.read(1).and(3));
    const isLower = s.b.keep(target.and(3).ltU(rpl));
    s.write(0, select(isLower, target.and(0xfffc).or(rpl), target));
    s.setFlags({ zf: isLower });
  },
});

define({
  name: "bound",
  feature: "base",
  forms: ["62 /r | Gv,Ms | i64"],
  semantics: (s) => {
    const width = s.width(0);
    const signed = (value: Expr): Expr => s.b.keep(width === 16 ? value.extend16S() : value);
    const index = signed(s.read(0));
    const lower = signed(s.load(width, s.address(), s.segment()));
    const upper = signed(s.load(width, s.address(width / 8), s.segment()));
    s.faultIf(index.ltS(lower).or(index.gtS(upper)), EXC_BR);
  },
});

for (const [name, segment, form] of [
  ["les", L.ES, "C4 /r | Gv,Ms | i64"],
  ["lds", L.DS, "C5 /r | Gv,Ms | i64"],
  ["lss", L.SS, "0F B2 /r | Gv,Ms"],
  ["lfs", L.FS, "0F B4 /r | Gv,Ms"],
  ["lgs", L.GS, "0F B5 /r | Gv,Ms"],
] as const) {
  define({
    name,
    feature: "base",
    uses: ["mode"],
    ends: true,
    forms: [form],
    semantics: (s) => {
      const width = s.width(0);
      const offset = s.load(width, s.address(), s.segment());
      const selector = s.load(16, s.address(width / 8), s.segment());
      s.check(s.b.call(loadSegment, i32(segment), selector));
      s.write(0, offset);
      s.fallThrough();
    },
  });
}
