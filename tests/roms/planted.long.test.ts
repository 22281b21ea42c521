// Every bug of planted.ts against every ROM: at least 95 % have to be seen.

import { expect, test } from "vitest";
import { plantedBugs } from "./planted.ts";
import { loadRoms, runPlanted } from "./planted-suite.ts";

const PLANTED = 100;
const CAUGHT_AT_LEAST = 0.95;

test("bugs planted in system routines are caught", { timeout: 60 * 60_000 }, () => {
  const bugs = plantedBugs();
  expect(bugs.length).toBeGreaterThanOrEqual(PLANTED);
  const outcomes = runPlanted(bugs, loadRoms());
  const missed = outcomes.filter(({ caughtBy }) => caughtBy === undefined).map(({ bug }) => bug);
  console.log(`planted bugs: ${bugs.length - missed.length} of ${bugs.length} caught; missed:\n${missed.join("\n")}`);
  expect(1 - missed.length / bugs.length).toBeGreaterThanOrEqual(CAUGHT_AT_LEAST);
});
