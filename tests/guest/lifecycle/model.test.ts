// Steps of the life cycle that are always the same, beside a model of it; model.long.test.ts does hundreds, at random.
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Model, Reality } from "./model.ts";
import { calmSteps } from "./model-steps.ts";

const SEED = 7;
const STEPS = 80;

let real: Reality;
beforeEach(() => {
  real = new Reality();
});
afterEach(() => real.close());

test("named VMs do what their model does, and leave nothing behind", { timeout: 300_000 }, async () => {
  const model: Model = new Map();
  for (const step of calmSteps(SEED, STEPS)) if (step.check(model)) await step.run(model, real);
  expect(await real.orphans()).toEqual([]);
});
