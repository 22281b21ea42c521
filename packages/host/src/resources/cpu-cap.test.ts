import { expect, it } from "vitest";
import { CpuCap } from "./cpu-cap.ts";

/** A guest that always wants to run, in slices, for so long: the processor time that it had. */
function run(cap: CpuCap, sliceMs: number, fromMs: number, untilMs: number): number {
  let usedMs = 0;
  for (let nowMs = fromMs; nowMs < untilMs; ) {
    usedMs += sliceMs;
    nowMs += sliceMs;
    nowMs += cap.used(sliceMs, nowMs);
  }
  return usedMs;
}

it.each([0.2, 3, 20])("keeps a busy guest at its share, in slices of %d ms", (sliceMs) => {
  const cap = new CpuCap();
  cap.set(0.25, 0);
  expect(run(cap, sliceMs, 0, 10_000) / 10_000).toBeCloseTo(0.25, 1);
});

it("takes a new share at once, and no share at all", () => {
  const cap = new CpuCap();
  cap.set(0.1, 0);
  run(cap, 5, 0, 1000);
  cap.set(0.8, 1000);
  expect(run(cap, 5, 1000, 1200) / 200).toBeCloseTo(0.8, 1);
  cap.set(undefined, 1200);
  expect(cap.used(1000, 2000)).toBe(0);
});

it("lets a guest that has waited run on for a moment only", () => {
  const cap = new CpuCap();
  cap.set(0.5, 0);
  expect(cap.used(0, 60_000)).toBe(0);
  expect(cap.used(11, 60_011)).toBeGreaterThan(0);
});

it("counts no more than half a second for what else the machine has done", () => {
  const cap = new CpuCap();
  cap.set(0.5, 0);
  expect(cap.used(30_000, 1000)).toBeLessThanOrEqual(500);
});

it("counts vCPUs in several threads together", () => {
  const cap = new CpuCap();
  cap.set(1.5, 0);
  expect(cap.used(200, 100)).toBeGreaterThan(0);
});
