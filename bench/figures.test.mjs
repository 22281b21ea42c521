import { describe, expect, it } from "vitest";
import { geometricMean, groupRatios, median, ratio, samplesOf } from "./figures.mjs";

const run = (sections) => ({
  sections: new Map(Object.entries(sections).map(([name, wall]) => [name, { wall, cpu: wall.map((t) => t / 2) }])),
});

describe("median and geometric mean", () => {
  it("takes the middle, or the mean of the two in the middle", () => {
    expect(median([9, 1, 4])).toBe(4);
    expect(median([9, 1, 4, 2])).toBe(3);
    expect(median([])).toBeUndefined();
  });

  it("weighs half as fast and twice as fast the same", () => {
    expect(geometricMean([0.5, 2])).toBeCloseTo(1);
    expect(geometricMean([])).toBeUndefined();
  });
});

describe("samplesOf", () => {
  it("calls each run's first repetition cold, the others warm", () => {
    const { fib } = samplesOf([run({ fib: [9, 2, 3] }), run({ fib: [8, 4] })]);
    expect(fib.wall).toEqual({ cold: [9, 8], warm: [2, 3, 4] });
    expect(fib.cpu.cold).toEqual([4.5, 4]);
  });

  it("has a warm figure for a single repetition", () => {
    expect(samplesOf([run({ fib: [9] })]).fib.wall).toEqual({ cold: [9], warm: [9] });
  });
});

describe("ratios", () => {
  const ours = samplesOf([run({ a: [4, 2], b: [6, 6], c: [1, 1] })]);
  const theirs = samplesOf([run({ a: [2, 4], b: [2, 3] })]);

  it("divides medians", () => {
    expect(ratio(ours, theirs, "a", "wall", "cold")).toBe(2);
    expect(ratio(ours, theirs, "a", "wall", "warm")).toBe(0.5);
    expect(ratio(ours, theirs, "c", "wall", "warm")).toBeUndefined();
    expect(ratio(ours, undefined, "a", "wall", "warm")).toBeUndefined();
  });

  it("has a group's geometric mean for each clock and phase", () => {
    const { g } = groupRatios(ours, theirs, { g: ["a", "b"] }, new Map());
    expect(g.wall.cold).toBeCloseTo(Math.sqrt(6));
    expect(g.wall.warm).toBeCloseTo(1);
    expect(g.cpu.warm).toBeCloseTo(1);
  });

  it("has no mean for a group with a refused or missing section", () => {
    const refused = new Map([["b", "checksums differ"]]);
    const means = groupRatios(ours, theirs, { all: ["a", "b"], good: ["a"], missing: ["a", "c"] }, refused);
    expect(means.all.wall).toEqual({ cold: undefined, warm: undefined });
    expect(means.missing.wall.warm).toBeUndefined();
    expect(means.good.wall.cold).toBe(2);
  });
});
