/**
 * Writes to CR0, CR2, CR3, CR4 and CR8 (SDM vol. 3, 2.5, 4.1, 4.10.4 and 9.8.5; vol. 2, MOV to control registers): what
 * raises #GP(0), and what follows from a change: modes of paging, long mode, the PAE registers, the TLB. A write that
 * faults changes nothing.
 */
import { type Builder, type Expr, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as C from "./control-bits.ts";
import * as L from "./layout.ts";
import { updateMode, updateTlbSet } from "./mode.ts";
import { MSR_CR8, machineWriteMsr } from "./msr.ts";
import { loadPointers } from "./page-directory-pointers.ts";
import { MAXPHYADDR } from "./physical.ts";
import { EXC_GP, raise } from "./raise.ts";
import { flushTlb, flushTlbAll } from "./tlb.ts";

/** Bits of CR0 that can be written; ET is fixed, the others below bit 32 are ignored. */
const CR0_WRITABLE =
  BigInt(C.CR0_PG) | BigInt(C.CR0_CD | C.CR0_NW | C.CR0_AM | C.CR0_WP | C.CR0_NE | C.CR0_TS | C.CR0_EM | C.CR0_MP | 1);
/** Bits of CR4 that every such CPU has, and those that come with a feature. */
const CR4_ALWAYS =
  C.CR4_TSD | C.CR4_DE | C.CR4_PSE | C.CR4_PAE | C.CR4_MCE | C.CR4_PGE | C.CR4_PCE | C.CR4_OSFXSR | C.CR4_OSXMMEXCPT;
const CR4_OF_FEATURES = [
  [L.FEATURE_UMIP, C.CR4_UMIP],
  [L.FEATURE_FSGSBASE, C.CR4_FSGSBASE],
  [L.FEATURE_PCID, C.CR4_PCIDE],
  [L.FEATURE_XSAVE, C.CR4_OSXSAVE],
  [L.FEATURE_SMEP, C.CR4_SMEP],
  [L.FEATURE_SMAP, C.CR4_SMAP],
] as const;
/** Changes of these drop translations. */
const CR4_TRANSLATION = C.CR4_PSE | C.CR4_PAE | C.CR4_PGE | C.CR4_PCIDE | C.CR4_SMEP | C.CR4_SMAP;
/** Changes of these load the PAE registers. */
const CR4_POINTERS = C.CR4_PSE | C.CR4_PAE | C.CR4_PGE | C.CR4_SMEP;
const CR3_NO_FLUSH = 1n << 63n;
const CR3_PCID = 0xfff;
/** A TSS's type without bit 3: 16-bit or 32-bit (64-bit). */
const TSS_32 = 8;

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

/** Fails the write with #GP(0). */
function refuse(b: Builder, condition: Expr): void {
  b.if(condition, () => {
    raise(b, EXC_GP, 0);
    b.return(1);
  });
}

/** Loads the PAE registers for CR0 and CR4 as they will be, if those use PAE paging. */
function loadPointersIf(b: Builder, changed: Expr, cr0: Expr, cr4: Expr, lma: Expr): void {
  const usesPae = cr0.and(C.CR0_PG).nez().and(cr4.and(C.CR4_PAE).nez()).and(lma.eqz());
  b.if(changed.nez().and(usesPae), () => b.if(b.call(loadPointers, b.get(L.CR3)), () => b.return(1)));
}

const writeCr0: Routine = routine("write_cr0", ["i64"], "i32", (b, value) => {
  refuse(b, value.shrU(32).nez());
  const next = b.keep(value.and(CR0_WRITABLE).or(C.CR0_ET).lo32());
  const has = (bit: number): Expr => next.and(bit).nez();
  refuse(b, has(C.CR0_PG).and(has(C.CR0_PE).eqz()));
  refuse(b, has(C.CR0_NW).and(has(C.CR0_CD).eqz()));
  const changes = b.keep(next.xor(b.get(L.CR0).lo32()));
  const efer = b.variable(b.get(L.EFER));
  const cr4 = b.keep(b.get(L.CR4).lo32());
  b.if(changes.and(C.CR0_PG), () =>
    b.if(
      has(C.CR0_PG),
      () =>
        b.if(efer.get().and(C.EFER_LME).nez(), () => {
          refuse(b, cr4.and(C.CR4_PAE).eqz());
          refuse(b, b.get(L.segAttributes(L.CS)).shrU(13).and(1));
          refuse(b, b.get(L.segAttributes(L.TR)).and(TSS_32).eqz());
          efer.set(efer.get().or(C.EFER_LMA));
        }),
      () => {
        refuse(b, b.get(L.MODE).and(L.MODE_64));
        refuse(b, cr4.and(C.CR4_PCIDE));
        efer.set(efer.get().and(~C.EFER_LMA));
      },
    ),
  );
  const lma = b.keep(efer.get().lo32().and(C.EFER_LMA));
  loadPointersIf(b, changes.and(C.CR0_PG | C.CR0_CD | C.CR0_NW), next, cr4, lma);
  b.put(L.EFER, efer.get());
  b.put(L.CR0, next.u64());
  b.if(changes.and(C.CR0_PG | C.CR0_WP), () => b.call(flushTlbAll));
  b.call(updateMode);
  b.call(updateFpuBlocked);
  b.return(0);
});

const writeCr4: Routine = routine("write_cr4", ["i64"], "i32", (b, value) => {
  refuse(b, value.and(~BigInt(CR4_ALWAYS | CR4_OF_FEATURES.reduce((all, [, bit]) => all | bit, 0))).nez());
  const features = b.get(L.CPU_FEATURES);
  for (const [feature, bit] of CR4_OF_FEATURES)
    refuse(b, value.and(BigInt(bit)).nez().and(features.and(feature).eqz()));
  const next = b.keep(value.lo32());
  const changes = b.keep(next.xor(b.get(L.CR4).lo32()));
  const lma = b.keep(b.get(L.EFER).lo32().and(C.EFER_LMA));
  refuse(b, lma.nez().and(next.and(C.CR4_PAE).eqz()));
  b.if(changes.and(next).and(C.CR4_PCIDE), () => {
    refuse(b, lma.eqz());
    refuse(b, b.get(L.CR3).lo32().and(CR3_PCID));
  });
  loadPointersIf(b, changes.and(CR4_POINTERS), b.get(L.CR0).lo32(), next, lma);
  b.put(L.CR4, next.u64());
  b.if(changes.and(CR4_TRANSLATION), () => {
    b.call(flushTlbAll);
    b.call(updateTlbSet);
  });
  b.call(updateFpuBlocked);
  b.return(0);
});

const writeCr3: Routine = routine("write_cr3", ["i64"], "i32", (b, value) => {
  const cr4 = b.keep(b.get(L.CR4).lo32());
  // Bit 63 under PCIDE asks to keep this PCID's translations; dropping them is allowed.
  const next = b.keep(select(cr4.and(C.CR4_PCIDE), value.and(~CR3_NO_FLUSH), value));
  refuse(b, next.shrU(MAXPHYADDR).nez());
  const legacy = b.get(L.EFER).lo32().and(C.EFER_LMA).eqz();
  const usesPae = b.get(L.CR0).lo32().and(C.CR0_PG).nez().and(cr4.and(C.CR4_PAE).nez()).and(legacy);
  b.if(usesPae, () => b.if(b.call(loadPointers, next), () => b.return(1)));
  b.put(L.CR3, next);
  b.call(flushTlb);
  b.return(0);
});

/** MOV to CR`number`. 0 = done, 1 = a fault is pending. */
export const writeControl: Routine = routine("write_control", ["i32", "i64"], "i32", (b, number, value) => {
  b.if(number.eqz(), () => b.return(b.call(writeCr0, value)));
  b.if(number.eq(3), () => b.return(b.call(writeCr3, value)));
  b.if(number.eq(4), () => b.return(b.call(writeCr4, value)));
  b.if(number.eq(2), () => {
    b.put(L.CR2, value);
    b.return(0);
  });
  refuse(b, value.gtU(15));
  b.put(L.CR8, value);
  b.put(L.result(0), value);
  b.call(machineWriteMsr, MSR_CR8);
  b.return(0);
});
