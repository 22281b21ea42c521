// vCPUs in parallel for ten minutes each: a bare guest's litmus tests and counters over and over, among them IRIW, which needs
// four; and Linux under loads whose results are known: jobs, locks and pipes of a shell, make -j, and stress.c. Nothing may be wrong
// once. PARALLEL_MINUTES: others than ten.

import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createVm, restoreVm, type Vm } from "../../../packages/host/src/index.ts";
import { debianFile } from "../pc/debian-files.ts";
import { tinyGuest } from "../tiny-guest.ts";
import { expectedCounters, runLitmus } from "./litmus-guest.ts";

const MIB = 2 ** 20;
const LOAD_MS = Number(process.env["PARALLEL_MINUTES"] ?? 10) * 60_000;
const AGENT_MS = 400_000;
let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-parallel-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

it.each([2, 4])("%i vCPUs of a bare guest, for ten minutes", { timeout: 2 * LOAD_MS + AGENT_MS }, async (cpus) => {
  const endMs = performance.now() + LOAD_MS;
  for (let round = 0; performance.now() < endMs; round++) {
    const tier = round % 4 === 3 ? "interp" : "auto";
    const options = { cpus, tier, rounds: cpus === 2 ? 20_000 : 500, loops: 20_000 } as const;
    const { weak, counters } = await runLitmus(directory, options);
    expect(weak.slice(1), `round ${round}, ${tier}`).toEqual([0, 0, 0, 0, 0, 0]);
    expect(counters, `round ${round}, ${tier}`).toEqual(expectedCounters(options));
  }
});

/** Each job goes from processor to processor with each of its rounds, and adds to a file under a lock. */
const ROUND = `
  cpus=$(nproc); rm -rf /tmp/w; mkdir /tmp/w; cd /tmp/w; echo 0 >count
  for job in 1 2 3 4 5 6 7 8; do
    (for i in 1 2 3 4; do
      taskset -c $(((job+i)%cpus)) sh -c 'seq 1 500 | while read n; do echo $n; done | md5sum' >>sums$job
      until mkdir lock 2>/dev/null; do :; done; read n <count; echo $((n+1)) >count; rmdir lock
    done) &
  done
  wait
  cat sums? | sort -u | wc -l; cat sums? | wc -l; cat count; dmesg | grep -icE 'BUG:|stall|lockup' || true`;
const ROUND_RESULT = "1\n32\n32\n0\n";

/** As on Debian, each beside the others in one folder. */
const MAKE = [
  { packageName: "make", path: "usr/bin/make" },
  { packageName: "libc6", path: "lib/x86_64-linux-gnu/libc.so.6" },
  { packageName: "libc6", path: "lib/x86_64-linux-gnu/libdl.so.2" },
  { packageName: "libc6", path: "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" },
];
const MAKEFILE = `
parts := 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26
all: $(parts:%=sum%)
\tcat $^ | md5sum
sum%: numbers%
\tmd5sum <$< >$@
numbers%:
\tseq 1 $*0 | while read n; do echo $$((n * $*)); done >$@
`;
const STRESS = ["mutexes", "conditions", "pipes", "forks", "mappings", "orders"];

/** The programs, and how make is called. */
async function install(vm: Vm): Promise<string> {
  for (const file of MAKE) {
    const bytes = await debianFile(file);
    if (typeof bytes === "string") throw new Error(bytes);
    await vm.writeFile(`/tmp/p/${file.path.split("/").at(-1)}`, bytes, { mode: 0o755 });
  }
  const stress = join(directory, "stress");
  const source = fileURLToPath(new URL("stress.c", import.meta.url));
  execFileSync("gcc", ["-O2", "-static", "-pthread", "-o", stress, source]);
  await vm.writeFile("/tmp/p/stress", await readFile(stress), { mode: 0o755 });
  await vm.writeFile("/tmp/p/makefile", new TextEncoder().encode(MAKEFILE));
  return "/tmp/p/ld-linux-x86-64.so.2 --library-path /tmp/p /tmp/p/make -s -f /tmp/p/makefile";
}

it.each([2, 4])("Linux on %i vCPUs, for ten minutes", { timeout: 3 * LOAD_MS + 3 * AGENT_MS }, async (cpus) => {
  const guest = await tinyGuest();
  if ("missing" in guest) throw new Error(guest.missing);
  await using vm = await createVm({ memoryBytes: 256 * MIB, cpus, engine: "jit", smp: "parallel" });
  await vm.start();
  await vm.exec(["mkdir", "-p", "/tmp/p", "/tmp/m"], { agentTimeoutMs: AGENT_MS });
  const make = await install(vm);
  const alone = await output(vm, `cd /tmp/m && ${make} -j1`);
  expect(alone).toMatch(/^[0-9a-f]{32} {2}-$/);
  const endMs = performance.now() + LOAD_MS;
  let round = 0;
  for (; performance.now() < endMs; round++) {
    const { stdout } = await vm.exec(["sh", "-c", ROUND], { agentTimeoutMs: AGENT_MS });
    expect(new TextDecoder().decode(stdout), `round ${round}`).toBe(ROUND_RESULT);
    expect(await output(vm, `cd /tmp/m && rm -f * && ${make} -j${2 * cpus}`), `round ${round}`).toBe(alone);
    const wrong = await output(vm, `/tmp/p/stress ${2 * cpus} 2000`);
    expect(wrong, `round ${round}`).toBe(STRESS.map((part) => `${part} 0`).join("\n"));
  }
  console.log(`${cpus} vCPUs: ${round} rounds, nothing wrong`);
  const stats = await vm.stats();
  for (let vcpu = 0; vcpu < cpus; vcpu++) expect(stats[`vcpu${vcpu}Instructions`]).toBeGreaterThan(1e8);
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
  it("works on both, paused and saved in between; what was saved goes on in turn", { timeout: 600_000 }, async () => {
    const guest = await tinyGuest();
    if ("missing" in guest) throw new Error(guest.missing);
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
