import { describe, expect, it } from "vitest";
import { refusals } from "./agreement.mjs";

const PROGRAM = ["rc=0", "out=ab"];

function run(label, facts, options = {}) {
  const { done = true, untimed = [] } = options;
  const timed = Object.keys(facts).filter((name) => !untimed.includes(name));
  return {
    label,
    done,
    facts: new Map(Object.entries(facts).map(([name, items]) => [name, new Set(items)])),
    sections: new Map(timed.map((name) => [name, { wall: [1], cpu: [1] }])),
  };
}

const both = (facts) => [run("native", facts), run("Twinmetal", facts)];

describe("refusals", () => {
  it("refuses nothing when everything is equal and complete", () => {
    const facts = { fib: ["checksum=0a"], syscall: ["rc=0"], sqlite: PROGRAM, "exit of mbench": ["rc=0"] };
    expect(refusals(both(facts), ["fib", "syscall", "sqlite"]).size).toBe(0);
  });

  it.each([
    ["a wrong checksum", "fib", ["checksum=0a"], ["checksum=0b"], "native: checksum=0a; Twinmetal: checksum=0b"],
    ["another output", "sqlite", PROGRAM, ["rc=0", "out=cd"], "native: out=ab rc=0; Twinmetal: out=cd rc=0"],
    ["another status", "sqlite", PROGRAM, ["rc=139", "out=ab"], "native: out=ab rc=0; Twinmetal: out=ab rc=139"],
    ["operations that failed", "fork", ["rc=0"], ["rc=2"], "native: rc=0; Twinmetal: rc=2"],
  ])("refuses %s", (_, name, native, ours, why) => {
    const runs = [run("native", { [name]: native }), run("Twinmetal", { [name]: ours })];
    expect(refusals(runs, [name]).get(name)).toBe(why);
  });

  it("refuses a checksum that changes within a run, on every side or on one", () => {
    expect(refusals(both({ fib: ["checksum=0a", "checksum=0b"] }), ["fib"]).get("fib")).toMatch(/more than one result/);
    const runs = [run("native", { fib: ["checksum=0a"] }), run("Twinmetal", { fib: ["checksum=0a", "checksum=0b"] })];
    expect(refusals(runs, ["fib"]).has("fib")).toBe(true);
  });

  it.each([
    ["a failure on every side", { sqlite: ["rc=1", "out=ab"] }, /failed on every side/],
    ["no hash of the output", { sqlite: ["rc=0"] }, /not checked/],
    ["an output that could not be read", { sqlite: ["rc=0", "out=none"] }, /not checked/],
    ["a section that did not end", { sqlite: ["did not end"] }, /not checked/],
    ["a section that nobody ran", {}, /missing on every side/],
  ])("refuses %s", (_, facts, why) => {
    expect(refusals(both(facts), ["sqlite"]).get("sqlite")).toMatch(why);
  });

  it("refuses a section that one run lacks, or has without a time", () => {
    expect(refusals([run("native", { fib: ["checksum=0a"] }), run("Twinmetal", {})], []).get("fib")).toMatch(
      /Twinmetal: missing/,
    );
    const untimed = [
      run("native", { fib: ["checksum=0a"] }),
      run("Twinmetal", { fib: ["checksum=0a"] }, { untimed: ["fib"] }),
    ];
    expect(refusals(untimed, []).get("fib")).toBe("never timed on Twinmetal");
  });

  it("names a run that did not come to its end", () => {
    const runs = [run("native", {}), run("Twinmetal", {}, { done: false })];
    expect([...refusals(runs, []).keys()]).toEqual(["the run of Twinmetal"]);
  });
});
