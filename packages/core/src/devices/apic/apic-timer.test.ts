import { describe, expect, it } from "vitest";
import { setUpApic, TSC_GHZ } from "./test-apics.ts";

const LVT = 0x320;
const INITIAL = 0x380;
const CURRENT = 0x390;
const DIVIDE = 0x3e0;
const PERIODIC = 0x2_0000;
const DEADLINE = 0x4_0000;
const MASKED = 0x1_0000;
const BY_1 = 0b1011;
const IA32_TSC_DEADLINE = 0x6e0;

function running(lvt: number, count: number, divide: number = BY_1) {
  const rig = setUpApic();
  rig.write(DIVIDE, divide);
  rig.write(LVT, lvt);
  rig.write(INITIAL, count);
  const take = () => {
    const taken = rig.apic.isPending ? rig.apic.acknowledge() : 0;
    rig.write(0xb0, 0);
    return taken;
  };
  return { ...rig, take };
}

describe("divider", () => {
  it.each([
    [0b0000, 2],
    [0b0001, 4],
    [0b0010, 8],
    [0b0011, 16],
    [0b1000, 32],
    [0b1001, 64],
    [0b1010, 128],
    [0b1011, 1],
  ])("%s divides by %s", (code, divisor) => {
    const { context, read, take } = running(0x40, 100, code);
    context.clock.advance(30 * divisor);
    expect(read(CURRENT)).toBe(70);
    context.clock.advance(70 * divisor - 1);
    expect(take()).toBe(0);
    context.clock.advance(1);
    expect(take()).toBe(0x40);
  });

  it("changes the rate of a running count", () => {
    const { context, read, write, take } = running(0x40, 100);
    context.clock.advance(60);
    write(DIVIDE, 0b0000);
    expect(read(CURRENT)).toBe(40);
    context.clock.advance(79);
    expect(take()).toBe(0);
    context.clock.advance(1);
    expect(take()).toBe(0x40);
  });
});

describe("counting", () => {
  it("an initial count of 0 stops it, a new one starts it anew", () => {
    const { context, read, write, take } = running(PERIODIC | 0x40, 100);
    context.clock.advance(50);
    write(INITIAL, 0);
    expect(read(CURRENT)).toBe(0);
    expect(context.clock.nextDeadlineNs()).toBeUndefined();
    write(INITIAL, 200);
    context.clock.advance(150);
    write(INITIAL, 200);
    context.clock.advance(199);
    expect(take()).toBe(0);
    context.clock.advance(1);
    expect(take()).toBe(0x40);
  });

  it("runs while masked, and a period that ends then is lost", () => {
    const { context, read, write, take } = running(PERIODIC | MASKED | 0x40, 5000);
    context.clock.advance(7000);
    expect(read(CURRENT)).toBe(3000);
    write(LVT, PERIODIC | 0x40);
    expect(take()).toBe(0);
    context.clock.advance(3000);
    expect(take()).toBe(0x40);
  });

  it("goes on when it becomes periodic, or one-shot", () => {
    const { context, read, write, take } = running(0x40, 5000);
    context.clock.advance(2000);
    write(LVT, PERIODIC | 0x41);
    expect(read(CURRENT)).toBe(3000);
    context.clock.advance(3000);
    expect(take()).toBe(0x41);
    context.clock.advance(1000);
    write(LVT, 0x42);
    context.clock.advance(4000);
    expect(take()).toBe(0x42);
    context.clock.advance(50_000);
    expect(take()).toBe(0);
    expect(read(CURRENT)).toBe(0);
    expect(read(INITIAL)).toBe(5000);
  });

  it("bounds interrupts of tiny periods", () => {
    const { context, apic } = running(PERIODIC | 0x40, 1);
    expect(context.clock.advance(100_000)).toBeLessThanOrEqual(101);
    expect(apic.isPending).toBe(true);
  });

  it("a change to TSC-deadline mode disarms it, and one back", () => {
    const { context, apic, read, write } = running(0x40, 5000);
    write(LVT, DEADLINE | 0x40);
    expect(context.clock.nextDeadlineNs()).toBeUndefined();
    expect(read(INITIAL)).toBe(0);
    write(INITIAL, 5000);
    expect(read(INITIAL)).toBe(0);
    apic.writeMsr(IA32_TSC_DEADLINE, 1_000_000n);
    write(LVT, PERIODIC | 0x40);
    expect(apic.readMsr(IA32_TSC_DEADLINE)).toBe(0n);
    expect(context.clock.nextDeadlineNs()).toBeUndefined();
  });
});

describe("TSC deadline", () => {
  const armed = (deadline: bigint) => {
    const rig = running(DEADLINE | 0x40, 0);
    rig.apic.writeMsr(IA32_TSC_DEADLINE, deadline);
    return rig;
  };

  it("is replaced by a new one and disarmed by 0", () => {
    const { context, apic, take } = armed(BigInt(1000 * TSC_GHZ));
    apic.writeMsr(IA32_TSC_DEADLINE, BigInt(2000 * TSC_GHZ));
    context.clock.advance(1999);
    expect(take()).toBe(0);
    apic.writeMsr(IA32_TSC_DEADLINE, 0n);
    context.clock.advance(1000);
    expect(take()).toBe(0);
    expect(apic.readMsr(IA32_TSC_DEADLINE)).toBe(0n);
  });

  it("disarms itself also while masked", () => {
    const { context, apic, write, take } = armed(BigInt(1000 * TSC_GHZ));
    write(LVT, DEADLINE | MASKED | 0x40);
    context.clock.advance(1000);
    expect(apic.readMsr(IA32_TSC_DEADLINE)).toBe(0n);
    write(LVT, DEADLINE | 0x40);
    expect(take()).toBe(0);
  });
});

describe("save and restore", () => {
  it.each([
    ["one-shot", 0x40, 5000],
    ["periodic", PERIODIC | 0x40, 5000],
    ["TSC deadline", DEADLINE | 0x40, 0],
  ])("%s goes on in the copy at the same instant", (_name, lvt, count) => {
    const { context, apic } = running(lvt, count);
    if (count === 0) apic.writeMsr(IA32_TSC_DEADLINE, BigInt(5000 * TSC_GHZ));
    context.clock.advance(1234);
    const copy = setUpApic();
    copy.context.clock.advance(1234);
    copy.apic.restore(apic.save());
    expect(copy.context.clock.nextDeadlineNs()).toBe(5000);
    expect(copy.read(CURRENT)).toBe(count === 0 ? 0 : 3766);
    copy.context.clock.advance(3766);
    expect(copy.apic.acknowledge()).toBe(0x40);
  });
});
