import { describe, expect, it } from "vitest";
import { PIT_HZ } from "../machine/board-map.ts";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";
import { createPit } from "./pit.ts";
import { nsOfTick, ticksAt } from "./tick-rate.ts";

function setUp(nowTicks = 1000) {
  const context = new FakeContext({ nowNs: nsOfTick(nowTicks, PIT_HZ) });
  const pit = createPit(context, { irq: context.line("irq0") });
  let tick = nowTicks;
  return {
    context,
    pit,
    irq: context.line("irq0"),
    read: (port: number) => pit.counters.read(port, 1),
    write: (port: number, ...values: number[]) => {
      for (const value of values) pit.counters.write(port, 1, value);
    },
    /** Moves to `ticks` later, exactly on a tick. */
    pass: (ticks: number) => {
      tick += ticks;
      context.clock.advance(nsOfTick(tick, PIT_HZ) - context.clock.nowNs());
    },
    read16: (port: number) => pit.counters.read(port, 1) | (pit.counters.read(port, 1) << 8),
    portB: () => pit.systemControlB.read(0, 1),
    setPortB: (value: number) => pit.systemControlB.write(0, 1, value),
  };
}

describe("8254", () => {
  it("mode 0: the output rises once, when the count is through", () => {
    const { write, pass, irq, read16 } = setUp();
    write(3, 0x30);
    write(0, 0x10, 0);
    pass(16);
    expect(irq.level).toBe(false);
    pass(1);
    expect(irq.rises).toBe(1);
    expect(irq.level).toBe(true);
    pass(1);
    expect(read16(0)).toBe(0xffff);
    pass(100_000);
    expect(irq.rises).toBe(1);
  });

  it("mode 2: one edge for each period, without drift", () => {
    const { write, context, irq, read16 } = setUp(0);
    write(3, 0x34);
    const before = irq.rises;
    const divisor = 11_932; // 100 Hz
    write(0, divisor & 0xff, divisor >> 8);
    context.clock.advance(10_000_000_000);
    expect(irq.rises - before).toBe(Math.floor((ticksAt(10_000_000_000, PIT_HZ) - 1) / divisor));
    const phase = (ticksAt(10_000_000_000, PIT_HZ) - 1) % divisor;
    expect(read16(0)).toBe(divisor - phase);
  });

  it("delivers one edge when time jumps over many periods, and keeps the phase", () => {
    const { write, context, irq } = setUp(0);
    write(3, 0x36);
    write(0, 0xe8, 0x03);
    const before = irq.rises;
    expect(context.clock.jump(nsOfTick(1 + 25_700, PIT_HZ))).toBe(1);
    expect(irq.rises - before).toBe(1);
    expect(context.clock.nextDeadlineNs()).toBe(nsOfTick(1 + 26_000, PIT_HZ));
  });

  it("mode 3: high for the first half, low for the second, counting by two", () => {
    const { write, pass, setPortB, portB, read } = setUp();
    setPortB(1);
    write(3, 0x96); // counter 2, LSB only
    write(2, 100);
    pass(1);
    expect(read(2)).toBe(100);
    pass(49);
    expect(portB() & 0x20).toBe(0x20);
    expect(read(2)).toBe(2);
    pass(1);
    expect(portB() & 0x20).toBe(0);
    expect(read(2)).toBe(100);
  });

  it("mode 2 loads a new count at the end of the period", () => {
    const { write, pass, irq } = setUp();
    write(3, 0x14);
    write(0, 100);
    const before = irq.rises;
    pass(51);
    write(0, 10);
    pass(49);
    expect(irq.rises - before).toBe(0);
    pass(1);
    expect(irq.rises - before).toBe(1);
    pass(10);
    expect(irq.rises - before).toBe(2);
  });

  it("mode 1 and 5 wait for the gate, mode 4 strobes once", () => {
    const { write, pass, setPortB, portB } = setUp();
    write(3, 0x92);
    write(2, 5);
    pass(20);
    expect(portB() & 0x20).toBe(0x20);
    setPortB(1);
    pass(3);
    expect(portB() & 0x20).toBe(0);
    pass(3);
    expect(portB() & 0x20).toBe(0x20);
    write(3, 0x98);
    write(2, 5);
    pass(6);
    expect(portB() & 0x20).toBe(0);
    pass(1);
    expect(portB() & 0x20).toBe(0x20);
  });

  it("stops while the gate of counter 2 is low", () => {
    const { write, pass, setPortB, portB, read } = setUp();
    setPortB(1);
    write(3, 0x90);
    write(2, 50);
    pass(11);
    setPortB(0);
    pass(1000);
    expect(read(2)).toBe(40);
    setPortB(1);
    pass(39);
    expect(portB() & 0x20).toBe(0);
    pass(1);
    expect(portB() & 0x20).toBe(0x20);
  });

  it("latches count and status until they are read", () => {
    const { write, pass, read, read16 } = setUp();
    write(3, 0x34);
    write(0, 0x00, 0x10);
    pass(1);
    write(3, 0x00);
    pass(10);
    write(3, 0x00);
    expect(read16(0)).toBe(0x1000);
    expect(read16(0)).toBe(0x1000 - 10);
    write(3, 0xc2); // read back count and status of counter 0
    pass(5);
    expect(read(0)).toBe(0xb4);
    expect(read16(0)).toBe(0x1000 - 10);
    write(0, 0x55, 0x10);
    write(3, 0xe2);
    expect(read(0) & 0x40).toBe(0x40);
  });

  it("counts in BCD", () => {
    const { write, pass, read16 } = setUp();
    write(3, 0x31);
    write(0, 0x00, 0x10);
    pass(2);
    expect(read16(0)).toBe(0x0999);
    write(3, 0x31);
    write(0, 0x00, 0x00);
    pass(2);
    expect(read16(0)).toBe(0x9999);
  });

  it("shows the refresh toggle", () => {
    const { context, portB } = setUp();
    const seen = new Set<number>();
    for (let i = 0; i < 10; i++) {
      seen.add(portB() & 0x10);
      context.clock.advance(10_000);
    }
    expect(seen.size).toBe(2);
  });
});

it("converts between ticks and nanoseconds exactly", () => {
  for (const hz of [PIT_HZ, 3_579_545, 32_768]) {
    for (const tick of [0, 1, 2, hz - 1, hz, hz + 1, 123_456_789, hz * 9_000_000 + 7]) {
      const ns = nsOfTick(tick, hz);
      expect(ticksAt(ns, hz)).toBe(tick);
      if (ns > 0) expect(ticksAt(ns - 1, hz)).toBe(tick - 1);
    }
  }
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const pit = createPit(context, { irq: context.line("irq0") });
    return {
      device: pit,
      ranges: [
        { handler: pit.counters, length: 4, sizes: [1] },
        { handler: pit.systemControlB, length: 1, sizes: [1] },
      ],
      setUp: () => {
        for (const control of [0x34, 0x54, 0xb6]) pit.counters.write(3, 1, control);
      },
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
