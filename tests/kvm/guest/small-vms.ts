/** VMs of small guests that run on both engines, for what changes and migrations between engines do. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createVm, type Vm } from "@twinmetal/host";
import { expect } from "vitest";
import { bareKernel, GUESTS } from "../../guest/bare-kernel.ts";
import { dirtyingKernel, memoryBytesOf } from "../../guest/migration/dirtying-guest.ts";

type Engine = "jit" | "kvm";

/** For what the guest has to write: a processor in software may be shared with much else. */
export const WAIT_MS = 300_000;
const GUEST = { pages: 512, delay: 20 };
const directory = mkdtempSync("/tmp/switch-");
const vms: Vm[] = [];
const KERNELS = { dirtying: dirtyingKernel(GUEST), echoing: bareKernel(GUESTS.echoing) };
for (const [name, bytes] of Object.entries(KERNELS)) writeFileSync(join(directory, name), bytes);

/** Of a kernel by its name, and of what a test writes. */
export const path = (name: string): string => join(directory, name);
export const other = (engine: Engine): Engine => (engine === "kvm" ? "jit" : "kvm");

export function kept(vm: Vm): Vm {
  vms.push(vm);
  return vm;
}

export async function closeAll(): Promise<void> {
  for (const vm of vms.splice(0)) await vm.close();
}

/** Created for KVM, whose frequency the time-stamp counter then has: it runs on both engines. */
export async function started(kernel: keyof typeof KERNELS): Promise<Vm> {
  const vm = kept(
    await createVm({
      engine: "kvm",
      kernel: path(kernel),
      memoryBytes: memoryBytesOf(GUEST),
      cpuFeatures: ["-xsave", "-xsaveopt"],
    }),
  );
  await vm.start();
  return vm;
}

/** The memory of the guest that writes without end is whole so often. */
export async function checks(vm: Vm, count: number): Promise<void> {
  for (let i = 0; i < count; i++) expect(await vm.serial.waitFor(/[.X]/, { timeoutMs: WAIT_MS })).not.toContain("X");
}
