/**
 * FXSAVE and FXRSTOR (SDM vol. 1, 10.5; image: table 10-2), and the two halves of that image that XSAVE shares.
 * With REX.W the pointers are 64 bits; else 32, and the selectors beside them are zero.
 */
import { checksAlignment } from "../../cpu/access.ts";
import * as L from "../../cpu/layout.ts";
import { MXCSR_MASK } from "../../cpu/mxcsr.ts";
import { EXC_AC, EXC_GP, EXC_NM } from "../../cpu/raise.ts";
import {
  putSignExponent,
  putSignificand,
  putStatus,
  signExponentAt,
  significandAt,
  stAt,
  statusWord,
} from "../../cpu/x87.ts";
import { loadCertain, probeArea, storeCertain } from "../../cpu/x87-environment.ts";
import { type Expr, i32, i64, select } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import { FAULT, type Semantics } from "../semantics.ts";
import { openArea } from "./state-area.ts";

/** Offsets in the image. */
const FOP_AT = 6;
const FIP_AT = 8;
const FDP_AT = 16;
export const MXCSR_AT = 24;
const ST_AT = 32;
export const XMM_AT = 160;

/** Stores bytes 0-23 and the registers ST(0)-ST(7). */
export const storeX87: Routine = routine("fxsave_x87", ["i64", "i32", "i32"], undefined, (b, va, segment, wide) => {
  const put = (op: string, bytes: number, at: number, value: Expr): void =>
    storeCertain(b, op, bytes, va.add(at), segment, value);
  put("i32.store16", 2, 0, b.get(L.FCW));
  put("i32.store16", 2, 2, statusWord(b));
  put("i32.store16", 2, 4, b.get(L.FTAG));
  put("i32.store16", 2, FOP_AT, b.get(L.FOP));
  const pointerMask = b.keep(select(wide, i64(-1), i64(0xffffffffn)));
  put("i64.store", 8, FIP_AT, b.get(L.FIP).and(pointerMask));
  put("i64.store", 8, FDP_AT, b.get(L.FDP).and(pointerMask));
  const i = b.variable(i32(0));
  b.loop((again) => {
    const at = stAt(b, i.get());
    const to = b.keep(va.add(i.get().shl(4).u64()));
    storeCertain(b, "i64.store", 8, to.add(ST_AT), segment, significandAt(b, at));
    storeCertain(b, "i64.store", 8, to.add(ST_AT + 8), segment, signExponentAt(b, at).u64());
    i.set(i.get().add(1));
    b.br(again, i.get().ltU(8));
  });
});

export const loadX87: Routine = routine("fxrstor_x87", ["i64", "i32", "i32"], undefined, (b, va, segment, wide) => {
  const get = (op: string, bytes: number, at: number): Expr => loadCertain(b, op, bytes, va.add(at), segment);
  b.put(L.FCW, get("i32.load16_u", 2, 0).and(0x1f3f).or(0x40));
  b.call(putStatus, get("i32.load16_u", 2, 2));
  b.put(L.FTAG, get("i32.load8_u", 1, 4));
  b.put(L.FOP, get("i32.load16_u", 2, FOP_AT).and(0x7ff));
  const ip = get("i64.load", 8, FIP_AT);
  const dp = get("i64.load", 8, FDP_AT);
  // FIP keeps 57 bits of a linear address.
  b.put(L.FIP, select(wide, ip.shl(7).shrS(7), ip.and(0xffffffffn)));
  b.put(L.FDP, select(wide, dp, dp.and(0xffffffffn)));
  const i = b.variable(i32(0));
  b.loop((again) => {
    const at = stAt(b, i.get());
    const from = b.keep(va.add(i.get().shl(4).u64()));
    const significand = loadCertain(b, "i64.load", 8, from.add(ST_AT), segment);
    const signExponent = loadCertain(b, "i32.load16_u", 2, from.add(ST_AT + 8), segment);
    putSignificand(b, at, significand);
    putSignExponent(b, at, signExponent);
    i.set(i.get().add(1));
    b.br(again, i.get().ltU(8));
  });
});

/** XMM0-XMM15 in 64-bit mode, XMM0-XMM7 elsewhere. */
function xmmCount(mode: Expr): Expr {
  return mode.and(L.MODE_64).shl(3).add(8);
}

export const storeXmm: Routine = routine("fxsave_xmm", ["i64", "i32"], undefined, (b, va, segment) => {
  const count = b.keep(xmmCount(b.get(L.MODE)));
  const i = b.variable(i32(0));
  b.loop((again) => {
    const offset = b.keep(i.get().shl(4));
    storeCertain(
      b,
      "v128.store",
      16,
      va.add(offset.u64()).add(XMM_AT),
      segment,
      b.load("v128.load", "cpu", offset, L.XMM),
    );
    i.set(i.get().add(1));
    b.br(again, i.get().ltU(count));
  });
});

export const loadXmm: Routine = routine("fxrstor_xmm", ["i64", "i32"], undefined, (b, va, segment) => {
  const count = b.keep(xmmCount(b.get(L.MODE)));
  const i = b.variable(i32(0));
  b.loop((again) => {
    const offset = b.keep(i.get().shl(4));
    const value = loadCertain(b, "v128.load", 16, va.add(offset.u64()).add(XMM_AT), segment);
    b.store("v128.store", "cpu", offset, value, L.XMM);
    i.set(i.get().add(1));
    b.br(again, i.get().ltU(count));
  });
});

export const storeMxcsr: Routine = routine("fxsave_mxcsr", ["i64", "i32"], undefined, (b, va, segment) => {
  const both = b
    .get(L.MXCSR)
    .u64()
    .or(i64(BigInt(MXCSR_MASK) << 32n));
  storeCertain(b, "i64.store", 8, va.add(MXCSR_AT), segment, both);
});

export interface StateArea {
  readonly va: Expr;
  readonly segment: Expr;
}

/** Alignment of an area of state. With alignment checks on, what is not even aligned to 4 is #AC. */
export function stateArea(s: Semantics, alignment: number): StateArea {
  const va = s.address();
  s.b.call(openArea, s.up);
  s.b.if(va.lo32().and(alignment - 1), () => {
    s.faultIf(checksAlignment(s.b).and(va.lo32().and(3).nez()), EXC_AC, 0);
    s.fault(EXC_GP, 0);
  });
  return { va, segment: s.segment() };
}

/** All faults of accesses to `bytes` at an offset in the area. */
export function probeState(s: Semantics, area: StateArea, at: number, bytes: number, write: boolean): void {
  const first = Math.min(bytes, 16);
  const done = s.b.call(probeArea, area.va.add(at), bytes, first, area.segment, write ? 1 : 0);
  s.b.if(done.eqz(), () => s.leave(FAULT));
}

/** Processors look at the last byte first. */
function probeImage(s: Semantics, area: StateArea, write: boolean): void {
  probeState(s, area, 511, 1, write);
  probeState(s, area, 0, 512, write);
}

function save(s: Semantics, wide: boolean): void {
  s.faultIf(s.get(L.FPU_BLOCKED).and(1), EXC_NM);
  const area = stateArea(s, 16);
  const { va, segment } = area;
  probeImage(s, area, true);
  s.commit();
  s.b.call(storeX87, va, segment, wide ? 1 : 0);
  s.b.call(storeMxcsr, va, segment);
  s.b.call(storeXmm, va, segment);
}

function restore(s: Semantics, wide: boolean): void {
  s.faultIf(s.get(L.FPU_BLOCKED).and(1), EXC_NM);
  const area = stateArea(s, 16);
  const { va, segment } = area;
  probeImage(s, area, false);
  const mxcsr = loadCertain(s.b, "i32.load", 4, va.add(MXCSR_AT), segment);
  s.faultIf(mxcsr.and(~MXCSR_MASK), EXC_GP, 0);
  s.put(L.MXCSR, mxcsr);
  s.b.call(loadX87, va, segment, wide ? 1 : 0);
  s.b.call(loadXmm, va, segment);
}

define({ name: "fxsave", feature: "fxsr", forms: ["NP W0 0F AE /0 | Ms"], semantics: (s) => save(s, false) });
define({ name: "fxsave64", feature: "fxsr", forms: ["NP W1 0F AE /0 | Ms | o64"], semantics: (s) => save(s, true) });
define({ name: "fxrstor", feature: "fxsr", forms: ["NP W0 0F AE /1 | Ms"], semantics: (s) => restore(s, false) });
define({
  name: "fxrstor64",
  feature: "fxsr",
  forms: ["NP W1 0F AE /1 | Ms | o64"],
  semantics: (s) => restore(s, true),
});
