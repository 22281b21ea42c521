/**
 * XSAVE, XRSTOR, XGETBV, XSETBV (SDM vol. 1, chapter 13) for the state components x87 and SSE, standard format.
 * XINUSE is always 1 for both (13.6 allows it), and no modifications are tracked (13.9 asks for nothing else), so XSAVE
 * and XSAVEOPT write what was asked for. Left out: XSAVEC, XSAVES and the compacted format, which this CPU does not have.
 */
import * as L from "../../cpu/layout.ts";
import { MXCSR_MASK } from "../../cpu/mxcsr.ts";
import { EXC_GP, EXC_NM, EXC_UD } from "../../cpu/raise.ts";
import { initialize } from "../../cpu/x87.ts";
import { loadCertain, storeCertain } from "../../cpu/x87-environment.ts";
import { type Expr, i32, i64, own } from "../../ir/builder.ts";
import { define } from "../record.ts";
import type { Semantics } from "../semantics.ts";
import {
  loadX87,
  loadXmm,
  MXCSR_AT,
  probeState,
  type StateArea,
  stateArea,
  storeMxcsr,
  storeX87,
  storeXmm,
  XMM_AT,
} from "./fxsave.ts";

const CR4_OSXSAVE = 1 << 18;
const CR0_TS = 8;
export const XCR0_X87 = 1n;
export const XCR0_SSE = 2n;
/** Bits that MXCSR belongs to: SSE and AVX. */
const RFBM_MXCSR = 6n;
const HEADER_AT = 512;

function requireXsave(s: Semantics): void {
  s.faultIf(s.get(L.CR4).lo32().and(CR4_OSXSAVE).eqz(), EXC_UD);
}

/** EDX:EAX, i64. */
function pair(s: Semantics): Expr {
  return s.b.keep(s.gpr(2, 32).u64().shl(32).or(s.gpr(0, 32).u64()));
}

/** Probes what the components of `asked` access, and MXCSR. */
function probeComponents(s: Semantics, area: StateArea, asked: Expr, hasMxcsr: Expr, write: boolean): void {
  s.b.if(asked.and(XCR0_X87).nez(), () => probeState(s, area, 0, XMM_AT, write));
  s.b.if(hasMxcsr, () => probeState(s, area, MXCSR_AT, write ? 8 : 4, write));
  const xmmBytes = s.mode64 ? 256 : 128;
  s.b.if(asked.and(XCR0_SSE).nez(), () => probeState(s, area, XMM_AT, xmmBytes, write));
}

function save(s: Semantics, wide: boolean): void {
  requireXsave(s);
  s.faultIf(s.get(L.CR0).lo32().and(CR0_TS), EXC_NM);
  const b = s.b;
  const area = stateArea(s, 64);
  const { va, segment } = area;
  const asked = b.keep(pair(s).and(s.get(L.XCR0)));
  const hasMxcsr = b.keep(asked.and(RFBM_MXCSR).nez());
  // Processors look at the last byte of the header first.
  probeState(s, area, HEADER_AT + 63, 1, true);
  probeComponents(s, area, asked, hasMxcsr, true);
  probeState(s, area, HEADER_AT, 8, true);
  s.commit();
  b.if(asked.and(XCR0_X87).nez(), () => b.call(storeX87, va, segment, wide ? 1 : 0));
  b.if(hasMxcsr, () => b.call(storeMxcsr, va, segment));
  b.if(asked.and(XCR0_SSE).nez(), () => b.call(storeXmm, va, segment));
  const before = loadCertain(b, "i64.load", 8, va.add(HEADER_AT), segment);
  storeCertain(b, "i64.store", 8, va.add(HEADER_AT), segment, before.or(asked));
}

function restore(s: Semantics, wide: boolean): void {
  requireXsave(s);
  s.faultIf(s.get(L.CR0).lo32().and(CR0_TS), EXC_NM);
  const b = s.b;
  const area = stateArea(s, 64);
  const { va, segment } = area;
  // Three words of the header; the second is the first to be looked at, before the legacy area.
  probeState(s, area, HEADER_AT + 8, 8, false);
  const asked = b.keep(pair(s).and(s.get(L.XCR0)));
  b.if(asked.nez(), () => probeState(s, area, 0, 1, false));
  probeState(s, area, HEADER_AT, 24, false);
  const header = (at: number): Expr => loadCertain(b, "i64.load", 8, va.add(HEADER_AT + at), segment);
  const present = header(0);
  s.faultIf(present.and(s.get(L.XCR0).not()).nez(), EXC_GP, 0);
  s.faultIf(header(8).or(header(16)).nez(), EXC_GP, 0);
  const hasMxcsr = b.keep(asked.and(RFBM_MXCSR).nez());
  const loaded = b.keep(asked.and(present));
  probeComponents(s, area, loaded, hasMxcsr, false);
  b.if(hasMxcsr, () => {
    const mxcsr = loadCertain(b, "i32.load", 4, va.add(MXCSR_AT), segment);
    s.faultIf(mxcsr.and(~MXCSR_MASK), EXC_GP, 0);
    b.put(L.MXCSR, mxcsr);
  });
  s.commit();
  b.if(asked.and(XCR0_X87).nez(), () =>
    b.if(
      loaded.and(XCR0_X87).nez(),
      () => b.call(loadX87, va, segment, wide ? 1 : 0),
      () => {
        b.call(initialize);
        b.fill(own(L.CPU_BASE + L.X87), i32(0), i32(128));
      },
    ),
  );
  b.if(asked.and(XCR0_SSE).nez(), () =>
    b.if(
      loaded.and(XCR0_SSE).nez(),
      () => b.call(loadXmm, va, segment),
      () => b.fill(own(L.CPU_BASE + L.XMM), i32(0), b.get(L.MODE).and(L.MODE_64).shl(7).add(128)),
    ),
  );
}

const SAVES_ALL = { partly: "Saves every component that is asked for, whether it changed or not." };
for (const [name, reg, limits] of [
  ["xsave", 4, {}],
  ["xsaveopt", 6, SAVES_ALL],
] as const) {
  define({
    name,
    feature: name,
    ...limits,
    uses: ["mode"],
    forms: [`NP W0 0F AE /${reg} | Ms`],
    semantics: (s) => save(s, false),
  });
  define({
    name: `${name}64`,
    feature: name,
    ...limits,
    uses: ["mode"],
    forms: [`NP W1 0F AE /${reg} | Ms | o64`],
    semantics: (s) => save(s, true),
  });
}
define({
  name: "xrstor",
  feature: "xsave",
  uses: ["mode"],
  forms: ["NP W0 0F AE /5 | Ms"],
  semantics: (s) => restore(s, false),
});
define({
  name: "xrstor64",
  feature: "xsave",
  uses: ["mode"],
  forms: ["NP W1 0F AE /5 | Ms | o64"],
  semantics: (s) => restore(s, true),
});

define({
  name: "xgetbv",
  feature: "xsave",
  forms: ["NP 0F 01 =D0"],
  semantics: (s) => {
    requireXsave(s);
    // Register 1 is XCR0 and XINUSE, which is all ones.
    const last = s.get(L.CPU_FEATURES).and(L.FEATURE_XGETBV1).nez();
    s.faultIf(s.gpr(1, 32).gtU(last), EXC_GP, 0);
    const value = s.get(L.XCR0);
    s.putGpr(0, 32, value.lo32());
    s.putGpr(2, 32, value.shrU(32).lo32());
  },
});

define({
  name: "xsetbv",
  feature: "xsave",
  forms: ["NP 0F 01 =D1"],
  semantics: (s) => {
    requireXsave(s);
    s.privileged();
    s.faultIf(s.gpr(1, 32), EXC_GP, 0);
    const value = pair(s);
    s.faultIf(value.and(XCR0_X87).eqz(), EXC_GP, 0);
    s.faultIf(value.and(i64(~(XCR0_X87 | XCR0_SSE))).nez(), EXC_GP, 0);
    s.put(L.XCR0, value);
  },
});
