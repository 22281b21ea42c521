/**
 * Raising and delivering exceptions and interrupts in every mode (SDM vol. 3, chapter 6): which way an event takes, and
 * the rules of table 6-5 for a fault on that way. Real mode and protected mode: deliver-legacy.ts; long mode:
 * deliver-long.ts.
 */
import { type Builder, type Expr, i32, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { checkV86Interrupt, deliverProtected, deliverReal } from "./deliver-legacy.ts";
import { deliverLong } from "./deliver-long.ts";
import { BY_EXCEPTION, BY_HARDWARE, BY_SOFTWARE } from "./event-kind.ts";
import * as L from "./layout.ts";
import { EXC_DB, EXC_DF, EXC_GP, EXC_PF, EXC_TS, EXC_WAIT } from "./raise.ts";

/**
 * Delivers vector `vector`: 0 = done, 1 = a fault is pending instead. `kind` is BY_*; `error` -1 = none. RIP
 * (cpu/layout.ts) is the address to push.
 */
const deliverOnce: Routine = routine("deliver_once", ["i32", "i32", "i32"], "i32", (b, vector, error, kind) => {
  b.if(b.get(L.EFER).lo32().and(0x400), () => b.return(b.call(deliverLong, vector, error, kind)));
  b.if(b.get(L.CR0).lo32().and(1).eqz(), () => b.return(b.call(deliverReal, vector)));
  b.return(b.call(deliverProtected, vector, error, kind));
});

/** SDM table 6-4: 0 benign, 1 contributory, 2 page fault. */
function classOf(b: Builder, vector: Expr): Expr {
  const contributory = vector.eqz().or(vector.geU(EXC_TS).and(vector.leU(EXC_GP)));
  return b.keep(select(vector.eq(EXC_PF), i32(2), contributory));
}

/** More than any delivery takes that ends. */
const MAX_DELIVERIES = 16;

/**
 * Delivers the pending exception (EXC_VECTOR, EXC_ERROR): 0, or 1 = shutdown. A delivery that raises benign exceptions
 * without end, such as #AC on a misaligned stack of ring 3, is given up, so that the instruction raises it again: the
 * guest hangs, as on the processor, and the host does not.
 */
export const deliverException: Routine = routine("deliver_exception", [], "i32", (b) => {
  b.if(b.get(L.EXC_VECTOR).eq(EXC_WAIT), () => b.return(0));
  const vector = b.variable(b.get(L.EXC_VECTOR));
  const error = b.variable(b.get(L.EXC_ERROR));
  const left = b.variable(i32(MAX_DELIVERIES));
  b.loop((again) => {
    left.set(left.get().sub(1));
    b.if(left.get().eqz(), () => b.return(0));
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
  const failed = b.call(deliverOnce, vector, -1, BY_HARDWARE);
  b.if(failed.eqz(), () => b.return(0));
  b.return(b.call(deliverException));
});

/** INT n, INT3, INTO: RIP is already that of the next instruction. 0, or 1 = a fault is pending. */
export const softwareInterrupt: Routine = routine("software_interrupt", ["i32"], "i32", (b, vector) => {
  b.return(b.call(deliverOnce, vector, -1, BY_SOFTWARE));
});

/** INT n: virtual-8086 mode lets it through at IOPL 3 only. */
export const interruptInstruction: Routine = routine("interrupt_instruction", ["i32"], "i32", (b, vector) => {
  b.if(b.call(checkV86Interrupt), () => b.return(1));
  b.return(b.call(softwareInterrupt, vector));
});

/**
 * INT1: a #DB of its own, whose gate's DPL is not looked at. Data breakpoints that MOV SS held back are lost: a second #DB
 * at the handler's first instruction would overwrite the first one's frame.
 */
export const debugInterrupt: Routine = routine("debug_interrupt", [], "i32", (b) => {
  b.put(L.WATCH_HITS, 0);
  b.return(b.call(deliverOnce, EXC_DB, -1, BY_EXCEPTION));
});
