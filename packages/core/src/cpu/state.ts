/**
 * Architectural state of one vCPU, engine-neutral: what a saved VM keeps and what moves between engines. Nothing of an
 * engine's own (TLB, decode cache, lazy flags) is in here. Field names are the manual's register names.
 */
export interface SegmentRegister {
  selector: number;
  base: bigint;
  /** Byte-granular limit, expanded. */
  limit: number;
  /** Access rights in the layout of a descriptor's bits 40-55: type, S, DPL, P, AVL, L, D/B, G; bit 16 set = unusable. */
  attributes: number;
}

export interface DescriptorTable {
  base: bigint;
  limit: number;
}

export interface VcpuState {
  /** rax rcx rdx rbx rsp rbp rsi rdi r8..r15 */
  gpr: bigint[];
  rip: bigint;
  rflags: bigint;
  es: SegmentRegister;
  cs: SegmentRegister;
  ss: SegmentRegister;
  ds: SegmentRegister;
  fs: SegmentRegister;
  gs: SegmentRegister;
  ldtr: SegmentRegister;
  tr: SegmentRegister;
  gdtr: DescriptorTable;
  idtr: DescriptorTable;
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  cr8: bigint;
  xcr0: bigint;
  /** PAE paging's page-directory-pointer-table entries, as they were loaded from memory; 0 where it is not in use. */
  pdptes: bigint[];
  dr: bigint[]; // dr0 dr1 dr2 dr3 dr6 dr7
  /** The 512-byte FXSAVE64 image: x87, MXCSR, XMM0-15. */
  fxsave: Uint8Array;
  /** MSRs by index, those of the engine's own table. */
  msrs: Record<string, bigint>;
  halted: boolean;
  /** STI or MOV SS shadow: no interrupt before the next instruction ends. */
  interruptShadow: "none" | "sti" | "mov-ss";
  nmiPending: boolean;
  nmiMasked: boolean;
  retired: number;
}

/** The bits that MXCSR has (SDM vol. 1, 10.2.3): MXCSR_MASK of the CPU model. */
export const MXCSR_VALID = 0xffff;
