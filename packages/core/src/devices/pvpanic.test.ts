import { describe, expect, it } from "vitest";
import { PortBus } from "../bus/io-bus.ts";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";
import { attachPvpanic, createPvpanic } from "./pvpanic.ts";

const PORT = 0x505;

describe("pvpanic", () => {
  it("ends the machine when the guest says that it has panicked, and at nothing else", () => {
    const context = new FakeContext();
    const ports = new PortBus();
    attachPvpanic(createPvpanic(context), ports, { pvpanic: PORT });
    expect(ports.read(PORT, 1)).toBe(3);
    ports.write(PORT, 1, 2);
    ports.write(PORT, 1, 0x80);
    expect(context.powerActions).toEqual([]);
    ports.write(PORT, 1, 1);
    expect(context.powerActions).toEqual(["crashed"]);
  });

  describe("contract", () =>
    it.each(
      deviceContract((context) => {
        const device = createPvpanic(context);
        return { device, ranges: [{ handler: device.registers, length: 1, sizes: [1] }] };
      }),
    )("$name", ({ run }) => run()));
});
