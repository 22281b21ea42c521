import { describe, expect, it } from "vitest";
import { deviceContract } from "../contract.ts";
import { FakeContext } from "../fake-context.ts";
import { createIoApic } from "../ioapic.ts";
import { createPic } from "../pic.ts";
import { ApicSystemBus } from "./apic-bus.ts";
import type { LocalApic } from "./local-apic.ts";
import { createApic, fixed, setUpApic } from "./test-apics.ts";

describe("local APIC", () => {
  it("has the manual's reset values", () => {
    const { read } = createApic(new FakeContext(), new ApicSystemBus());
    expect(read(0x30)).toBe(0x0105_0014);
    expect(read(0xe0)).toBe(0xffff_ffff);
    expect(read(0xf0)).toBe(0xff);
    for (let lvt = 0x320; lvt <= 0x370; lvt += 0x10) expect(read(lvt)).toBe(0x1_0000);
    expect([0x20, 0x80, 0xa0, 0xd0, 0x280, 0x300, 0x310, 0x380, 0x390, 0x3e0].map(read).every((v) => v === 0)).toBe(
      true,
    );
  });

  it("delivers by priority class, nests, and ends in order", () => {
    const { apic, bus, read, write } = setUpApic();
    bus.deliver(fixed(0x35));
    bus.deliver(fixed(0x51));
    expect(apic.acknowledge()).toBe(0x51);
    bus.deliver(fixed(0x5f));
    expect(apic.isPending).toBe(false);
    bus.deliver(fixed(0x60));
    expect(apic.acknowledge()).toBe(0x60);
    expect(read(0xa0)).toBe(0x60);
    expect(read(0x130)).toBe(1);
    write(0xb0, 0);
    expect(apic.isPending).toBe(false);
    write(0xb0, 0);
    expect(apic.acknowledge()).toBe(0x5f);
    write(0xb0, 0);
    expect(apic.acknowledge()).toBe(0x35);
  });

  it("holds back what the task priority covers, and answers a withdrawn request with the spurious vector", () => {
    const { apic, bus, events } = setUpApic();
    bus.deliver(fixed(0x45));
    apic.cr8 = 4;
    expect(events).toEqual(["pending", "idle"]);
    expect(apic.acknowledge()).toBe(0xff);
    apic.cr8 = 3;
    expect(apic.acknowledge()).toBe(0x45);
  });

  it("broadcasts the end of level-triggered vectors only", () => {
    const { apic, bus, write } = setUpApic();
    const ended: number[] = [];
    bus.attachEoiListener((vector) => ended.push(vector));
    bus.deliver(fixed(0x40, true));
    apic.acknowledge();
    write(0xb0, 0);
    bus.deliver(fixed(0x41));
    apic.acknowledge();
    write(0xb0, 0);
    expect(ended).toEqual([0x40]);
  });

  it("takes nothing while software has it disabled, and masks its own entries", () => {
    const { apic, bus, read, write } = setUpApic();
    write(0x320, 0x30);
    write(0xf0, 0xff);
    expect(read(0x320)).toBe(0x1_0030);
    expect(bus.deliver(fixed(0x40))).toBe(false);
    expect(apic.isPending).toBe(false);
  });

  it("counts down once, or periodically without drift and without storms", () => {
    const { context, apic, read, write } = setUpApic();
    write(0x3e0, 0b0011); // divide by 16
    write(0x320, 0x30);
    write(0x380, 1000);
    context.clock.advance(8000);
    expect(read(0x390)).toBe(500);
    context.clock.advance(8000);
    expect(read(0x390)).toBe(0);
    expect(apic.acknowledge()).toBe(0x30);
    write(0xb0, 0);
    write(0x320, 0x2_0031);
    write(0x380, 1000);
    expect(context.clock.jump(16_000 * 10 + 1600)).toBe(1);
    expect(read(0x390)).toBe(900);
    expect(apic.acknowledge()).toBe(0x31);
    expect(context.clock.nextDeadlineNs()).toBe(16_000 * 12);
  });

  it("fires at a TSC deadline, and at once for a past one", () => {
    const { context, apic, write } = setUpApic();
    apic.writeMsr(0x6e0, 1n);
    expect(apic.readMsr(0x6e0)).toBe(0n);
    write(0x320, 0x4_0032);
    apic.writeMsr(0x6e0, 30_000n);
    expect(apic.readMsr(0x6e0)).toBe(30_000n);
    context.clock.advance(9_999);
    expect(apic.isPending).toBe(false);
    context.clock.advance(1);
    expect(apic.acknowledge()).toBe(0x32);
    expect(apic.readMsr(0x6e0)).toBe(0n);
    write(0xb0, 0);
    apic.writeMsr(0x6e0, 1n);
    context.clock.jump(0);
    expect(apic.acknowledge()).toBe(0x32);
    apic.writeMsr(0x6e0, 0xffff_ffff_ffff_ffffn);
    write(0x320, 0x30);
    expect(context.clock.nextDeadlineNs()).toBeUndefined();
  });

  it("passes the 8259A's interrupts through in virtual wire mode, and when switched off", () => {
    const context = new FakeContext();
    const bus = new ApicSystemBus();
    const lint0 = { set: (level: boolean) => apic.lint[0].set(level) };
    const pic = createPic({ intr: lint0 });
    const { apic, write } = createApic(context, bus, 0, { pic, virtualWire: true });
    pic.chips[0].write(0, 1, 0x13);
    pic.chips[0].write(1, 1, 0x20);
    pic.chips[0].write(1, 1, 0x01);
    pic.inputs[1]!.set(true);
    expect(apic.isPending).toBe(true);
    expect(apic.acknowledge()).toBe(0x21);
    expect(apic.isPending).toBe(false);
    pic.chips[0].write(0, 1, 0x20);
    write(0x350, 0x1_0700);
    pic.inputs[3]!.set(true);
    expect(apic.isPending).toBe(false);
    expect(apic.writeMsr(0x1b, 0xfee0_0100n)).toBe(true);
    expect(apic.acknowledge()).toBe(0x23);
  });

  it("sends to itself, to all, to others, by identifier and by logical destination", () => {
    const context = new FakeContext();
    const bus = new ApicSystemBus();
    const cpus = [0, 1, 2].map((id) => createApic(context, bus, id));
    const pending = () => cpus.map(({ apic }) => (apic.isPending ? apic.acknowledge() : 0));
    for (const [id, { write }] of cpus.entries()) {
      write(0xf0, 0x1ff);
      write(0xd0, (1 << id) << 24);
    }
    const [sender] = cpus as [(typeof cpus)[0]];
    const send = (low: number, destination = 0) => {
      for (const { write } of cpus) write(0xb0, 0);
      sender.write(0x310, destination << 24);
      sender.write(0x300, low);
      return pending();
    };
    expect(send(0x4_0031)).toEqual([0x31, 0, 0]);
    expect(send(0x8_0032)).toEqual([0x32, 0x32, 0x32]);
    expect(send(0xc_0033)).toEqual([0, 0x33, 0x33]);
    expect(send(0x0034, 2)).toEqual([0, 0, 0x34]);
    expect(send(0x0835, 0b110)).toEqual([0, 0x35, 0x35]);
    expect(send(0x0036, 0xff)).toEqual([0x36, 0x36, 0x36]);
    expect(send(0x0937, 0b111)).toEqual([0, 0, 0]);
    send(0xc_4500);
    send(0xc_8500); // level de-assert: nothing
    send(0xc_4608);
    expect(cpus[1]!.events.filter((event) => /init|startup/.test(event))).toEqual(["init", "startup 8"]);
  });

  it("latches errors for the next read, and reports them once", () => {
    const { apic, read, write } = setUpApic();
    write(0x370, 0xfe);
    write(0x300, 0x4_0005);
    expect(apic.acknowledge()).toBe(0xfe);
    expect(read(0x280)).toBe(0);
    write(0xb0, 0);
    read(0x3f0);
    expect(apic.isPending).toBe(false);
    write(0x280, 0);
    expect(read(0x280)).toBe(0xe0);
    write(0x3f0, 0);
    expect(apic.acknowledge()).toBe(0xfe);
    expect(read(0x280)).toBe(0xe0);
    write(0x280, 0);
    expect(read(0x280)).toBe(0x80);
    write(0x280, 0);
    expect(read(0x280)).toBe(0);
  });

  it("switches to x2APIC and back only by way of off", () => {
    const { apic } = setUpApic();
    expect(apic.readMsr(0x1b)).toBe(0xfee0_0900n);
    expect(apic.readMsr(0x802)).toBeUndefined();
    expect(apic.writeMsr(0x1b, 0xfee0_0500n)).toBe(false);
    expect(apic.writeMsr(0x1b, 0xfee0_0d00n)).toBe(true);
    expect(apic.mmioBase).toBeUndefined();
    expect(apic.readMsr(0x802)).toBe(0n);
    expect(apic.readMsr(0x80d)).toBe(1n);
    expect(apic.writeMsr(0x1b, 0xfee0_0900n)).toBe(false);
    expect(apic.writeMsr(0x80b, 1n)).toBe(false);
    expect(apic.writeMsr(0x802, 0n)).toBe(false);
    expect(apic.writeMsr(0x83f, 0x41n)).toBe(true);
    expect(apic.acknowledge()).toBe(0x41);
    expect(apic.writeMsr(0x80b, 0n)).toBe(true);
    expect(apic.writeMsr(0x830, 0x0000_0000_0004_0042n)).toBe(true);
    expect(apic.acknowledge()).toBe(0x42);
    expect(apic.writeMsr(0x808, 0x100n)).toBe(false);
    expect(apic.writeMsr(0x1b, 0xfee0_0100n)).toBe(true);
    expect(apic.writeMsr(0x1b, 0xfee0_0d00n)).toBe(false);
    expect(apic.writeMsr(0x1b, 0xfee0_0900n)).toBe(true);
    expect(apic.mmioBase).toBe(0xfee0_0000);
    expect(apic.writeMsr(0x1b, 1n << 40n)).toBe(false);
  });

  it("receives messages of devices, and keeps a level-triggered IO-APIC input going", () => {
    const { apic, bus, write } = setUpApic();
    bus.msi({ address: 0xfee0_0000, addressHigh: 0, data: 0x4055 });
    expect(apic.acknowledge()).toBe(0x55);
    write(0xb0, 0);
    bus.msi({ address: 0xfed0_0000, addressHigh: 0, data: 0x56 });
    bus.msi({ address: 0xfee0_0000, addressHigh: 1, data: 0x56 });
    expect(apic.isPending).toBe(false);
    const ioApic = createIoApic({ bus });
    bus.attachEoiListener((vector) => ioApic.endOfInterrupt(vector));
    ioApic.registers.write(0, 4, 0x30);
    ioApic.registers.write(0x10, 4, 0x8060);
    ioApic.inputs[16]!.set(true);
    expect(apic.acknowledge()).toBe(0x60);
    write(0xb0, 0);
    expect(apic.acknowledge()).toBe(0x60);
    ioApic.inputs[16]!.set(false);
    write(0xb0, 0);
    expect(apic.isPending).toBe(false);
  });
});

function contractFor(prepare: (apic: LocalApic) => void) {
  return deviceContract((context) => {
    const bus = new ApicSystemBus();
    const { apic, events } = createApic(context, bus, 0, { pic: { isPending: false, acknowledge: () => 0x20 } });
    return {
      device: apic,
      ranges: [{ handler: apic.registers, length: 0x400, sizes: [4] }],
      setUp: () => prepare(apic),
      events: [
        (random) => bus.deliver(fixed(random & 0xff, (random & 0x100) !== 0)),
        (random) => apic.lint[random & 1 ? 1 : 0].set((random & 2) !== 0),
        (random) => apic.registers.write(((random >>> 8) & 0x3f) << 4, 4, random),
        (random) => apic.registers.write(0x320, 4, random & 0x6_00ff),
        (random) => apic.registers.write(0x380, 4, random >>> 12),
        (random) => apic.writeMsr(0x6e0, BigInt(random)),
        (random) => apic.writeMsr(0x800 + (random & 0x3f), BigInt(random >>> 16)),
        () => apic.acknowledge(),
        () => apic.registers.write(0xf0, 4, 0x1ff),
      ],
      observe: () => [
        apic.isPending,
        apic.cr8,
        events.splice(0).filter((event) => !/pending|idle|cr8/.test(event)),
        apic.readMsr(0x1b),
      ],
    };
  });
}

describe("contract, xAPIC", () => {
  it.each(contractFor((apic) => apic.registers.write(0xf0, 4, 0x1ff)))("$name", ({ run }) => run());
});

describe("contract, x2APIC", () => {
  it.each(contractFor((apic) => apic.writeMsr(0x1b, 0xfee0_0d00n)))("$name", ({ run }) => run());
});
