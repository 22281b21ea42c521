import { describe, expect, test } from "vitest";
import { CpuidCache, type CpuidContext, cpuidLeaf } from "./cpuid.ts";
import { CPUID_ROWS, MAX_LEAF } from "./cpuid-table.ts";
import { ALL_FEATURES, type Feature, featureSet, featuresOfKind } from "./features.ts";
import { KEPT_MSR_INDICES } from "./kept-msrs.ts";
import { STATE_MSRS } from "./msr.ts";
import { constantMsr, ignoresMsrWrite, MSR_ROWS } from "./msr-table.ts";

const context = (choice: readonly string[] = []): CpuidContext => ({
  osxsave: false,
  xcr0: 1n,
  apicId: 5,
  isApicEnabled: true,
  tscFrequencyHz: 2_500_000_000,
  features: featureSet(choice),
});
/** What CPUID answers, or would if the feature were one of its bits. */
const WITHOUT_BIT: ReadonlySet<Feature> = new Set<Feature>(["base", "yield", "parallel"]);

describe("CPUID", () => {
  test("every feature has a bit, shown with the feature alone", () => {
    for (const name of ALL_FEATURES) {
      if (WITHOUT_BIT.has(name)) continue;
      const row = CPUID_ROWS.find(({ feature }) => feature === name);
      expect(row, name).toBeDefined();
      if (!row) continue;
      const bit = (choice: readonly string[]): number => {
        const at = ["eax", "ebx", "ecx", "edx"].indexOf(row.register);
        return ((cpuidLeaf(row.leaf, row.subleaf ?? 0, context(choice))[at] ?? 0) >>> row.bit) & 1;
      };
      const isOptIn = featuresOfKind("opt-in").includes(name);
      expect(bit([]), name).toBe(isOptIn ? 0 : 1);
      if (isOptIn) expect(bit([name]), name).toBe(1);
      if (featuresOfKind("portable").includes(name)) expect(bit([`-${name}`]), name).toBe(0);
    }
  });

  test("kept answers are those of the state that is asked in", () => {
    const c = context();
    const cache = new CpuidCache(c);
    for (const osxsave of [false, true, false])
      for (const leaf of [0, 1, 4, 0xd, 0x80000008, 0xffffffff, ...Array(600).keys()])
        for (const subleaf of [0, 1, 63, 64, 0xffffffff])
          expect(cache.leaf(leaf, subleaf, osxsave, 3, true)).toEqual(
            cpuidLeaf(leaf, subleaf, { ...c, osxsave, xcr0: 3n }),
          );
  });

  test("no two fields share a bit", () => {
    const seen = new Set<string>();
    for (const { leaf, subleaf, register, bit } of CPUID_ROWS) {
      const place = `${leaf} ${subleaf} ${register} ${bit}`;
      expect(seen.has(place), place).toBe(false);
      seen.add(place);
    }
  });

  test("leaves beyond the highest answer as the highest basic one", () => {
    const highest = cpuidLeaf(MAX_LEAF, 0, context());
    expect(highest).toEqual([2500, 2500, 100, 0]);
    for (const leaf of [0x17, 0x3fffffff, 0x40000001, 0x7fffffff, 0x80000009, 0xffffffff])
      expect(cpuidLeaf(leaf, 7, context())).toEqual(highest);
    for (const leaf of [3, 9, 0xa, 0x14, 0x80000005]) expect(cpuidLeaf(leaf, 0, context())).toEqual([0, 0, 0, 0]);
  });

  test("names, topology, caches and frequencies", () => {
    const c = context();
    const [max, ...vendor] = cpuidLeaf(0, 0, c);
    expect([max, ...vendor.map((word) => word.toString(16))]).toEqual([0x16, "756e6547", "6c65746e", "49656e69"]);
    expect(cpuidLeaf(0xb, 0, c)).toEqual([0, 1, 0x100, 5]);
    expect(cpuidLeaf(0xb, 1, c)).toEqual([0, 1, 0x201, 5]);
    expect(cpuidLeaf(0xb, 0x302, c)).toEqual([0, 0, 2, 5]);
    // L2: 256 KiB, 8 ways of 64-byte lines.
    const [type = 0, layout = 0, sets = 0] = cpuidLeaf(4, 2, c);
    expect(type & 0xff).toBe(0x43);
    expect(((layout >>> 22) + 1) * ((layout & 0xfff) + 1) * (sets + 1)).toBe(256 * 1024);
    expect(cpuidLeaf(4, 4, c)).toEqual([0, 0, 0, 0]);
    const [below, above, crystal] = cpuidLeaf(0x15, 0, c);
    expect((crystal * above) / below).toBe(2_500_000_000);
    expect(cpuidLeaf(0xd, 2, c)).toEqual([0, 0, 0, 0]);
    expect(cpuidLeaf(0xd, 0, context(["-xsave", "-xsaveopt"]))).toEqual([0, 0, 0, 0]);
    expect(cpuidLeaf(5, 0, c)).toEqual([0, 0, 0, 0]);
    expect(cpuidLeaf(5, 0, context(["monitor"]))).toEqual([64, 64, 3, 0x10]);
  });
});

describe("MSRs", () => {
  const isListed = (index: number): boolean =>
    MSR_ROWS.some((row) => index >= row.index && index <= (row.last ?? row.index));

  test("every one that exists is in the table", () => {
    const indices = [...STATE_MSRS.map(([index]) => index >>> 0), ...KEPT_MSR_INDICES];
    for (const index of indices) expect(isListed(index), index.toString(16)).toBe(true);
  });

  test("constants and ignored writes", () => {
    expect(constantMsr(0x8b)).toBe(0n);
    expect(constantMsr(0x1a0)).toBe(1n);
    expect(constantMsr(0x1a0, featureSet(["monitor"]))).toBe(0x40001n);
    expect(constantMsr(0xce)).toBeUndefined();
    expect(constantMsr(0x49)).toBeUndefined();
    expect(ignoresMsrWrite(0x49, 1n)).toBe(true);
    expect(ignoresMsrWrite(0x49, 2n)).toBe(false);
    expect(ignoresMsrWrite(0x10a, 0n)).toBe(false);
  });
});
