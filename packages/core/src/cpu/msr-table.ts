/**
 * Model-specific registers as data (SDM vol. 4): each that exists, with its value after power-on, what a write does, and
 * the reason. docs/reference/cpuid.md is made from it; what is constant is answered from here. Every other index is
 * absent: RDMSR and WRMSR raise #GP(0), performance counters among them, as CPUID leaf 0AH promises none.
 */
import { type Feature, featureSet } from "./features.ts";

export interface MsrRow {
  readonly index: number;
  /** Of a row that stands for several. */
  readonly last?: number;
  readonly name: string;
  readonly reset: string;
  readonly write: string;
  readonly reason: string;
  /** Set: reads as this constant. */
  readonly constant?: (features: ReadonlySet<string>) => bigint;
  /** Writes of a constant are ignored; otherwise they are #GP(0). */
  readonly isWriteIgnored?: boolean;
}

/**
 * RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO,
 * PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.
 */
const ARCH_CAPABILITIES: bigint = [0, 1, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62].reduce(
  (all, bit) => all | (1n << BigInt(bit)),
  0n,
);
/** Fast strings; bit 18: MONITOR is enabled. */
const miscEnable = (features: ReadonlySet<string>): bigint => 1n | (features.has("monitor") ? 1n << 18n : 0n);

export const IA32_SPEC_CTRL = 0x48;
/** IBRS, STIBP, BHI_DIS_S: kept, without effect. */
export const SPEC_CTRL_WRITABLE = 0x403n;
export const IA32_PRED_CMD = 0x49;

const CANONICAL = "canonical, else #GP(0)";
const CALLS = "Where system calls go.";
const RANGES = "State only: memory has no caches. Firmware's values are set at a direct boot.";
const MACHINE_CHECK = "Machine check without banks: nothing is ever reported.";

export const MSR_ROWS: readonly MsrRow[] = [
  { index: 0x0, last: 0x1, name: "IA32_P5_MC_ADDR, _TYPE", reset: "0", write: "#GP(0)", reason: MACHINE_CHECK },
  {
    index: 0x10,
    name: "IA32_TIME_STAMP_COUNTER",
    reset: "0",
    write: "sets it",
    reason: "Arithmetic on the guest's time; no clock of the host is read.",
  },
  {
    index: 0x17,
    name: "IA32_PLATFORM_ID",
    reset: "0",
    write: "#GP(0)",
    reason: "Microcode loaders read it; there is no microcode.",
    constant: () => 0n,
  },
  {
    index: 0x1b,
    name: "IA32_APIC_BASE",
    reset: "0xfee00900",
    write: "reserved bits and wrong changes of mode: #GP(0)",
    reason: "Enables the local APIC, and x2APIC mode.",
  },
  {
    index: 0x3b,
    name: "IA32_TSC_ADJUST",
    reset: "0",
    write: "moves the TSC",
    reason: "Linux checks it at boot; firmware that moved the TSC would show.",
  },
  {
    index: IA32_SPEC_CTRL,
    name: "IA32_SPEC_CTRL",
    reset: "0",
    write: "IBRS, STIBP, BHI_DIS_S are kept; others: #GP(0)",
    reason: "No effect: nothing is speculated across privilege levels. Linux writes it once, at boot.",
  },
  {
    index: IA32_PRED_CMD,
    name: "IA32_PRED_CMD",
    reset: "write-only",
    write: "0 or 1, without effect; others: #GP(0)",
    reason: "There are no predictors to flush.",
  },
  {
    index: 0x8b,
    name: "IA32_BIOS_SIGN_ID",
    reset: "0",
    write: "ignored",
    reason: "No microcode to load; Linux asks for none on a virtual machine.",
    constant: () => 0n,
    isWriteIgnored: true,
  },
  { index: 0xfe, name: "IA32_MTRRCAP", reset: "0x508", write: "#GP(0)", reason: RANGES },
  {
    index: 0x10a,
    name: "IA32_ARCH_CAPABILITIES",
    reset: `0x${ARCH_CAPABILITIES.toString(16)}`,
    write: "#GP(0)",
    reason:
      "RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY SSB_NO MDS_NO PSCHANGE_MC_NO TAA_NO SBDR_SSDP_NO FBSDP_NO PSDP_NO BHI_NO PBRSB_NO GDS_NO RFDS_NO ITS_NO: translated code leaks nothing between a guest's kernel and its programs, so Linux needs no page-table isolation and no buffer clearing.",
    constant: () => ARCH_CAPABILITIES,
  },
  { index: 0x174, name: "IA32_SYSENTER_CS", reset: "0", write: "any", reason: CALLS },
  { index: 0x175, last: 0x176, name: "IA32_SYSENTER_ESP, _EIP", reset: "0", write: CANONICAL, reason: CALLS },
  { index: 0x179, name: "IA32_MCG_CAP", reset: "0", write: "#GP(0)", reason: MACHINE_CHECK },
  { index: 0x17a, name: "IA32_MCG_STATUS", reset: "0", write: "bits 0 to 2; others: #GP(0)", reason: MACHINE_CHECK },
  {
    index: 0x1a0,
    name: "IA32_MISC_ENABLE",
    reset: "1; with MONITOR 0x40001",
    write: "ignored",
    reason: "Fast strings: Linux then copies with REP MOVSB, which is one host instruction here.",
    constant: miscEnable,
    isWriteIgnored: true,
  },
  {
    index: 0x200,
    last: 0x20f,
    name: "IA32_MTRR_PHYSBASE0 to PHYSMASK7",
    reset: "0",
    write: "reserved bits and types: #GP(0)",
    reason: RANGES,
  },
  ...[
    [0x250, 0x250, "IA32_MTRR_FIX64K"],
    [0x258, 0x259, "IA32_MTRR_FIX16K"],
    [0x268, 0x26f, "IA32_MTRR_FIX4K"],
  ].map(
    ([index, last, name]): MsrRow => ({
      index: index as number,
      last: last as number,
      name: name as string,
      reset: "0",
      write: "reserved types: #GP(0)",
      reason: RANGES,
    }),
  ),
  {
    index: 0x277,
    name: "IA32_PAT",
    reset: "0x0007040600070406",
    write: "reserved types: #GP(0)",
    reason: "State only, as the ranges.",
  },
  { index: 0x2ff, name: "IA32_MTRR_DEF_TYPE", reset: "0", write: "reserved bits and types: #GP(0)", reason: RANGES },
  {
    index: 0x6e0,
    name: "IA32_TSC_DEADLINE",
    reset: "0",
    write: "arms the timer",
    reason: "The quickest timer: one write, in the TSC's unit.",
  },
  {
    index: 0x800,
    last: 0x8ff,
    name: "x2APIC registers",
    reset: "as the local APIC's",
    write: "by register; outside x2APIC mode #GP(0)",
    reason: "Interrupts without MMIO.",
  },
  {
    index: 0xc0000080,
    name: "IA32_EFER",
    reset: "0",
    write: "SCE LME NXE; others, and LME under paging: #GP(0)",
    reason: "Long mode, NX and SYSCALL.",
  },
  { index: 0xc0000081, name: "IA32_STAR", reset: "0", write: "any", reason: CALLS },
  { index: 0xc0000082, last: 0xc0000083, name: "IA32_LSTAR, IA32_CSTAR", reset: "0", write: CANONICAL, reason: CALLS },
  { index: 0xc0000084, name: "IA32_FMASK", reset: "0", write: "32 bits, else #GP(0)", reason: CALLS },
  {
    index: 0xc0000100,
    last: 0xc0000102,
    name: "IA32_FS_BASE, IA32_GS_BASE, IA32_KERNEL_GS_BASE",
    reset: "0",
    write: CANONICAL,
    reason: "Bases of segments in 64-bit mode.",
  },
  {
    index: 0xc0000103,
    name: "IA32_TSC_AUX",
    reset: "0",
    write: "32 bits, else #GP(0)",
    reason: "What RDTSCP and RDPID answer.",
  },
];

const CONSTANTS: ReadonlyMap<number, MsrRow> = new Map(
  MSR_ROWS.filter(({ constant }) => constant).map((row) => [row.index, row]),
);

/** MSRs that read as constants; undefined: none of them. */
export function constantMsr(
  index: number,
  features: ReadonlySet<string> = featureSet([]) satisfies ReadonlySet<Feature>,
): bigint | undefined {
  return CONSTANTS.get(index)?.constant?.(features);
}

/** Writes that do nothing. False: #GP(0). */
export function ignoresMsrWrite(index: number, value: bigint): boolean {
  if (index === IA32_PRED_CMD) return value <= 1n;
  return CONSTANTS.get(index)?.isWriteIgnored ?? false;
}
