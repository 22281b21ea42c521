/**
 * Model-specific registers that live in the vCPU's state (SDM vol. 4), and the way to those of the machine: local APIC,
 * TSC and its deadline, and what reads as absent. Writes check reserved bits: #GP(0).
 */
import type { Builder, Field } from "../ir/builder.ts";
import { hostRoutine, type Routine, routine } from "../ir/routine.ts";
import { EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE } from "./control-bits.ts";
import * as L from "./layout.ts";
import { EXC_GP, raise } from "./raise.ts";
import { flushTlbAll } from "./tlb.ts";

/** (index): value through result 0. 0 = done, 1 = no such MSR. */
const machineReadMsr: Routine = hostRoutine("read_msr", ["i32"], "i32");
export const machineWriteMsr: Routine = hostRoutine("write_msr", ["i32"], "i32");
/** Fills EAX EBX ECX EDX from leaf EAX, sub-leaf ECX. */
export const cpuid: Routine = hostRoutine("cpuid", [], undefined);

/** Pseudo-index for the host: CR8, the local APIC's task priority. */
export const MSR_CR8 = 0xffff0008 | 0;

/** MSRs kept in the state block, and what a written value must be: any, a canonical address, 32 bits. */
export const STATE_MSRS: readonly (readonly [number, Field, "any" | "canonical" | "low32"])[] = [
  [0xc0000081, L.STAR, "any"],
  [0xc0000082, L.LSTAR, "canonical"],
  [0xc0000083, L.CSTAR, "canonical"],
  [0xc0000084, L.SFMASK, "low32"],
  [0xc0000100, L.segBase(L.FS), "canonical"],
  [0xc0000101, L.segBase(L.GS), "canonical"],
  [0xc0000102, L.KERNEL_GS_BASE, "canonical"],
  [0xc0000103, L.TSC_AUX, "low32"],
  [0x174, L.SYSENTER_CS, "any"],
  [0x175, L.SYSENTER_ESP, "canonical"],
  [0x176, L.SYSENTER_EIP, "canonical"],
  [0x277, L.PAT, "any"],
];
export const MSR_EFER = 0xc0000080 | 0;
const EFER_VALID = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;

function gp(b: Builder): void {
  raise(b, EXC_GP, 0);
  b.return(1);
}

/** RDMSR: value in result 0. 1 = #GP(0) is pending. */
export const readMsr: Routine = routine("read_msr_any", ["i32"], "i32", (b, index) => {
  const found = (field: Field, number: number): void =>
    b.if(index.eq(number), () => {
      b.put(L.result(0), b.get(field));
      b.return(0);
    });
  for (const [number, field] of STATE_MSRS) found(field, number);
  found(L.EFER, MSR_EFER);
  b.if(b.call(machineReadMsr, index), () => gp(b));
  b.return(0);
});

export const writeMsr: Routine = routine("write_msr_any", ["i32", "i64"], "i32", (b, index, value) => {
  for (const [number, field, rule] of STATE_MSRS)
    b.if(index.eq(number), () => {
      if (rule === "canonical") b.if(value.shl(16).shrS(16).ne(value), () => gp(b));
      if (rule === "low32") b.if(value.shrU(32).nez(), () => gp(b));
      if (field === L.PAT) {
        // Each byte is a memory type: 0, 1, 4, 5, 6 or 7.
        b.if(value.and(0xf8f8f8f8f8f8f8f8n).nez(), () => gp(b));
        const two = value.shrU(1).and(value.shrU(2).not()).and(0x0101010101010101n);
        b.if(two.nez(), () => gp(b));
      }
      b.put(field, value);
      b.return(0);
    });
  b.if(index.eq(MSR_EFER), () => {
    b.if(value.and(~BigInt(EFER_VALID)).nez(), () => gp(b));
    // LMA is read-only: a written value is ignored.
    const old = b.get(L.EFER);
    const paging = b.get(L.CR0).shrU(31).and(1);
    const changesLme = value.xor(old).and(EFER_LME).nez();
    b.if(paging.nez().and(changesLme), () => gp(b));
    b.put(L.EFER, value.and(~EFER_LMA).or(old.and(EFER_LMA)));
    b.if(value.xor(old).and(EFER_NXE).nez(), () => b.call(flushTlbAll));
    b.return(0);
  });
  b.put(L.result(0), value);
  b.if(b.call(machineWriteMsr, index), () => gp(b));
  b.return(0);
});
