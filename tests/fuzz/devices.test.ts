// Every front-end withstands mutated valid sequences; the long form is devices.long.test.ts.

import { describe, expect, it } from "vitest";
import { fuzzDevice } from "./device-fuzz.ts";
import { FUZZED_DEVICES } from "./device-sequences.ts";

const STEPS = 4000;

describe("device front-ends under mutated valid sequences", () => {
  it.each(FUZZED_DEVICES)("$name", (fuzzed) => {
    expect(() => fuzzDevice(fuzzed, { seed: 1, steps: STEPS })).not.toThrow();
  });
});
