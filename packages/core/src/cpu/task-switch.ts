/**
 * Hardware task switches (SDM vol. 3, chapter 7): by JMP, CALL, IRET and task gates, between 16-bit and 32-bit TSSs.
 *
 * Up to the point where the new task's state is loaded, a fault leaves the old task as it was; from there on faults
 * belong to the new task and find its RIP. The upper halves of registers, which a 16-bit TSS does not hold, stay.
 */
import { type Builder, type Expr, i32, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { commitStore } from "./access.ts";
import { CR0_PG, CR0_TS } from "./control-bits.ts";
import { updateFpuBlocked, writeControl } from "./control-registers.ts";
import { followDebugRegisters } from "./debug.ts";
import * as D from "./descriptors.ts";
import { RF_NT, RF_VM, readFlags, writeArithmeticFlags } from "./flags.ts";
import { IMAGE_FLAGS } from "./flags-image.ts";
import * as L from "./layout.ts";
import { updateEvents, updateMode } from "./mode.ts";
import { EXC_GP, EXC_NP, EXC_SS, EXC_TS, raise } from "./raise.ts";
import { checkData, fetchStack, fillNull, fillReal, fillSegment } from "./segments.ts";
import { currentStack, FRAME_BEYOND_LIMIT, frameValue, movedPointer, pushFrame } from "./stack-frame.ts";

export const TASK_JUMP = 0;
export const TASK_CALL = 1;
export const TASK_RETURN = 2;
/** By a gate of the IDT; INT n, INT3 and INTO have error codes without EXT. */
export const TASK_EVENT = 3;
export const TASK_SOFTWARE = 4;

/** DR6.BT: the new task's T flag. */
const DR6_BT = 0x8000;
/** L0 to L3 and LE of DR7: they end with the task. */
const DR7_LOCAL = 0x155;
/** TSS fields: offset in the 32-bit and in the 16-bit form. */
const LINK = 0;
const CR3_32 = 0x1c;
const IP = [0x20, 0x0e] as const;
const FLAGS = [0x24, 0x10] as const;
const GPR = [0x28, 0x12] as const;
const SEGMENTS = [0x48, 0x22] as const;
const LDT = [0x60, 0x2a] as const;
const TRAP_32 = 0x64;
/** Last byte of what a switch saves, and of what it needs. */
const SAVED_END = [0x5f, 0x29] as const;
const LAST = [0x67, 0x2b] as const;

/** Where a switch keeps what it read of the new TSS. */
const NEW_SELECTORS = L.SCRATCH_FRAME + 0x100;

const field = (is32: Expr, offsets: readonly [number, number]): Expr => select(is32, i32(offsets[0]), i32(offsets[1]));

/** Stores the outgoing task's state. Precondition: the area was probed. */
const saveTask: Routine = routine("save_task", ["i64", "i32", "i64", "i32"], undefined, (b, tss, is32, rip, flags) => {
  const step = b.keep(select(is32, i32(4), i32(2)));
  const put = (at: Expr, value: Expr, width: Expr): void => {
    const kept = b.keep(value);
    const host = b.call(D.writeSystemProbed, tss.add(at.u64()), width);
    b.if(
      width.eq(4),
      () => b.store("i64.store32", "host", host, kept),
      () => b.store("i64.store16", "host", host, kept),
    );
    b.call(commitStore, host);
  };
  put(field(is32, IP), rip, step);
  put(field(is32, FLAGS), flags.u64(), step);
  const i = b.variable(i32(0));
  b.while(
    () => i.get().ltU(8),
    () => {
      const at = field(is32, GPR).add(i.get().mul(step));
      put(at, b.load("i64.load", "cpu", i.get().shl(3), L.GPR), step);
      i.set(i.get().add(1));
    },
  );
  i.set(i32(0));
  b.while(
    () => i.get().ltU(select(is32, i32(6), i32(4))),
    () => {
      const at = field(is32, SEGMENTS).add(i.get().mul(step));
      // The upper half of a selector's slot is left as it is.
      put(at, b.load("i32.load16_u", "cpu", i.get().shl(5), L.SEGMENTS).u64(), i32(2));
      i.set(i.get().add(1));
    },
  );
});

/** LDTR of the new task. 0, or 1 = #TS or a page fault is pending. */
const loadTaskLdt: Routine = routine("load_task_ldt", ["i32", "i32"], "i32", (b, selector, ext) => {
  b.call(fillNull, L.LDTR, selector, 0);
  b.if(selector.and(0xfffc).eqz(), () => b.return(0));
  const error = b.keep(selector.and(0xfffc).or(ext));
  const refuse = (bad: Expr): void =>
    b.if(bad, () => {
      raise(b, EXC_TS, error);
      b.return(1);
    });
  refuse(selector.and(4));
  b.if(b.call(D.fetchDescriptorFor, selector, 0, EXC_TS, ext), () => b.return(1));
  const descriptor = b.get(L.result(0));
  const rights = b.keep(D.descriptorAttributes(descriptor));
  refuse(rights.and(0x9f).ne(D.ATTR_PRESENT | D.TYPE_LDT));
  b.put(L.segAttributes(L.LDTR), rights);
  b.put(L.segBase(L.LDTR), D.descriptorBase(descriptor));
  b.put(L.segLimit(L.LDTR), D.descriptorLimit(descriptor));
  b.return(0);
});

/** CS and SS of the new task; CPL is CS.RPL already. 0, or 1 = a fault is pending. */
const loadTaskCodeAndStack: Routine = routine(
  "load_task_code_and_stack",
  ["i32", "i32", "i32"],
  "i32",
  (b, cs, ss, ext) => {
    const error = b.keep(cs.and(0xfffc).or(ext));
    const refuse = (bad: Expr, vector: number, code: Expr): void =>
      b.if(bad, () => {
        raise(b, vector, code);
        b.return(1);
      });
    refuse(error.shrU(2).eqz(), EXC_TS, error);
    b.if(b.call(D.fetchDescriptorFor, cs, 0, EXC_TS, ext), () => b.return(1));
    const descriptor = b.get(L.result(0));
    const rights = b.keep(D.descriptorAttributes(descriptor));
    const rpl = b.keep(cs.and(3));
    const dpl = b.keep(rights.shrU(5).and(3));
    const isCode = rights.and(0x18).eq(0x18);
    const level = select(rights.and(D.ATTR_CONFORMING), dpl.leU(rpl), dpl.eq(rpl));
    refuse(isCode.and(level).eqz(), EXC_TS, error);
    refuse(rights.and(D.ATTR_PRESENT).eqz(), EXC_NP, error);
    b.if(b.call(D.markAccessed, cs, descriptor), () => b.return(1));
    b.call(fillSegment, L.CS, cs, descriptor);
    const stackError = b.keep(ss.and(0xfffc).or(ext));
    refuse(stackError.shrU(2).eqz(), EXC_TS, stackError);
    b.if(b.call(fetchStack, ss, rpl, EXC_TS, ext), () => b.return(1));
    const stack = b.get(L.result(0));
    b.if(b.call(D.markAccessed, ss, stack), () => b.return(1));
    b.call(fillSegment, L.SS, ss, stack);
    b.return(0);
  },
);

/** ES, DS, FS or GS of the new task. 0, or 1 = a fault is pending. */
const loadTaskData: Routine = routine("load_task_data", ["i32", "i32", "i32"], "i32", (b, segment, selector, ext) => {
  b.if(selector.and(0xfffc).eqz(), () => b.return(0));
  b.if(b.call(D.fetchDescriptorFor, selector, 0, EXC_TS, ext), () => b.return(1));
  b.if(b.call(checkData, selector, EXC_TS), () => {
    b.put(L.EXC_ERROR, b.get(L.EXC_ERROR).or(ext));
    b.return(1);
  });
  const descriptor = b.get(L.result(0));
  b.if(b.call(D.markAccessed, selector, descriptor), () => b.return(1));
  b.call(fillSegment, segment, selector, descriptor);
  b.return(0);
});

/** Segments of the new task, whose selectors are at NEW_SELECTORS (LDTR is number 6). 0, or 1 = a fault is pending. */
const loadTaskSegments: Routine = routine("load_task_segments", ["i32"], "i32", (b, ext) => {
  const selector = (n: number): Expr => b.load("i32.load", "cpu", i32(n * 4), NEW_SELECTORS);
  b.if(b.call(loadTaskLdt, selector(6), ext), () => b.return(1));
  const order = [L.SS, L.DS, L.ES, L.FS, L.GS, L.CS];
  b.if(b.get(L.SYSTEM_FLAGS).and(RF_VM), () => {
    for (const s of order) b.call(fillReal, s, selector(s));
    b.return(0);
  });
  b.if(b.call(loadTaskCodeAndStack, selector(L.CS), selector(L.SS), ext), () => b.return(1));
  b.call(updateMode);
  for (const s of [L.DS, L.ES, L.FS, L.GS]) b.if(b.call(loadTaskData, s, selector(s), ext), () => b.return(1));
  b.return(0);
});

/** Loads registers from the new TSS and keeps its selectors; every segment is null until it is loaded. */
const loadTaskRegisters: Routine = routine("load_task_registers", ["i64", "i32"], undefined, (b, tss, is32) => {
  const step = b.keep(select(is32, i32(4), i32(2)));
  const word = (at: Expr, wide: Expr): Expr => {
    const host = b.call(D.readSystem, tss.add(at.u64()), select(wide, i32(4), i32(2)));
    const value = b.variable(b.load("i32.load16_u", "host", host));
    b.if(wide, () => value.set(b.load("i32.load", "host", host)));
    return b.keep(value.get());
  };
  b.put(L.RIP, word(field(is32, IP), is32).u64());
  const image = word(field(is32, FLAGS), is32);
  b.call(writeArithmeticFlags, image);
  b.put(L.SYSTEM_FLAGS, image.and((IMAGE_FLAGS & ~0x8d5) | RF_VM).or(2));
  const i = b.variable(i32(0));
  b.while(
    () => i.get().ltU(8),
    () => {
      const value = word(field(is32, GPR).add(i.get().mul(step)), is32);
      const at = b.keep(i.get().shl(3));
      b.if(
        is32,
        () => b.store("i64.store", "cpu", at, value.u64(), L.GPR),
        () => b.store("i32.store16", "cpu", at, value, L.GPR),
      );
      i.set(i.get().add(1));
    },
  );
  i.set(i32(0));
  b.while(
    () => i.get().ltU(6),
    () => {
      const n = b.keep(i.get());
      const isThere = b.keep(is32.or(n.ltU(4)));
      const value = b.variable(i32(0));
      b.if(isThere, () => value.set(word(field(is32, SEGMENTS).add(n.mul(step)), i32(0))));
      const selector = b.keep(value.get());
      b.store("i32.store", "cpu", n.shl(2), selector, NEW_SELECTORS);
      b.call(fillNull, n, selector, 0);
      i.set(n.add(1));
    },
  );
  b.store("i32.store", "cpu", i32(24), word(field(is32, LDT), i32(0)), NEW_SELECTORS);
});

/**
 * Switches to the task of a TSS selector for `reason` (TASK_*). `next` is the RIP to save; `error` an error code to push
 * in the new task, or -1. 0 = done, 1 = a fault is pending.
 */
export const switchTask: Routine = routine(
  "switch_task",
  ["i32", "i32", "i64", "i32"],
  "i32",
  (b, selector, reason, next, error) => {
    const isReturn = b.keep(reason.eq(TASK_RETURN));
    const nests = b.keep(reason.eq(TASK_CALL).or(reason.geU(TASK_EVENT)));
    const ext = b.keep(reason.eq(TASK_EVENT));
    const vector = b.keep(select(isReturn, i32(EXC_TS), i32(EXC_GP)));
    const code = b.keep(selector.and(0xfffc).or(ext));
    const refuse = (bad: Expr, number: Expr, errorCode: Expr = code): void =>
      b.if(bad, () => {
        raise(b, number, errorCode);
        b.return(1);
      });
    refuse(selector.and(4), vector);
    b.if(b.call(D.fetchDescriptorFor, selector, 0, vector, ext), () => b.return(1));
    const descriptor = b.get(L.result(0));
    const rights = b.keep(D.descriptorAttributes(descriptor));
    const wanted = select(isReturn, i32(D.TYPE_TSS16 | D.ATTR_BUSY), i32(D.TYPE_TSS16));
    refuse(rights.and(0x17).ne(wanted), vector);
    refuse(rights.and(D.ATTR_PRESENT).eqz(), i32(EXC_NP));
    const is32 = b.keep(rights.shrU(3).and(1));
    const limit = b.keep(D.descriptorLimit(descriptor));
    const tss = b.keep(D.descriptorBase(descriptor));
    refuse(limit.ltU(field(is32, LAST)), i32(EXC_TS));

    // Everything that can still fault in the old task.
    const old = b.get(L.segBase(L.TR));
    const oldSelector = b.get(L.segSelector(L.TR));
    const wasWide = b.keep(b.get(L.segAttributes(L.TR)).shrU(3).and(1));
    refuse(b.get(L.segLimit(L.TR)).ltU(field(wasWide, SAVED_END)), i32(EXC_TS), oldSelector.and(0xfffc).or(ext));
    const probe = (routineUsed: Routine, at: Expr, bytes: number): void =>
      b.if(b.call(routineUsed, at, bytes).eqz(), () => b.return(1));
    probe(D.readSystem, tss, 1);
    probe(D.readSystem, tss.add(field(is32, LAST).u64()), 1);
    probe(D.writeSystem, old.add(field(wasWide, IP).u64()), 1);
    probe(D.writeSystem, old.add(field(wasWide, SAVED_END).u64()), 1);
    b.if(nests, () => probe(D.writeSystem, tss, 2));
    b.if(nests.eqz(), () => probe(D.writeSystem, b.call(D.descriptorAddress, oldSelector).add(5), 1));
    b.if(isReturn.eqz(), () => b.if(b.call(D.markDescriptor, selector, D.ATTR_BUSY, 0), () => b.return(1)));
    b.if(nests.eqz(), () => b.if(b.call(D.markDescriptor, oldSelector, 0, D.ATTR_BUSY), () => b.return(1)));

    const flags = b.keep(b.call(readFlags).and(select(isReturn, i32(~RF_NT), i32(-1))));
    b.call(saveTask, old, wasWide, next, flags);
    b.if(nests, () => {
      const host = b.call(D.writeSystemProbed, tss.add(LINK), 2);
      b.store("i32.store16", "host", host, oldSelector);
      b.call(commitStore, host);
    });
    b.put(L.segSelector(L.TR), selector);
    b.put(L.segAttributes(L.TR), rights.or(D.ATTR_BUSY));
    b.put(L.segBase(L.TR), tss);
    b.put(L.segLimit(L.TR), limit);
    b.put(L.CR0, b.get(L.CR0).or(CR0_TS));
    b.call(updateFpuBlocked);
    const cr3 = b.load("i64.load32_u", "host", b.call(D.readSystem, tss.add(CR3_32), 4));
    const hasTrap = is32.and(b.load("i32.load8_u", "host", b.call(D.readSystem, tss.add(TRAP_32), 1)));
    const trap = b.keep(hasTrap.and(1));
    b.call(loadTaskRegisters, tss, is32);
    b.if(nests, () => b.put(L.SYSTEM_FLAGS, b.get(L.SYSTEM_FLAGS).or(RF_NT)));
    b.put(L.DR7, b.get(L.DR7).and(~DR7_LOCAL));
    b.call(followDebugRegisters);
    const rpl = b.load("i32.load", "cpu", i32(L.CS * 4), NEW_SELECTORS).and(3);
    b.put(L.CPL, select(b.get(L.SYSTEM_FLAGS).and(RF_VM), i32(3), rpl));
    b.put(L.STEP_ARMED, 0);
    b.put(L.SHADOW, 0);

    // From here on in the new task.
    const rip = b.get(L.RIP);
    const isPaged = b.get(L.CR0).and(BigInt(CR0_PG)).nez();
    const failed = b.variable(i32(0));
    b.if(is32.and(isPaged), () => failed.set(b.call(writeControl, 3, cr3)));
    b.if(failed.get().eqz(), () => failed.set(b.call(loadTaskSegments, ext)));
    b.call(updateMode);
    b.if(trap, () => b.put(L.WATCH_HITS, b.get(L.WATCH_HITS).or(DR6_BT)));
    b.call(updateEvents);
    b.if(failed.get(), () => failInNewTask(b, rip));
    b.if(rip.gtU(b.get(L.segLimit(L.CS)).u64()), () => {
      raise(b, EXC_GP, ext);
      failInNewTask(b, rip);
    });
    b.if(error.eq(-1), () => b.return(0));
    const stack = currentStack(b);
    const width = b.keep(select(is32, i32(4), i32(2)));
    frameValue(b, 0, error);
    const status = pushFrame(b, 1, width, stack);
    b.if(status, () => {
      b.if(status.eq(FRAME_BEYOND_LIMIT), () => raise(b, EXC_SS, ext));
      failInNewTask(b, rip);
    });
    b.put(L.RSP, b.call(movedPointer, stack.rsp, width.s64().neg(), stack.size));
    b.return(0);
  },
);

/** An instruction's fault counts from its own start: the new task's RIP takes that place. */
function failInNewTask(b: Builder, rip: Expr): void {
  const start = b.load("i64.load16_u", "host", b.get(L.CURRENT_UOP), L.UOP_START);
  b.put(L.BLOCK_RIP, rip.sub(start));
  b.return(1);
}
