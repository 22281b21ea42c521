import { describe, expect, it } from "vitest";
import { setUpApic } from "./test-apics.ts";

const LINT0 = 0x350;
const LINT1 = 0x360;
const LEVEL = 0x8000;
const MASKED = 0x1_0000;
const REMOTE_IRR = 0x4000;

function withPins() {
  const rig = setUpApic({ pic: { isPending: false, acknowledge: () => 0x21 } });
  const noted = () => rig.events.splice(0).filter((event) => !/pending|idle/.test(event));
  const pulse = (pin: 0 | 1) => {
    rig.apic.lint[pin].set(true);
    rig.apic.lint[pin].set(false);
  };
  return { ...rig, noted, pulse };
}

describe("local interrupt pins", () => {
  it.each([
    ["NMI", 0x400, ["nmi"]],
    ["INIT", 0x500, ["init"]],
    ["SMI", 0x200, []],
    ["reserved 1", 0x100, []],
    ["reserved 3", 0x300, []],
    ["reserved 6", 0x600, []],
  ] as const)("%s is delivered on the rising edge only, whatever the trigger mode says", (_name, mode, expected) => {
    for (const trigger of [0, LEVEL]) {
      const { apic, write, noted } = withPins();
      write(LINT1, mode | trigger);
      apic.lint[1].set(true);
      apic.lint[1].set(true);
      write(LINT1, mode | trigger);
      expect(noted()).toEqual(expected);
      expect(apic.isPending).toBe(false);
    }
  });

  it("fixed edges are delivered once; an edge on a masked entry is lost", () => {
    const { apic, write, pulse } = withPins();
    write(LINT0, MASKED | 0x40);
    pulse(0);
    write(LINT0, 0x40);
    expect(apic.isPending).toBe(false);
    pulse(0);
    expect(apic.acknowledge()).toBe(0x40);
    write(0xb0, 0);
    expect(apic.isPending).toBe(false);
  });

  it("fixed levels set remote IRR, come again after EOI while asserted, and are seen on unmasking", () => {
    const { apic, bus, read, write } = withPins();
    const ended: number[] = [];
    bus.attachEoiListener((vector) => ended.push(vector));
    write(LINT0, MASKED | LEVEL | 0x40);
    apic.lint[0].set(true);
    expect(read(LINT0) & REMOTE_IRR).toBe(0);
    write(LINT0, LEVEL | 0x40);
    expect(read(LINT0)).toBe(LEVEL | REMOTE_IRR | 0x40);
    expect(apic.acknowledge()).toBe(0x40);
    expect(apic.isPending).toBe(false);
    write(0xb0, 0);
    expect(apic.acknowledge()).toBe(0x40);
    apic.lint[0].set(false);
    write(0xb0, 0);
    expect(read(LINT0)).toBe(LEVEL | 0x40);
    expect(apic.isPending).toBe(false);
    expect(ended).toEqual([0x40, 0x40]);
  });

  it("ExtINT passes whatever the task priority is, and needs no EOI", () => {
    const { apic, read, write } = withPins();
    write(0x80, 0xff);
    write(LINT0, 0x700);
    apic.lint[0].set(true);
    expect(apic.isPending).toBe(true);
    expect(apic.acknowledge()).toBe(0x21);
    apic.lint[0].set(false);
    expect(apic.isPending).toBe(false);
    expect([0x100, 0x110].map(read)).toEqual([0, 0]);
  });

  it("are INTR and NMI of the processor while the APIC is off", () => {
    const { apic, noted, pulse } = withPins();
    apic.writeMsr(0x1b, 0xfee0_0100n);
    pulse(1);
    expect(noted()).toEqual(["nmi"]);
    apic.lint[0].set(true);
    expect(apic.acknowledge()).toBe(0x21);
  });

  it("an illegal vector is an error instead of an interrupt, and leaves no remote IRR", () => {
    const { apic, read, write } = withPins();
    write(LINT0, LEVEL | 0x0f);
    apic.lint[0].set(true);
    expect(apic.isPending).toBe(false);
    expect(read(LINT0) & REMOTE_IRR).toBe(0);
    write(0x280, 0);
    expect(read(0x280)).toBe(0x40);
  });
});

describe("software disabling", () => {
  it("masks every entry, keeps it so, and leaves what is pending to the processor", () => {
    const { apic, read, write, pulse } = withPins();
    const entries = [0x320, 0x330, 0x340, LINT0, LINT1, 0x370];
    for (const entry of entries) write(entry, 0x40);
    pulse(0);
    write(0xf0, 0xff);
    for (const entry of entries) {
      expect(read(entry)).toBe(MASKED | 0x40);
      write(entry, 0x41);
      expect(read(entry)).toBe(MASKED | 0x41);
    }
    expect(apic.acknowledge()).toBe(0x40);
    write(0xf0, 0x1ff);
    expect(read(LINT0)).toBe(MASKED | 0x41);
  });
});

describe("error interrupts", () => {
  it("an illegal vector in the error entry itself ends there", () => {
    const { apic, read, write } = setUpApic();
    write(0x370, 0x05);
    read(0x3f0);
    expect(apic.isPending).toBe(false);
    write(0x280, 0);
    expect(read(0x280)).toBe(0xc0);
  });
});

describe("EOI", () => {
  it("is not broadcast while SVR bit 12 is set, but clears the remote IRR of the pins", () => {
    const { apic, bus, read, write } = withPins();
    const ended: number[] = [];
    bus.attachEoiListener((vector) => ended.push(vector));
    write(0xf0, 0x11ff);
    write(LINT0, LEVEL | 0x40);
    apic.lint[0].set(true);
    apic.lint[0].set(false);
    bus.msi({ address: 0xfee0_0000, addressHigh: 0, data: 0xc050 });
    for (let i = 0; i < 2; i++) apic.acknowledge();
    write(0xb0, 0);
    expect(read(LINT0) & REMOTE_IRR).toBe(REMOTE_IRR);
    apic.acknowledge();
    write(0xb0, 0);
    expect(read(LINT0) & REMOTE_IRR).toBe(0);
    expect(ended).toEqual([]);
  });
});
