/**
 * MSRs that KVM hands to this side (the filter of kvm-engine.ts): the board's own, those that only keep what is written,
 * and constants; all others are a #GP(0) in the guest, which KVM raises when `msr_error` is set.
 */
import type { VcpuBus } from "@twinmetal/core";
import { constantMsr, ignoresMsrWrite, KeptMsrs } from "@twinmetal/core/vcpu";
import { RUN } from "./abi.ts";

const IA32_TSC_DEADLINE = 0x6e0;
const X2APIC_FIRST = 0x800;
const X2APIC_LAST = 0x8ff;

export class MsrExits {
  /** Part of the vCPU's state. */
  readonly kept = new KeptMsrs();
  readonly #bus: VcpuBus;
  readonly #features: ReadonlySet<string>;

  constructor(bus: VcpuBus, features: ReadonlySet<string>) {
    this.#bus = bus;
    this.#features = features;
  }

  /** GUEST-CONTROLLED: the index. */
  read(run: DataView): void {
    const index = run.getUint32(RUN.msr_index, true);
    const value = this.#bus.readMsr(index) ?? this.kept.read(index) ?? constantMsr(index, this.#features);
    run.setUint8(RUN.msr_error, value === undefined ? 1 : 0);
    if (value !== undefined) run.setBigUint64(RUN.msr_data, value, true);
  }

  /** GUEST-CONTROLLED: index and value. Answers the index, or undefined where the MSR does not take the value. */
  write(run: DataView): number | undefined {
    const index = run.getUint32(RUN.msr_index, true);
    const value = run.getBigUint64(RUN.msr_data, true);
    const isTaken = this.#bus.writeMsr(index, value) || this.kept.write(index, value) || ignoresMsrWrite(index, value);
    run.setUint8(RUN.msr_error, isTaken ? 0 : 1);
    return isTaken ? index : undefined;
  }
}

/** The exit is an access to a register of the local APIC's. */
export function isLocalApicMsr(run: DataView): boolean {
  const index = run.getUint32(RUN.msr_index, true);
  return index === IA32_TSC_DEADLINE || (index >= X2APIC_FIRST && index <= X2APIC_LAST);
}
