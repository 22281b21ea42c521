// Hundreds of steps of the life cycle, at random, several at once, with kills of processes: model and reality agree, nothing is
// left behind, no disk is lost. TWINMETAL_SEED repeats a run, TWINMETAL_STEPS says how many.
import { expect, test } from "vitest";
import { type Model, Reality } from "./model.ts";
import { wildSteps } from "./model-steps.ts";

const SEED = Number(process.env["TWINMETAL_SEED"] ?? Date.now() % 2 ** 31);
const STEPS = Number(process.env["TWINMETAL_STEPS"] ?? 400);

test(`${STEPS} steps of seed ${SEED}`, { timeout: 29 * 60_000 }, async () => {
  const real = new Reality();
  const model: Model = new Map();
  const done: string[] = [];
  let left = STEPS;
  try {
    for (const step of wildSteps(SEED)) {
      if (left === 0) break;
      if (!step.check(model)) continue;
      left--;
      done.push(String(step));
      await step.run(model, real);
    }
    expect(await real.orphans()).toEqual([]);
  } catch (error) {
    console.log(`TWINMETAL_SEED=${SEED}, after ${done.length} steps:\n${done.slice(-30).join("\n")}`);
    throw error;
  } finally {
    real.close();
  }
});
