// Many migrations under a guest that writes 200 MB/s over 256 MiB (TWINMETAL_MIGRATIONS of them, 500 by default, over
// TWINMETAL_MIGRATION_MIB), the link cut, stalled and corrupted and either process killed at random: docs/migration.md.
// With a file for results several runs, of TWINMETAL_MINUTES each, are one.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { outcomesOf, SoakFailure, soak } from "./soak.ts";
import { SoakResults } from "./soak-results.ts";

const { TWINMETAL_MIGRATION_RESULTS: results, TWINMETAL_MINUTES: minutes = Infinity } = process.env;
const COUNT = Number(process.env["TWINMETAL_MIGRATIONS"] ?? 500);
const SEED = Number(process.env["TWINMETAL_SEED"] ?? 1);
/** A power of two. */
const MIB = Number(process.env["TWINMETAL_MIGRATION_MIB"] ?? 256);
/** At 200 MB/s, measured: see docs/migration.md. */
const GUEST = { pages: MIB * 256, delay: 20_000 };

it(`${COUNT} migrations: exactly one copy runs each time, no byte is lost, and 9 in 10 undisturbed ones arrive`, {
  timeout: 6 * 3_600_000,
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), "twinmetal-soak-"));
  const done = new SoakResults(results, { seed: SEED, mib: MIB });
  const { records } = done;
  const endMs = performance.now() + Number(minutes) * 60_000;
  const isOver = (): boolean => performance.now() > endMs;
  try {
    await soak(directory, GUEST, { seed: SEED, from: records.length, to: COUNT, isOver }, (record) => {
      done.add(record);
      console.log(`${record.number} ${record.disturbance} -> ${record.outcomes.join(", ")}`);
    });
  } catch (error) {
    if (error instanceof SoakFailure) done.fail(error.message);
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  const undisturbed = records.filter(({ disturbance }) => disturbance === "none");
  const downtimes = undisturbed.flatMap((one) => one.undisturbed?.downtimeMs ?? []).sort((a, b) => a - b);
  const at = (part: number): number =>
    Math.round(downtimes[Math.min(downtimes.length - 1, Math.floor(downtimes.length * part))] ?? 0);
  console.log(outcomesOf(records), `downtime ms: median ${at(0.5)}, p99 ${at(0.99)}, most ${at(1)}`);
  console.log(`${records.length} of ${COUNT} migrations are done.`);
  expect(downtimes.length).toBeGreaterThanOrEqual(0.9 * undisturbed.length);
  expect(at(0.99)).toBeLessThan(300);
});
