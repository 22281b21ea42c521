import { describe, expect, it } from "vitest";
import { DELIVERY } from "./apic-bus.ts";
import { fixed, setUpApics } from "./test-apics.ts";

const FIXED = { deliveryMode: DELIVERY.FIXED, vector: 0x40, isLevelTriggered: false } as const;
const LOWEST = { ...FIXED, deliveryMode: DELIVERY.LOWEST_PRIORITY } as const;
const who = (taken: Record<number, number>): number[] => Object.keys(taken).map(Number);

describe("destinations in xAPIC mode", () => {
  it("physical: one identifier, or 0xff for all", () => {
    const { bus, taken } = setUpApics([0, 1, 5]);
    for (const [destination, expected] of [
      [0, [0]],
      [5, [5]],
      [2, []],
      [0xff, [0, 1, 5]],
    ] as const) {
      bus.deliver({ ...FIXED, destination, isLogical: false });
      expect(who(taken())).toEqual(expected);
    }
  });

  it("flat model: any common bit", () => {
    const { apics, bus, taken } = setUpApics([0, 1, 2]);
    for (const [i, { write }] of apics.entries()) write(0xd0, (1 << i) << 24);
    for (const [destination, expected] of [
      [0b001, [0]],
      [0b110, [1, 2]],
      [0b1000, []],
      [0, []],
      [0xff, [0, 1, 2]],
    ] as const) {
      bus.deliver({ ...FIXED, destination, isLogical: true });
      expect(who(taken())).toEqual(expected);
    }
  });

  it("cluster model: same cluster and a common bit", () => {
    const { apics, bus, taken } = setUpApics([0, 1, 2, 3]);
    const ldr = [0x11, 0x12, 0x21, 0x24];
    for (const [i, { write }] of apics.entries()) {
      write(0xe0, 0x0fff_ffff);
      write(0xd0, (ldr[i]! << 24) >>> 0);
    }
    for (const [destination, expected] of [
      [0x13, [0, 1]],
      [0x12, [1]],
      [0x2f, [2, 3]],
      [0x31, []],
      [0x10, []],
      [0xff, [0, 1, 2, 3]],
    ] as const) {
      bus.deliver({ ...FIXED, destination, isLogical: true });
      expect(who(taken()), destination.toString(16)).toEqual(expected);
    }
  });
});

describe("destinations in x2APIC mode", () => {
  it("physical: 32 bits; broadcast is all ones of the sender's width", () => {
    const { apics, bus, taken } = setUpApics([0, 1, 300], "x2apic");
    const icr = (destination: number, low = 0x4040) =>
      apics[0]!.apic.writeMsr(0x830, (BigInt(destination) << 32n) | BigInt(low));
    icr(300);
    expect(who(taken())).toEqual([300]);
    icr(0xff);
    expect(who(taken())).toEqual([]);
    icr(0xffff_ffff);
    expect(who(taken())).toEqual([0, 1, 300]);
    icr(0xffff_ffff, 0x4840);
    expect(who(taken())).toEqual([0, 1, 300]);
    bus.msi({ address: 0xfeef_f000, addressHigh: 0, data: 0x41 });
    expect(who(taken())).toEqual([0, 1, 300]);
  });

  it("logical: cluster in the upper half, one bit of 16 in the lower", () => {
    const { apics, taken } = setUpApics([0, 1, 15, 16, 35], "x2apic");
    expect(apics.map(({ apic }) => apic.readMsr(0x80d))).toEqual([1n, 2n, 0x8000n, 0x1_0001n, 0x2_0008n]);
    const icr = (destination: number) => apics[0]!.apic.writeMsr(0x830, (BigInt(destination) << 32n) | 0x4840n);
    for (const [destination, expected] of [
      [0x8003, [0, 1, 15]],
      [0x1_ffff, [16]],
      [0x2_0008, [35]],
      [0x3_0001, []],
      [0x1_0000, []],
    ] as const) {
      icr(destination);
      expect(who(taken()), destination.toString(16)).toEqual(expected);
    }
  });

  it("a device's eight bits reach the first cluster", () => {
    const { bus, taken } = setUpApics([0, 1, 16], "x2apic");
    bus.msi({ address: 0xfee0_3004, addressHigh: 0, data: 0x44 });
    expect(taken()).toEqual({ 0: 0x44, 1: 0x44 });
  });
});

describe("lowest priority", () => {
  const flat = () => {
    const rig = setUpApics([0, 1, 2]);
    for (const [i, { write }] of rig.apics.entries()) write(0xd0, (1 << i) << 24);
    const deliver = () => rig.bus.deliver({ ...LOWEST, destination: 0b111, isLogical: true });
    return { ...rig, deliver };
  };

  it("goes to the least busy, then to the lowest identifier, always the same way", () => {
    const { apics, deliver, taken } = flat();
    deliver();
    expect(who(taken())).toEqual([0]);
    apics[0]!.write(0x80, 0x30);
    deliver();
    expect(who(taken())).toEqual([1]);
    apics[1]!.apic.accept(fixed(0x50));
    apics[1]!.apic.acknowledge();
    deliver();
    expect(who(taken())).toEqual([2]);
    apics[2]!.write(0x80, 0x60);
    deliver();
    expect(who(taken())).toEqual([0]);
  });

  it("passes over processors whose APIC software has disabled", () => {
    const { apics, deliver, taken } = flat();
    apics[0]!.write(0xf0, 0xff);
    deliver();
    expect(who(taken())).toEqual([1]);
    for (const { write } of apics) write(0xf0, 0xff);
    expect(deliver()).toBe(false);
  });

  it("is what the redirection hint of a message asks for", () => {
    const { bus, taken } = flat();
    bus.msi({ address: 0xfee0_700c, addressHigh: 0, data: 0x45 });
    expect(taken()).toEqual({ 0: 0x45 });
    bus.msi({ address: 0xfee0_7004, addressHigh: 0, data: 0x45 });
    expect(taken()).toEqual({ 0: 0x45, 1: 0x45, 2: 0x45 });
  });

  it("is an error for interprocessor interrupts, which processors with x2APIC do not send so", () => {
    const { apics, taken } = flat();
    const [{ read, write }] = apics as [(typeof apics)[0]];
    write(0x310, 0x0700_0000);
    write(0x300, 0x4940);
    write(0x300, 0x4903);
    expect(taken()).toEqual({});
    write(0x280, 0);
    expect(read(0x280)).toBe(0x10);
  });
});

describe("interprocessor interrupts", () => {
  const send = (low: number, destination = 0) => {
    const rig = setUpApics([0, 1, 2]);
    const { read, write } = rig.apics[0]!;
    write(0x310, destination << 24);
    write(0x300, low);
    expect(read(0x300)).toBe(low & 0xc_cfff);
    const seen = rig.apics.map(({ events }) => events.filter((event) => event !== "pending" && event !== "idle"));
    return { ...rig, seen, got: rig.taken() };
  };

  it("NMI, INIT and start-up go to whom they name, also while software has the receiver disabled", () => {
    expect(send(0x4400, 1).seen).toEqual([[], ["nmi"], []]);
    expect(send(0x4500, 2).seen).toEqual([[], [], ["init"]]);
    expect(send(0xc_4610).seen).toEqual([[], ["startup 16"], ["startup 16"]]);
    expect(send(0x8_4400).seen).toEqual([["nmi"], ["nmi"], ["nmi"]]);
    const { apics } = setUpApics([0, 1]);
    apics[1]!.write(0xf0, 0xff);
    apics[0]!.write(0x310, 0x0100_0000);
    for (const low of [0x4400, 0x4500, 0x4608, 0x4041]) apics[0]!.write(0x300, low);
    expect(apics[1]!.events).toEqual(["nmi", "init", "startup 8"]);
    expect(apics[1]!.apic.isPending).toBe(false);
  });

  it("an APIC that is off hears nothing", () => {
    const { apics } = setUpApics([0, 1]);
    apics[1]!.apic.writeMsr(0x1b, 0xfee0_0000n);
    apics[1]!.events.length = 0;
    apics[0]!.write(0x310, 0xff00_0000);
    for (const low of [0x4400, 0x4500, 0x4041]) apics[0]!.write(0x300, low);
    expect(apics[1]!.events).toEqual([]);
  });

  it("INIT level de-assert, SMI and the reserved modes do nothing", () => {
    for (const low of [0xc_8500, 0xc_4200, 0xc_4340, 0xc_4740]) {
      const { seen, got } = send(low);
      expect(seen).toEqual([[], [], []]);
      expect(got).toEqual({});
    }
  });

  it("self only takes fixed delivery", () => {
    expect(send(0x4_4041).got).toEqual({ 0: 0x41 });
    for (const low of [0x4_4400, 0x4_4500]) expect(send(low).seen[0]).toEqual([]);
  });

  it("an illegal vector is an error of the sender, and of each receiver", () => {
    const { apics, got } = send(0x400f, 1);
    expect(got).toEqual({});
    const errors = apics.map(({ read, write }) => {
      write(0x280, 0);
      return read(0x280);
    });
    expect(errors).toEqual([0x20, 0x40, 0]);
    const self = setUpApics([0], "x2apic").apics[0]!.apic;
    expect(self.writeMsr(0x83f, 0xfn)).toBe(true);
    self.writeMsr(0x828, 0n);
    expect(self.readMsr(0x828)).toBe(0x60n);
  });

  it("in x2APIC mode the self-IPI register leaves the command register alone", () => {
    const { apics, taken } = setUpApics([0, 1], "x2apic");
    const { apic } = apics[1]!;
    apic.writeMsr(0x830, 0x1_0000_4050n);
    expect(taken()).toEqual({ 1: 0x50 });
    apic.writeMsr(0x83f, 0x51n);
    expect(apic.readMsr(0x830)).toBe(0x1_0000_4050n);
    expect(taken()).toEqual({ 1: 0x51 });
  });
});

describe("messages of devices", () => {
  it("are levels that are asserted, or edges", () => {
    const { apics, bus, taken } = setUpApics([0]);
    bus.msi({ address: 0xfee0_0000, addressHigh: 0, data: 0x8050 });
    expect(taken()).toEqual({});
    bus.msi({ address: 0xfee0_0000, addressHigh: 0, data: 0xc050 });
    expect(apics[0]!.read(0x1a0) & (1 << 16)).not.toBe(0);
    expect(taken()).toEqual({ 0: 0x50 });
    bus.msi({ address: 0xfee0_0000, addressHigh: 0, data: 0x4050 });
    expect(apics[0]!.read(0x1a0) & (1 << 16)).toBe(0);
  });
});
