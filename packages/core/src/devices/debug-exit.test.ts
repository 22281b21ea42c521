import { describe, expect, it } from "vitest";
import { PortBus } from "../bus/io-bus.ts";
import { deviceContract } from "./contract.ts";
import { attachDebugExit, createDebugExit, DEBUG_EXIT_REASON } from "./debug-exit.ts";
import { FakeContext } from "./fake-context.ts";

describe("debug exit", () => {
  it("turns the machine off with the status that was written, doubled and one more", () => {
    const context = new FakeContext();
    const asked: string[] = [];
    const ports = new PortBus();
    const power = (action: string, reason: string): number => asked.push(action, reason);
    attachDebugExit(createDebugExit(Object.assign(context, { power })), ports, { debugExit: 0xf4 });
    ports.write(0xf4, 4, 0x10);
    expect(asked).toEqual(["off", `${DEBUG_EXIT_REASON}33`]);
  });

  describe("contract", () =>
    it.each(
      deviceContract((context) => {
        const device = createDebugExit(context);
        return { device, ranges: [{ handler: device.registers, length: 4 }] };
      }),
    )("$name", ({ run }) => run()));
});
