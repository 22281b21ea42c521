// As isolation.test.ts, with ten million instructions.

import { describe, expect, it } from "vitest";
import { seededRuns } from "../cpu/seeds.ts";
import { fuzzIsolation } from "./isolation.ts";

describe("isolation of guest memory", () => {
  it.each(seededRuns(5_000_000))("seed $seed, $cases instructions", ({ seed, cases }) => {
    const ending = fuzzIsolation(seed, cases);
    console.log(ending);
    expect(ending.instructions).toBeGreaterThanOrEqual(cases);
  });
});
