import { describe, expect, it } from "vitest";
import { BadUsage, parseOptions } from "./options.mjs";

describe("parseOptions", () => {
  it("runs everything three times by default", () => {
    expect(parseOptions([])).toMatchObject({ bits: 64, rounds: 3, reps: 3, floors: true, extra: [] });
    expect(parseOptions([]).sides).toEqual(["native", "tcg", "twinmetal", "twinmetal-cached"]);
  });

  it("takes the 32-bit guest with v86", () => {
    const { bits, sides, rounds, reps } = parseOptions(["--v86"]);
    expect(bits).toBe(32);
    // v86 takes three minutes for two of each section.
    expect([rounds, reps]).toEqual([2, 2]);
    expect(sides).toContain("v86");
  });

  it("passes options on to Twinmetal", () => {
    expect(parseOptions(["--quick", "--", "--tier", "interp"]).extra).toEqual(["--tier", "interp"]);
  });

  it.each([
    [["--rounds", "0"], /--rounds: a number/],
    [["--reps", "many"], /--reps: a number/],
    [["--only", "fib;reboot"], /--only: names/],
    [["--side", "kvm"], /there is no "kvm"/],
    [["--side", "v86"], /needs --v86/],
    [["--nonsense"], /nonsense/],
    [["word"], /word/],
  ])("refuses %j", (argv, message) => {
    expect(() => parseOptions(argv)).toThrow(BadUsage);
    expect(() => parseOptions(argv)).toThrow(message);
  });
});
