// The walls around guest memory: 100,000 instructions at a fixed seed, as many at the commit's. A failing batch names
// itself; TWINMETAL_FUZZ_BATCH="SEED/NUMBER" runs that one alone.

import { describe, expect, it } from "vitest";
import { seededRuns } from "../cpu/seeds.ts";
import { fuzzIsolation, repeatBatch } from "./isolation.ts";

const INSTRUCTIONS = 100_000;
const batch = process.env["TWINMETAL_FUZZ_BATCH"];

describe("isolation of guest memory", () => {
  if (batch !== undefined) it(`batch ${batch}`, () => expect(repeatBatch(batch).cases).toBeGreaterThan(0));
  else
    it.each(seededRuns(INSTRUCTIONS))("seed $seed, $cases instructions", { timeout: 120_000 }, ({ seed, cases }) => {
      const ending = fuzzIsolation(seed, cases);
      console.log(ending);
      expect(ending.instructions).toBeGreaterThanOrEqual(cases);
      for (const share of Object.values(ending.byMode)) expect(share).toBeGreaterThan(cases / 200);
    });
});
