/**
 * x87 control instructions (SDM vol. 2): FNINIT FNCLEX FLDCW FNSTCW FNSTSW FLDENV FNSTENV FNSAVE FRSTOR FWAIT, the
 * stack pointer and the instructions that later processors ignore. FN forms do not wait for a pending exception.
 */
import * as L from "../../cpu/layout.ts";
import { EXC_NM } from "../../cpu/raise.ts";
import {
  FSW_B,
  FSW_ES,
  FSW_EXCEPTIONS,
  FSW_SF,
  initialize,
  pop,
  putC1,
  putControl,
  putSignExponent,
  putSignificand,
  signExponentAt,
  significandAt,
  stAt,
  statusWord,
} from "../../cpu/x87.ts";
import { load80, loadEnvironment, probeArea, store80, storeEnvironment } from "../../cpu/x87-environment.ts";
import { errorGone } from "../../cpu/x87-error.ts";
import { type Expr, i32 } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import { FAULT, type Semantics } from "../semantics.ts";
import { openArea } from "./state-area.ts";
import { checkPending, defineX87, named } from "./x87-form.ts";

define({
  name: "fwait",
  names: named("wait"),
  feature: "fpu",
  forms: ["9B"],
  semantics: (s) => {
    // MP and TS
    s.faultIf(s.get(L.CR0).lo32().and(0xa).eq(0xa), EXC_NM);
    checkPending(s);
  },
});

define({
  name: "fninit",
  feature: "fpu",
  forms: ["DB =E3"],
  semantics: (s) => {
    s.commit();
    s.b.call(initialize);
  },
});
define({
  name: "fnclex",
  feature: "fpu",
  forms: ["DB =E2"],
  semantics: (s) => {
    s.put(L.FSW, s.get(L.FSW).and(~(FSW_EXCEPTIONS | FSW_SF | FSW_ES | FSW_B)));
    s.b.call(errorGone);
  },
});
// FENI, FDISI and FSETPM of the 8087 and 287.
define({ name: "fneni", feature: "fpu", forms: ["DB =E0"], semantics: () => {} });
define({ name: "fndisi", feature: "fpu", forms: ["DB =E1"], semantics: () => {} });
define({ name: "fnsetpm", feature: "fpu", forms: ["DB =E4"], semantics: () => {} });

define({
  name: "fldcw",
  feature: "fpu",
  forms: ["D9 /5 | Mw"],
  semantics: (s) => {
    const { x87 } = s;
    if (x87) {
      // What is to be masked is masked before and behind: nothing begins or ends to be pending.
      const leave = (): void => s.leave(FAULT);
      x87.requireMasks(leave);
      const value = s.read(0);
      s.b.if(value.not().and(FSW_EXCEPTIONS), leave, undefined, false);
      s.commit();
      x87.putControl(value);
      return;
    }
    checkPending(s);
    const value = s.read(0);
    s.commit();
    s.b.call(putControl, value);
  },
});
define({ name: "fnstcw", feature: "fpu", forms: ["D9 /7 | Mw"], semantics: (s) => s.write(0, s.get(L.FCW)) });
define({ name: "fnstsw", feature: "fpu", forms: ["DD /7 | Mw"], semantics: (s) => s.write(0, statusWord(s.b)) });
define({
  name: "fnstsw_ax",
  names: named("fnstsw"),
  feature: "fpu",
  forms: ["DF =E0 | AX"],
  semantics: (s) => s.write(0, statusWord(s.b)),
});

/** Probes the whole area; the first access has the size of the image's words. */
function probe(s: Semantics, bytes: number, write: boolean): { va: Expr; segment: Expr; wide: number } {
  const va = s.address();
  const segment = s.segment();
  s.b.call(openArea, s.up);
  const wide = s.osz === 16 ? 0 : 1;
  const done = s.b.call(probeArea, va, bytes, wide ? 4 : 2, segment, write ? 1 : 0);
  s.b.if(done.eqz(), () => s.leave(FAULT));
  s.commit();
  return { va, segment, wide };
}

define({
  name: "fnstenv",
  feature: "fpu",
  uses: ["osz"],
  forms: ["D9 /6 | Ms"],
  semantics: (s) => {
    const { va, segment, wide } = probe(s, s.osz === 16 ? 14 : 28, true);
    s.b.call(storeEnvironment, va, segment, wide);
    s.b.call(putControl, s.get(L.FCW).or(FSW_EXCEPTIONS));
  },
});
define({
  name: "fldenv",
  feature: "fpu",
  uses: ["osz"],
  forms: ["D9 /4 | Ms"],
  semantics: (s) => {
    checkPending(s);
    const { va, segment, wide } = probe(s, s.osz === 16 ? 14 : 28, false);
    s.b.call(loadEnvironment, va, segment, wide);
  },
});

const storeRegisters: Routine = routine("x87_store_registers", ["i64", "i32"], undefined, (b, va, segment) => {
  const i = b.variable(i32(0));
  b.loop((again) => {
    const at = stAt(b, i.get());
    const to = b.keep(va.add(i.get().mul(10).u64()));
    store80(b, to, segment, significandAt(b, at), signExponentAt(b, at));
    i.set(i.get().add(1));
    b.br(again, i.get().ltU(8));
  });
});
const loadRegisters: Routine = routine("x87_load_registers", ["i64", "i32"], undefined, (b, va, segment) => {
  const i = b.variable(i32(0));
  b.loop((again) => {
    const at = stAt(b, i.get());
    const from = b.keep(va.add(i.get().mul(10).u64()));
    const { significand, signExponent } = load80(b, from, segment);
    putSignificand(b, at, significand);
    putSignExponent(b, at, signExponent);
    i.set(i.get().add(1));
    b.br(again, i.get().ltU(8));
  });
});

define({
  name: "fnsave",
  feature: "fpu",
  uses: ["osz"],
  forms: ["DD /6 | Ms"],
  semantics: (s) => {
    const bytes = s.osz === 16 ? 14 : 28;
    const { va, segment, wide } = probe(s, bytes + 80, true);
    s.b.call(storeEnvironment, va, segment, wide);
    s.b.call(storeRegisters, va.add(bytes), segment);
    s.b.call(initialize);
  },
});
define({
  name: "frstor",
  feature: "fpu",
  uses: ["osz"],
  forms: ["DD /4 | Ms"],
  semantics: (s) => {
    checkPending(s);
    const bytes = s.osz === 16 ? 14 : 28;
    const { va, segment, wide } = probe(s, bytes + 80, false);
    s.b.call(loadEnvironment, va, segment, wide);
    s.b.call(loadRegisters, va.add(bytes), segment);
  },
});

defineX87("fnop", ["D9 =D0"], () => {});
defineX87("fincstp", ["D9 =F7"], (s) => {
  s.put(L.FTOP, s.get(L.FTOP).add(1).and(7));
  putC1(s.b, 0);
});
defineX87("fdecstp", ["D9 =F6"], (s) => {
  s.put(L.FTOP, s.get(L.FTOP).sub(1).and(7));
  putC1(s.b, 0);
});

function free(s: Semantics): void {
  const place = s.get(L.FTOP).add(s.register(0)).and(7);
  s.put(L.FTAG, s.get(L.FTAG).and(i32(1).shl(place).not()));
  putC1(s.b, 0);
}
defineX87("ffree", ["DD /0 | Ft"], free);
defineX87("ffreep", ["DF /0 | Ft"], (s) => {
  free(s);
  s.b.call(pop);
});
