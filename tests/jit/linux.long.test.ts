// A whole boot of Linux: stepped on two tiers side by side with comparisons at slice ends by chance, and recorded on one
// tier and replayed on the other.

import { expect, test } from "vitest";
import { findDifference, formatLockstep } from "../../packages/core/src/lockstep/find-difference.ts";
import { machineExecution } from "../../packages/core/src/lockstep/machine-execution.ts";
import { Random } from "../cpu/random.ts";
import { linuxFiles } from "./linux-files.ts";
import { record, replay, tierMachine } from "./tier-machine.ts";
import { ENGINES, FAST_TIERS } from "./tiers.ts";

const MOST_INSTRUCTIONS = 5e9;
const LONGEST_STRIDE = 40_000;

const pairs = FAST_TIERS.slice(1).map((tier) => [FAST_TIERS[0]!, tier] as const);

test.each(pairs)("%s and %s agree through a whole boot", async (...names) => {
  const files = await linuxFiles();
  if ("missing" in files) throw new Error(files.missing);
  const random = new Random("whole boot");
  const execution = (name: string) => {
    const { machine, ram } = tierMachine(files, ENGINES[name]!);
    return machineExecution(name, machine, ram);
  };
  const report = findDifference({
    make: () => [execution(names[0]), execution(names[1])],
    instructions: MOST_INSTRUCTIONS,
    stride: () => 1 + random.below(LONGEST_STRIDE),
  });
  console.log(formatLockstep(report));
  expect(report.differences).toEqual([]);
  expect(report.ended).toBe(true);
});

test.each(
  pairs.flatMap(([a, b]) => [
    [a, b],
    [b, a],
  ]),
)("a boot recorded on %s replays on %s", async (from, to) => {
  const files = await linuxFiles();
  if ("missing" in files) throw new Error(files.missing);
  const { tape, end } = record(files, ENGINES[from!]!);
  expect(end.result).toEqual({ kind: "stopped", state: "off" });
  expect(replay(files, ENGINES[to!]!, tape, 50_000)).toEqual(end);
});
