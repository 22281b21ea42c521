import { describe, expect, it } from "vitest";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";
import { createPic, type PicPair } from "./pic.ts";

/** As Linux does it: vectors 0x30 and 0x38, not automatic EOI. */
function program(pic: PicPair, icw4 = 0x01): void {
  for (const [chip, base, cascade] of [
    [0, 0x30, 4],
    [1, 0x38, 2],
  ] as const) {
    pic.chips[chip].write(0, 1, 0x11);
    pic.chips[chip].write(1, 1, base);
    pic.chips[chip].write(1, 1, cascade);
    pic.chips[chip].write(1, 1, icw4);
  }
}

function setUp(icw4?: number) {
  const context = new FakeContext();
  const intr = context.line("intr");
  const pic = createPic({ intr });
  program(pic, icw4);
  return {
    pic,
    intr,
    command: (chip: 0 | 1, value: number) => pic.chips[chip].write(0, 1, value),
    mask: (chip: 0 | 1, value: number) => pic.chips[chip].write(1, 1, value),
    readCommand: (chip: 0 | 1) => pic.chips[chip].read(0, 1),
    pulse: (input: number) => {
      pic.inputs[input]!.set(true);
      pic.inputs[input]!.set(false);
    },
  };
}

describe("8259A pair", () => {
  it("keeps its mask before initialisation, as a probe expects, and raises nothing", () => {
    const context = new FakeContext();
    const pic = createPic({ intr: context.line("intr") });
    pic.chips[0].write(1, 1, 0xfb);
    expect(pic.chips[0].read(1, 1)).toBe(0xfb);
    pic.chips[0].write(1, 1, 0);
    pic.inputs[1]!.set(true);
    expect(context.line("intr").level).toBe(false);
  });

  it("serves inputs by priority, nested, until EOI", () => {
    const { pic, intr, command, pulse } = setUp();
    pulse(4);
    expect(pic.acknowledge()).toBe(0x34);
    expect(intr.level).toBe(false);
    pulse(5);
    expect(intr.level).toBe(false);
    pulse(1);
    expect(intr.level).toBe(true);
    expect(pic.acknowledge()).toBe(0x31);
    command(0, 0x20);
    expect(intr.level).toBe(false);
    command(0, 0x64); // specific EOI of 4
    expect(pic.acknowledge()).toBe(0x35);
  });

  it("cascades the second chip through input 2", () => {
    const { pic, intr, command, pulse } = setUp();
    pulse(12);
    expect(pic.acknowledge()).toBe(0x3c);
    pulse(8);
    command(0, 0x0b); // read ISR
    expect(pic.chips[0].read(0, 1)).toBe(0x04);
    command(1, 0x20);
    expect(intr.level).toBe(false);
    command(0, 0x20);
    expect(intr.level).toBe(true);
    expect(pic.acknowledge()).toBe(0x38);
  });

  it("masks, and answers with a spurious vector when a level went away", () => {
    const { pic, intr, mask } = setUp();
    pic.elcr.write(0, 1, 0x20);
    pic.inputs[5]!.set(true);
    expect(intr.level).toBe(true);
    mask(0, 0x20);
    expect(intr.level).toBe(false);
    mask(0, 0);
    pic.inputs[5]!.set(false);
    expect(pic.acknowledge()).toBe(0x37);
    expect(pic.chips[0].read(0, 1)).toBe(0);
  });

  it("keeps asking while a level-triggered input is asserted", () => {
    const { pic, intr, command } = setUp();
    pic.elcr.write(1, 1, 0xff);
    expect(pic.elcr.read(1, 1)).toBe(0xde);
    pic.inputs[9]!.set(true);
    expect(pic.acknowledge()).toBe(0x39);
    command(1, 0x20);
    command(0, 0x20);
    expect(intr.level).toBe(true);
    pic.inputs[9]!.set(false);
    expect(intr.level).toBe(false);
  });

  it("polls", () => {
    const { command, readCommand, pulse, intr } = setUp();
    command(0, 0x0c);
    expect(readCommand(0)).toBe(0);
    pulse(3);
    command(0, 0x0c);
    expect(readCommand(0)).toBe(0x83);
    expect(intr.level).toBe(false);
    expect(readCommand(0)).toBe(0);
    command(0, 0x0b);
    expect(readCommand(0)).toBe(0x08);
  });

  it("lets lower inputs through a masked one in special mask mode", () => {
    const { pic, command, mask, pulse, intr } = setUp();
    pulse(3);
    pic.acknowledge();
    pulse(6);
    expect(intr.level).toBe(false);
    mask(0, 0x08);
    command(0, 0x68);
    expect(pic.acknowledge()).toBe(0x36);
    command(0, 0x48);
    expect(intr.level).toBe(false);
  });

  it("ends interrupts by itself in automatic EOI mode, rotating if told to", () => {
    const { pic, command, pulse } = setUp(0x03);
    command(0, 0x80);
    pulse(1);
    expect(pic.acknowledge()).toBe(0x31);
    pulse(0);
    pulse(4);
    expect(pic.acknowledge()).toBe(0x34);
    expect(pic.acknowledge()).toBe(0x30);
  });

  it("rotates priorities", () => {
    const { pic, command, pulse } = setUp();
    pulse(2 + 1);
    pic.acknowledge();
    command(0, 0xa0);
    pulse(3);
    pulse(5);
    expect(pic.acknowledge()).toBe(0x35);
    command(0, 0xe5);
    command(0, 0xc2);
    pulse(1);
    expect(pic.acknowledge()).toBe(0x33);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const pic = createPic({ intr: context.line("intr") });
    return {
      device: pic,
      ranges: [
        { handler: pic.chips[0], length: 2, sizes: [1] },
        { handler: pic.chips[1], length: 2, sizes: [1] },
        { handler: pic.elcr, length: 2, sizes: [1] },
      ],
      setUp: () => program(pic),
      events: [(random) => pic.inputs[random & 15]!.set((random & 16) !== 0), () => pic.acknowledge()],
      observe: () => pic.isPending,
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
