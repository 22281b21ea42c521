// vCPUs in parallel: memory order and locked instructions as the manual has them, and Linux at work on all. The ten-minute
// form: parallel-vcpus.long.test.ts.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createVm, restoreVm, type Vm } from "../../../packages/host/src/index.ts";
import { nasmMissing } from "../../roms/rom-files.ts";
import { tinyGuest } from "../tiny-guest.ts";
import { expectedCounters, type LitmusOptions, runLitmus } from "./litmus-guest.ts";

const MIB = 2 ** 20;
const AGENT_MS = 400_000;
const isX64 = process.arch === "x64";
const missing = isX64 ? nasmMissing() : "needs an x64 host";
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
  it.each(cases)("see each other's stores in x86's order, and lock: %s", { timeout: 240_000 }, async (_, options) => {
    if (missing) return expect(missing).toBeTruthy();
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

/** Jobs at once, each a pipe of two processes, and a counter that all add to under a lock: what comes out is known. */
const JOBS = `
  echo 0 >/tmp/count
  for job in 1 2 3 4; do
    (i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $((i*job)); done | { sum=0; while read n; do sum=$((sum+n)); done; echo $sum >/tmp/sum$job; }) &
    (for i in 1 2 3 4 5; do until mkdir /tmp/lock 2>/dev/null; do :; done; read n </tmp/count; echo $((n+1)) >/tmp/count; rmdir /tmp/lock; done) &
  done
  wait
  cat /tmp/sum1 /tmp/sum2 /tmp/sum3 /tmp/sum4 /tmp/count`;
const RESULT = [...[1, 2, 3, 4].map((job) => (job * 400 * 401) / 2), 20].join("\n");

async function output(vm: Vm, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.exec(["sh", "-c", script], { agentTimeoutMs: AGENT_MS });
  const text = new TextDecoder().decode(stdout);
  expect(exitCode, `${text}${new TextDecoder().decode(stderr)}`).toBe(0);
  return text.trim();
}

describe("Linux on two vCPUs in parallel", () => {
  it("works on both, paused and saved in between; what was saved goes on in turn", { timeout: 600_000 }, async (t) => {
    if (!isX64) return t.skip("needs an x64 host");
    const guest = await tinyGuest();
    if ("missing" in guest) return t.skip(guest.missing);
    const state = join(directory, "state");
    {
      await using vm = await createVm({ memoryBytes: 128 * MIB, cpus: 2, engine: "jit", smp: "parallel" });
      await vm.start();
      expect(await output(vm, "nproc; grep -c ^processor /proc/cpuinfo")).toBe("2\n2");
      expect(await output(vm, JOBS)).toBe(RESULT);
      await vm.pause();
      await vm.save(state);
      await vm.resume();
      expect(await output(vm, JOBS)).toBe(RESULT);
      expect(await output(vm, "dmesg | grep -iE 'BUG:|WARNING:|stall|unstable' || true")).toBe("");
      const stats = await vm.stats();
      for (const vcpu of [0, 1]) expect(stats[`vcpu${vcpu}Instructions`]).toBeGreaterThan(1e7);
    }
    const files = { kernel: guest.image.kernelPath, initrd: guest.image.initrdPath };
    await using restored = await restoreVm(state, files);
    await restored.start();
    expect(await output(restored, `${JOBS}; nproc`)).toBe(`${RESULT}\n2`);
  });
});
