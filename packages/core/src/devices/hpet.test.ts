import { describe, expect, it } from "vitest";
import { deviceContract } from "./contract.ts";
import { FakeContext } from "./fake-context.ts";
import { createHpet } from "./hpet.ts";

const [CAP, CONF, STATUS, COUNTER] = [0x000, 0x010, 0x020, 0x0f0] as const;
const config = (timer: number) => 0x100 + 0x20 * timer;
const comparator = (timer: number) => 0x108 + 0x20 * timer;
const [LEVEL, ENABLE, PERIODIC, VAL_SET, MODE_32] = [2, 4, 8, 0x40, 0x100] as const;
const ROUTE_20 = 20 << 9;

function create(context: FakeContext) {
  return createHpet(context, {
    irq0: context.line("irq0"),
    irq8: context.line("irq8"),
    routes: [20, 21, 22, 23].map((input) => context.line(`gsi${input}`)),
  });
}

function setUp() {
  const context = new FakeContext();
  const hpet = create(context);
  const read = (offset: number) => hpet.registers.read(offset, 4);
  const write = (offset: number, value: number) => hpet.registers.write(offset, 4, value);
  return { context, hpet, read, write, line: (name: string) => context.line(name) };
}

describe("HPET", () => {
  it("announces a 10 ns counter and three 64-bit periodic timers", () => {
    const { read } = setUp();
    expect(read(CAP)).toBe(0x8086_a201);
    expect(read(CAP + 4)).toBe(10_000_000);
    expect(read(config(2))).toBe(0x30);
    expect(read(config(2) + 4)).toBe(0x00f0_0000);
    expect(read(comparator(0))).toBe(0xffff_ffff);
    expect(read(config(3))).toBe(0);
  });

  it("counts while enabled, and can be set while halted", () => {
    const { context, read, write } = setUp();
    context.clock.advance(1000);
    expect(read(COUNTER)).toBe(0);
    write(COUNTER, 0xffff_fff0);
    write(COUNTER + 4, 1);
    write(CONF, 1);
    context.clock.advance(320);
    expect([read(COUNTER), read(COUNTER + 4)]).toEqual([0x10, 2]);
    write(CONF, 0);
    context.clock.advance(1000);
    expect(read(COUNTER)).toBe(0x10);
  });

  it("fires once at the comparator, on the routed input", () => {
    const { context, write, line } = setUp();
    write(config(1), ENABLE | ROUTE_20);
    write(comparator(1), 100);
    write(comparator(1) + 4, 0);
    write(CONF, 1);
    context.clock.advance(999);
    expect(line("gsi20").rises).toBe(0);
    context.clock.advance(1);
    expect(line("gsi20").rises).toBe(1);
    expect(line("gsi20").level).toBe(false);
    context.clock.advance(1e12);
    expect(line("gsi20").rises).toBe(1);
  });

  it("matches 32-bit comparators again after each turn of the counter", () => {
    const { context, write, line } = setUp();
    write(config(1), ENABLE | MODE_32 | ROUTE_20);
    write(comparator(1), 100);
    write(CONF, 1);
    context.clock.advance(1000 + 2 * 42_949_672_960);
    expect(line("gsi20").rises).toBe(3);
  });

  it("repeats with the period written after the first value, without drift or storms", () => {
    const { context, read, write, line } = setUp();
    write(CONF, 3);
    write(config(0), ENABLE | PERIODIC | VAL_SET | MODE_32);
    write(comparator(0), 5000);
    write(comparator(0), 100_000);
    context.clock.advance(50_000);
    expect(line("irq0").rises).toBe(1);
    expect(read(comparator(0))).toBe(105_000);
    context.clock.advance(10_000_000);
    expect(line("irq0").rises).toBe(11);
    expect(context.clock.jump(5_500_000)).toBe(1);
    expect(line("irq0").rises).toBe(12);
    expect(context.clock.nextDeadlineNs()).toBe(50_000 + 16_000_000);
  });

  it("wakes the machine rarely for a period that raises no interrupt, and keeps its phase", () => {
    const { context, read, write, line } = setUp();
    write(CONF, 3);
    write(config(0), ENABLE | PERIODIC | VAL_SET | MODE_32);
    write(comparator(0), 5000);
    write(comparator(0), 100_000);
    context.clock.advance(50_000);
    write(config(0), PERIODIC | MODE_32);
    expect(context.clock.nextDeadlineNs()).toBeGreaterThan(900_000_000);
    context.clock.advance(10_000_000_000);
    expect(line("irq0").rises).toBe(1);
    expect(read(comparator(0))).toBe((5000 + 10_001 * 100_000) % 2 ** 32);
    context.clock.advance(300_000);
    write(config(0), ENABLE | PERIODIC | MODE_32);
    context.clock.advance(1_000_000);
    expect(line("irq0").rises).toBe(2);
  });

  it("lets a period that starts behind the counter wait for a turn, though it raises no interrupt yet", () => {
    const { context, read, write, line } = setUp();
    write(CONF, 3);
    context.clock.advance(1_000_000);
    write(config(0), PERIODIC | VAL_SET | MODE_32);
    write(comparator(0), 5000);
    write(comparator(0), 1000);
    expect(read(comparator(0))).toBe(5000);
    write(config(0), ENABLE | PERIODIC | MODE_32);
    context.clock.advance(1_000_000_000);
    expect(line("irq0").rises).toBe(0);
  });

  it("sets the status of a level period again once it was cleared, however long it was seen by nobody", () => {
    const { context, read, write } = setUp();
    write(CONF, 1);
    write(config(2), LEVEL | ENABLE | PERIODIC | VAL_SET | MODE_32);
    write(comparator(2), 1000);
    write(comparator(2), 1000);
    context.clock.advance(5_000_000_000 + 5000);
    expect(read(STATUS)).toBe(4);
    write(STATUS, 4);
    context.clock.advance(4999);
    expect(read(STATUS)).toBe(0);
    context.clock.advance(1);
    expect(read(STATUS)).toBe(4);
  });

  it("sets a 64-bit periodic comparator by one 64-bit write", () => {
    const { read, write } = setUp();
    write(config(2), PERIODIC | VAL_SET);
    write(comparator(2), 7);
    write(comparator(2) + 4, 1);
    expect([read(comparator(2)), read(comparator(2) + 4)]).toEqual([7, 1]);
    write(comparator(2), 9);
    expect(read(comparator(2))).toBe(7);
  });

  it("holds level interrupts until their status is cleared", () => {
    const { context, read, write, line } = setUp();
    write(config(2), ENABLE | LEVEL | ROUTE_20);
    write(comparator(2), 10);
    write(comparator(2) + 4, 0);
    write(CONF, 1);
    context.clock.advance(100);
    expect(line("gsi20").level).toBe(true);
    expect(read(STATUS)).toBe(4);
    write(STATUS, 3);
    expect(line("gsi20").level).toBe(true);
    write(STATUS, 4);
    expect(line("gsi20").level).toBe(false);
  });

  it("takes the 8254's and the RTC's wires in legacy replacement mode", () => {
    const { context, hpet, write, line } = setUp();
    hpet.pitInput.set(true);
    expect(line("irq0").level).toBe(true);
    write(CONF, 3);
    expect(line("irq0").level).toBe(false);
    hpet.rtcInput.set(true);
    expect(line("irq8").level).toBe(false);
    write(config(1), ENABLE | MODE_32);
    write(comparator(1), 50);
    context.clock.advance(500);
    expect(line("irq8").rises).toBe(1);
    write(CONF, 1);
    expect(line("irq8").level).toBe(true);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const hpet = create(context);
    return {
      device: hpet,
      ranges: [
        { handler: hpet.registers, length: 0x180, sizes: [4, 4, 1] },
        { handler: hpet.registers, length: 0x30, sizes: [4] },
      ],
      setUp: () => hpet.registers.write(CONF, 4, 1),
      events: [
        (random) => hpet.pitInput.set((random & 1) !== 0),
        (random) => hpet.registers.write(comparator(random % 3), 4, random >>> 10),
        (random) => hpet.registers.write(config(random % 3), 4, random & 0x3f4e),
        () => hpet.registers.write(CONF, 4, 1),
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
