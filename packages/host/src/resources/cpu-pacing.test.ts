import { expect, it } from "vitest";
import { CpuPacing } from "./cpu-pacing.ts";

function paced(): { pacing: CpuPacing; run: (untilMs: number, share?: number) => number; now: () => number } {
  let nowMs = 0;
  let cpuMs = 0;
  const pacing = new CpuPacing({ threadTime: () => ({ cpuMs, waitedMs: 0 }), nowMs: () => nowMs });
  const run = (untilMs: number, share?: number): number => {
    const beforeMs = cpuMs;
    while (nowMs < untilMs) {
      const { restMs } = pacing;
      nowMs += restMs || 0.2;
      if (restMs > 0) pacing.rested(restMs);
      else {
        cpuMs += 0.2;
        pacing.ran(0.2, share);
      }
    }
    return cpuMs - beforeMs;
  };
  return { pacing, run, now: () => nowMs };
}

it("lets a guest without limits run", () => {
  const { pacing, run } = paced();
  run(1000);
  expect(pacing.throttledMs).toBe(0);
  expect(pacing.cpuMs).toBeGreaterThan(999);
});

it("changes a cap within 200 ms", () => {
  const { pacing, run } = paced();
  pacing.set({ cpu: 0.25 });
  expect(run(10_000) / 10_000).toBeCloseTo(0.25, 2);
  pacing.set({ cpu: 0.75 });
  expect(run(10_200) / 200).toBeCloseTo(0.75, 1);
  pacing.set({ cpu: 0.05 });
  expect(run(10_400)).toBeLessThan(20);
  pacing.set({});
  expect(run(10_600)).toBeGreaterThan(150);
});

it("slows a guest down for a migration, beside its cap", () => {
  const { pacing, run } = paced();
  expect(run(1000, 0.5) / 1000).toBeCloseTo(0.5, 1);
  pacing.set({ cpu: 0.2 });
  expect(run(3000, 0.5) / 2000).toBeCloseTo(0.2, 1);
});

it("counts what was used before, in other machines", () => {
  const { pacing, run } = paced();
  pacing.set({ cpuTimeMs: 500 }, { cpuMs: 400, outputBytes: 7 });
  run(90);
  expect(pacing.isUsedUp).toBe(false);
  pacing.set({ cpuTimeMs: 600 });
  run(150);
  expect(pacing.isUsedUp).toBe(false);
  run(210);
  expect([pacing.isUsedUp, pacing.spentBefore.outputBytes]).toEqual([true, 7]);
});
