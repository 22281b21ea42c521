import { describe, expect, it } from "vitest";
import { deviceContract } from "../contract.ts";
import { FakeContext } from "../fake-context.ts";
import { createI8042, type I8042 } from "./controller.ts";
import { pressedKeys, typedText } from "./typing.ts";

const ENABLE = 0x60;
const [WITH_INTERRUPTS, TRANSLATING] = [0x03, 0x43];

function rig(mode: number = TRANSLATING): {
  context: FakeContext;
  i8042: I8042;
  ask: (...bytes: number[]) => number[];
} {
  const context = new FakeContext();
  const i8042 = createI8042(context, {
    name: "i8042",
    channel: "keyboard0",
    keyboardIrq: context.line("irq1"),
    auxIrq: context.line("irq12"),
  });
  i8042.command.write(0, 1, ENABLE);
  i8042.data.write(0, 1, mode);
  const ask = (...bytes: number[]): number[] => {
    for (const byte of bytes) i8042.data.write(0, 1, byte);
    return drain(i8042);
  };
  return { context, i8042, ask };
}

function drain(i8042: I8042): number[] {
  const bytes: number[] = [];
  while (i8042.command.read(0, 1) & 1) bytes.push(i8042.data.read(0, 1));
  return bytes;
}

/** Everything that the guest reads for these keys, as time passes. */
function typed({ context, i8042 }: ReturnType<typeof rig>, keys: Uint8Array): number[] {
  context.input("keyboard0", keys);
  const bytes: number[] = drain(i8042);
  for (let i = 0; i < keys.length; i++) {
    context.clock.advance(4_000_000);
    bytes.push(...drain(i8042));
  }
  return bytes;
}

describe("controller", () => {
  it("tests itself, its ports, and keeps its command byte", () => {
    const { i8042 } = rig();
    const command = (byte: number): number[] => {
      i8042.command.write(0, 1, byte);
      return drain(i8042);
    };
    expect(command(0xaa)).toEqual([0x55]);
    expect(command(0xab)).toEqual([0]);
    expect(command(0xa9)).toEqual([0]);
    expect(command(0x20)).toEqual([0x47]);
    command(0xad);
    command(0xa7);
    expect(command(0x20)).toEqual([0x77]);
    expect(command(0xd0)).toEqual([0xcf]);
  });

  it("resets the machine by its output port and by a pulse", () => {
    const { context, i8042 } = rig();
    i8042.command.write(0, 1, 0xfe);
    i8042.command.write(0, 1, 0xff);
    i8042.command.write(0, 1, 0xd1);
    i8042.data.write(0, 1, 0xde);
    expect(context.powerActions).toEqual(["reset", "reset"]);
  });

  it("loops bytes back to either port, each with its interrupt, and has no mouse", () => {
    const { context, i8042 } = rig();
    i8042.command.write(0, 1, 0xd3);
    i8042.data.write(0, 1, 0x5a);
    expect(i8042.command.read(0, 1) & 0x21).toBe(0x21);
    expect([context.line("irq1").level, context.line("irq12").level]).toEqual([false, true]);
    expect(drain(i8042)).toEqual([0x5a]);
    i8042.command.write(0, 1, 0xd4);
    i8042.data.write(0, 1, 0xf2);
    expect(i8042.command.read(0, 1) & 0x61).toBe(0x61);
    expect(drain(i8042)).toEqual([0xfe]);
  });
});

describe("keyboard", () => {
  it("answers commands", () => {
    const { i8042, ask } = rig();
    expect(ask(0xff)).toEqual([0xfa, 0xaa]);
    expect(ask(0xf2)).toEqual([0xfa, 0xab, 0x41]);
    expect(ask(0xee)).toEqual([0xee]);
    expect(ask(0xed)).toEqual([0xfa]);
    expect(ask(0x06)).toEqual([0xfa]);
    expect(i8042.keyboard.leds).toBe(6);
    expect(ask(0xf3)).toEqual([0xfa]);
    expect(ask(0x00)).toEqual([0xfa]);
    expect(ask(0x80)).toEqual([0xfe]);
    expect(ask(0xfe)).toEqual([0xfe]);
  });

  it("sends set 2, translated into set 1 where the controller is told to", () => {
    expect(typed(rig(), typedText("aB"))).toEqual([0x1e, 0x9e, 0x2a, 0x30, 0xb0, 0xaa]);
    expect(typed(rig(WITH_INTERRUPTS), typedText("aB"))).toEqual([
      ...[0x1c, 0xf0, 0x1c],
      ...[0x12, 0x32, 0xf0, 0x32, 0xf0, 0x12],
    ]);
    expect(typed(rig(), pressedKeys("ctrl-alt-delete"))).toEqual([0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d]);
    expect(typed(rig(), pressedKeys("f7"))).toEqual([0x41, 0xc1]);
    expect(typed(rig(), pressedKeys("pause"))).toEqual([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
    expect(typed(rig(), pressedKeys("printscreen"))).toEqual([0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa]);
  });

  it("sends set 1 itself when told to", () => {
    const test = rig(WITH_INTERRUPTS);
    expect(test.ask(0xf0)).toEqual([0xfa]);
    expect(test.ask(1)).toEqual([0xfa]);
    expect(typed(test, pressedKeys("right"))).toEqual([0xe0, 0x4d, 0xe0, 0xcd]);
    expect(test.ask(0xf0, 0)).toEqual([0xfa, 0xfa, 1]);
  });

  it("sends nothing while it is off, and keeps keys that the controller holds back", () => {
    const test = rig();
    test.ask(0xf5);
    expect(typed(test, typedText("a"))).toEqual([]);
    test.ask(0xf4);
    test.i8042.command.write(0, 1, 0xad);
    expect(typed(test, typedText("b"))).toEqual([]);
    expect(test.context.clock.nextDeadlineNs()).toBeUndefined();
    test.i8042.command.write(0, 1, 0xae);
    test.context.clock.advance(10_000_000);
    expect(drain(test.i8042)).toEqual([0x30, 0xb0]);
  });

  it("raises its interrupt for each byte", () => {
    const test = rig();
    typed(test, typedText("hello"));
    expect(test.context.line("irq1").rises).toBe(10);
    expect(test.context.line("irq1").level).toBe(false);
  });

  it("waits for a slow reader, within bounds", () => {
    const test = rig();
    for (let i = 0; i < 20; i++) test.context.input("keyboard0", typedText("x".repeat(1000)));
    test.context.clock.advance(1_000_000_000);
    expect(test.context.clock.nextDeadlineNs()).toBeUndefined();
    const bytes: number[] = [];
    for (let i = 0; i < 9000; i++) {
      bytes.push(...drain(test.i8042));
      test.context.clock.advance(4_000_000);
    }
    // The first key leaves the queue of 8192 at once.
    expect(bytes).toHaveLength(8193);
    expect(new Set(bytes)).toEqual(new Set([0x2d, 0xad]));
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const i8042 = createI8042(context, {
      name: "i8042",
      channel: "keyboard0",
      keyboardIrq: context.line("irq1"),
      auxIrq: context.line("irq12"),
    });
    return {
      device: i8042,
      ranges: [
        { handler: i8042.data, length: 1, sizes: [1] },
        { handler: i8042.command, length: 1, sizes: [1] },
      ],
      setUp: () => {
        i8042.command.write(0, 1, ENABLE);
        i8042.data.write(0, 1, TRANSLATING);
      },
      events: [(random) => context.input("keyboard0", typedText("abc".slice(random % 3)))],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
