import { expect, it } from "vitest";
import { engineText } from "./engine-text.ts";
import type { EngineExplanation } from "./vm-library.ts";

const explanation: EngineExplanation = {
  engine: "jit",
  type: 2,
  why: "There is no /dev/kvm.",
  rings: { hypervisor: "ring a", vmProcess: "ring b", guestKernel: "ring c", guestPrograms: "ring d" },
  cost: "It takes long.",
  improvements: [
    { code: "no-device", reason: "There is no /dev/kvm.", remedy: "Load a module.", gain: "Speed." },
    { code: "node-version", reason: `Node is ${"very ".repeat(30)}old.`, remedy: "Take another.", gain: "Speed." },
  ],
  notice: "It runs slowly.",
  host: { node: "20.1.0", v8: "11.3", cpus: 1, branchHints: true, sharedMemory: false },
  kvm: { isUsable: false, isWorthwhile: false, findings: [], facts: undefined },
};

it("prints engine, type, reason, rings, cost, improvements and host, within 100 columns", () => {
  const text = engineText(explanation, "off");
  expect(text).toMatch(/^A VM gets the jit engine here: a hypervisor of type 2\.\n {2}There is no \/dev\/kvm\.\n\n/);
  for (const line of [/^ {2}hypervisor +ring a$/m, /^ {2}VM process +ring b$/m, /^ {2}guest's kernel +ring c$/m])
    expect(text).toMatch(line);
  expect(text).toContain(
    "What would make it faster:\n  - There is no /dev/kvm. Load a module. Speed.\n  - Node is very",
  );
  expect(text).toContain("Host: Node 20.1.0, V8 11.3, 1 CPU\n      branch hints yes, shared memory no\n");
  expect(text).not.toContain("KVM: ");
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
});

it("tells what KVM was found to be", () => {
  const selfTest = { failure: undefined, loopsPerSecond: 412_000_000, exitNs: 1234, tookMs: 9 };
  const rates = { tscKhz: 1, canScaleTsc: true, selfTest };
  const facts = { apiVersion: 12, hostKernel: "6.1", module: "kvm_amd", missingFeatures: [], ...rates };
  const text = engineText({ ...explanation, improvements: [], kvm: { ...explanation.kvm, facts } }, "off");
  expect(text).toContain("KVM:  Linux 6.1, module kvm_amd, 412.0 million loops a second in ring 0, 1.2 us for an exit");
  expect(text).not.toContain("faster");
});
