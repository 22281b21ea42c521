// Bugs planted in the instruction records, one at a time: the rig must notice at least 95 % of them.

import { expect, test } from "vitest";
import { BINDING, boundForms } from "./binding.ts";
import { HostCpu, hostCpuMissing, isComparedVendor } from "./host-cpu.ts";
import { formatOutcomes, runMutations } from "./mutate.ts";
import { CONTROL } from "./mutations.ts";

const CASES = 1_000;
const PLANTED = 60;
const CAUGHT_AT_LEAST = 0.95;
const build = BINDING.buildMutated;

test.skipIf(hostCpuMissing() !== null || build === null)("planted bugs are caught", { timeout: 180_000 }, async () => {
  const host = new HostCpu();
  try {
    const { mutations } = BINDING;
    const options = { host, build: build!, filter: boundForms(), seed: "planted", cases: CASES };
    const controls = await runMutations({ ...options, mutations: [CONTROL] });
    const outcomes = await runMutations({ ...options, mutations });
    console.log(formatOutcomes(outcomes));
    const differing = controls.filter(({ isCaught }) => isCaught).map(({ name, evidence }) => `${name}: ${evidence}`);
    if (isComparedVendor()) expect(differing).toEqual([]);
    else console.warn(differing.join("\n"));
    expect(outcomes.length).toBeGreaterThanOrEqual(PLANTED);
    const share = outcomes.filter(({ isCaught }) => isCaught).length / outcomes.length;
    expect(share).toBeGreaterThanOrEqual(CAUGHT_AT_LEAST);
  } finally {
    await host.close();
  }
});
