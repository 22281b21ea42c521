// Bugs planted in devices, one at a time: the fuzz notices each of them, and nothing where there is none.

import { beforeAll, expect, it } from "vitest";
import { bundleFuzz, loadFuzz, PLANTED_BUGS } from "./planted-device-bugs.ts";

const STEPS = 40_000;
let bundle = "";

beforeAll(async () => {
  bundle = await bundleFuzz();
});

it("finds nothing where nothing is planted", async () => {
  const { fuzzDevice, FUZZED_DEVICES } = await loadFuzz(bundle);
  const names = new Set(PLANTED_BUGS.map(({ device }) => device));
  for (const fuzzed of FUZZED_DEVICES) if (names.has(fuzzed.name)) fuzzDevice(fuzzed, { seed: 3, steps: 2000 });
});

it.each(PLANTED_BUGS)("finds that $what", async (bug) => {
  const { fuzzDevice, FUZZED_DEVICES } = await loadFuzz(bundle, bug);
  const fuzzed = FUZZED_DEVICES.find(({ name }) => name === bug.device)!;
  expect(() => fuzzDevice(fuzzed, { seed: 3, steps: STEPS })).toThrow(bug.device);
});
