import { describe, expect, it } from "vitest";
import { PortBus } from "../bus/io-bus.ts";
import { deviceContract } from "./contract.ts";
import { attachDebugPort, createDebugPort, DEBUG_CHANNEL } from "./debug-port.ts";
import { FakeContext } from "./fake-context.ts";

describe("debug port", () => {
  it("prints at both ports and says that it is there", () => {
    const context = new FakeContext();
    const ports = new PortBus();
    attachDebugPort(createDebugPort(context), ports, { debug: 0x402, bochsDebug: 0xe9 });
    ports.write(0x402, 1, 0x48);
    ports.write(0xe9, 1, 0x69);
    expect([...context.sent(DEBUG_CHANNEL)]).toEqual([0x48, 0x69]);
    expect([ports.read(0x402, 1), ports.read(0xe9, 1)]).toEqual([0xe9, 0xe9]);
  });

  describe("contract", () =>
    it.each(
      deviceContract((context) => {
        const device = createDebugPort(context);
        return { device, ranges: [{ handler: device.registers, length: 1, sizes: [1] }] };
      }),
    )("$name", ({ run }) => run()));
});
