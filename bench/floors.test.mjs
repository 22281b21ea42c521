import { describe, expect, it } from "vitest";
import { judge } from "./floors.mjs";

const all = (value) => ({ wall: { cold: value, warm: value } });
const groups = (value) =>
  Object.fromEntries(["mbench", "programs", "kernel", "integer", "float", "memory"].map((name) => [name, all(value)]));
const verdicts = (rows) => Object.fromEntries(rows.map(({ id, verdict }) => [id, verdict]));

describe("judge", () => {
  it("tells aim, floor and miss apart, each against its own limit", () => {
    const rows = judge("tcg", groups(0.6), { twinmetal: 8, "twinmetal-cached": 1, tcg: 2 }, 200);
    expect(verdicts(rows)).toEqual({
      mbench: "floor",
      float: "missed",
      kernel: "aim",
      "programs-warm": "aim",
      "programs-cold": "aim",
      boot: "missed",
      "boot-cached": "aim",
      memory: "floor",
    });
    expect(rows.find(({ id }) => id === "boot").value).toBe(4);
  });

  it("holds a floor that is met exactly", () => {
    expect(verdicts(judge("tcg", groups(0.8), {}, 250))).toMatchObject({ mbench: "floor", memory: "floor" });
    expect(verdicts(judge("tcg", groups(0.80001), {}, 250.1))).toMatchObject({ mbench: "missed", memory: "missed" });
  });

  it("never passes what has no figure", () => {
    const rows = judge("tcg", { mbench: all(undefined) }, { twinmetal: 1 }, undefined);
    expect(new Set(rows.map(({ verdict }) => verdict))).toEqual(new Set(["no figure"]));
  });

  it("wants three times v86's speed in each group", () => {
    const rows = judge("v86", { ...groups(0.33), float: all(0.34) }, { twinmetal: 6, v86: 20 });
    expect(verdicts(rows)).toEqual({
      kernel: "floor",
      integer: "floor",
      float: "missed",
      memory: "floor",
      "programs-warm": "floor",
      "programs-cold": "floor",
      boot: "floor",
    });
  });
});
