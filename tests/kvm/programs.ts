/**
 * What runs in the nested guest, in this order. "short" programs are CI's; the others join with --long. A limit is for
 * a program alone on two busy CPUs, under TCG; it is enforced in the guest and once more outside.
 */

import type { FirmwareKind } from "../../packages/host/src/firmware/firmware-files.ts";

export interface TestProgram {
  readonly name: string;
  /** Relative to this folder. */
  readonly file: string;
  readonly what: string;
  readonly limitSeconds: number;
  readonly form: "short" | "long";
  /** The Linux under load (load-layer.ts). */
  readonly needsLoad?: true;
  /** firmware-layer.ts */
  readonly needsFirmware?: FirmwareKind;
}

export const PROGRAMS: readonly TestProgram[] = [
  {
    name: "proof",
    file: "guest/proof.ts",
    what: "Node opens /dev/kvm through koffi and runs sixteen-bit code up to an OUT and a HLT",
    limitSeconds: 60,
    form: "short",
  },
  {
    name: "probe",
    file: "../../packages/host/src/kvm/probe.test.ts",
    what: "KVM is found usable, and quick enough",
    limitSeconds: 60,
    form: "short",
  },
  {
    name: "exits",
    file: "../../packages/host/src/kvm/kvm-engine.test.ts",
    what: "the kvm engine with guests of a few instructions: exits, interrupts, state, dirty pages, time",
    limitSeconds: 90,
    form: "short",
  },
  {
    name: "engine",
    file: "guest/engine.ts",
    what: "the contract of engines on KVM, and runs that are handed from one engine to the other",
    limitSeconds: 120,
    form: "short",
  },
  {
    name: "machine",
    file: "guest/machine.ts",
    what: "a machine with all its devices on KVM: boot, input, pause, reset, save, restore into either engine",
    limitSeconds: 300,
    form: "short",
  },
  {
    name: "several-vcpus",
    file: "guest/several-vcpus.ts",
    what: "2, 4 and 8 vCPUs on KVM, in turn and in parallel: start-up, interrupts between them, saved and restored in either engine",
    limitSeconds: 300,
    form: "short",
  },
  {
    name: "parallel-vcpus",
    file: "guest/parallel-vcpus.ts",
    what: "2, 4 and 8 vCPUs on KVM with a thread each: all of the above",
    limitSeconds: 1800,
    form: "long",
  },
  {
    name: "debugger",
    file: "guest/debugger.ts",
    what: "a debugger outside a guest on KVM: steps, registers, memory; on jit, and back",
    limitSeconds: 300,
    form: "long",
  },
  {
    name: "kicks",
    file: "guest/kicks.ts",
    what: "1000 kicks of a vCPU that spins, by the thread that has started it and by a third",
    limitSeconds: 120,
    form: "short",
  },
  {
    name: "change",
    file: "guest/change.ts",
    what: "a running VM changes its engine there and back, the state's hashes equal each time",
    limitSeconds: 300,
    form: "short",
  },
  {
    name: "firmware",
    file: "guest/firmware.ts",
    what: "SeaBIOS on KVM: a boot from a disk, its screen, requests that reach the guest whatever the main thread does",
    limitSeconds: 240,
    form: "long",
    needsFirmware: "bios",
  },
  {
    name: "disk-changes",
    file: "guest/disk-changes.ts",
    what: "SeaBIOS without a disk, and a reset; a guest with a disk and a VGA changes engines, is saved and restored in either",
    limitSeconds: 1200,
    form: "long",
    needsFirmware: "bios",
  },
  {
    name: "ovmf",
    file: "guest/ovmf.ts",
    what: "OVMF on KVM: to its shell, on a screen; variables in flash that is memory while it is read",
    limitSeconds: 2700,
    form: "long",
    needsFirmware: "uefi",
  },
  {
    name: "disk-linux",
    file: "guest/disk-linux.ts",
    what: "a Linux with a disk on KVM: what it writes is in the image; saved in the middle of writes, on in jit",
    limitSeconds: 1500,
    form: "long",
  },
  {
    name: "switch",
    file: "guest/switch.ts",
    what: "what is typed while a VM changes its engine, recordings behind it, moves from either engine to the other",
    limitSeconds: 3000,
    form: "long",
  },
  {
    name: "switches",
    file: "guest/switches.ts",
    what: "Linux under load changes its engine again and again (--switches COUNT), the state's hashes equal each time",
    limitSeconds: 7200,
    form: "long",
    needsLoad: true,
  },
  {
    name: "control-group",
    file: "guest/control-group.ts",
    what: "the control group of a VM's process on the kernel's own hierarchy: memory, tasks and processor time are bound",
    limitSeconds: 120,
    form: "long",
  },
  {
    name: "linux",
    file: "guest/linux.ts",
    what: "Linux on the kvm engine: boot, commands, save and restore across engines, no descriptor left behind",
    limitSeconds: 1500,
    form: "long",
  },
  {
    name: "linux-vcpus",
    file: "guest/linux-vcpus.ts",
    what: "Linux on 2 and 4 vCPUs on KVM: work on all, interrupts between them, changes of engine, saves and restores",
    limitSeconds: 2400,
    form: "long",
  },
  {
    name: "hot-plug",
    file: "guest/hot-plug.ts",
    what: "processors and memory come and go under Linux on KVM: through changes of engine, a saved state and a migration",
    limitSeconds: 1800,
    form: "long",
  },
  {
    name: "exit-costs",
    file: "guest/exit-costs.ts",
    what: "what interrupts and notifications cost with the local APIC in this process and in the kernel; how many there are",
    limitSeconds: 900,
    form: "long",
  },
  {
    name: "compare",
    file: "guest/compare.ts",
    what: "the kvm engine beside a minimal VMM in C: what an exit costs, and Linux to its shell",
    limitSeconds: 900,
    form: "long",
  },
  {
    name: "sandbox",
    file: "guest/sandbox.ts",
    what: "a guest on the kvm engine in a process that is locked down, and saved and cloned there",
    limitSeconds: 4200,
    form: "long",
  },
];

/** Threads that programs start, by the name of their file in the guest. */
export const THREADS: Readonly<Record<string, string>> = { "spinning-vcpu": "guest/spinning-vcpu.ts" };
