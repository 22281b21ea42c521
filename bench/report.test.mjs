import { describe, expect, it } from "vitest";
import { samplesOf } from "./figures.mjs";
import { formatSeconds, report } from "./report.mjs";
import { makeResult } from "./result.mjs";

const GUEST = { bits: 64, versions: "/nonexistent" };
const OPTIONS = { quick: false, rounds: 1, reps: 2, only: ["fib", "sqlite"], extra: [] };
const SIDES = ["native", "tcg", "twinmetal"].map((id) => ({
  id,
  name: id,
  boots: id !== "native",
  version: () => `${id} 1.0`,
}));

function run(seconds, checksum = "checksum=0a") {
  const times = { wall: [seconds * 2, seconds], cpu: [seconds * 2, seconds] };
  return {
    ...{
      round: 1,
      wall: 9,
      cpu: 8,
      exit: 0,
      load: 0,
      otherCpus: 0,
      tail: "",
      peakBytes: 2 ** 29,
      overGuestBytes: 2 ** 27,
    },
    ...{ done: true, boot: { wall: seconds, cpu: seconds } },
    sections: new Map([
      ["fib", times],
      ["sqlite", times],
    ]),
    facts: new Map([
      ["fib", new Set([checksum])],
      ["sqlite", new Set(["rc=0", "out=ab"])],
    ]),
  };
}

function result(ours) {
  const runs = { native: [run(1)], tcg: [run(4)], twinmetal: [ours] };
  const measured = { runs, boots: { native: [], tcg: [run(4)], twinmetal: [run(6)] }, notes: [] };
  return makeResult({ options: OPTIONS, guest: GUEST, sides: SIDES, left: {}, measured, at: "2026-01-01T00:00:00Z" });
}

const cellsOf = (text, first) =>
  text
    .split("\n")
    .filter((line) => line.startsWith(first))
    .map((line) => line.split(/\s{2,}/));

describe("a result", () => {
  it("has Twinmetal's ratio to each side, and judges floors by it", () => {
    const all = result(run(2));
    expect(all.refused).toEqual({});
    expect(all.ratios["twinmetal/tcg"].mbench.wall.warm).toBe(0.5);
    expect(all.ratios["twinmetal/native"].programs.wall.cold).toBe(2);
    expect(Object.fromEntries(all.floors.map(({ id, verdict }) => [id, verdict]))).toMatchObject({
      mbench: "aim",
      boot: "aim",
      "boot-cached": "no figure",
      memory: "floor",
    });
  });

  it("has no figure anywhere for a section with a wrong checksum, nor for its groups", () => {
    const all = result(run(2, "checksum=0b"));
    const text = report(all);
    expect(all.ratios["twinmetal/tcg"].mbench.wall.warm).toBeUndefined();
    expect(all.floors.find(({ id }) => id === "mbench").verdict).toBe("no figure");
    expect(all.ratios["twinmetal/tcg"].programs.wall.warm).toBe(0.5);
    expect(cellsOf(text, "fib")).toEqual([["fib", "-", "-", "-", "refused", "refused", "refused"]]);
    expect(text).toMatch(/REFUSED.*\n {2}fib: native, tcg: checksum=0a; twinmetal: checksum=0b/);
  });

  it("refuses a side that ended badly", () => {
    expect(result({ ...run(2), exit: 125, tail: "starting\nno memory\n" }).refused).toEqual({
      "the run of twinmetal": "it ended with 125: no memory",
    });
  });

  it("keeps every sample", () => {
    expect(result(run(2)).sides.twinmetal.samples).toEqual(samplesOf([run(2)]));
  });

  it("shows the machine's load and what is not to be quoted", () => {
    const text = report(result(run(2)));
    expect(text).toMatch(/load 0\.00 at the start, others used 0\.00 CPUs at most/);
    expect(text).toMatch(/not all sections: not to be quoted/);
  });
});

describe("formatSeconds", () => {
  it.each([
    [12.3456, "12.3 s"],
    [0.0123, "12.3 ms"],
    [4.5e-6, "4.5 us"],
    [7e-10, "0.7 ns"],
    [undefined, "-"],
  ])("%s is %s", (seconds, text) => expect(formatSeconds(seconds)).toBe(text));
});
