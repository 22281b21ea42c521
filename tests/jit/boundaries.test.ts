// Programs on every tier, with events and deadlines at every instruction boundary: a fixed seed and the commit's.
// TWINMETAL_JIT_SEED=x repeats one; a program by its name is repeated with programFrom.

import { expect, test } from "vitest";
import { commitSeed } from "../cpu/seeds.ts";
import { formatMismatch, INJECTIONS, runSeed } from "./boundaries.ts";
import { COMPARED, REFERENCE } from "./tiers.ts";

const given = process.env["TWINMETAL_JIT_SEED"];
const seeds = given ? [given] : ["edges", commitSeed()];

for (const { subject, boundaries } of COMPARED)
  test.each(seeds)(`${subject.name} as the interpreter, seed %s`, { timeout: 120_000 }, (seed) => {
    const run = runSeed(seed, boundaries.ci / seeds.length, REFERENCE, subject, INJECTIONS, "each");
    expect(run.mismatches.map(formatMismatch)).toEqual([]);
    expect(run.boundaries).toBeGreaterThanOrEqual(boundaries.ci / seeds.length);
  });
