/** What a VM may use of its host: types, ranges, and the words for what is out of them. */
import { VmError } from "../vm/vm-error.ts";

/** Of the vCPUs' threads; carried out between two slices. */
export interface CpuLimits {
  /** Processors of the host, for all vCPUs together: 0.25 is a quarter of one. 0.01 to 64. Default: no limit. */
  readonly cpu?: number;
  /**
   * Among VMs of this user that have one and wait for a processor: one of 300 gets three times what one of 100 gets. 1 to
   * 10000. Default: none; the host divides as it does among all programs.
   */
  readonly cpuWeight?: number;
}

/** What ends a VM that reaches it: the exit's `limit` names which. */
export interface HardLimits {
  /** Since its start, pauses included. 100 ms to 24 days. */
  readonly wallMs?: number;
  /** Of the vCPUs' threads, since its start. 1 ms and up. */
  readonly cpuTimeMs?: number;
  /** What the guest writes to its serial port and its consoles. 1 byte and up. */
  readonly outputBytes?: number;
}

export interface VmLimits extends CpuLimits, HardLimits {}

/** `null` takes a limit away; what is not named stays. */
export type VmLimitsChange = { readonly [K in keyof VmLimits]?: VmLimits[K] | null };

const RANGES: { readonly [K in keyof Required<VmLimits>]: readonly [min: number, max: number, what: string] } = {
  cpu: [0.01, 64, "a share of the host's processors"],
  cpuWeight: [1, 10_000, "a weight"],
  wallMs: [100, 2 ** 31 - 1, "a time in milliseconds"],
  cpuTimeMs: [1, Number.MAX_SAFE_INTEGER, "a time in milliseconds"],
  outputBytes: [1, Number.MAX_SAFE_INTEGER, "a number of bytes"],
};

/** Throws VmError "bad-option". */
export function checkLimits(change: VmLimitsChange): void {
  for (const [name, value] of Object.entries(change)) {
    const range = Object.hasOwn(RANGES, name) ? RANGES[name as keyof VmLimits] : undefined;
    if (!range) {
      const known = Object.keys(RANGES).join(", ");
      throw new VmError("bad-option", `There is no limit ${JSON.stringify(name)}. There are: ${known}.`);
    }
    if (value === null || value === undefined) continue;
    const [min, max, what] = range;
    if (typeof value === "number" && value >= min && value <= max) continue;
    throw new VmError("bad-option", `${JSON.stringify(value)} is not ${what}. Give ${min} to ${max}.`);
  }
}

export function changedLimits(limits: VmLimits, change: VmLimitsChange): VmLimits {
  const merged = Object.entries({ ...limits, ...change }).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(merged) as VmLimits;
}
