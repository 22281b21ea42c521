/**
 * Far RET and IRET (SDM vol. 2, RET and IRET; vol. 3, 5.8.6, 6.12.1 and 20.2): in real and virtual-8086 mode, to the same
 * and to outer privilege levels, to virtual-8086 mode, to the task before (task-switch.ts), with operands of 16, 32 and
 * 64 bits.
 */
import { type Builder, type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as D from "./descriptors.ts";
import { readSystem } from "./descriptors.ts";
import { checkCodeType, faultIf, isLongActive } from "./far-transfer.ts";
import * as F from "./flags.ts";
import { IMAGE_FLAGS, writableFlags, writeFlags } from "./flags-image.ts";
import * as L from "./layout.ts";
import { updateEvents, updateMode } from "./mode.ts";
import { EXC_GP, EXC_NP, raise } from "./raise.ts";
import { isV86 } from "./segment-limits.ts";
import { badTarget, dropSegments, fetchStack, fillNull, fillReal, fillSegment, loadCodeSegment } from "./segments.ts";
import { currentStack, movedPointer, STACK_64, stackWord } from "./stack-frame.ts";
import { switchTask, TASK_RETURN } from "./task-switch.ts";

const selectorOf = (b: Builder, word: Expr): Expr => b.keep(word.lo32().and(0xffff));

/** The code segment of a far return: descriptor in RESULT[0]. 0 = good, 1 = a fault is pending. */
const checkReturnCode: Routine = routine("check_return_code", ["i32"], "i32", (b, selector) => {
  const error = b.keep(selector.and(0xfffc));
  faultIf(b, error.eqz(), EXC_GP, 0);
  b.if(b.call(D.fetchDescriptor, selector, 0), () => b.return(1));
  const rights = b.keep(D.descriptorAttributes(b.get(L.result(0))));
  checkCodeType(b, rights, error);
  const rpl = b.keep(selector.and(3));
  const dpl = b.keep(rights.shrU(5).and(3));
  const badLevel = select(rights.and(D.ATTR_CONFORMING), dpl.gtU(rpl), dpl.ne(rpl));
  faultIf(b, rpl.ltU(b.get(L.CPL)).or(badLevel), EXC_GP, error);
  faultIf(b, rights.and(D.ATTR_PRESENT).eqz(), EXC_NP, error);
  b.return(0);
});

/**
 * Return to `selector`:`rip`. The words popped so far are `popped` bytes; behind them and `released` bytes of parameters
 * lie RSP and SS of an outer level. `always`: IRET in 64-bit mode pops them in every case. Flags are the caller's.
 */
const returnTo: Routine = routine(
  "return_to",
  ["i32", "i64", "i32", "i32", "i32", "i32"],
  "i32",
  (b, selector, rip, width, popped, released, always) => {
    b.if(b.call(checkReturnCode, selector), () => b.return(1));
    const descriptor = b.get(L.result(0));
    const rpl = b.keep(selector.and(3));
    const outward = b.keep(rpl.gtU(b.get(L.CPL)));
    const after = b.keep(popped.add(released).u64());
    b.if(outward.or(always).eqz(), () => {
      faultIf(b, badTarget(b, descriptor, rip), EXC_GP, 0);
      b.if(b.call(D.markAccessed, selector, descriptor), () => b.return(1));
      const { rsp, size } = currentStack(b);
      b.put(L.RSP, b.call(movedPointer, rsp, after, size));
      b.call(loadCodeSegment, selector, descriptor, rpl);
      b.put(L.RIP, rip);
      b.return(0);
    });
    const rsp = stackWord(b, after, width);
    const ss = selectorOf(b, stackWord(b, after.add(width.u64()), width));
    const toLong = b.keep(isLongActive(b).and(descriptor.shrU(53).lo32()));
    const isNull = b.keep(ss.and(0xfffc).eqz());
    b.if(
      isNull,
      // Only to 64-bit code below ring 3.
      () => faultIf(b, toLong.and(rpl.ne(3)).and(ss.and(3).eq(rpl)).eqz(), EXC_GP, 0),
      () => b.if(b.call(fetchStack, ss, rpl, EXC_GP, 0), () => b.return(1)),
    );
    const stack = b.get(L.result(0));
    faultIf(b, badTarget(b, descriptor, rip), EXC_GP, 0);
    b.if(b.call(D.markAccessed, selector, descriptor), () => b.return(1));
    b.if(isNull.eqz(), () => b.if(b.call(D.markAccessed, ss, stack), () => b.return(1)));
    b.call(loadCodeSegment, selector, descriptor, rpl);
    b.put(L.RIP, rip);
    b.if(
      isNull,
      () => b.call(fillNull, L.SS, ss, rpl),
      () => b.call(fillSegment, L.SS, ss, stack),
    );
    b.if(outward, () => b.call(dropSegments));
    b.call(updateMode);
    // A 16-bit stack takes the low half only.
    const { size } = currentStack(b);
    const old = b.get(L.RSP);
    const low = old.and(-0x10000).or(rsp.and(0xffff));
    const merged = b.keep(select(size.eq(STACK_64), rsp, select(size, rsp.and(0xffffffffn), low)));
    b.put(L.RSP, b.call(movedPointer, merged, released.u64(), size));
    b.call(updateEvents);
    b.return(0);
  },
);

/** RETF with words of `width` bytes, releasing `released` bytes of parameters. 0, or 1 = a fault is pending. */
export const farReturn: Routine = routine("far_return", ["i32", "i32"], "i32", (b, width, released) => {
  const rip = stackWord(b, i64(0), width);
  const selector = selectorOf(b, stackWord(b, width.u64(), width));
  b.if(b.get(L.MODE).and(L.MODE_PROTECTED).eqz(), () => {
    faultIf(b, rip.gtU(b.get(L.segLimit(L.CS)).u64()), EXC_GP, 0);
    const { rsp, size } = currentStack(b);
    b.put(L.RSP, b.call(movedPointer, rsp, width.mul(2).add(released).u64(), size));
    b.call(fillReal, L.CS, selector);
    b.put(L.RIP, rip);
    b.call(updateMode);
    b.return(0);
  });
  b.return(b.call(returnTo, selector, rip, width, width.mul(2), released, 0));
});

/** IRET in real mode and, at IOPL 3, in virtual-8086 mode. */
const returnReal: Routine = routine("return_real", ["i32"], "i32", (b, width) => {
  const v86 = b.keep(isV86(b));
  faultIf(b, v86.nez().and(b.get(L.SYSTEM_FLAGS).and(F.RF_IOPL).ne(F.RF_IOPL)), EXC_GP, 0);
  const step = b.keep(width.u64());
  const rip = stackWord(b, i64(0), width);
  const selector = selectorOf(b, stackWord(b, step, width));
  const image = b.keep(stackWord(b, step.mul(2), width).lo32());
  faultIf(b, rip.gtU(b.get(L.segLimit(L.CS)).u64()), EXC_GP, 0);
  const { rsp, size } = currentStack(b);
  b.put(L.RSP, b.call(movedPointer, rsp, step.mul(3), size));
  b.call(fillReal, L.CS, selector);
  b.put(L.RIP, rip);
  const all = IMAGE_FLAGS & ~(F.RF_VIF | F.RF_VIP);
  const mask = select(v86, i32(all & ~F.RF_IOPL), i32(all)).and(select(width.eq(2), i32(0xffff), i32(-1)));
  b.call(writeFlags, image, mask);
  b.call(updateMode);
  b.return(0);
});

/** IRETD at CPL 0 with VM in the image: nine words, all segments as virtual-8086 mode has them. */
const returnToV86: Routine = routine("return_to_v86", ["i64", "i32", "i32"], "i32", (b, rip, selector, image) => {
  const word = (index: number): Expr => stackWord(b, i64(index * 4), i32(4));
  const rsp = word(3);
  const [ss, es, ds, fs, gs] = [4, 5, 6, 7, 8].map((index) => selectorOf(b, word(index))) as [
    Expr,
    Expr,
    Expr,
    Expr,
    Expr,
  ];
  faultIf(b, rip.gtU(0xffff), EXC_GP, 0);
  b.call(writeFlags, image, -1);
  b.put(L.SYSTEM_FLAGS, b.get(L.SYSTEM_FLAGS).or(F.RF_VM));
  b.put(L.CPL, 3);
  for (const [segment, value] of [
    [L.CS, selector],
    [L.SS, ss],
    [L.ES, es],
    [L.DS, ds],
    [L.FS, fs],
    [L.GS, gs],
  ] as const)
    b.call(fillReal, segment, value);
  b.put(L.RSP, rsp);
  b.put(L.RIP, rip);
  b.call(updateMode);
  b.call(updateEvents);
  b.return(0);
});

/** IRET with NT set: back to the task that the current TSS links to. */
const returnToTask: Routine = routine("return_to_task", ["i64"], "i32", (b, next) => {
  const host = b.call(readSystem, b.get(L.segBase(L.TR)), 2);
  b.if(host.eqz(), () => b.return(1));
  const link = b.load("i32.load16_u", "host", host);
  b.return(b.call(switchTask, link, TASK_RETURN, next, -1));
});

/** IRET with words of `width` bytes; `next` is the address behind it. 0, or 1 = a fault is pending. */
export const interruptReturn: Routine = routine("interrupt_return", ["i32", "i64"], "i32", (b, width, next) => {
  // NMIs are let through again even if the instruction faults (SDM vol. 3, 6.7.1).
  b.put(L.NMI_MASKED, 0);
  b.call(updateEvents);
  b.if(b.get(L.MODE).and(L.MODE_PROTECTED).eqz(), () => b.return(b.call(returnReal, width)));
  const long = b.keep(isLongActive(b));
  b.if(b.get(L.SYSTEM_FLAGS).and(F.RF_NT), () => {
    b.if(long, () => {
      raise(b, EXC_GP, 0);
      b.return(1);
    });
    b.return(b.call(returnToTask, next));
  });
  const step = b.keep(width.u64());
  const rip = stackWord(b, i64(0), width);
  const cs = selectorOf(b, stackWord(b, step, width));
  const image = b.keep(stackWord(b, step.mul(2), width).lo32());
  const toV86 = long.eqz().and(width.eq(4)).and(image.and(F.RF_VM).nez()).and(b.get(L.CPL).eqz());
  b.if(toV86, () => b.return(b.call(returnToV86, rip, cs, image)));
  const virtual = select(b.get(L.CPL), i32(0), i32(F.RF_VIF | F.RF_VIP));
  const mask = b.keep(
    writableFlags(b)
      .or(F.RF_RF)
      .or(virtual)
      .and(select(width.eq(2), i32(0xffff), i32(-1))),
  );
  const is64 = b.keep(b.get(L.MODE).and(L.MODE_64));
  b.if(b.call(returnTo, cs, rip, width, width.mul(3), 0, is64), () => b.return(1));
  b.call(writeFlags, image, mask);
  b.call(updateMode);
  b.return(0);
});
