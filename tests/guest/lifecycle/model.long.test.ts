// Hundreds of steps of the life cycle, at random, several at once, with kills of processes: model and reality agree, nothing is
// left behind, no disk is lost. TWINMETAL_SEED repeats a run.
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Model, Reality } from "./model.ts";
import { WILD } from "./model-steps.ts";

const RUNS = 8;
const STEPS = 60;

test(`${RUNS} lives of up to ${STEPS} steps`, { timeout: 25 * 60_000 }, async () => {
  const seed = Number(process.env["TWINMETAL_SEED"] ?? Date.now() % 2 ** 31);
  console.log(`TWINMETAL_SEED=${seed}`);
  let steps = 0;
  await fc.assert(
    fc.asyncProperty(fc.commands([...WILD], { maxCommands: STEPS, size: "max" }), async (commands) => {
      const real = new Reality();
      const model: Model = new Map();
      try {
        await fc.asyncModelRun(() => ({ model, real }), commands);
        steps += [...commands].length;
        expect(await real.orphans()).toEqual([]);
      } finally {
        real.close();
      }
    }),
    { seed, numRuns: RUNS, endOnFailure: true },
  );
  console.log(`${steps} steps`);
});
