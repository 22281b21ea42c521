/**
 * MSRs that only keep what is written (Intel SDM vol. 4): memory type ranges, speculation control, and the machine-check architecture with no
 * bank at all, so that nothing is ever reported. They are part of the vCPU's state, and nothing that runs looks at them.
 */
import { IA32_MTRRCAP, MTRRCAP_VALUE, MTRRS } from "./memory-type-ranges.ts";
import { IA32_SPEC_CTRL, SPEC_CTRL_WRITABLE } from "./msr-table.ts";

const IA32_P5_MC_ADDR = 0x00;
const IA32_P5_MC_TYPE = 0x01;
const IA32_MCG_CAP = 0x179;
const IA32_MCG_STATUS = 0x17a;
/** RIPV, EIPV, MCIP. */
const MCG_STATUS_WRITABLE = 7n;

const READ_ONLY: ReadonlyMap<number, bigint> = new Map([
  [IA32_P5_MC_ADDR, 0n],
  [IA32_P5_MC_TYPE, 0n],
  [IA32_MTRRCAP, MTRRCAP_VALUE],
  [IA32_MCG_CAP, 0n],
]);

/** All are zero after power-on. */
const KEPT: ReadonlyMap<number, (value: bigint) => boolean> = new Map([
  ...MTRRS,
  [IA32_SPEC_CTRL, (value) => (value & ~SPEC_CTRL_WRITABLE) === 0n],
  [IA32_MCG_STATUS, (value) => (value & ~MCG_STATUS_WRITABLE) === 0n],
]);

export const KEPT_MSR_INDICES: readonly number[] = [...READ_ONLY.keys(), ...KEPT.keys()];

export class KeptMsrs {
  readonly #values = new Map<number, bigint>();

  /** Undefined: none of these. */
  read(index: number): bigint | undefined {
    return READ_ONLY.get(index) ?? (KEPT.has(index) ? (this.#values.get(index) ?? 0n) : undefined);
  }

  /** False: #GP(0), nothing done. */
  write(index: number, value: bigint): boolean {
    if (!KEPT.get(index)?.(value)) return false;
    this.#values.set(index, value);
    return true;
  }

  /** As VcpuState.msrs has them: those that are not zero. */
  save(): Record<string, bigint> {
    const kept = [...KEPT.keys()].map((index): [string, bigint] => [String(index), this.#values.get(index) ?? 0n]);
    return Object.fromEntries(kept.filter(([, value]) => value !== 0n));
  }

  /** Takes its own of a vCPU's MSRs; what no guest could have written is zero. */
  load(msrs: Readonly<Record<string, bigint>>): void {
    this.#values.clear();
    for (const index of KEPT.keys()) this.write(index, msrs[String(index)] ?? 0n);
  }
}
