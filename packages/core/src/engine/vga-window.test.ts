import { describe, expect, it } from "vitest";
import { type BareMachine, bareMachine } from "../interp/bare-machine.ts";
import { createEvaluatorCore } from "../interp/evaluator-cpu.ts";

/** Stores AL at 9FFFFH, A0000H, BFFFFH and C0000H, and loads the word at 9FFFFH into EBX. */
const CODE_BYTES = [
  ...[0xb0, 0x5a, 0x88, 0x04, 0x25, 0xff, 0xff, 0x09, 0x00, 0x88, 0x04, 0x25, 0x00, 0x00, 0x0a, 0x00],
  ...[0x88, 0x04, 0x25, 0xff, 0xff, 0x0b, 0x00, 0x88, 0x04, 0x25, 0x00, 0x00, 0x0c, 0x00],
  ...[0x0f, 0xb7, 0x1c, 0x25, 0xff, 0xff, 0x09, 0x00, 0xf4],
];

function runToHalt({ vcpu }: BareMachine): void {
  for (let run = 0; run < 20; run++) if (vcpu.run(100).reason === "halt") return;
  expect.unreachable("the guest did not halt");
}

describe.each([
  { name: "interpreter", options: {} },
  { name: "evaluator", options: { createCore: createEvaluatorCore } },
  { name: "translated code", options: { tier: "jit" as const } },
])("the VGA's window on the $name", ({ options }) => {
  it("is the bus's, and RAM on both sides of it is not", () => {
    const stores: [number, number, number][] = [];
    const machine = bareMachine(
      { readMmio: () => 0x77, writeMmio: (gpa, size, value) => void stores.push([gpa, size, value]) },
      { hasVga: true, ...options },
    );
    machine.load(CODE_BYTES);
    runToHalt(machine);
    expect(stores).toEqual([
      [0xa_0000, 1, 0x5a],
      [0xb_ffff, 1, 0x5a],
    ]);
    expect(machine.memory.read8(0x9_ffff)).toBe(0x5a);
    expect(machine.memory.read8(0xa_0000)).toBe(0);
    expect(machine.memory.read8(0xc_0000)).toBe(0x5a);
    expect(machine.state().gpr[3]).toBe(0x775an);
  });

  it("is RAM where there is no VGA", () => {
    const machine = bareMachine({ writeMmio: () => expect.unreachable() }, options);
    machine.load(CODE_BYTES);
    runToHalt(machine);
    expect(machine.memory.read8(0xa_0000)).toBe(0x5a);
  });
});
