/**
 * Delivery of an interrupt or exception in long mode (SDM vol. 3, 6.14): 16-byte gates, IST, stacks of inner levels,
 * error codes.
 */
import { type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { commitStore, writeLinear, writeProbed } from "./access.ts";
import { fetchDescriptorFor, markAccessed, readSystem } from "./descriptors.ts";
import { BY_SOFTWARE, isFaultVector } from "./event-kind.ts";
import { RF_IF, RF_NT, RF_RF, RF_TF, RF_VM, readFlags } from "./flags.ts";
import * as L from "./layout.ts";
import { updateEvents, updateTlbSet } from "./mode.ts";
import { EXC_GP, EXC_NP, EXC_SS, EXC_TS, raise } from "./raise.ts";
import { fillNull, loadCodeSegment } from "./segments.ts";

/**
 * Delivers vector `vector` through the IDT: 0 = done, 1 = a fault is pending instead. `kind` is BY_*; `error` -1 = none.
 * RIP (cpu/layout.ts) is the address to push. Nothing of the architectural state changes before the last access that can fault.
 */
export const deliverLong: Routine = routine("deliver_long", ["i32", "i32", "i32"], "i32", (b, vector, error, kind) => {
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
  b.if(b.call(fetchDescriptorFor, selector, 0, EXC_GP, ext), () => b.return(1));
  const descriptor = b.get(L.result(0));
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
  b.if(b.call(markAccessed, selector, descriptor), () => b.return(1));

  const oldTlb = b.get(L.TLB_CURRENT);
  // Pushes are made with the privilege of the handler.
  const oldCpl = cpl;
  b.put(L.CPL, newCpl);
  b.if(newCpl.ne(oldCpl), () => b.call(updateTlbSet));
  const flags = b.call(readFlags);
  // Faults and interrupts push RF as it is; an exception of the fault class pushes it set.
  const isFault = isFaultVector(kind, vector);
  const pushed = b.keep(flags.or(select(isFault, i32(RF_RF), i32(0))));
  const hasError = b.keep(error.ne(-1));
  const frameBytes = b.keep(select(hasError, i64(48), i64(40)));
  const bottom = b.keep(rsp.get().sub(frameBytes));
  // One probe covers both ends: a frame of 48 bytes aligned to 16 crosses at most one page boundary.
  const probe = (address: Expr): void => {
    const host = b.call(writeLinear, address, 8, L.NEW_STACK, 0);
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
    const host = b.call(writeProbed, at.get(), 8, L.NEW_STACK);
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
  // SS becomes a null selector with the new RPL.
  b.if(newCpl.ne(oldCpl), () => b.call(fillNull, L.SS, newCpl, newCpl));
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
