// Which seeds and how many cases a run uses.
//
// Default: a fixed seed, and one from the commit, so that every change meets new cases and a failure can still be
// repeated. TWINMETAL_CPU_SEED and TWINMETAL_CPU_CASES replace both.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface SeededRun {
  readonly seed: string;
  readonly cases: number;
}

const FIXED_SEED = "twinmetal";

/** `slices` runs of `defaultCases` for each seed, so that none of them takes too long. */
export function seededRuns(defaultCases: number, slices = 1): SeededRun[] {
  const text = process.env["TWINMETAL_CPU_CASES"] ?? String(defaultCases);
  const cases = Number(text);
  if (!Number.isSafeInteger(cases) || cases < 1) {
    throw new RangeError(`TWINMETAL_CPU_CASES is "${text}": give a whole number of cases, for example 20000`);
  }
  const seed = process.env["TWINMETAL_CPU_SEED"];
  if (seed !== undefined && seed !== "") return [{ seed, cases }];
  return [FIXED_SEED, commitSeed()].flatMap((each) =>
    Array.from({ length: slices }, (_, i) => ({ seed: i === 0 ? each : `${each} ${i}`, cases })),
  );
}

/** The commit's hash; outside a clone (a source archive) a second fixed seed. */
export function commitSeed(): string {
  const cwd = fileURLToPath(new URL(".", import.meta.url));
  const git = spawnSync("git", ["rev-parse", "HEAD"], { cwd, encoding: "utf8" });
  return git.status === 0 ? git.stdout.trim() : `${FIXED_SEED} without a commit`;
}
