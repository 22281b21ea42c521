/**
 * Delivery of an interrupt or exception outside long mode (SDM vol. 3, 6.10 to 6.12, 20.1.4 and 20.3; vol. 2, INT n):
 * through the real-mode vector table, through interrupt, trap and task gates of 16 and 32 bits, and out of
 * virtual-8086 mode. Nothing changes before the last access that can fault, but within a task switch.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as D from "./descriptors.ts";
import { BY_SOFTWARE, isFaultVector } from "./event-kind.ts";
import { faultIf, pushOrFault } from "./far-transfer.ts";
import * as F from "./flags.ts";
import { fetchInnerStack, type InnerStack, innerStack, loadInnerStack } from "./inner-stack.ts";
import * as L from "./layout.ts";
import { updateEvents, updateMode } from "./mode.ts";
import { EXC_GP, EXC_NP, raise } from "./raise.ts";
import { isV86 } from "./segment-limits.ts";
import { badTarget, fillNull, fillReal, loadCodeSegment } from "./segments.ts";
import { currentStack, frameValue, movedPointer } from "./stack-frame.ts";
import { switchTask, TASK_EVENT, TASK_SOFTWARE } from "./task-switch.ts";

const GATE_INTERRUPT16 = 6;

/** Through the real-mode vector table: no error codes. 0 = done, 1 = a fault is pending. */
export const deliverReal: Routine = routine("deliver_real", ["i32"], "i32", (b, vector) => {
  const at = b.keep(vector.shl(2));
  faultIf(b, b.get(L.IDTR_LIMIT).ltU(at.add(3)), EXC_GP, 0);
  const host = b.call(D.readSystem, b.get(L.IDTR_BASE).add(at.u64()), 4);
  b.if(host.eqz(), () => b.return(1));
  const entry = b.load("i32.load", "host", host);
  const stack = currentStack(b);
  frameValue(b, 0, b.call(F.readFlags));
  frameValue(b, 1, b.get(L.segSelector(L.CS)));
  frameValue(b, 2, b.get(L.RIP));
  pushOrFault(b, 3, i32(2), stack, 0);
  b.put(L.RSP, b.call(movedPointer, stack.rsp, i64(-6), stack.size));
  b.put(L.SYSTEM_FLAGS, b.get(L.SYSTEM_FLAGS).and(~(F.RF_IF | F.RF_TF | F.RF_RF | F.RF_AC)));
  b.call(fillReal, L.CS, entry.shrU(16));
  b.put(L.RIP, entry.and(0xffff).u64());
  b.call(updateMode);
  afterDelivery(b);
  b.return(0);
});

function afterDelivery(b: Builder): void {
  b.put(L.STEP_ARMED, 0);
  b.put(L.SHADOW, 0);
  b.call(updateEvents);
}

/** The values that every protected-mode frame ends with, from number `first` on; their count. */
function frameEnd(b: Builder, first: number, flags: Expr, error: Expr, hasError: Expr): Expr {
  frameValue(b, first, flags);
  frameValue(b, first + 1, b.get(L.segSelector(L.CS)));
  frameValue(b, first + 2, b.get(L.RIP));
  b.if(hasError, () => frameValue(b, first + 3, error));
  return b.keep(hasError.add(first + 3));
}

/** Through the IDT without long mode. `kind` is BY_*; `error` -1 = none. 0 = done, 1 = a fault is pending. */
export const deliverProtected: Routine = routine(
  "deliver_protected",
  ["i32", "i32", "i32"],
  "i32",
  (b, vector, error, kind) => {
    const isSoftware = b.keep(kind.eq(BY_SOFTWARE));
    const ext = b.keep(isSoftware.xor(1));
    const gateError = b.keep(vector.shl(3).or(2).or(ext));
    faultIf(b, b.get(L.IDTR_LIMIT).ltU(vector.shl(3).or(7)), EXC_GP, gateError);
    const host = b.call(D.readSystem, b.get(L.IDTR_BASE).add(vector.shl(3).u64()), 8);
    b.if(host.eqz(), () => b.return(1));
    const gate = b.load("i64.load", "host", host);
    const rights = b.keep(D.descriptorAttributes(gate));
    const type = b.keep(rights.and(0x1f));
    const isTask = b.keep(type.eq(D.TYPE_TASK_GATE));
    const isEvent = type.and(0x16).eq(GATE_INTERRUPT16);
    faultIf(b, isTask.or(isEvent).eqz(), EXC_GP, gateError);
    const cpl = b.get(L.CPL);
    faultIf(b, isSoftware.and(rights.shrU(5).and(3).ltU(cpl)), EXC_GP, gateError);
    faultIf(b, rights.and(D.ATTR_PRESENT).eqz(), EXC_NP, gateError);
    const selector = b.keep(gate.shrU(16).lo32().and(0xffff));
    const isFault = isFaultVector(kind, vector);
    const image = b.call(F.readFlags);
    const pushed = b.keep(image.or(select(isFault, i32(F.RF_RF), i32(0))));
    b.if(isTask, () => {
      b.put(L.SYSTEM_FLAGS, b.get(L.SYSTEM_FLAGS).or(pushed.and(F.RF_RF)));
      const reason = select(isSoftware, i32(TASK_SOFTWARE), i32(TASK_EVENT));
      b.return(b.call(switchTask, selector, reason, b.get(L.RIP), error));
    });

    const codeError = b.keep(selector.and(0xfffc).or(ext));
    faultIf(b, selector.and(0xfffc).eqz(), EXC_GP, ext);
    b.if(b.call(D.fetchDescriptorFor, selector, 0, EXC_GP, ext), () => b.return(1));
    const descriptor = b.get(L.result(0));
    const codeRights = b.keep(D.descriptorAttributes(descriptor));
    const dpl = b.keep(codeRights.shrU(5).and(3));
    faultIf(b, codeRights.and(0x18).ne(0x18).or(dpl.gtU(cpl)), EXC_GP, codeError);
    faultIf(b, codeRights.and(D.ATTR_PRESENT).eqz(), EXC_NP, codeError);
    const conforming = b.keep(codeRights.and(D.ATTR_CONFORMING).nez());
    const v86 = b.keep(isV86(b).nez());
    // Out of virtual-8086 mode only to ring 0.
    faultIf(b, v86.and(conforming.or(dpl.nez())), EXC_GP, codeError);
    const width = b.keep(select(type.and(8), i32(4), i32(2)));
    const hasError = b.keep(error.ne(-1));
    const offset = b.keep(gate.and(0xffff).or(select(type.and(8), gate.shrU(32).and(0xffff0000n), i64(0))));
    const inward = b.keep(conforming.eqz().and(dpl.ltU(cpl)));

    const enter = (newCpl: Expr): void => {
      const clear = F.RF_TF | F.RF_NT | F.RF_RF | F.RF_VM;
      const cleared = select(type.and(1), i32(~clear), i32(~(clear | F.RF_IF)));
      b.put(L.SYSTEM_FLAGS, b.get(L.SYSTEM_FLAGS).and(cleared));
      b.call(loadCodeSegment, selector, descriptor, newCpl);
      b.put(L.RIP, offset);
      afterDelivery(b);
      b.return(0);
    };
    const enterInner = (stack: InnerStack, words: Expr): void => {
      faultIf(b, badTarget(b, descriptor, offset), EXC_GP, ext);
      b.if(b.call(D.markAccessed, selector, descriptor), () => b.return(1));
      pushOrFault(b, words, width, stack, stack.selector.and(0xfffc).or(ext));
      b.put(L.RSP, b.call(movedPointer, stack.rsp, words.mul(width).s64().neg(), stack.size));
    };

    b.if(inward, () => {
      b.if(b.call(fetchInnerStack, dpl, ext), () => b.return(1));
      const stack = innerStack(b, dpl);
      b.if(
        v86,
        () => {
          for (const [i, s] of [L.GS, L.FS, L.DS, L.ES].entries()) frameValue(b, i, b.get(L.segSelector(s)));
          frameValue(b, 4, b.get(L.segSelector(L.SS)));
          frameValue(b, 5, b.get(L.RSP));
          enterInner(stack, frameEnd(b, 6, pushed, error, hasError));
          for (const s of [L.GS, L.FS, L.DS, L.ES]) b.call(fillNull, s, 0, 0);
        },
        () => {
          frameValue(b, 0, b.get(L.segSelector(L.SS)));
          frameValue(b, 1, b.get(L.RSP));
          enterInner(stack, frameEnd(b, 2, pushed, error, hasError));
        },
      );
      loadInnerStack(b, stack);
      enter(dpl);
    });
    faultIf(b, badTarget(b, descriptor, offset), EXC_GP, ext);
    b.if(b.call(D.markAccessed, selector, descriptor), () => b.return(1));
    const stack = currentStack(b);
    const words = frameEnd(b, 0, pushed, error, hasError);
    pushOrFault(b, words, width, stack, ext);
    b.put(L.RSP, b.call(movedPointer, stack.rsp, words.mul(width).s64().neg(), stack.size));
    enter(cpl);
  },
);

/** INT n in virtual-8086 mode below IOPL 3: #GP(0). 0 = it may go through the IDT, 1 = the fault is pending. */
export const checkV86Interrupt: Routine = routine("check_v86_interrupt", [], "i32", (b) => {
  const refused = isV86(b).nez().and(b.get(L.SYSTEM_FLAGS).and(F.RF_IOPL).ne(F.RF_IOPL));
  b.if(refused, () => {
    raise(b, EXC_GP, 0);
    b.return(1);
  });
  b.return(0);
});
