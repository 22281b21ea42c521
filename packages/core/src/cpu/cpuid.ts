/**
 * CPUID of the portable CPU model (SDM vol. 2, CPUID; docs/reference/cpuid.md): what the records implement, and nothing
 * that only one engine could do. The vendor is Intel's, family 6 model 60, because that lets Linux read the TSC's and
 * the APIC timer's frequency from leaf 15H instead of measuring them.
 */
import { LOCAL_APIC_TIMER_HZ } from "../machine/board-map.ts";

export interface CpuidContext {
  /** CR4.OSXSAVE. */
  readonly osxsave: boolean;
  readonly xcr0: bigint;
  readonly apicId: number;
  /** IA32_APIC_BASE.EN. */
  readonly isApicEnabled: boolean;
  readonly tscFrequencyHz: number;
  /** cpu/features.ts */
  readonly features: ReadonlySet<string>;
}

export type CpuidResult = readonly [eax: number, ebx: number, ecx: number, edx: number];

const MAX_LEAF = 0x16;
const MAX_EXTENDED_LEAF = 0x80000008;
/** Family 6, model 60, stepping 3. */
const SIGNATURE = 0x000306c3;
const BRAND = "Twinmetal Virtual CPU";

const EDX1 = {
  fpu: 0,
  de: 2,
  pse: 3,
  tsc: 4,
  msr: 5,
  pae: 6,
  mce: 7,
  cx8: 8,
  apic: 9,
  mtrr: 12,
  pge: 13,
  mca: 14,
  cmov: 15,
  pat: 16,
  pse36: 17,
  clfsh: 19,
  mmx: 23,
  fxsr: 24,
  sse: 25,
  sse2: 26,
} as const;
const ECX1 = {
  sse3: 0,
  pclmulqdq: 1,
  ssse3: 9,
  cx16: 13,
  pcid: 17,
  sse41: 19,
  sse42: 20,
  x2apic: 21,
  tscDeadline: 24,
  aes: 25,
  xsave: 26,
  osxsave: 27,
  hypervisor: 31,
} as const;

const bits = (...positions: readonly number[]): number => positions.reduce((all, bit) => (all | (1 << bit)) >>> 0, 0);
const text = (s: string, at: number): number =>
  [0, 1, 2, 3].reduce((word, i) => (word | ((s.charCodeAt(at + i) || 0) << (8 * i))) >>> 0, 0);

/** GUEST-CONTROLLED: `leaf` and `subleaf`, any 32-bit values. */
export function cpuidLeaf(leaf: number, subleaf: number, c: CpuidContext): CpuidResult {
  const has = (feature: string, bit: number): number => (c.features.has(feature) ? bits(bit) : 0);
  switch (leaf) {
    case 0:
      return [MAX_LEAF, text("Genu", 0), text("ntel", 0), text("ineI", 0)];
    case 1: {
      const edx =
        bits(
          EDX1.fpu,
          EDX1.de,
          EDX1.pse,
          EDX1.tsc,
          EDX1.msr,
          EDX1.pae,
          EDX1.mce,
          EDX1.cx8,
          EDX1.mtrr,
          EDX1.pge,
          EDX1.mca,
          EDX1.cmov,
          EDX1.pat,
          EDX1.pse36,
        ) |
        (c.isApicEnabled ? bits(EDX1.apic) : 0) |
        has("clflush", EDX1.clfsh) |
        has("mmx", EDX1.mmx) |
        has("fxsr", EDX1.fxsr) |
        has("sse", EDX1.sse) |
        has("sse2", EDX1.sse2);
      const ecx =
        bits(ECX1.x2apic, ECX1.tscDeadline, ECX1.hypervisor) |
        has("sse3", ECX1.sse3) |
        has("pclmulqdq", ECX1.pclmulqdq) |
        has("ssse3", ECX1.ssse3) |
        has("cx16", ECX1.cx16) |
        has("pcid", ECX1.pcid) |
        has("monitor", 3) |
        has("movbe", 22) |
        has("popcnt", 23) |
        has("rdrand", 30) |
        has("sse4.1", ECX1.sse41) |
        has("sse4.2", ECX1.sse42) |
        has("aes", ECX1.aes) |
        has("xsave", ECX1.xsave) |
        (c.osxsave ? bits(ECX1.osxsave) : 0);
      return [SIGNATURE, ((c.apicId << 24) | (1 << 16) | (8 << 8)) >>> 0, ecx >>> 0, edx >>> 0];
    }
    case 5:
      // Smallest and largest line, extensions and interrupts as break events, one C1 state.
      return c.features.has("monitor") ? [64, 64, 3, 0x10] : [0, 0, 0, 0];
    case 6:
      // ARAT: the local APIC's timer always runs.
      return [bits(2), 0, 0, 0];
    case 7:
      // TSC_ADJUST, SMEP, SMAP; UMIP; SPEC_CTRL and ARCH_CAPABILITIES, so that Linux sees that this CPU has none of the
      // leaks it would work around.
      return subleaf === 0
        ? [
            0,
            (bits(1) |
              has("fsgsbase", 0) |
              has("bmi1", 3) |
              has("smep", 7) |
              has("bmi2", 8) |
              has("invpcid", 10) |
              has("rdseed", 18) |
              has("adx", 19) |
              has("smap", 20) |
              has("clflushopt", 23) |
              has("sha", 29)) >>>
              0,
            has("umip", 2) | has("rdpid", 22),
            bits(26, 29),
          ]
        : [0, 0, 0, 0];
    case 0xb: {
      // One thread of one core: SMT level, core level, end.
      const level = subleaf === 0 ? 0x100 : subleaf === 1 ? 0x201 : subleaf & 0xff;
      return [0, subleaf < 2 ? 1 : 0, level, c.apicId];
    }
    case 0xd: {
      if (!c.features.has("xsave")) return [0, 0, 0, 0];
      if (subleaf === 1) return [has("xsaveopt", 0) | has("xgetbv1", 2), 0, 0, 0];
      return subleaf === 0 ? [3, 576, 576, 0] : [0, 0, 0, 0];
    }
    case 0x15:
      // TSC = crystal * EBX / EAX; the crystal is the APIC timer's clock.
      return [1000, Math.round((c.tscFrequencyHz * 1000) / LOCAL_APIC_TIMER_HZ) >>> 0, LOCAL_APIC_TIMER_HZ, 0];
    case 0x16: {
      const mhz = Math.round(c.tscFrequencyHz / 1e6);
      return [mhz, mhz, 100, 0];
    }
    case 0x40000000:
      return [0x40000000, text("Twin", 0), text("meta", 0), text("lVM\0", 0)];
    case 0x80000000:
      return [MAX_EXTENDED_LEAF, 0, 0, 0];
    case 0x80000001:
      return [
        0,
        0,
        has("lahf64", 0) | has("lzcnt", 5) | has("prefetchw", 8),
        (bits(11, 20, 29) | has("pdpe1gb", 26) | has("rdtscp", 27)) >>> 0,
      ];
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const at = (leaf - 0x80000002) * 16;
      return [text(BRAND, at), text(BRAND, at + 4), text(BRAND, at + 8), text(BRAND, at + 12)];
    }
    case 0x80000007:
      // Invariant TSC.
      return [0, 0, 0, bits(8)];
    case 0x80000008:
      return [40 | (48 << 8), 0, 0, 0];
    default:
      return [0, 0, 0, 0];
  }
}

/**
 * IA32_ARCH_CAPABILITIES: RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO,
 * FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO. Translated code does not speculate across privilege
 * levels of the guest, so none of these leaks exists between guest kernel and guest programs.
 */
const ARCH_CAPABILITIES: bigint = [0, 1, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62].reduce(
  (all, bit) => all | (1n << BigInt(bit)),
  0n,
);

/** MSRs that read as constants and ignore or refuse writes; undefined: no such MSR. */
export function constantMsr(index: number): bigint | undefined {
  switch (index) {
    case 0x17: // IA32_PLATFORM_ID
    case 0x8b: // IA32_BIOS_SIGN_ID: no microcode to load
    case 0x48: // IA32_SPEC_CTRL
    case 0x49: // IA32_PRED_CMD
      return 0n;
    case 0x10a:
      return ARCH_CAPABILITIES;
    case 0x1a0: // IA32_MISC_ENABLE: fast strings
      return 1n;
    default:
      return undefined;
  }
}
/** MSRs of `constantMsr` that take writes without effect. */
export const IGNORED_MSR_WRITES: ReadonlySet<number> = new Set([0x8b, 0x48, 0x49, 0x1a0]);
