/**
 * What CPUID answers on kvm: every leaf of the named model, the same as on the jit engine (core, cpu/cpuid.ts), and none
 * of KVM's own. What follows the processor's state (OSXSAVE, APIC) KVM keeps up to date by itself.
 */
import { CPUID_LEAVES, CPUID_ROWS, type CpuidContext, cpuidLeaf } from "@twinmetal/core";
import { CPUID_ENTRY, CPUID_FLAG_SIGNIFICANT_INDEX, CPUID2, KVM } from "./abi.ts";
import { type LinuxCalls, succeeded } from "./linux-calls.ts";
import type { VcpuHandle } from "./vcpu-handle.ts";

const MAX_SUPPORTED = 256;
/** Bits of these registers are features; in the others they are numbers. */
const FEATURE_WORDS = [
  [1, 0, "ecx"],
  [1, 0, "edx"],
  [7, 0, "ebx"],
  [7, 0, "ecx"],
  [0xd, 1, "eax"],
  [0x80000001, 0, "ecx"],
  [0x80000001, 0, "edx"],
] as const;
/**
 * Of leaf 1: x2APIC, TSC deadline, OSXSAVE, hypervisor are this side's or the state's; MCE, MCA and MTRR this side keeps,
 * and it says how many processors there are (HTT).
 * Of leaf 7: TSC_ADJUST likewise.
 */
const OWN: Readonly<Record<string, number>> = {
  "1.ecx": (1 << 21) | (1 << 24) | (1 << 27) | (1 << 31),
  "1.edx": (1 << 7) | (1 << 9) | (1 << 12) | (1 << 14) | (1 << 28),
  "7.ebx": 1 << 1,
};

/** Of a vCPU after a reset. */
export function cpuidContext(
  tscFrequencyHz: number,
  features: ReadonlySet<string>,
  apicId = 0,
  cpus = 1,
): CpuidContext {
  return { osxsave: false, xcr0: 1n, apicId, cpus, isApicEnabled: true, tscFrequencyHz, features };
}

export function setCpuid(vm: VcpuHandle, context: CpuidContext): void {
  vm.onVcpu("KVM_SET_CPUID2", KVM.SET_CPUID2, cpuidTable(context));
}

/** struct kvm_cpuid2, with its entries. */
export function cpuidTable(context: CpuidContext): Uint8Array {
  const view = new DataView(new ArrayBuffer(CPUID2.entries + CPUID_LEAVES.length * CPUID2.entryBytes));
  view.setUint32(CPUID2.nent, CPUID_LEAVES.length, true);
  for (const [i, { leaf, subleaf }] of CPUID_LEAVES.entries()) {
    const at = CPUID2.entries + i * CPUID2.entryBytes;
    const [eax, ebx, ecx, edx] = cpuidLeaf(leaf, subleaf ?? 0, context);
    view.setUint32(at + CPUID_ENTRY.function, leaf, true);
    view.setUint32(at + CPUID_ENTRY.index, subleaf ?? 0, true);
    view.setUint32(at + CPUID_ENTRY.flags, subleaf === undefined ? 0 : CPUID_FLAG_SIGNIFICANT_INDEX, true);
    view.setUint32(at + CPUID_ENTRY.eax, eax, true);
    view.setUint32(at + CPUID_ENTRY.ebx, ebx, true);
    view.setUint32(at + CPUID_ENTRY.ecx, ecx, true);
    view.setUint32(at + CPUID_ENTRY.edx, edx, true);
  }
  return new Uint8Array(view.buffer);
}

/** What the CPU has and this host's KVM has not, by name. Empty: the guest gets all it is promised. */
export function missingFeatures(calls: LinuxCalls, kvmFd: number, context: CpuidContext): readonly string[] {
  const supported = supportedCpuid(calls, kvmFd);
  const missing: string[] = [];
  for (const [leaf, subleaf, register] of FEATURE_WORDS) {
    const index = (["eax", "ebx", "ecx", "edx"] as const).indexOf(register);
    const wanted = cpuidLeaf(leaf, subleaf, context)[index]! & ~(OWN[`${leaf}.${register}`] ?? 0);
    const has = supported(leaf, subleaf)?.[register] ?? 0;
    for (let bit = 0; bit < 32; bit++)
      if (((wanted & ~has) >>> bit) & 1) missing.push(nameOf(leaf, subleaf, register, bit));
  }
  return missing;
}

function nameOf(leaf: number, subleaf: number, register: string, bit: number): string {
  const row = CPUID_ROWS.find(
    (row) => row.leaf === leaf && (row.subleaf ?? 0) === subleaf && row.register === register && row.bit === bit,
  );
  return row?.feature ?? row?.name.toLowerCase() ?? `CPUID ${leaf.toString(16)}H.${register.toUpperCase()}[${bit}]`;
}

type Words = Readonly<Record<"eax" | "ebx" | "ecx" | "edx", number>>;

function supportedCpuid(calls: LinuxCalls, kvmFd: number): (leaf: number, subleaf: number) => Words | undefined {
  const view = new DataView(new ArrayBuffer(CPUID2.entries + MAX_SUPPORTED * CPUID2.entryBytes));
  view.setUint32(CPUID2.nent, MAX_SUPPORTED, true);
  succeeded("KVM_GET_SUPPORTED_CPUID", calls.ioctl(kvmFd, KVM.GET_SUPPORTED_CPUID, new Uint8Array(view.buffer)));
  const count = view.getUint32(CPUID2.nent, true);
  return (leaf, subleaf) => {
    for (let i = 0; i < count; i++) {
      const at = CPUID2.entries + i * CPUID2.entryBytes;
      if (view.getUint32(at + CPUID_ENTRY.function, true) !== leaf) continue;
      const hasIndex = (view.getUint32(at + CPUID_ENTRY.flags, true) & CPUID_FLAG_SIGNIFICANT_INDEX) !== 0;
      if (hasIndex && view.getUint32(at + CPUID_ENTRY.index, true) !== subleaf) continue;
      const word = (field: number): number => view.getUint32(at + field, true);
      const { eax, ebx, ecx, edx } = CPUID_ENTRY;
      return { eax: word(eax), ebx: word(ebx), ecx: word(ecx), edx: word(edx) };
    }
    return undefined;
  };
}
