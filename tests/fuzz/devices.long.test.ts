// As devices.test.ts, a million operations for each device, or TWINMETAL_FUZZ_STEPS of them from TWINMETAL_FUZZ_SEED on.

import { describe, it } from "vitest";
import { fuzzDevice } from "./device-fuzz.ts";
import { FUZZED_DEVICES } from "./device-sequences.ts";

const STEPS = Number(process.env.TWINMETAL_FUZZ_STEPS ?? 1_000_000);
const SEED = Number(process.env.TWINMETAL_FUZZ_SEED ?? 100);

describe(`device front-ends under ${STEPS} mutated valid operations each`, () => {
  it.each(FUZZED_DEVICES)("$name", (fuzzed) => {
    const startMs = performance.now();
    fuzzDevice(fuzzed, { seed: SEED, steps: STEPS });
    console.log(`${fuzzed.name}: ${STEPS} operations, ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  });
});
