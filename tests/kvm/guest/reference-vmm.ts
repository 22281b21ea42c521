/**
 * The VMM in C (../reference): the file that it starts a guest from, and what it says of the run. Registers, CPUID, the
 * filter of MSRs and what MSRs answer are the engine's own, in the structures of KVM.
 */
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, writeSync } from "node:fs";
import { constantMsr, featureSet, ignoresMsrWrite, KeptMsrs, type VcpuState } from "@twinmetal/core";
import { KVM, REGS_BYTES, SREGS_BYTES } from "../../../packages/host/src/kvm/abi.ts";
import { cpuidContext, cpuidTable, setCpuid } from "../../../packages/host/src/kvm/guest-cpuid.ts";
import { isNoCalls, linuxCalls } from "../../../packages/host/src/kvm/koffi-calls.ts";
import { DIRECT_MSRS, VcpuRegisters } from "../../../packages/host/src/kvm/vcpu-registers.ts";
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

/** How often the guest was left, by why. */
export interface ExitCounts {
  readonly port: number;
  readonly mmio: number;
  readonly msr: number;
  readonly halt: number;
  readonly window: number;
  readonly signal: number;
}

export interface ReferenceRun {
  readonly setUpNs: number;
  readonly runNs: number;
  readonly exits: ExitCounts;
  readonly interrupts: number;
}

/** False where the guest was made on a host without a C compiler. */
export const hasReferenceVmm = existsSync(PROGRAM);

export function writeReferenceGuest(path: string, { memoryBytes, cpuFeatures, state, writes }: ReferenceGuest): void {
  const calls = linuxCalls();
  if (isNoCalls(calls)) throw new Error(calls.detail);
  const vm = new VmHandle(calls, "/dev/kvm");
  const context = cpuidContext(TSC_FREQUENCY_HZ, featureSet(cpuFeatures));
  setCpuid(vm.first, context);
  new VcpuRegisters(vm.first).write(state, APIC_BASE);
  const [regs, sregs] = [new Uint8Array(REGS_BYTES), new Uint8Array(SREGS_BYTES)];
  vm.first.onVcpu("KVM_GET_REGS", KVM.GET_REGS, regs);
  vm.first.onVcpu("KVM_GET_SREGS", KVM.GET_SREGS, sregs);
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
  put(table(filterRanges()));
  put(table(msrAnswers(featureSet(cpuFeatures))));
  for (const { gpa, bytes } of writes) {
    put(words(gpa, bytes.length));
    put(bytes);
  }
  closeSync(file);
}

/** `controllers`: KVM's own interrupt controllers and timer, or those of the program. Throws where the VMM complains. */
export function runReference(path: string, marker?: string, controllers?: "kernel"): ReferenceRun {
  const args = [path, marker, controllers].filter((argument) => argument !== undefined);
  const { status, signal, stdout, stderr } = spawnSync(PROGRAM, args, {
    encoding: "utf8",
    timeout: 300_000,
    killSignal: "SIGKILL",
  });
  if (status !== 0) throw new Error(`the reference VMM ended with ${signal ?? status}: ${stderr.slice(-2000)}`);
  return JSON.parse(stdout) as ReferenceRun;
}

const MSR_RANGES = [
  [0, 0x1000],
  [0xc000_0000, 0xc000_2000],
  [0xc001_0000, 0xc001_2000],
] as const;
const [MSR_READ, MSR_WRITTEN] = [1, 2];
const IA32_APIC_BASE = 0x1b;
type TableEntry = readonly [word: number, second: number, value: bigint];

/** What MSRs that leave the guest answer at first, and which of them can be written. */
function msrAnswers(features: ReadonlySet<string>): readonly TableEntry[] {
  const kept = new KeptMsrs();
  const answers: TableEntry[] = [[IA32_APIC_BASE, MSR_READ | MSR_WRITTEN, APIC_BASE]];
  for (const [first, end] of MSR_RANGES)
    for (let index = first; index < end; index++) {
      const value = kept.read(index) ?? constantMsr(index, features);
      const isTaken = kept.write(index, value ?? 0n) || ignoresMsrWrite(index, value ?? 0n);
      if (value === undefined && !isTaken) continue;
      answers.push([index, (value === undefined ? 0 : MSR_READ) | (isTaken ? MSR_WRITTEN : 0), value ?? 0n]);
    }
  return answers;
}

/** As many MSRs as a word has bits, from each first one on: a bit for each that does not leave the guest. */
function filterRanges(): readonly TableEntry[] {
  const firsts = [...new Set(DIRECT_MSRS.map((index) => index - (index % 64)))];
  return firsts.map((first) => {
    const bits = DIRECT_MSRS.filter((index) => index >= first && index < first + 64);
    return [first, 0, bits.reduce((all, index) => all | (1n << BigInt(index - first)), 0n)];
  });
}

function table(entries: readonly TableEntry[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 + entries.length * 16));
  view.setUint32(0, entries.length, true);
  for (const [i, [word, second, value]] of entries.entries()) {
    view.setUint32(4 + 16 * i, word, true);
    view.setUint32(8 + 16 * i, second, true);
    view.setBigUint64(12 + 16 * i, value, true);
  }
  return new Uint8Array(view.buffer);
}

const words = (...values: number[]): Uint8Array => new Uint8Array(new BigUint64Array(values.map(BigInt)).buffer);
