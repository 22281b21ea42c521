import { expect, it } from "vitest";
import { nextStep, type RoundReport, SHARES } from "./convergence.ts";

const report = (change: Partial<RoundReport>): RoundReport => ({
  round: 1,
  pages: 10_000,
  dirtyPages: 5000,
  pagesPerMs: 50,
  share: 1,
  maxDowntimeMs: 50,
  mayThrottle: true,
  ...change,
});

it("stops when what is left is carried in the time that is allowed", () => {
  expect(nextStep(report({ pages: 2000, dirtyPages: 1700 }))).toEqual({ kind: "stop" });
  expect(nextStep(report({ pages: 2000, dirtyPages: 2200 }))).toEqual({ kind: "round", share: 1 });
  expect(nextStep(report({ pages: 2000, dirtyPages: 2200, maxDowntimeMs: 60 }))).toEqual({ kind: "stop" });
  expect(nextStep(report({ dirtyPages: 3, pagesPerMs: 0, maxDowntimeMs: 1 }))).toEqual({ kind: "stop" });
});

it("goes on while rounds get shorter, although it could stop: the guest stands still for less", () => {
  expect(nextStep(report({ dirtyPages: 1700 }))).toEqual({ kind: "round", share: 1 });
  expect(nextStep(report({ pages: 1700, dirtyPages: 400, share: 0.8 }))).toEqual({ kind: "round", share: 0.8 });
  expect(nextStep(report({ pages: 400, dirtyPages: 60 }))).toEqual({ kind: "stop" });
  expect(nextStep(report({ dirtyPages: 1700, round: 100 }))).toEqual({ kind: "stop" });
});

it("slows the guest only while its pages do not get fewer, step by step", () => {
  expect(nextStep(report({ round: 2, dirtyPages: 9000 }))).toEqual({ kind: "round", share: 1 });
  expect(nextStep(report({ round: 3, dirtyPages: 6000 }))).toEqual({ kind: "round", share: 1 });
  let share = 1;
  for (const expected of SHARES.slice(1)) {
    const step = nextStep(report({ round: 3, dirtyPages: 9000, share }));
    expect(step).toEqual({ kind: "round", share: expected });
    share = expected;
  }
});

it("comes to an end, whatever the guest does", () => {
  for (const mayThrottle of [true, false]) {
    let share = 1;
    let round = 1;
    for (let step = nextStep(report({ round, share, mayThrottle, dirtyPages: 10_000 })); step.kind === "round"; ) {
      share = step.share;
      step = nextStep(report({ round: ++round, share, mayThrottle, dirtyPages: 10_000 }));
    }
    expect(round).toBeLessThanOrEqual(200);
    expect(share < 1).toBe(mayThrottle);
  }
});
