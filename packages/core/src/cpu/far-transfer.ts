/**
 * Far JMP and CALL (SDM vol. 3, 5.8; vol. 2, CALL and JMP): direct, through call gates of 16, 32 and 64 bits with a change
 * of stack and parameters, and to tasks. Returns are in far-return.ts, tasks in task-switch.ts.
 */
import { type Builder, type Expr, i32, i64, type Operand, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as D from "./descriptors.ts";
import { fetchInnerStack, innerStack, loadInnerStack } from "./inner-stack.ts";
import * as L from "./layout.ts";
import { updateMode } from "./mode.ts";
import { EXC_GP, EXC_NP, EXC_SS, raise } from "./raise.ts";
import { badTarget, fillReal, loadCodeSegment } from "./segments.ts";
import {
  currentStack,
  FRAME_BEYOND_LIMIT,
  frameValue,
  movedPointer,
  pushFrame,
  type Stack,
  stackWord,
} from "./stack-frame.ts";
import { switchTask, TASK_CALL, TASK_JUMP } from "./task-switch.ts";

/** In a routine that answers 1 for a pending fault. */
export function faultIf(b: Builder, bad: Expr, vector: number, error: Operand): void {
  b.if(bad, () => {
    raise(b, vector, typeof error === "bigint" ? Number(error) : error);
    b.return(1);
  });
}

export const isLongActive = (b: Builder): Expr => b.get(L.EFER).shrU(10).lo32().and(1);

/** What a code descriptor has to be besides its privilege: code, and not 64-bit and 32-bit at once in long mode. #GP(error). */
export function checkCodeType(b: Builder, rights: Expr, error: Expr): void {
  const code = D.ATTR_SEGMENT | D.ATTR_CODE;
  faultIf(b, rights.and(code).ne(code), EXC_GP, error);
  const both = D.ATTR_LONG | D.ATTR_BIG;
  faultIf(b, isLongActive(b).and(rights.and(both).eq(both)), EXC_GP, error);
}

/** Pushes a frame; a stack that is too small is #SS(error). */
export function pushOrFault(b: Builder, count: Operand, width: Expr, stack: Stack, error: Operand): void {
  const status = pushFrame(b, count, width, stack);
  b.if(status, () => {
    b.if(status.eq(FRAME_BEYOND_LIMIT), () => raise(b, EXC_SS, typeof error === "bigint" ? Number(error) : error));
    b.return(1);
  });
}

/** Pushes CS and the return address on the stack in use and moves RSP. */
function pushReturnAddress(b: Builder, width: Expr, next: Expr): void {
  const stack = currentStack(b);
  frameValue(b, 0, b.get(L.segSelector(L.CS)));
  frameValue(b, 1, next);
  pushOrFault(b, 2, width, stack, 0);
  b.put(L.RSP, b.call(movedPointer, stack.rsp, width.mul(-2).s64(), stack.size));
}

/** A far transfer in real or virtual-8086 mode. `isCall`: 0 or 1. */
const transferReal: Routine = routine(
  "transfer_real",
  ["i32", "i64", "i32", "i64", "i32"],
  "i32",
  (b, selector, offset, width, next, isCall) => {
    faultIf(b, offset.gtU(b.get(L.segLimit(L.CS)).u64()), EXC_GP, 0);
    b.if(isCall, () => pushReturnAddress(b, width, next));
    b.call(fillReal, L.CS, selector);
    b.put(L.RIP, offset);
    b.call(updateMode);
    b.return(0);
  },
);

/** Through the call gate in RESULT[0] and, in long mode, RESULT[1]. Its own privilege and presence are checked. */
const throughCallGate: Routine = routine("through_call_gate", ["i64", "i32"], "i32", (b, next, isCall) => {
  const gate = b.get(L.result(0));
  const isLong = isLongActive(b);
  const long = b.keep(isLong);
  const is16 = b.keep(gate.shrU(40).lo32().and(15).eq(D.TYPE_CALL_GATE16));
  const width = b.keep(select(long, i32(8), select(is16, i32(2), i32(4))));
  const high = select(long, b.get(L.result(1)).shl(32), i64(0));
  const wide = gate.shrU(32).and(0xffff0000n).or(high);
  const target = b.keep(gate.and(0xffff).or(select(is16, i64(0), wide)));
  const cs = b.keep(gate.shrU(16).lo32().and(0xffff));
  const error = b.keep(cs.and(0xfffc));
  faultIf(b, error.eqz(), EXC_GP, 0);
  b.if(b.call(D.fetchDescriptor, cs, 0), () => b.return(1));
  const descriptor = b.get(L.result(0));
  const rights = b.keep(D.descriptorAttributes(descriptor));
  checkCodeType(b, rights, error);
  faultIf(b, long.and(rights.and(D.ATTR_LONG).eqz()), EXC_GP, error);
  const cpl = b.get(L.CPL);
  const dpl = b.keep(rights.shrU(5).and(3));
  const conforming = b.keep(rights.and(D.ATTR_CONFORMING).nez());
  faultIf(b, select(isCall.or(conforming), dpl.gtU(cpl), dpl.ne(cpl)), EXC_GP, error);
  faultIf(b, rights.and(D.ATTR_PRESENT).eqz(), EXC_NP, error);
  const inward = isCall.and(conforming.eqz()).and(dpl.ltU(cpl));
  b.if(inward, () => {
    b.if(b.call(fetchInnerStack, dpl, 0), () => b.return(1));
    const stack = innerStack(b, dpl);
    faultIf(b, badTarget(b, descriptor, target), EXC_GP, 0);
    const count = b.keep(select(long, i32(0), gate.shrU(32).lo32().and(31)));
    frameValue(b, 0, b.get(L.segSelector(L.SS)));
    frameValue(b, 1, b.get(L.RSP));
    const i = b.variable(i32(0));
    b.while(
      () => i.get().ltU(count),
      () => {
        const parameter = stackWord(b, i.get().mul(width).u64(), width);
        frameValue(b, count.add(1).sub(i.get()), parameter);
        i.set(i.get().add(1));
      },
    );
    frameValue(b, b.keep(count.add(2)), b.get(L.segSelector(L.CS)));
    frameValue(b, b.keep(count.add(3)), next);
    const words = b.keep(count.add(4));
    b.if(b.call(D.markAccessed, cs, descriptor), () => b.return(1));
    pushOrFault(b, words, width, stack, stack.selector.and(0xfffc));
    loadInnerStack(b, stack);
    b.put(L.RSP, b.call(movedPointer, stack.rsp, words.mul(width).s64().neg(), stack.size));
    b.call(loadCodeSegment, cs, descriptor, dpl);
    b.put(L.RIP, target);
    b.return(0);
  });
  faultIf(b, badTarget(b, descriptor, target), EXC_GP, 0);
  b.if(b.call(D.markAccessed, cs, descriptor), () => b.return(1));
  b.if(isCall, () => pushReturnAddress(b, width, next));
  b.call(loadCodeSegment, cs, descriptor, cpl);
  b.put(L.RIP, target);
  b.return(0);
});

/** To the system descriptor in RESULT[0]: a call gate, a task gate or a TSS. */
const transferToSystem: Routine = routine(
  "transfer_to_system",
  ["i32", "i64", "i32"],
  "i32",
  (b, selector, next, isCall) => {
    const descriptor = b.get(L.result(0));
    const rights = b.keep(D.descriptorAttributes(descriptor));
    const type = b.keep(rights.and(15));
    const error = b.keep(selector.and(0xfffc));
    const long = b.keep(isLongActive(b));
    const isCallGate = b.keep(type.eq(D.TYPE_CALL_GATE32).or(long.eqz().and(type.eq(D.TYPE_CALL_GATE16))));
    const isTask = type.eq(D.TYPE_TASK_GATE).or(type.or(8).eq(D.TYPE_TSS32));
    faultIf(b, isCallGate.or(long.eqz().and(isTask)).eqz(), EXC_GP, error);
    const dpl = b.keep(rights.shrU(5).and(3));
    faultIf(b, dpl.ltU(b.get(L.CPL)).or(dpl.ltU(selector.and(3))), EXC_GP, error);
    b.if(isCallGate, () => {
      b.if(long, () => {
        b.if(b.call(D.fetchDescriptor, selector, 1), () => b.return(1));
        // The type field of the second half is zero.
        faultIf(b, b.get(L.result(1)).shrU(40).and(0x1f).nez(), EXC_GP, error);
      });
      faultIf(b, rights.and(D.ATTR_PRESENT).eqz(), EXC_NP, error);
      b.return(b.call(throughCallGate, next, isCall));
    });
    const reason = b.keep(select(isCall, i32(TASK_CALL), i32(TASK_JUMP)));
    b.if(type.eq(D.TYPE_TASK_GATE), () => {
      faultIf(b, rights.and(D.ATTR_PRESENT).eqz(), EXC_NP, error);
      b.return(b.call(switchTask, descriptor.shrU(16).lo32().and(0xffff), reason, next, -1));
    });
    b.return(b.call(switchTask, selector, reason, next, -1));
  },
);

/**
 * Far JMP (`isCall` 0) or CALL to `selector`:`offset`; `width`: bytes of a word that a direct call pushes; `next`: the
 * return address. 0 = RIP is set; 1 = a fault is pending.
 */
export const farTransfer: Routine = routine(
  "far_transfer",
  ["i32", "i64", "i32", "i64", "i32"],
  "i32",
  (b, selector, offset, width, next, isCall) => {
    b.if(b.get(L.MODE).and(L.MODE_PROTECTED).eqz(), () =>
      b.return(b.call(transferReal, selector, offset, width, next, isCall)),
    );
    const error = b.keep(selector.and(0xfffc));
    faultIf(b, error.eqz(), EXC_GP, 0);
    b.if(b.call(D.fetchDescriptor, selector, 0), () => b.return(1));
    const descriptor = b.get(L.result(0));
    const rights = b.keep(D.descriptorAttributes(descriptor));
    b.if(rights.and(D.ATTR_SEGMENT).eqz(), () => b.return(b.call(transferToSystem, selector, next, isCall)));
    checkCodeType(b, rights, error);
    const cpl = b.get(L.CPL);
    const dpl = b.keep(rights.shrU(5).and(3));
    const bad = select(rights.and(D.ATTR_CONFORMING), dpl.gtU(cpl), selector.and(3).gtU(cpl).or(dpl.ne(cpl)));
    faultIf(b, bad, EXC_GP, error);
    faultIf(b, rights.and(D.ATTR_PRESENT).eqz(), EXC_NP, error);
    faultIf(b, badTarget(b, descriptor, offset), EXC_GP, 0);
    b.if(b.call(D.markAccessed, selector, descriptor), () => b.return(1));
    b.if(isCall, () => pushReturnAddress(b, width, next));
    b.call(loadCodeSegment, selector, descriptor, cpl);
    b.put(L.RIP, offset);
    b.return(0);
  },
);
