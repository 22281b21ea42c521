/**
 * What follows from the architectural state and is kept beside it, so that running code need not look: the decoding
 * mode, the TLB set, the base of code, checks of segments, and whether something wants attention between two blocks.
 */
import { i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { CR0_AM, CR4_SMAP } from "./control-bits.ts";
import { codeBreakpoints, DR7_ENABLED, watchesData } from "./debug.ts";
import { RF_AC, RF_RF, RF_TF, RF_VM } from "./flags.ts";
import * as L from "./layout.ts";
import { updateSegmentChecks } from "./segment-limits.ts";
import { forgetCodePage } from "./tlb.ts";

/**
 * The TLB set for what CPL and RFLAGS are now. With SMAP, accesses under EFLAGS.AC have a supervisor set of their own, so
 * that STAC and CLAC drop nothing.
 */
export const updateTlbSet: Routine = routine("update_tlb_set", [], undefined, (b) => {
  const user = b.keep(b.get(L.CPL).eq(3));
  b.put(L.STACK_LIMIT, 0n);
  const shift = b.get(L.TLB_SHIFT);
  b.put(L.TLB_CURRENT, select(user, i32(L.TLB_USER), i32(L.TLB_SUPERVISOR)).add(shift));
  b.if(b.get(L.SYSTEM_FLAGS).and(RF_AC), () => {
    const aligned = user.and(b.get(L.CR0).lo32().and(CR0_AM).nez());
    b.if(aligned, () => b.put(L.TLB_CURRENT, L.TLB_NONE));
    const smap = user.eqz().and(b.get(L.CR4).lo32().and(CR4_SMAP).nez());
    b.if(smap, () => b.put(L.TLB_CURRENT, shift.add(L.TLB_SUPERVISOR_AC)));
  });
  b.if(b.get(L.BREAKPOINT_CONTROL).lo32().and(DR7_ENABLED), () =>
    b.if(b.call(watchesData), () => b.put(L.TLB_CURRENT, L.TLB_NONE)),
  );
});

/** After a change of a segment register, CPL, CR0.PE or PG, EFER, VM, AC, DR7. */
export const updateMode: Routine = routine("update_mode", [], undefined, (b) => {
  const lma = b.get(L.EFER).shrU(10).lo32().and(1);
  const cs = b.get(L.segAttributes(L.CS));
  const is64 = b.keep(lma.and(cs.shrU(13)));
  const flags = b.get(L.SYSTEM_FLAGS);
  const isProtected = b.get(L.CR0).lo32().and(1).and(flags.and(RF_VM).eqz());
  const legacy = cs
    .shrU(14)
    .and(1)
    .shl(1)
    .or(b.get(L.segAttributes(L.SS)).shrU(14).and(1).shl(2))
    .or(isProtected.shl(3));
  b.put(L.MODE, select(is64, i32(L.MODE_64 | L.MODE_PROTECTED), legacy));
  b.put(L.CODE_BASE, select(is64, i64(0), b.get(L.segBase(L.CS))));
  b.call(updateTlbSet);
  b.if(
    is64,
    () => b.put(L.SEGMENT_CHECKS, 0),
    () => b.call(updateSegmentChecks),
  );
  forgetCodePage(b);
});

/** Recomputes ATTENTION after a change of IF, TF, RF, AC, DR7, or of what is pending. */
export const updateEvents: Routine = routine("update_events", [], undefined, (b) => {
  const flags = b.get(L.SYSTEM_FLAGS);
  const intr = b.get(L.INTR_PENDING).and(flags.shrU(9));
  const nmi = b.get(L.NMI_PENDING).and(b.get(L.NMI_MASKED).eqz());
  const stepping = flags
    .and(RF_TF | RF_RF)
    .or(b.get(L.STEP_ARMED))
    .or(b.get(L.WATCH_HITS));
  const trap = b.variable(stepping);
  b.if(b.get(L.BREAKPOINT_CONTROL).lo32().and(DR7_ENABLED), () =>
    trap.set(trap.get().or(b.call(codeBreakpoints, 0, 0).lo32())),
  );
  const kept = b.get(L.ATTENTION).and(L.ATTENTION_CODE | L.ATTENTION_KICK);
  const shadow = select(b.get(L.SHADOW), i32(L.ATTENTION_CODE), i32(0));
  b.put(
    L.ATTENTION,
    kept
      .or(shadow)
      .or(select(intr.or(nmi).and(1), i32(L.ATTENTION_EVENT), i32(0)))
      .or(select(trap.get(), i32(L.ATTENTION_TRAP), i32(0))),
  );
});
