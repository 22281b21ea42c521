import { describe, expect, it } from "vitest";
import { deviceContract } from "./contract.ts";
import { createCoprocessorError } from "./coprocessor-error.ts";

function setUp() {
  const levels: boolean[] = [];
  const device = createCoprocessorError({ irq: { set: (level) => void levels.push(level) } });
  return { device, irq: () => levels.at(-1) ?? false };
}

describe("the coprocessor's error", () => {
  it("is IRQ 13 until port F0h is written, which lets the handler run x87 instructions until the error is gone", () => {
    const { device, irq } = setUp();
    expect(device.ferr(true)).toBe(false);
    expect(irq()).toBe(true);
    device.busyLatch.write(0, 1, 0);
    expect(irq()).toBe(false);
    expect(device.ferr(true)).toBe(true);
    expect(irq()).toBe(false);
    expect(device.ferr(false)).toBe(false);
    expect(device.ferr(true)).toBe(false);
    expect(irq()).toBe(true);
  });

  it("does not ignore errors that come after a write to port F0h", () => {
    const { device, irq } = setUp();
    device.busyLatch.write(0, 1, 0);
    expect(device.ferr(true)).toBe(false);
    expect(irq()).toBe(true);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createCoprocessorError({ irq: context.line("irq13") });
    return {
      device,
      ranges: [{ handler: device.busyLatch, length: 1, sizes: [1] }],
      events: [(random) => void device.ferr((random & 1) === 1)],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
