import { expect, it } from "vitest";
import { engineTables } from "./engine-tables.ts";

const lines = (text: string): string[] => text.split("\n").map((line) => line.trim().replace(/\s+/g, " "));

it("shows instructions and time of each tier, and what became of regions", () => {
  const text = lines(
    engineTables({
      ...{ retired: 1000, instructionsInRegions: 750, busyMs: 2000, idleMs: 500, activitySamples: 80 },
      ...{ interpreterMs: 400, regionsMs: 1000, regionEntries: 10, tlbMisses: 3, tlbFlushes: 2, tlbPageFlushes: 1 },
    }),
  );
  expect(text).toContain("interpreter 250 25.0 % 0.40 s 20.0 %");
  expect(text).toContain("regions 750 75.0 % 1.00 s 50.0 %");
  expect(text).toContain("idle, the guest waits 0.50 s");
  expect(text).toContain("entries from the dispatcher 10 75.0 instructions each");
  expect(text).toContain("TLB misses 3 3.0 in 1000 instructions");
  expect(text).toContain("TLB flushes 2 and 1 of single pages");
});

it("says where time by tier is not known", () => {
  expect(lines(engineTables({ retired: 10, busyMs: 5 }))).toContain("interpreter 10 100.0 % not known here");
});
