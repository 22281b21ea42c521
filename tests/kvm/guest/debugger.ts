/**
 * A debugger outside a guest on KVM: its first instructions step by step, registers and memory; then the guest goes to jit, where
 * breakpoints and watchpoints stop it as they stop none on QEMU's processor (deviations.ts), and back.
 */
import { writeFileSync } from "node:fs";
import { createVm } from "@twinmetal/host";
import { expect, it } from "vitest";
import { AT, COUNT_AT, DEBUGGED, ENTRY } from "../../guest/debugging.ts";

const LIMIT_MS = 240_000;
const KERNEL = "/tmp/debugged";

it("vm.debug on kvm, on jit, and on kvm again", { timeout: LIMIT_MS }, async () => {
  writeFileSync(KERNEL, DEBUGGED);
  await using vm = await createVm({
    engine: "kvm",
    kernel: KERNEL,
    memoryBytes: 16 * 2 ** 20,
    cpuFeatures: ["-xsave", "-xsaveopt"],
    startsPaused: true,
  });
  const { debug } = vm;
  await vm.start();
  expect([vm.engine, vm.state, (await debug.registers()).rip]).toEqual(["kvm", "paused", AT.start]);
  for (const rip of [AT.second, AT.increment, AT.store, AT.compare]) {
    expect(await debug.step()).toEqual({ kind: "step", vcpu: 0 });
    expect((await debug.registers()).rip).toBe(rip);
  }
  expect([...(await debug.readMemory(COUNT_AT, 4))]).toEqual([1, 0, 0, 0]);
  expect([...(await debug.readMemory(ENTRY, 2))]).toEqual([0xbb, 0]);

  await debug.set({ software: [AT.store] });
  await vm.switchEngine("jit");
  const hit = { kind: "breakpoint", address: AT.store, vcpu: 0 };
  expect(await debug.continue({ timeoutMs: LIMIT_MS })).toEqual(hit);
  expect((await debug.registers()).gpr[3]).toBe(2n);
  await debug.set({ hardware: [{ on: "write", address: COUNT_AT, bytes: 4 }] });
  expect(await debug.continue({ timeoutMs: LIMIT_MS })).toMatchObject({ kind: "watchpoint", address: COUNT_AT });
  await debug.set(undefined);

  await vm.switchEngine("kvm");
  expect((await debug.registers()).rip).toBe(AT.compare);
  await debug.step();
  await expect(debug.continue({ timeoutMs: LIMIT_MS })).rejects.toMatchObject({ code: "guest-ended" });
  expect((await vm.wait()).kind).toBe("off");
});
