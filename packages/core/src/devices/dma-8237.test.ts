import { describe, expect, it } from "vitest";
import { deviceContract } from "./contract.ts";
import { createDma } from "./dma-8237.ts";
import { FakeContext } from "./fake-context.ts";

const CHANNEL = 2;

function setUp(page = 0) {
  const context = new FakeContext({ memoryBytes: 0x4_0000 });
  const device = createDma({ memory: context.memory, page: () => page });
  const [first, second] = device.chips;
  const write = (chip: typeof first, register: number, ...values: number[]): void => {
    for (const value of values) chip.write(register, 1, value);
  };
  /** As a driver does. */
  const program = (mode: number, address: number, bytes: number): void => {
    write(first, 10, 4 | CHANNEL);
    write(first, 12, 0);
    write(first, 11, mode | CHANNEL);
    write(first, 4, address & 0xff, address >> 8);
    write(first, 5, (bytes - 1) & 0xff, (bytes - 1) >> 8);
    write(first, 10, CHANNEL);
  };
  return { context, device, first, second, write, program, channel: device.channel(CHANNEL) };
}

describe("a DMA channel", () => {
  it("moves as much as its count says, and is masked afterwards", () => {
    const { context, first, program, channel } = setUp(1);
    program(0x44, 0x2000, 512);
    expect([channel.room("to-memory"), channel.room("from-memory")]).toEqual([512, 0]);
    expect(channel.toMemory(new Uint8Array(200).fill(7))).toBe(false);
    expect(channel.room("to-memory")).toBe(312);
    expect(channel.toMemory(new Uint8Array(312).fill(8))).toBe(true);
    expect([...context.memory.bytes.subarray(0x1_20c7, 0x1_20c9)]).toEqual([7, 8]);
    expect(channel.room("to-memory")).toBe(0);
    expect(first.read(8, 1)).toBe(1 << CHANNEL);
    expect(first.read(8, 1)).toBe(0);
  });

  it("stays in its 64 KiB, begins anew by itself where it is to, and only counts for VERIFY", () => {
    const { context, program, channel } = setUp(1);
    program(0x54, 0xff00, 0x200);
    expect(channel.toMemory(new Uint8Array(0x200).fill(1))).toBe(true);
    expect(context.memory.bytes[0x1_0000]).toBe(1);
    expect(context.memory.bytes[0x1_ffff]).toBe(1);
    expect(context.memory.bytes[0x2_0000]).toBe(0);
    expect(channel.room("to-memory")).toBe(0x200);
    program(0x40, 0, 16);
    expect(channel.toMemory(new Uint8Array(16).fill(9))).toBe(true);
    expect(context.memory.bytes[0x1_0008]).toBe(1);
  });

  it("of the second controller moves words, and its page is even", () => {
    const { device, second, write, context } = setUp(3);
    write(second, 12, 0);
    write(second, 11, 0x48 | 1);
    write(second, 2, 0x00, 0x08);
    write(second, 3, 7, 0);
    write(second, 10, 1);
    context.memory.bytes.fill(5, 0x2_1000, 0x2_1010);
    const bytes = new Uint8Array(16);
    expect(device.channel(5).room("from-memory")).toBe(16);
    expect(device.channel(5).fromMemory(bytes)).toBe(true);
    expect(bytes.every((byte) => byte === 5)).toBe(true);
  });

  it("finds nothing where no RAM is", () => {
    const { program, channel } = setUp(0x80);
    program(0x48, 0, 4);
    const bytes = new Uint8Array(4);
    channel.fromMemory(bytes);
    expect([...bytes]).toEqual([255, 255, 255, 255]);
  });

  it("shows address and count by turns of low and high bytes", () => {
    const { first, write, program, channel } = setUp();
    program(0x44, 0x1234, 0x100);
    channel.toMemory(new Uint8Array(4));
    write(first, 12, 0);
    expect([4, 4, 5, 5].map((register) => first.read(register, 1))).toEqual([0x38, 0x12, 0xfb, 0x00]);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createDma({ memory: context.memory, page: () => 0 });
    const channel = device.channel(CHANNEL);
    return {
      device,
      ranges: device.chips.map((handler) => ({ handler, length: 16, sizes: [1] as const })),
      events: [
        (random) => channel.toMemory(new Uint8Array(Math.min(random % 600, channel.room("to-memory")))),
        (random) => channel.fromMemory(new Uint8Array(Math.min(random % 600, channel.room("from-memory")))),
      ],
      observe: () => [0, 1, 2, 3, 5, 6, 7].map((index) => device.channel(index).room("to-memory")).join(),
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
