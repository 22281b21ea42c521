import { describe, expect, it } from "vitest";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";
import { createSystemControl } from "./system-control.ts";

function setUp() {
  const context = new FakeContext();
  return { context, control: createSystemControl(context) };
}

describe("system control", () => {
  it("resets through 0xCF9 on RST_CPU only", () => {
    const { context, control } = setUp();
    control.resetControl.write(1, 1, 0x02);
    expect(context.powerActions).toEqual([]);
    control.resetControl.write(1, 1, 0x06);
    expect(context.powerActions).toEqual(["reset"]);
    expect(control.resetControl.read(1, 1)).toBe(0x02);
    expect(control.resetControl.read(0, 1)).toBe(-1);
  });

  it("resets through the keyboard controller and port 0x92", () => {
    const { context, control } = setUp();
    control.i8042Command.write(0, 1, 0xaa);
    control.i8042Command.write(0, 1, 0xff);
    control.portA.write(0, 1, 0x02);
    expect(context.powerActions).toEqual([]);
    control.i8042Command.write(0, 1, 0xfe);
    control.portA.write(0, 1, 0x03);
    expect(context.powerActions).toEqual(["reset", "reset"]);
  });

  it("has no keyboard controller, but one that never keeps a reset waiting", () => {
    const { control } = setUp();
    expect(control.i8042Command.read(0, 1) & 0x03).toBe(0x01);
  });

  it("keeps the POST code and the DMA page registers", () => {
    const { control } = setUp();
    control.post.write(0, 1, 0x5a);
    expect(control.postCode).toBe(0x5a);
    control.dmaPages.write(14, 1, 0x77);
    expect(control.dmaPages.read(14, 1)).toBe(0x77);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const control = createSystemControl(context);
    const one = [1] as const;
    return {
      device: control,
      ranges: [
        { handler: control.resetControl, length: 4 },
        { handler: control.portA, length: 1, sizes: one },
        { handler: control.i8042Data, length: 1, sizes: one },
        { handler: control.i8042Command, length: 1, sizes: one },
        { handler: control.post, length: 1, sizes: one },
        { handler: control.dmaPages, length: 15, sizes: one },
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
