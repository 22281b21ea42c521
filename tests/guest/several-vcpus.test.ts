// Linux on several vCPUs that take turns: it finds them all, works on all, and states, recordings and virtual clocks are as
// exact as with one. The longer ones: several-vcpus.long.test.ts.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createVm, replayVm, restoreVm, type Vm } from "../../packages/host/src/index.ts";
import { keptTranslations } from "../kept-translations.ts";
import { tinyGuest } from "./tiny-guest.ts";

const MIB = 2 ** 20;
const AGENT_MS = 240_000;
let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-vcpus-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const path = (name: string): string => join(directory, name);

async function output(vm: Vm, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.exec(["sh", "-c", script], { agentTimeoutMs: AGENT_MS });
  const text = new TextDecoder().decode(stdout);
  expect(exitCode, `${text}${new TextDecoder().decode(stderr)}`).toBe(0);
  return text.trim();
}

/** Jobs at once, each a pipe of two processes, and a counter that all add to under a lock: what comes out is known. */
const JOBS = `
  echo 0 >/tmp/count
  for job in 1 2 3 4; do
    (i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $((i*job)); done | { sum=0; while read n; do sum=$((sum+n)); done; echo $sum >/tmp/sum$job; }) &
    (for i in 1 2 3 4 5; do until mkdir /tmp/lock 2>/dev/null; do :; done; read n </tmp/count; echo $((n+1)) >/tmp/count; rmdir /tmp/lock; done) &
  done
  wait
  cat /tmp/sum1 /tmp/sum2 /tmp/sum3 /tmp/sum4 /tmp/count`;
const SUMS = [1, 2, 3, 4].map((job) => (job * 400 * 401) / 2);
const RESULT = [...SUMS, 20].join("\n");

/** Interrupts of a kind on each processor. */
const counts = (text: string, kind: string): number[] =>
  (new RegExp(`${kind}:((?: +\\d+)+)`).exec(text)?.[1] ?? "").trim().split(/ +/).map(Number);

describe("Linux on two vCPUs", () => {
  it("works on both; saved, restored, recorded and replayed it goes on as it was", { timeout: 420_000 }, async (t) => {
    const guest = await tinyGuest();
    if ("missing" in guest) return t.skip(guest.missing);
    let onward = "";
    {
      await using vm = await createVm({
        memoryBytes: 128 * MIB,
        cpus: 2,
        engine: "jit",
        append: "quiet",
        ...keptTranslations(),
      });
      await vm.start();
      expect(await output(vm, "nproc; grep -c ^processor /proc/cpuinfo")).toBe("2\n2");
      expect(await output(vm, JOBS)).toBe(RESULT);
      const interrupts = await output(vm, "cat /proc/interrupts");
      for (const kind of ["LOC", "RES", "CAL"])
        for (const count of counts(interrupts, kind)) expect(count, kind).toBeGreaterThan(0);
      expect(counts(interrupts, "LOC")).toHaveLength(2);
      expect(
        await output(vm, "for cpu in 0 1; do taskset -c $cpu sh -c 'cut -d\" \" -f39 /proc/self/stat'; done"),
      ).toBe("0\n1");
      expect(await output(vm, "dmesg | grep -iE 'BUG:|WARNING:|stall|unstable' || true")).toBe("");

      await vm.record(path("run"), { state: path("state") });
      expect(await output(vm, JOBS)).toBe(RESULT);
      await vm.pause();
      onward = await vm.stateHash();
      const stats = await vm.stats();
      expect(stats["cpus"]).toBe(2);
      expect(stats["vcpu0Retired"]! + stats["vcpu1Retired"]!).toBe(stats["retired"]);
      await vm.kill();
    }
    const files = { kernel: guest.image.kernelPath, initrd: guest.image.initrdPath };
    const replayed = await replayVm(path("run"), { ...files, state: path("state"), sliceNs: 1_000_000 });
    expect(replayed.stateHash).toBe(onward);
    await using restored = await restoreVm(path("state"), files);
    await restored.start();
    expect(await output(restored, `${JOBS}; nproc`)).toBe(`${RESULT}\n2`);
  });
});
