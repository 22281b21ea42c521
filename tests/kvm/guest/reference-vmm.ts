/** The VMM in C (../reference/vmm.c): the file that it starts a guest from, and what it says of the run. */
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, writeSync } from "node:fs";
import { featureSet, type VcpuState } from "@twinmetal/core";
import { KVM, REGS_BYTES, SREGS_BYTES } from "../../../packages/host/src/kvm/abi.ts";
import { cpuidContext, cpuidTable, setCpuid } from "../../../packages/host/src/kvm/guest-cpuid.ts";
import { isNoCalls, linuxCalls } from "../../../packages/host/src/kvm/koffi-calls.ts";
import { VcpuRegisters } from "../../../packages/host/src/kvm/vcpu-registers.ts";
import { VmHandle } from "../../../packages/host/src/kvm/vm-handle.ts";
import { TSC_FREQUENCY_HZ } from "./engines.ts";

const PROGRAM = "/twinmetal/reference/vmm";
const APIC_BASE = 0xfee0_0900n;

export interface ReferenceGuest {
  readonly memoryBytes: number;
  readonly cpuFeatures: readonly string[];
  readonly state: VcpuState;
  readonly writes: readonly { readonly gpa: number; readonly bytes: Uint8Array }[];
}

export interface ReferenceRun {
  readonly setUpNs: number;
  readonly runNs: number;
  readonly exits: number;
}

/** False where the guest was made on a host without a C compiler. */
export const hasReferenceVmm = existsSync(PROGRAM);

/** The engine's own registers and CPUID, in KVM's structures. */
export function writeReferenceGuest(path: string, { memoryBytes, cpuFeatures, state, writes }: ReferenceGuest): void {
  const calls = linuxCalls();
  if (isNoCalls(calls)) throw new Error(calls.detail);
  const vm = new VmHandle(calls, "/dev/kvm");
  const context = cpuidContext(TSC_FREQUENCY_HZ, featureSet(cpuFeatures));
  setCpuid(vm, context);
  new VcpuRegisters(vm).write(state, APIC_BASE);
  const [regs, sregs] = [new Uint8Array(REGS_BYTES), new Uint8Array(SREGS_BYTES)];
  vm.onVcpu("KVM_GET_REGS", KVM.GET_REGS, regs);
  vm.onVcpu("KVM_GET_SREGS", KVM.GET_SREGS, sregs);
  vm.close();
  const cpuid = cpuidTable(context);
  const file = openSync(path, "w");
  const put = (bytes: Uint8Array): void => {
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
  };
  put(words(memoryBytes));
  put(regs);
  put(sregs);
  put(new Uint8Array(new Uint32Array([cpuid.length]).buffer));
  put(cpuid);
  for (const { gpa, bytes } of writes) {
    put(words(gpa, bytes.length));
    put(bytes);
  }
  closeSync(file);
}

/** Throws where the VMM complains. */
export function runReference(path: string, marker?: string): ReferenceRun {
  const { status, signal, stdout, stderr } = spawnSync(PROGRAM, marker === undefined ? [path] : [path, marker], {
    encoding: "utf8",
    timeout: 300_000,
    killSignal: "SIGKILL",
  });
  if (status !== 0) throw new Error(`the reference VMM ended with ${signal ?? status}: ${stderr.slice(-2000)}`);
  return JSON.parse(stdout) as ReferenceRun;
}

const words = (...values: number[]): Uint8Array => new Uint8Array(new BigUint64Array(values.map(BigInt)).buffer);
