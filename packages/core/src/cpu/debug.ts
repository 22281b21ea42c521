/**
 * Data and I/O breakpoints (SDM vol. 3, 17.2): accesses that hit one are noted and raise #DB as a trap when the
 * instruction is done, or end the run where they are a debugger's outside the guest (engine/jit-debugger.ts). While a data
 * breakpoint is enabled the TLB is bypassed, so every access comes by here.
 * Instruction breakpoints and single step: interp/attention.ts.
 */
import { type Expr, i32, i64, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";

export const DR7_ENABLED = 0xff;
/** The breakpoints in force are the guest's again, or still, unless a debugger outside has put its own there. */
export const followDebugRegisters: Routine = routine("follow_debug_registers", [], undefined, (b) => {
  b.if(b.get(L.DEBUGGED), () => b.return());
  for (let n = 0; n < 4; n++) b.put(L.breakpoint(n), b.get(L.dr(n)));
  b.put(L.BREAKPOINT_CONTROL, b.get(L.DR7));
});

/** R/W fields of DR7. */
const RW_WRITE = 1;
const RW_IO = 2;
const RW_ACCESS = 3;

/** LEN field to bytes: 1, 2, 8, 4. */
function lengthOf(len: Expr): Expr {
  const field = len;
  return select(field.eq(2), i64(8), i64(1).shl(select(field.eq(3), i64(2), field.u64())));
}

/** Notes the breakpoints that an access of `size` bytes hits. `kind`: 0 read, 1 write, 2 read and write, 3 I/O. */
export const watch: Routine = routine("watch", ["i64", "i32", "i32"], undefined, (b, address, size, kind) => {
  const dr7 = b.get(L.BREAKPOINT_CONTROL);
  b.if(dr7.and(DR7_ENABLED).eqz(), () => b.return());
  const last = b.keep(address.add(size.u64()).sub(1));
  const hits = b.variable(i32(0));
  for (let n = 0; n < 4; n++) {
    const rw = b.keep(
      dr7
        .shrU(16 + 4 * n)
        .lo32()
        .and(3),
    );
    const length = b.keep(
      lengthOf(
        b.keep(
          dr7
            .shrU(18 + 4 * n)
            .lo32()
            .and(3),
        ),
      ),
    );
    const start = b.keep(b.get(L.breakpoint(n)).and(length.sub(1).not()));
    const overlaps = start.leU(last).and(start.add(length).sub(1).geU(address));
    const wanted = select(
      kind.eq(3),
      rw.eq(RW_IO).and(b.get(L.CR4).shrU(3).lo32().and(1)),
      rw.eq(RW_ACCESS).or(rw.eq(RW_WRITE).and(kind.nez())),
    );
    const enabled = dr7
      .shrU(2 * n)
      .and(3)
      .nez();
    b.if(enabled.and(wanted).and(overlaps), () => hits.set(hits.get().or(1 << n)));
  }
  b.if(hits.get().nez(), () => {
    b.put(L.WATCH_HITS, b.get(L.WATCH_HITS).or(hits.get()));
    b.put(L.ATTENTION, b.get(L.ATTENTION).or(L.ATTENTION_TRAP));
  });
});

/** Whether DR7 has a data breakpoint (i32, 0 or 1): the TLB must then be bypassed. */
export const watchesData: Routine = routine("watches_data", [], "i32", (b) => {
  const dr7 = b.get(L.BREAKPOINT_CONTROL);
  b.if(dr7.and(DR7_ENABLED).eqz(), () => b.return(0));
  const any = b.variable(i32(0));
  for (let n = 0; n < 4; n++) {
    const enabled = dr7
      .shrU(2 * n)
      .and(3)
      .nez();
    any.set(
      any.get().or(
        enabled.and(
          dr7
            .shrU(16 + 4 * n)
            .lo32()
            .and(RW_WRITE),
        ),
      ),
    );
  }
  b.return(any.get());
});

/**
 * The enabled instruction breakpoints (R/W and LEN 0) whose address agrees with `linear` in the bits of `mask`, as bits 0-3
 * of DR6 have them (i64): all bits for a hit, those of the page for what may hit in it, none for whether there are any.
 */
export const codeBreakpoints: Routine = routine("code_breakpoints", ["i64", "i64"], "i64", (b, linear, mask) => {
  const dr7 = b.get(L.BREAKPOINT_CONTROL);
  b.if(dr7.and(DR7_ENABLED).eqz(), () => b.return(i64(0)));
  const wanted = b.keep(linear.and(mask));
  const hits = b.variable(i64(0));
  for (let n = 0; n < 4; n++) {
    const isEnabled = dr7.and(3 << (2 * n)).nez();
    const isCode = dr7.and(15n << BigInt(16 + 4 * n)).eqz();
    const agrees = b.get(L.breakpoint(n)).and(mask).eq(wanted);
    b.if(isEnabled.and(isCode).and(agrees), () => hits.set(hits.get().or(1 << n)));
  }
  b.return(hits.get());
});
