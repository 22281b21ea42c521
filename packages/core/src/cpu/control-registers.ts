/** Writes to CR0, CR2, CR3, CR4 and CR8 (SDM vol. 3, 2.5), with the checks that raise #GP(0) and what follows from a change. */
import type { Builder, Expr } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { updateMode } from "./mode.ts";
import { EFER_LMA, EFER_LME, MSR_CR8, machineWriteMsr } from "./msr.ts";
import { flushTlb, flushTlbAll } from "./paging.ts";
import { EXC_GP, EXC_UD, raise } from "./raise.ts";

export const CR0_PE = 1;
export const CR0_MP = 2;
export const CR0_EM = 4;
export const CR0_TS = 8;
export const CR0_ET = 0x10;
export const CR0_NE = 0x20;
export const CR0_WP = 0x10000;
export const CR0_AM = 0x40000;
export const CR0_NW = 0x20000000;
export const CR0_CD = 0x40000000;
export const CR0_PG = 0x80000000;
export const CR4_TSD = 4;
export const CR4_DE = 8;
export const CR4_PSE = 0x10;
export const CR4_PAE = 0x20;
export const CR4_MCE = 0x40;
export const CR4_PGE = 0x80;
export const CR4_OSFXSR = 0x200;
export const CR4_OSXMMEXCPT = 0x400;
export const CR4_OSXSAVE = 0x40000;
export const CR4_SMEP = 0x100000;
/** Bits of CR4 that this CPU has. */
export const CR4_VALID: number =
  CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_SMEP;
/** Physical address bits. */
export const MAXPHYADDR = 40;

/** What FPU, MMX and SSE instructions meet: FPU_BLOCKED, from CR0 and CR4. */
export const updateFpuBlocked: Routine = routine("update_fpu_blocked", [], undefined, (b) => {
  const cr0 = b.keep(b.get(L.CR0).lo32());
  const ts = b.keep(cr0.shrU(3).and(1));
  const em = b.keep(cr0.shrU(2).and(1));
  const osfxsr = b.get(L.CR4).lo32().shrU(9).and(1);
  b.put(
    L.FPU_BLOCKED,
    ts
      .or(em)
      .or(em.or(osfxsr.xor(1)).shl(1))
      .or(ts.shl(2))
      .or(em.shl(3)),
  );
});

function gp(b: Builder): void {
  raise(b, EXC_GP, 0);
  b.return(1);
}

const writeCr0: Routine = routine("write_cr0", ["i64"], "i32", (b, value) => {
  const old = b.get(L.CR0);
  const has = (bits: number): Expr => value.and(BigInt(bits)).nez();
  b.if(value.shrU(32).nez(), () => gp(b));
  b.if(has(CR0_PG).and(has(CR0_PE).eqz()), () => gp(b));
  b.if(has(CR0_NW).and(has(CR0_CD).eqz()), () => gp(b));
  const next = b.keep(value.and(0xe005003fn).or(CR0_ET));
  const changes = b.keep(next.xor(old));
  b.if(changes.and(BigInt(CR0_PG)).nez(), () => {
    b.if(
      has(CR0_PG),
      () => {
        const lme = b.get(L.EFER).and(EFER_LME).nez();
        // Paging without long mode is not there yet.
        b.if(lme.eqz(), () => {
          raise(b, EXC_UD);
          b.return(1);
        });
        b.if(b.get(L.CR4).and(CR4_PAE).eqz(), () => gp(b));
        b.if(b.get(L.segAttributes(L.CS)).and(0x2000), () => gp(b));
        b.put(L.EFER, b.get(L.EFER).or(EFER_LMA));
      },
      () => {
        b.if(b.get(L.MODE).and(L.MODE_64), () => gp(b));
        b.put(L.EFER, b.get(L.EFER).and(~EFER_LMA));
      },
    );
  });
  b.put(L.CR0, next);
  b.if(changes.and(BigInt(CR0_PG | CR0_WP) & 0xffffffffn).nez(), () => b.call(flushTlbAll));
  b.call(updateMode);
  b.call(updateFpuBlocked);
  b.return(0);
});

const writeCr4: Routine = routine("write_cr4", ["i64"], "i32", (b, value) => {
  const old = b.get(L.CR4);
  b.if(value.and(~BigInt(CR4_VALID)).nez(), () => gp(b));
  const lma = b.get(L.EFER).and(EFER_LMA).nez();
  b.if(lma.and(value.and(CR4_PAE).eqz()), () => gp(b));
  b.put(L.CR4, value);
  b.if(
    value
      .xor(old)
      .and(CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)
      .nez(),
    () => b.call(flushTlbAll),
  );
  b.call(updateFpuBlocked);
  b.return(0);
});

/** MOV to CR`number`. 0 = done, 1 = a fault is pending. */
export const writeControl: Routine = routine("write_control", ["i32", "i64"], "i32", (b, number, value) => {
  b.if(number.eqz(), () => b.return(b.call(writeCr0, value)));
  b.if(number.eq(4), () => b.return(b.call(writeCr4, value)));
  b.if(number.eq(2), () => {
    b.put(L.CR2, value);
    b.return(0);
  });
  b.if(number.eq(3), () => {
    b.if(value.shrU(MAXPHYADDR).nez(), () => gp(b));
    b.put(L.CR3, value);
    b.call(flushTlb);
    b.return(0);
  });
  b.if(value.gtU(15), () => gp(b));
  b.put(L.CR8, value);
  b.put(L.result(0), value);
  b.call(machineWriteMsr, MSR_CR8);
  b.return(0);
});
