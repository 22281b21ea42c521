/** Whether a policy takes one more VM: a pure function of the rules, the host, the VMs that run, and the one that is to. */
import type { AdmissionRules } from "./policy.ts";

/** What a VM has been promised. */
export interface VmPromise {
  /** With what it may grow to. */
  readonly memoryBytes: number;
  readonly cpus: number;
}

export interface HostSize {
  readonly memoryBytes: number;
  readonly processors: number;
}

export interface AdmissionFinding {
  readonly rule: keyof AdmissionRules;
  readonly isMet: boolean;
  /** Of the VMs that run, of the one that is to, and what there may be in all: bytes, vCPUs, VMs. */
  readonly running: number;
  readonly wanted: number;
  readonly most: number;
}

/** One for each rule that there is. */
export function admissionFindings(
  { memoryRatio, cpuRatio, maxVms }: AdmissionRules,
  host: HostSize,
  running: readonly VmPromise[],
  wanted: VmPromise,
): readonly AdmissionFinding[] {
  const sum = (part: keyof VmPromise): number => running.reduce((total, promise) => total + promise[part], 0);
  const finding = (rule: keyof AdmissionRules, used: number, more: number, most: number): AdmissionFinding => ({
    rule,
    // Not the other way round: what is no number is not taken.
    isMet: used + more <= most,
    running: used,
    wanted: more,
    most,
  });
  return [
    ...(memoryRatio === undefined
      ? []
      : [finding("memoryRatio", sum("memoryBytes"), wanted.memoryBytes, Math.floor(memoryRatio * host.memoryBytes))]),
    ...(cpuRatio === undefined
      ? []
      : [finding("cpuRatio", sum("cpus"), wanted.cpus, Math.floor(cpuRatio * host.processors))]),
    ...(maxVms === undefined ? [] : [finding("maxVms", running.length, 1, maxVms)]),
  ];
}
