import { describe, expect, it } from "vitest";
import { measure, NAMES, tierDifferences } from "./x87-accuracy.ts";

const CASES = 1000;

describe("x87 transcendental functions", () => {
  it.each(NAMES)("%s is within one unit in the last place, on the side that was asked for", (name) => {
    const { worst, wrong } = measure(name, CASES);
    expect(wrong.slice(0, 10)).toEqual([]);
    expect(worst[0]).toBeLessThan(0.5001);
    expect(Math.max(...worst)).toBeLessThanOrEqual(1);
  });

  it.each(NAMES)("%s is the same on the evaluator", (name) => {
    expect(tierDifferences(name, 50)).toEqual([]);
  });
});
