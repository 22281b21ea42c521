/**
 * What is looked at between two blocks: interrupt shadows, single steps and breakpoints (SDM vol. 3, 17.2 and 17.3), NMIs and
 * interrupts, kicks and the debugger.
 */
import { codeBreakpoints, DR7_ENABLED } from "../cpu/debug.ts";
import { deliverException, deliverInterrupt } from "../cpu/exceptions.ts";
import { RF_IF, RF_RF, RF_TF } from "../cpu/flags.ts";
import * as L from "../cpu/layout.ts";
import { updateEvents } from "../cpu/mode.ts";
import { EXC_DB, EXC_NMI, raise } from "../cpu/raise.ts";
import { i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { codeAddress } from "./code-fetch.ts";

const DR6_BS = 0x4000;
/** Of WATCH_HITS: the breakpoints'. */
const WATCHED = 15;

/**
 * What to do between two blocks when ATTENTION is set: 0 = go on, 1 = go on with a single instruction, else leave with
 * EXIT_* + 1.
 */
export const attend: Routine = routine("attend", [], "i32", (b) => {
  // The instruction after STI or MOV SS, when nothing else is to be looked at: by far the most frequent.
  const traps = b.get(L.SYSTEM_FLAGS).and(RF_TF | RF_RF);
  const watched = b.get(L.BREAKPOINT_CONTROL).lo32().and(DR7_ENABLED).or(b.get(L.WATCH_HITS)).or(b.get(L.STEP_ARMED));
  const others = b.get(L.ATTENTION).and(~L.ATTENTION_CODE).or(traps).or(watched);
  b.if(b.get(L.SHADOW).nez().and(others.eqz()), () => {
    b.put(L.SHADOW, 0);
    b.put(L.ATTENTION, 0);
    b.return(1);
  });
  b.loop((next) => {
    // What is pending is looked at again in front of a handler's first instruction, as it is where a slice ends there.
    const again = (): void => {
      b.if(b.get(L.REMAINING).leS(0), () => b.return(0));
      b.br(next);
    };
    const shadow = b.get(L.SHADOW);
    b.put(L.SHADOW, 0);
    b.put(L.ATTENTION, b.get(L.ATTENTION).and(~L.ATTENTION_CODE));
    b.if(b.get(L.ATTENTION).and(L.ATTENTION_KICK), () => {
      b.put(L.ATTENTION, b.get(L.ATTENTION).and(~L.ATTENTION_KICK));
      b.put(L.SHADOW, shadow);
      b.if(shadow, () => b.put(L.ATTENTION, b.get(L.ATTENTION).or(L.ATTENTION_CODE)));
      b.return(L.EXIT_KICK + 1);
    });
    const single = b.variable(i32(0));
    // Single step: a trap after an instruction that began with TF set. MOV SS and POP SS hold it back.
    const hits = b.get(L.WATCH_HITS);
    b.if(b.get(L.DEBUGGED), () => {
      const isAt = b.call(codeBreakpoints, codeAddress(b), -1).nez();
      b.if(isAt.or(hits.and(WATCHED).nez()), () => {
        b.put(L.SHADOW, shadow);
        b.if(shadow, () => b.put(L.ATTENTION, b.get(L.ATTENTION).or(L.ATTENTION_CODE)));
        b.return(L.EXIT_DEBUG + 1);
      });
    });
    const armed = b.get(L.STEP_ARMED);
    b.if(armed.or(hits).nez().and(shadow.ne(2)), () => {
      b.put(L.STEP_ARMED, 0);
      b.put(L.WATCH_HITS, 0);
      // A breakpoint on the next instruction is part of the same exception.
      const isHeldBack = b.get(L.SYSTEM_FLAGS).and(RF_RF).or(b.get(L.DEBUGGED));
      const next = select(isHeldBack, i64(0), b.call(codeBreakpoints, codeAddress(b), -1));
      const step = select(armed, i64(DR6_BS), i64(0));
      b.put(L.DR6, b.get(L.DR6).and(-16).or(hits.u64()).or(step).or(next));
      raise(b, EXC_DB);
      b.if(b.call(deliverException), () => b.return(L.EXIT_SHUTDOWN + 1));
      b.put(L.REMAINING, b.get(L.REMAINING).sub(1));
      b.call(updateEvents);
      again();
    });
    b.if(
      shadow.eqz(),
      () => {
        const codeBreak = b.call(codeBreakpoint);
        b.if(codeBreak, () => {
          b.if(b.call(deliverException), () => b.return(L.EXIT_SHUTDOWN + 1));
          b.put(L.REMAINING, b.get(L.REMAINING).sub(1));
          again();
        });
        b.if(b.get(L.NMI_PENDING).and(b.get(L.NMI_MASKED).eqz()), () => {
          b.put(L.NMI_PENDING, 0);
          b.put(L.NMI_MASKED, 1);
          b.if(b.call(deliverInterrupt, EXC_NMI), () => b.return(L.EXIT_SHUTDOWN + 1));
          b.call(updateEvents);
          again();
        });
        b.if(b.get(L.INTR_PENDING).and(b.get(L.SYSTEM_FLAGS).and(RF_IF).nez()), () => b.return(L.EXIT_INTERRUPT + 1));
      },
      () => {
        single.set(i32(1));
        // Only MOV SS and POP SS hold instruction breakpoints back.
        b.if(shadow.eq(1), () =>
          b.if(b.call(codeBreakpoint), () => {
            b.if(b.call(deliverException), () => b.return(L.EXIT_SHUTDOWN + 1));
            b.put(L.REMAINING, b.get(L.REMAINING).sub(1));
            again();
          }),
        );
      },
    );
    b.if(b.get(L.SYSTEM_FLAGS).and(RF_TF), () => {
      b.put(L.STEP_ARMED, 1);
      single.set(i32(1));
    });
    // RF lasts for one instruction; what that one pushes shows it clear, but a fault.
    b.if(b.get(L.SYSTEM_FLAGS).and(RF_RF), () => {
      b.put(L.SYSTEM_FLAGS, b.get(L.SYSTEM_FLAGS).and(~RF_RF));
      single.set(i32(1));
    });
    // Where an instruction breakpoint lies in the page, instructions run one by one.
    b.if(b.call(codeBreakpoints, codeAddress(b), -4096).nez(), () => single.set(i32(1)));
    b.call(updateEvents);
    b.return(single.get());
  });
  b.return(0);
});

/** An enabled instruction breakpoint (DR7, SDM vol. 3, 17.2.4) at RIP: #DB is pending. RF suppresses it for one instruction. */
const codeBreakpoint: Routine = routine("code_breakpoint", [], "i32", (b) => {
  b.if(b.get(L.DEBUGGED), () => b.return(0));
  const hits = b.call(codeBreakpoints, codeAddress(b), -1);
  b.if(hits.eqz(), () => b.return(0));
  const flags = b.get(L.SYSTEM_FLAGS);
  b.if(flags.and(RF_RF), () => {
    b.put(L.SYSTEM_FLAGS, flags.and(~RF_RF));
    b.return(0);
  });
  b.put(L.DR6, b.get(L.DR6).and(-16).or(hits));
  raise(b, EXC_DB);
  b.return(1);
});
