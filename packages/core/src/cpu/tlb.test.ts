import { beforeEach, describe, expect, it } from "vitest";
import * as L from "./layout.ts";
import { PF_U, XLATE_FAULT, XLATE_MMIO, XLATE_RAM } from "./page-fault.ts";
import { TranslationBench } from "./translation-bench.ts";

const PRESENT = 0x63n;
const GLOBAL = 0x100n;
const PS = 0x80n;
const ROOT = 0x10000;
const BASE = 0xffff_9000_c000_0000n;
const GIB = 1n << 30n;

const bench = new TranslationBench("compiled");
const signed = (va: bigint): bigint => BigInt.asIntN(64, va);

/** Translates as the data paths do; whether the address then hits. */
function touch(va: bigint): number {
  const found = bench.call.translate(signed(va), bench.get(L.CPL) === 3n ? PF_U : 0);
  if (found === XLATE_RAM) bench.call.fill_tlb(signed(va));
  return found;
}
function hits(va: bigint): boolean {
  const entry = bench.call.entry_of(signed(va));
  return bench.view.getBigUint64(entry + L.TLB_READ, true) === va >> 12n;
}
function long(): void {
  bench.put(L.CR0, 0x80000001n);
  bench.put(L.CR3, ROOT);
  bench.put(L.CR4, 0xa0n);
  bench.put(L.EFER, 0x500n);
  bench.put(L.CPL, 0);
  bench.put(L.SYSTEM_FLAGS, 0);
  bench.put(L.DR7, 0);
  bench.call.update_tlb_set();
}
const entry = (table: number, index: number, value: bigint): void =>
  bench.ram.setBigUint64(table + index * 8, value, true);

beforeEach(() => {
  for (let at = ROOT; at < ROOT + 0x8000; at += 8) bench.ram.setBigUint64(at, 0n, true);
  bench.device.clear();
  long();
  bench.call.flush_tlb_all();
  entry(ROOT, 0x120, 0x11000n | PRESENT);
  entry(0x11000, 3, 0x12000n | PRESENT);
  entry(0x12000, 0, 0x13000n | PRESENT);
  for (let i = 0; i < 512; i++) entry(0x13000, i, BigInt(0x100000 + i * 0x1000) | PRESENT | (i >= 256 ? GLOBAL : 0n));
});

describe("flushes", () => {
  it("MOV CR3 keeps global pages, and pages that CR4.PGE makes none of", () => {
    for (const page of [0n, 1n, 256n]) touch(BASE + page * 4096n);
    bench.call.flush_tlb();
    expect([0n, 1n, 256n].map((page) => hits(BASE + page * 4096n))).toEqual([false, false, true]);
    bench.call.flush_tlb_all();
    expect(hits(BASE + 256n * 4096n)).toBe(false);
    bench.put(L.CR4, 0x20n);
    touch(BASE + 256n * 4096n);
    bench.call.flush_tlb();
    expect(hits(BASE + 256n * 4096n)).toBe(false);
  });

  it("INVLPG takes one page of 4 KiB, global or not, from every set", () => {
    bench.put(L.CR4, 0x2000a0n);
    const sets = [
      [0, 0],
      [0, 0x40000],
      [3, 0],
    ] as const;
    const use = (i: number): void => {
      bench.put(L.CPL, sets[i]?.[0] ?? 0);
      bench.put(L.SYSTEM_FLAGS, sets[i]?.[1] ?? 0);
      bench.call.update_tlb_set();
    };
    for (const page of [1n, 300n]) {
      for (let i = 0; i < 3; i++) {
        use(i);
        // Supervisor pages do not get into the user's set.
        expect(touch(BASE + page * 4096n)).toBe(i === 2 ? XLATE_FAULT : XLATE_RAM);
        touch(BASE + 2n * 4096n);
      }
      use(0);
      bench.call.flush_page(signed(BASE + page * 4096n + 5n));
      for (let i = 0; i < 2; i++) {
        use(i);
        expect(hits(BASE + page * 4096n)).toBe(false);
        expect(hits(BASE + 2n * 4096n)).toBe(true);
      }
    }
  });

  it.each([
    ["2 MiB", 0x1fn, 21n],
    ["1 GiB", 0x3fffn, 30n],
  ])("INVLPG at any place of a page of %s takes all of it", (name, farther, shift) => {
    if (name === "1 GiB") entry(0x11000, 3, PRESENT | PS);
    else entry(0x12000, 0, PRESENT | PS);
    const places = [0n, 1n, farther].map((page) => BASE + page * 4096n).filter((va) => touch(va) === XLATE_RAM);
    expect(places.length).toBeGreaterThan(1);
    bench.call.flush_page(signed(BASE + (1n << shift) - 1n));
    expect(places.map(hits)).toEqual(places.map(() => false));
    for (const va of places) touch(va);
    bench.call.flush_page(signed(BASE + (1n << shift) + 0x7000n));
    expect(hits(BASE)).toBe(true);
  });

  it("INVLPG in one half of a page of 4 MiB takes the other, too", () => {
    bench.put(L.EFER, 0);
    bench.put(L.CR4, 0x10n);
    bench.ram.setUint32(ROOT + 0x300 * 4, 0xe3, true);
    touch(0xc000_1000n);
    touch(0xc020_1000n);
    expect(hits(0xc020_1000n)).toBe(true);
    bench.call.flush_page(0xc000_5000n);
    expect([hits(0xc000_1000n), hits(0xc020_1000n)]).toEqual([false, false]);
  });

  it("loses nothing that a log is too short for", () => {
    // 5000 fills of 256 pages at many linear addresses.
    for (let i = 1; i < 17; i++) entry(0x12000, i, 0x13000n | PRESENT);
    for (let i = 0; i < 5000; i++) touch(BASE + BigInt(i % 17) * 0x200000n + BigInt(i % 256) * 4096n);
    bench.call.flush_tlb();
    for (let i = 0; i < 256; i++)
      for (let n = 0; n < 17; n++) expect(hits(BASE + BigInt(n) * 0x200000n + BigInt(i) * 4096n)).toBe(false);
  });
});

describe("places", () => {
  it("32-bit linear addresses wrap, and CR2 has 32 bits", () => {
    bench.put(L.EFER, 0);
    bench.put(L.CR4, 0);
    bench.ram.setUint32(ROOT, 0x11003, true);
    bench.ram.setUint32(0x11000 + 8, 0x105003, true);
    bench.ram.setUint32(0x11000 + 12, 0, true);
    expect(bench.call.translate(0x1_0000_2123n, 0)).toBe(XLATE_RAM);
    expect(bench.get(L.XLATE_PHYS)).toBe(0x105123n);
    expect(bench.call.translate(0x1_0000_3123n, 0)).toBe(XLATE_FAULT);
    expect(bench.get(L.CR2)).toBe(0x3123n);
  });

  it("PSE-36 gives a 4 MiB page 40 bits of address", () => {
    bench.put(L.EFER, 0);
    bench.put(L.CR4, 0x10n);
    for (let bit = 13; bit <= 20; bit++) {
      bench.ram.setUint32(ROOT + 4, (0xffc00083 | (1 << bit)) >>> 0, true);
      expect(bench.call.translate(0x654321n, 0)).toBe(XLATE_MMIO);
      expect(bench.get(L.XLATE_PHYS)).toBe(0xffe54321n | (1n << BigInt(bit + 19)));
    }
    // Without PSE the bit means nothing, and the entry names a table.
    bench.put(L.CR4, 0);
    bench.ram.setUint32(ROOT + 4, 0x110a3, true);
    bench.ram.setUint32(0x11000 + 0x254 * 4, 0x123003, true);
    expect(bench.call.translate(0x654321n, 0)).toBe(XLATE_RAM);
    expect(bench.get(L.XLATE_PHYS)).toBe(0x123321n);
  });

  it("no paging: linear addresses of 32 bits are physical", () => {
    bench.put(L.CR0, 1n);
    bench.put(L.EFER, 0);
    expect(bench.call.translate(0x1_0012_3456n, 2)).toBe(XLATE_RAM);
    expect(bench.get(L.XLATE_PHYS)).toBe(0x123456n);
  });

  it("reads tables from outside RAM, where it leaves the flags alone", () => {
    bench.put(L.CR3, 0xfff00000n);
    bench.device.set(0xfff00000 + 0x120 * 8, 0x11003n);
    expect(bench.call.translate(signed(BASE), 2)).toBe(XLATE_RAM);
    expect(bench.get(L.XLATE_PHYS)).toBe(0x100000n);
    expect(bench.device.get(0xfff00000 + 0x120 * 8)).toBe(0x11003n);
    entry(0x11000, 3, 0xfff01003n);
    bench.device.set(0xfff01000, 0x83n);
    expect(bench.call.translate(signed(BASE), 2)).toBe(XLATE_RAM);
    expect(bench.get(L.XLATE_PHYS)).toBe(0n);
    expect(bench.ram.getBigUint64(0x11018, true)).toBe(0xfff01023n);
    bench.device.set(0xfff01000, 0n);
    expect(bench.call.translate(signed(BASE), 0)).toBe(XLATE_FAULT);
    // The PAE registers likewise.
    bench.device.set(0xfff00040, 0x1001n);
    bench.device.set(0xfff00058, 0x3001n);
    expect(bench.call.load_pointers(0xfff00040n)).toBe(0);
    expect([0, 1, 2, 3].map((i) => bench.get(L.pdpte(i)))).toEqual([0x1001n, 0n, 0n, 0x3001n]);
  });

  it("a PAE register that is not present is a page that is not", () => {
    bench.put(L.EFER, 0);
    for (let i = 0; i < 4; i++) bench.put(L.pdpte(i), 0);
    expect(bench.call.translate(0x4000_0000n, 6)).toBe(XLATE_FAULT);
    expect(bench.get(L.EXC_ERROR)).toBe(6n);
    expect(bench.get(L.CR2)).toBe(0x4000_0000n);
  });

  it("separates the pages above 1 GiB from each other", () => {
    entry(0x11000, 4, PRESENT | PS);
    touch(BASE + GIB);
    expect(hits(BASE + GIB)).toBe(true);
    bench.call.flush_page(signed(BASE + 4096n));
    expect(hits(BASE + GIB)).toBe(true);
  });
});
