// vCPUs in parallel: memory order and locked instructions as the manual has them. Linux, and the ten-minute form:
// parallel-vcpus.long.test.ts.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createVm } from "../../../packages/host/src/index.ts";
import { nasmMissing } from "../../roms/rom-files.ts";
import { expectedCounters, type LitmusOptions, runLitmus } from "./litmus-guest.ts";

const missing = process.arch === "x64" ? nasmMissing() : "needs an x64 host";
let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-parallel-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

describe("two vCPUs of a bare guest", () => {
  const cases: readonly (readonly [string, LitmusOptions])[] = [
    ["interpreted", { cpus: 2, tier: "interp", rounds: 500, loops: 5000 }],
    ["translated", { cpus: 2, rounds: 4000, loops: 40_000 }],
    ["in turn, for comparison", { cpus: 2, smp: "turns", rounds: 100, loops: 2000 }],
  ];
  for (const [name, options] of cases)
    it(`see each other's stores in x86's order, and lock: ${name}`, { timeout: 240_000 }, async (t) => {
      if (missing) return t.skip(missing);
      const { weak, counters } = await runLitmus(directory, options);
      expect(weak.slice(1)).toEqual([0, 0, 0, 0, 0, 0]);
      expect(counters).toEqual(expectedCounters(options));
    });

  it("is refused what cannot be", async () => {
    const wish = { cpus: 2, engine: "jit", smp: "parallel" } as const;
    await expect(createVm({ ...wish, clock: "virtual" })).rejects.toThrow("virtual clock");
    await expect(createVm({ ...wish, record: join(directory, "no") })).rejects.toThrow("recorded");
  });
});
