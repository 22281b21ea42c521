import { describe, expect, it } from "vitest";
import { fixed, setUpApic } from "./test-apics.ts";

const TPR = 0x80;
const PPR = 0xa0;

describe("priorities", () => {
  it("the processor's priority is the higher class of the task's and of what is in service", () => {
    const { apic, bus, read, write } = setUpApic();
    bus.deliver(fixed(0x56));
    apic.acknowledge();
    for (const [tpr, ppr] of [
      [0x00, 0x50],
      [0x4f, 0x50],
      [0x53, 0x53],
      [0x61, 0x61],
    ] as const) {
      write(TPR, tpr);
      expect(read(PPR), tpr.toString(16)).toBe(ppr);
    }
  });

  it("a vector of the priority's own class waits, one of the next does not", () => {
    const { apic, bus, write } = setUpApic();
    write(TPR, 0x40);
    bus.deliver(fixed(0x4f));
    expect(apic.isPending).toBe(false);
    bus.deliver(fixed(0x50));
    expect(apic.isPending).toBe(true);
    write(TPR, 0x50);
    expect(apic.isPending).toBe(false);
  });

  it("CR8 and the task priority's upper half are one", () => {
    const { apic, events, read, write } = setUpApic();
    write(TPR, 0x7f);
    expect(apic.cr8).toBe(7);
    apic.cr8 = 0x3;
    expect(read(TPR)).toBe(0x30);
    apic.writeMsr(0x1b, 0xfee0_0d00n);
    apic.writeMsr(0x808, 0x9an);
    // The vCPU is told of what it has not written itself.
    expect(events).toEqual(["cr8 7", "cr8 9"]);
    const copy = setUpApic();
    copy.apic.restore(apic.save());
    expect(copy.events).toContain("cr8 9");
  });

  it("one request waits behind the same vector in service; more merge", () => {
    const { apic, bus, read, write } = setUpApic();
    bus.deliver(fixed(0x61));
    apic.acknowledge();
    for (let i = 0; i < 3; i++) bus.deliver(fixed(0x61));
    expect(read(0x230)).toBe(2);
    expect(read(0x130)).toBe(2);
    write(0xb0, 0);
    expect(apic.acknowledge()).toBe(0x61);
    write(0xb0, 0);
    expect(apic.isPending).toBe(false);
  });

  it("the spurious vector is the one in SVR, sets nothing in service, and needs no EOI", () => {
    const { apic, read, write } = setUpApic();
    write(0xf0, 0x1a3);
    expect(apic.acknowledge()).toBe(0xa3);
    for (let word = 0; word < 8; word++) expect(read(0x100 + word * 16)).toBe(0);
  });
});
