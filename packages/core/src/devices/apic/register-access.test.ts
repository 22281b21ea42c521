import { describe, expect, it } from "vitest";
import { BASE, setUpApic } from "./test-apics.ts";

/** Table 11-6 of the manual: which MSRs there are, and the bits that WRMSR may set ("-": no write). */
const X2APIC: Readonly<Record<number, { read: boolean; write: bigint | "-" }>> = {
  2050: { read: true, write: "-" }, // ID
  2051: { read: true, write: "-" }, // version
  2056: { read: true, write: 0xffn }, // TPR
  2058: { read: true, write: "-" }, // PPR
  2059: { read: false, write: 0n }, // EOI
  2061: { read: true, write: "-" }, // LDR
  2063: { read: true, write: 0x13ffn }, // SVR
  ...Object.fromEntries(Array.from({ length: 24 }, (_, i) => [0x810 + i, { read: true, write: "-" }])), // ISR TMR IRR
  2088: { read: true, write: 0n }, // ESR
  2096: { read: true, write: 0xffff_ffff_000c_dfffn }, // ICR
  2098: { read: true, write: 0x7_50ffn }, // LVT timer
  2099: { read: true, write: 0x1_57ffn }, // LVT thermal
  2100: { read: true, write: 0x1_57ffn }, // LVT performance
  2101: { read: true, write: 0x1_f7ffn }, // LVT LINT0
  2102: { read: true, write: 0x1_f7ffn }, // LVT LINT1
  2103: { read: true, write: 0x1_50ffn }, // LVT error
  2104: { read: true, write: 0xffff_ffffn }, // initial count
  2105: { read: true, write: "-" }, // current count
  2110: { read: true, write: 0xbn }, // divide configuration
  2111: { read: false, write: 0xffn }, // self IPI
};
const MSRS = Array.from({ length: 0x100 }, (_, i) => 0x800 + i);

function inX2apic() {
  const rig = setUpApic();
  expect(rig.apic.writeMsr(0x1b, BASE.X2APIC)).toBe(true);
  return rig;
}

describe("x2APIC MSRs", () => {
  it("are there as in the manual's table, and nowhere else", () => {
    const { apic } = inX2apic();
    const readable = MSRS.filter((index) => apic.readMsr(index) !== undefined);
    expect(readable).toEqual(MSRS.filter((index) => X2APIC[index]?.read));
    const writable = MSRS.filter((index) => inX2apic().apic.writeMsr(index, 0n));
    expect(writable).toEqual(MSRS.filter((index) => (X2APIC[index] ?? { write: "-" }).write !== "-"));
  });

  it("refuse every single reserved bit, and take every other", () => {
    for (const [index, { write }] of Object.entries(X2APIC)) {
      for (let bit = 0n; bit < 64n; bit++) {
        const isTaken = inX2apic().apic.writeMsr(Number(index), 1n << bit);
        const expected = write !== "-" && ((write >> bit) & 1n) === 1n;
        expect(isTaken, `MSR ${Number(index).toString(16)} bit ${bit}`).toBe(expected);
      }
    }
  });

  it("change nothing when refused", () => {
    const { apic } = inX2apic();
    const before = apic.save();
    for (const index of MSRS) expect(apic.writeMsr(index, (1n << 63n) | (1n << 20n) | 0x30n)).toBe(false);
    expect(apic.save()).toEqual(before);
  });

  it("are all #GP while the APIC is in xAPIC mode or off", () => {
    for (const base of [BASE.XAPIC, BASE.OFF]) {
      const { apic } = setUpApic();
      apic.writeMsr(0x1b, base);
      for (const index of MSRS) {
        expect(apic.readMsr(index)).toBeUndefined();
        expect(apic.writeMsr(index, 0n)).toBe(false);
      }
    }
  });

  it("never set the illegal-register error", () => {
    const { apic } = inX2apic();
    for (const index of MSRS) apic.readMsr(index);
    apic.writeMsr(0x828, 0n);
    expect(apic.readMsr(0x828)).toBe(0n);
  });

  it("keep what they take, but for read-only bits", () => {
    const { apic } = inX2apic();
    for (const [index, value, kept] of [
      [0x808, 0xa7n, 0xa7n],
      [0x80f, 0x13ffn, 0x13ffn],
      [0x832, 0x1_50f0n, 0x1_00f0n],
      [0x835, 0x1_f7f1n, 0x1_a7f1n],
      [0x830, 0x1234_5678_000c_5300n, 0x1234_5678_000c_4300n],
      [0x838, 0xffff_fff0n, 0xffff_fff0n],
      [0x83e, 0xbn, 0xbn],
    ] as const) {
      expect(apic.writeMsr(index, value)).toBe(true);
      expect(apic.readMsr(index), index.toString(16)).toBe(kept);
    }
  });
});

/** Table 11-1. What is written is all ones; what then reads back, from a fresh APIC that software has enabled. */
const XAPIC: Readonly<Record<number, number>> = {
  32: 0xff00_0000, // ID
  48: 0x0105_0014, // version
  128: 0xff, // TPR
  144: 0, // APR
  160: 0, // PPR
  176: 0, // EOI
  192: 0, // RRD
  208: 0xff00_0000, // LDR
  224: 0xffff_ffff, // DFR
  240: 0x13ff, // SVR
  ...Object.fromEntries(Array.from({ length: 24 }, (_, i) => [0x100 + i * 16, 0])), // ISR TMR IRR
  640: 0, // ESR
  768: 0xc_cfff, // ICR
  784: 0xff00_0000,
  800: 0x7_00ff, // LVT timer, thermal, performance, LINT0, LINT1, error
  816: 0x1_07ff,
  832: 0x1_07ff,
  848: 0x1_a7ff,
  864: 0x1_a7ff,
  880: 0x1_00ff,
  896: 0xffff_ffff, // initial count
  912: 0, // current count
  992: 0xb, // divide configuration
};
const OFFSETS = Array.from({ length: 0x100 }, (_, i) => i * 16);

describe("xAPIC page", () => {
  it("takes at each offset the bits that the register has", () => {
    for (const [key, expected] of Object.entries(XAPIC)) {
      const offset = Number(key);
      const { read, write } = setUpApic();
      write(offset, 0xffff_ffff);
      expect(read(offset), offset.toString(16)).toBe(expected);
    }
  });

  it("notes an illegal register for loads and stores of every reserved offset, and of no other", () => {
    for (const access of ["load", "store"]) {
      const illegal = OFFSETS.filter((offset) => {
        const { read, write } = setUpApic();
        if (access === "load") expect(read(offset) === 0 || offset in XAPIC).toBe(true);
        else write(offset, 0);
        write(0x280, 0);
        return (read(0x280) & 0x80) !== 0;
      });
      expect(illegal).toEqual(OFFSETS.filter((offset) => !(offset in XAPIC)));
    }
  });

  it("ignores stores that are narrow or misaligned, and reads parts of registers", () => {
    const { apic, read } = setUpApic();
    apic.registers.write(0x80, 1, 0x55);
    apic.registers.write(0x80, 2, 0x55);
    apic.registers.write(0x84, 4, 0x55);
    apic.registers.write(0x82, 4, 0x55);
    expect(read(0x80)).toBe(0);
    expect([0, 1, 2, 3].map((byte) => apic.registers.read(0x30 + byte, 1) & 0xff)).toEqual([0x14, 0, 5, 1]);
    expect(apic.registers.read(0x34, 4)).toBe(0);
  });
});

describe("IA32_APIC_BASE", () => {
  const modes = { off: BASE.OFF, xapic: BASE.XAPIC, x2apic: BASE.X2APIC, invalid: 0xfee0_0400n } as const;
  const legal = ["off off", "off xapic", "xapic off", "xapic xapic", "xapic x2apic", "x2apic x2apic", "x2apic off"];

  it("allows the transitions of the manual's figure only", () => {
    const allowed: string[] = [];
    for (const from of ["off", "xapic", "x2apic"] as const) {
      for (const to of ["off", "xapic", "x2apic", "invalid"] as const) {
        const { apic } = setUpApic();
        expect(apic.writeMsr(0x1b, modes[from])).toBe(true);
        const isTaken = apic.writeMsr(0x1b, modes[to]);
        expect(apic.readMsr(0x1b)).toBe(isTaken ? modes[to] : modes[from]);
        if (isTaken) allowed.push(`${from} ${to}`);
      }
    }
    expect(allowed.sort()).toEqual(legal.sort());
  });

  it("refuses reserved bits and addresses beyond the physical ones", () => {
    for (let bit = 0n; bit < 64n; bit++) {
      const { apic } = setUpApic();
      const isReserved = bit < 8n || bit === 9n || bit >= 40n;
      const value = BASE.XAPIC ^ (1n << bit);
      if (bit !== 10n) expect(apic.writeMsr(0x1b, value), `bit ${bit}`).toBe(!isReserved);
    }
  });

  it("moves the page", () => {
    const { apic } = setUpApic();
    expect(apic.writeMsr(0x1b, 0xff_0000_0800n)).toBe(true);
    expect(apic.mmioBase).toBe(0xff_0000_0000);
    apic.reset();
    expect(apic.readMsr(0x1b)).toBe(BASE.XAPIC | BASE.BSP);
  });

  it("keeps registers into x2APIC mode, and loses them when switched off", () => {
    const { apic, read, write } = setUpApic();
    write(0x20, 0x0700_0000);
    write(0xd0, 0x0200_0000);
    write(0x80, 0x45);
    write(0x320, 0x1_0033);
    apic.writeMsr(0x1b, BASE.X2APIC);
    expect([0x802, 0x808, 0x80d, 0x80f, 0x832].map((index) => apic.readMsr(index))).toEqual([
      0n,
      0x45n,
      1n,
      0x1ffn,
      0x1_0033n,
    ]);
    apic.writeMsr(0x1b, BASE.OFF);
    apic.writeMsr(0x1b, BASE.XAPIC);
    expect([0x20, 0x80, 0xd0, 0xe0, 0xf0, 0x320].map(read)).toEqual([0, 0, 0, 0xffff_ffff, 0xff, 0x1_0000]);
  });
});

describe("reset and INIT", () => {
  it.each(["xapic", "x2apic"] as const)("INIT in %s mode: as reset, but mode, base and identifier stay", (mode) => {
    const { apic, events, read, write } = setUpApic();
    write(0x20, 0x0900_0000);
    if (mode === "x2apic") apic.writeMsr(0x1b, BASE.X2APIC);
    const before = apic.readMsr(0x1b);
    const registers = () =>
      mode === "x2apic" ? [0x808, 0x80f, 0x832].map((i) => Number(apic.readMsr(i))) : [0x80, 0xf0, 0x320].map(read);
    if (mode === "x2apic") apic.writeMsr(0x808, 0x70n);
    else write(0x80, 0x70);
    apic.initReset();
    expect(registers()).toEqual([0, 0xff, 0x1_0000]);
    expect(apic.readMsr(0x1b)).toBe(before);
    expect(apic.id).toBe(mode === "x2apic" ? 0 : 9);
    expect(events.filter((event) => event.startsWith("cr8"))).toEqual(["cr8 7", "cr8 0"]);
  });
});
