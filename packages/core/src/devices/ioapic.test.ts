import { describe, expect, it } from "vitest";
import type { ApicBus, ApicMessage } from "./apic/apic-bus.ts";
import { deviceContract } from "./contract.ts";
import { createIoApic } from "./ioapic.ts";

function setUp() {
  const sent: ApicMessage[] = [];
  const taken = { by: true };
  const bus: ApicBus = {
    deliver: (message) => {
      sent.push(message);
      return taken.by;
    },
    broadcast: () => {},
    endOfInterrupt: () => {},
  };
  const ioApic = createIoApic({ bus });
  const write = (register: number, value: number) => {
    ioApic.registers.write(0x00, 4, register);
    ioApic.registers.write(0x10, 4, value);
  };
  const read = (register: number) => {
    ioApic.registers.write(0x00, 4, register);
    return ioApic.registers.read(0x10, 4);
  };
  return {
    ioApic,
    sent,
    taken,
    write,
    read,
    set: (input: number, level: boolean) => ioApic.inputs[input]!.set(level),
    program: (input: number, low: number, high = 0) => {
      write(0x11 + 2 * input, high);
      write(0x10 + 2 * input, low);
    },
  };
}

describe("IO-APIC", () => {
  it("identifies itself and resets with all inputs masked", () => {
    const { read } = setUp();
    expect(read(1)).toBe(0x0017_0020);
    for (let input = 0; input < 24; input++) expect(read(0x10 + 2 * input)).toBe(0x1_0000);
    expect(read(0x40)).toBe(0);
    expect(read(0xff)).toBe(0);
  });

  it("sends an edge once, with the entry's destination", () => {
    const { program, set, sent } = setUp();
    program(4, 0x0941, 0x0300_0000);
    set(4, true);
    set(4, true);
    expect(sent).toEqual([{ destination: 3, isLogical: true, deliveryMode: 1, vector: 0x41, isLevelTriggered: false }]);
    set(4, false);
    set(4, true);
    expect(sent.length).toBe(2);
  });

  it("loses edges on masked inputs, but sees levels on unmasking", () => {
    const { program, set, sent } = setUp();
    program(4, 0x1_0041);
    program(16, 0x1_8050);
    set(4, true);
    set(16, true);
    expect(sent).toEqual([]);
    program(4, 0x41);
    program(16, 0x8050);
    expect(sent.map(({ vector }) => vector)).toEqual([0x50]);
  });

  it("sends a level again only after its EOI, by broadcast or by register", () => {
    const { ioApic, program, read, set, sent } = setUp();
    program(16, 0xa050);
    set(16, true);
    expect(read(0x10 + 32)).toBe(0xe050);
    set(16, false);
    set(16, true);
    expect(sent.length).toBe(1);
    ioApic.endOfInterrupt(0x51);
    expect(sent.length).toBe(1);
    ioApic.endOfInterrupt(0x50);
    expect(sent.length).toBe(2);
    set(16, false);
    ioApic.registers.write(0x40, 4, 0x50);
    expect(read(0x10 + 32)).toBe(0xa050);
    expect(sent.length).toBe(2);
  });

  it("clears the remote IRR when an entry becomes edge-triggered, and leaves it clear if nobody took the level", () => {
    const { program, read, set, taken } = setUp();
    program(16, 0x8050);
    set(16, true);
    program(16, 0x1_0050);
    expect(read(0x30)).toBe(0x1_0050);
    taken.by = false;
    program(16, 0x8050);
    expect(read(0x30)).toBe(0x8050);
  });
});

describe("contract", () => {
  const checks = deviceContract(() => {
    const { ioApic, sent, program } = setUp();
    return {
      device: ioApic,
      ranges: [{ handler: ioApic.registers, length: 0x44 }],
      setUp: () => {
        for (let input = 0; input < 24; input++) program(input, (input & 1 ? 0x8000 : 0) | (0x30 + input));
      },
      events: [
        (random) => ioApic.inputs[random % 24]!.set((random & 0x100) !== 0),
        (random) => ioApic.endOfInterrupt(0x30 + (random % 24)),
      ],
      observe: () => sent.splice(0).map(({ vector }) => vector),
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
