/**
 * An unmasked x87 exception at the next waiting instruction (SDM vol. 1, 8.7): #MF if CR0.NE is set, else the way of the
 * AT: FERR# is asserted, the board makes it IRQ 13, and the instruction waits for an interrupt unless the board asserts
 * IGNNE#. FERR# falls when the exception flags are cleared or masked.
 *
 * Processors assert FERR# with some instructions at once instead of at the next one; here it is always the next.
 */
import { hostRoutine, type Routine, routine } from "../ir/routine.ts";
import { CR0_NE } from "./control-bits.ts";
import * as L from "./layout.ts";
import { EXC_MF, EXC_WAIT, raise } from "./raise.ts";

const FSW_ES = 0x80;

/** Host: FERR# is 1 or 0. Answers whether IGNNE# is asserted. */
export const floatError: Routine = hostRoutine("float_error", ["i32"], "i32");

/** With FSW.ES set: 0 = the instruction goes on, 1 = a fault is pending. */
export const pendingError: Routine = routine("x87_pending_error", [], "i32", (b) => {
  b.if(b.get(L.CR0).lo32().and(CR0_NE), () => {
    raise(b, EXC_MF);
    b.return(1);
  });
  b.put(L.FERR, 1);
  b.if(b.call(floatError, 1), () => b.return(0));
  raise(b, EXC_WAIT);
  b.return(1);
});

/** After FSW or FCW changed: FERR# falls with ES. */
export const errorGone: Routine = routine("x87_error_gone", [], undefined, (b) => {
  b.if(b.get(L.FERR), () =>
    b.if(b.get(L.FSW).and(FSW_ES).eqz(), () => {
      b.put(L.FERR, 0);
      b.call(floatError, 0);
    }),
  );
});
