// Many migrations under a guest that writes 200 MB/s over 256 MiB (TWINMETAL_MIGRATIONS of them, 500 by default, over
// TWINMETAL_MIGRATION_MIB), the link cut, stalled and corrupted and either process killed at random: docs/migration.md.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { soak } from "./soak.ts";

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
  try {
    const { outcomes, undisturbed } = await soak(directory, GUEST, COUNT, SEED, (line) => console.log(line));
    const downtimes = undisturbed.map(({ downtimeMs }) => downtimeMs).sort((a, b) => a - b);
    const at = (part: number): number =>
      Math.round(downtimes[Math.min(downtimes.length - 1, Math.floor(downtimes.length * part))] ?? 0);
    console.log(outcomes, `downtime ms: median ${at(0.5)}, p99 ${at(0.99)}, most ${at(1)}`);
    const tooSlow = Object.entries(outcomes).reduce(
      (n, [name, of]) => n + (name.startsWith("undisturbed") ? of : 0),
      0,
    );
    expect(tooSlow).toBeLessThanOrEqual(0.1 * (tooSlow + undisturbed.length));
    expect(at(0.99)).toBeLessThan(300);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
