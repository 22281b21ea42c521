/**
 * Raising and delivering exceptions and interrupts in long mode (SDM vol. 3, chapter 6): IDT gates, IST, stack switch,
 * error codes, the double-fault rules of table 6-5. Left out: delivery in legacy modes (real, protected without long
 * mode), which ends in shutdown.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { commitStore, writeLinear } from "./access.ts";
import { RF_IF, RF_NT, RF_RF, RF_TF, RF_VM, readFlags } from "./flags.ts";
import * as L from "./layout.ts";
import { EXC_BP, EXC_DB, EXC_DF, EXC_GP, EXC_NP, EXC_OF, EXC_PF, EXC_SS, EXC_TS, raise } from "./raise.ts";
import { loadCodeSegment, readSystem, updateEvents } from "./segments.ts";

/** How an event came about: bit 0 of IA-32e error codes (EXT) and the DPL check depend on it. */
export const BY_EXCEPTION = 0;
export const BY_SOFTWARE = 1;
export const BY_HARDWARE = 2;

/**
 * Delivers vector `vector` through the IDT: 0 = done, 1 = a fault is pending instead. `kind` is BY_*; `error` -1 = none.
 * RIP (cpu/layout.ts) is the address to push. Nothing of the architectural state changes before the last access that can fault.
 */
const deliverOnce: Routine = routine("deliver_once", ["i32", "i32", "i32"], "i32", (b, vector, error, kind) => {
  const ext = b.keep(select(kind.eq(BY_SOFTWARE), i32(0), i32(1)));
  const gateError = b.keep(vector.shl(3).or(2).or(ext));
  const fail = (condition: Expr, vec: number, code: Expr): void =>
    b.if(condition, () => {
      raise(b, vec, code);
      b.return(1);
    });
  fail(b.get(L.IDTR_LIMIT).ltU(vector.shl(4).or(15)), EXC_GP, gateError);
  const gate = b.keep(b.get(L.IDTR_BASE).add(vector.shl(4).u64()));
  const read8 = (address: Expr): Expr => {
    const host = b.call(readSystem, address, 8);
    b.if(host.eqz(), () => b.return(1));
    return b.load("i64.load", "host", host);
  };
  const low = read8(gate);
  const high = read8(gate.add(8));
  const type = b.keep(low.shrU(40).lo32().and(0x1f));
  fail(type.ne(14).and(type.ne(15)), EXC_GP, gateError);
  const cpl = b.get(L.CPL);
  const gateDpl = low.shrU(45).lo32().and(3);
  fail(kind.eq(BY_SOFTWARE).and(gateDpl.ltU(cpl)), EXC_GP, gateError);
  fail(low.shrU(47).lo32().and(1).eqz(), EXC_NP, gateError);
  const target = b.keep(low.and(0xffff).or(low.shrU(32).and(0xffff0000n)).or(high.shl(32)));
  const selector = b.keep(low.shrU(16).lo32().and(0xffff));

  // The new code segment: 64-bit, present, DPL at most CPL.
  const selectorError = b.keep(selector.and(0xfffc).or(ext));
  fail(selectorError.shrU(2).eqz(), EXC_GP, ext);
  const isLocal = b.keep(selector.and(4));
  const tableBase = select(isLocal, b.get(L.segBase(L.LDTR)), b.get(L.GDTR_BASE));
  const tableLimit = select(isLocal, b.get(L.segLimit(L.LDTR)), b.get(L.GDTR_LIMIT));
  fail(tableLimit.ltU(selector.or(7)), EXC_GP, selectorError);
  const descriptor = read8(tableBase.add(selector.and(0xfff8).u64()));
  const rights = b.keep(descriptor.shrU(40).lo32());
  fail(rights.and(0x18).ne(0x18), EXC_GP, selectorError);
  const dpl = b.keep(rights.shrU(5).and(3));
  fail(dpl.gtU(cpl), EXC_GP, selectorError);
  fail(rights.and(0x80).eqz(), EXC_NP, selectorError);
  fail(rights.and(0x6000).ne(0x2000), EXC_GP, selectorError);
  const conforming = rights.and(4).nez();
  const newCpl = b.keep(select(conforming, cpl, dpl));

  // The new stack: IST, or RSPn from the TSS on a change to an inner ring, else the same; aligned to 16.
  const rsp = b.variable(b.get(L.RSP));
  const ist = b.keep(low.shrU(32).lo32().and(7));
  b.if(ist.nez().or(newCpl.ltU(cpl)), () => {
    const slot = b.keep(select(ist.nez(), ist.shl(3).add(28), newCpl.shl(3).add(4)));
    const tssError = b.get(L.segSelector(L.TR)).and(0xfffc).or(ext);
    fail(b.get(L.segLimit(L.TR)).ltU(slot.add(7)), EXC_TS, tssError);
    rsp.set(read8(b.get(L.segBase(L.TR)).add(slot.u64())));
    const canonical = rsp.get().shl(16).shrS(16).eq(rsp.get());
    fail(canonical.eqz(), EXC_SS, ext);
  });
  fail(target.shl(16).shrS(16).ne(target), EXC_GP, ext);
  rsp.set(rsp.get().and(-16));

  const oldTlb = b.get(L.TLB_CURRENT);
  // Pushes are made with the privilege of the handler.
  b.if(newCpl.ltU(3).and(oldTlb.eq(L.TLB_USER)), () => b.put(L.TLB_CURRENT, L.TLB_SUPERVISOR));
  const oldCpl = cpl;
  b.put(L.CPL, newCpl);
  const flags = b.call(readFlags);
  // Faults and interrupts push RF as it is; an exception of the fault class pushes it set.
  const isFault = kind.eq(BY_EXCEPTION).and(vector.ne(EXC_DB)).and(vector.ne(EXC_BP)).and(vector.ne(EXC_OF));
  const pushed = b.keep(flags.or(select(isFault, i32(RF_RF), i32(0))));
  const hasError = b.keep(error.ne(-1));
  const frameBytes = b.keep(select(hasError, i64(48), i64(40)));
  const bottom = b.keep(rsp.get().sub(frameBytes));
  // One probe covers both ends: a frame of 48 bytes aligned to 16 crosses at most one page boundary.
  const probe = (address: Expr): void => {
    const host = b.call(writeLinear, address, 8, i32(L.SS), 0);
    b.if(host.eqz(), () => {
      b.put(L.TLB_CURRENT, oldTlb);
      b.put(L.CPL, oldCpl);
      b.return(1);
    });
  };
  probe(bottom);
  probe(rsp.get().sub(8));
  const at = b.variable(rsp.get());
  const push = (value: Expr): void => {
    const v = b.keep(value);
    at.set(at.get().sub(8));
    const host = b.call(writeLinear, at.get(), 8, i32(L.SS), 0);
    b.store("i64.store", "host", host, v);
    b.call(commitStore, host);
  };
  push(b.get(L.segSelector(L.SS)).u64());
  push(b.get(L.RSP));
  push(pushed.u64());
  push(b.get(L.segSelector(L.CS)).u64());
  push(b.get(L.RIP));
  b.if(hasError, () => push(error.u64().and(0xffffffffn)));
  b.put(L.RSP, at.get());
  b.if(newCpl.ne(oldCpl), () => {
    // SS becomes a null selector with the new RPL.
    b.put(L.segSelector(L.SS), newCpl);
    b.put(L.segAttributes(L.SS), i32(0x10000).or(newCpl.shl(5)));
  });
  const clear = select(
    type.eq(14),
    i32(~(RF_IF | RF_TF | RF_NT | RF_RF | RF_VM)),
    i32(~(RF_TF | RF_NT | RF_RF | RF_VM)),
  );
  b.put(L.SYSTEM_FLAGS, b.get(L.SYSTEM_FLAGS).and(clear));
  b.call(loadCodeSegment, selector.and(0xfffc).or(newCpl), descriptor, newCpl);
  b.put(L.RIP, target);
  b.put(L.STEP_ARMED, 0);
  b.put(L.SHADOW, 0);
  b.call(updateEvents);
  b.return(0);
});

/** SDM table 6-4: 0 benign, 1 contributory, 2 page fault. */
function classOf(b: Builder, vector: Expr): Expr {
  const contributory = vector.eqz().or(vector.geU(EXC_TS).and(vector.leU(EXC_GP)));
  return b.keep(select(vector.eq(EXC_PF), i32(2), contributory));
}

/** Delivers the pending exception (EXC_VECTOR, EXC_ERROR): 0, or 1 = shutdown. */
export const deliverException: Routine = routine("deliver_exception", [], "i32", (b) => {
  const vector = b.variable(b.get(L.EXC_VECTOR));
  const error = b.variable(b.get(L.EXC_ERROR));
  b.if(b.get(L.EFER).lo32().and(0x400).eqz(), () => b.return(1));
  b.loop((again) => {
    const failed = b.call(deliverOnce, vector.get(), error.get(), BY_EXCEPTION);
    b.if(failed.eqz(), () => b.return(0));
    b.if(vector.get().eq(EXC_DF), () => b.return(1));
    const first = classOf(b, vector.get());
    const second = b.get(L.EXC_VECTOR);
    const secondClass = classOf(b, second);
    const double = first.eq(1).and(secondClass.eq(1)).or(first.eq(2).and(secondClass.nez()));
    b.if(
      double,
      () => {
        vector.set(EXC_DF);
        error.set(0);
      },
      () => {
        vector.set(second);
        error.set(b.get(L.EXC_ERROR));
      },
    );
    b.br(again);
  });
  b.return(0);
});

/** Delivers an external interrupt or NMI; a fault on the way is delivered as an exception. 0, or 1 = shutdown. */
export const deliverInterrupt: Routine = routine("deliver_interrupt", ["i32"], "i32", (b, vector) => {
  b.put(L.HALTED, 0);
  b.if(b.get(L.EFER).lo32().and(0x400).eqz(), () => b.return(1));
  const failed = b.call(deliverOnce, vector, -1, BY_HARDWARE);
  b.if(failed.eqz(), () => b.return(0));
  b.return(b.call(deliverException));
});

/** INT n, INT3, INTO: RIP is already that of the next instruction. 0, or 1 = a fault is pending. */
export const softwareInterrupt: Routine = routine("software_interrupt", ["i32"], "i32", (b, vector) => {
  b.if(b.get(L.EFER).lo32().and(0x400).eqz(), () => {
    raise(b, EXC_GP, vector.shl(3).or(2));
    b.return(1);
  });
  b.return(b.call(deliverOnce, vector, -1, BY_SOFTWARE));
});
