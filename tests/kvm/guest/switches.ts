/**
 * One Linux at work (../load: compiles programs and runs them, changes a database and has it checked, and knows what has to
 * come out) goes from engine to engine. Each time the state's hashes on both sides are equal; between two changes the guest
 * shows that it goes on. Not a line of it is lost or doubled, and none is wrong.
 */
import { readFileSync } from "node:fs";
import { createVm, type EngineSwitchResult, ensureTinyImage, type Vm, VmError } from "@twinmetal/host";
import { afterAll, expect, it } from "vitest";
import { unusableFeatures } from "./engines.ts";
import { GuestLines } from "./guest-lines.ts";

const COUNT = Number(/switches=(\d+)/.exec(readFileSync("/proc/cmdline", "utf8"))?.[1] ?? 200);
const INITRD = "/twinmetal/load/initrd";
/** The least with which the guest boots. */
const MEMORY_BYTES = 96 * 2 ** 20;
/** As this host may be as busy as can be. */
const LIMIT_MS = 7_000_000;
/**
 * While the hashes are made the guest's time goes on, which its watchdogs would have to say something about. What is freed is
 * cleared, so that there is less to hash.
 */
const KERNEL_WORDS = "quiet nowatchdog rcupdate.rcu_cpu_stall_suppress=1 init_on_free=1";
const BOOT_MS = 600_000;
const STEP_MS = 300_000;
/** Of the guest's heart, ten a second at most. */
const BEATS = { jit: 2, kvm: 6 } as const;
const REPORT_EVERY = 10;
/** At the end, without hashes: how long the guest stands still when nothing else is to be done. */
const UNVERIFIED = 10;

let vm: Vm | undefined;

afterAll(async () => {
  await vm?.close();
});

it(`${COUNT} changes of engine`, { timeout: LIMIT_MS }, async () => {
  const { kernelPath } = await ensureTinyImage();
  vm = await createVm({
    engine: "kvm",
    kernel: kernelPath,
    initrd: INITRD,
    memoryBytes: MEMORY_BYTES,
    cpuFeatures: unusableFeatures(),
    append: KERNEL_WORDS,
  });
  const lines = new GuestLines(vm);
  await vm.start();
  await lines.wait("round", 2, BOOT_MS);
  console.log(`booted, and two rounds done, after ${seconds()} s`);
  const results: EngineSwitchResult[] = [];
  for (let i = 1; i <= COUNT + UNVERIFIED; i++) {
    const to = vm.engine === "kvm" ? "jit" : "kvm";
    const isVerified = i <= COUNT;
    const result = await changed(vm, to, isVerified);
    results.push(result);
    expect([vm.engine, vm.state, result.movedPages]).toEqual([to, "running", 0]);
    if (isVerified) expect(result.stateHash).toMatch(/^[0-9a-f]{64}$/);
    await lines.wait("beat", BEATS[to], STEP_MS);
    if (i <= 4 || i % REPORT_EVERY === 0)
      console.log(
        `${i} changes, ${lines.count("round")} rounds after ${seconds()} s; the last to ${to}: ${result.pausedMs.toFixed(0)} of ${result.totalMs.toFixed(0)} ms; ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB`,
      );
  }
  await lines.wait("round", 1, STEP_MS);
  for (const part of [results.slice(0, COUNT), results.slice(COUNT)])
    for (const to of ["jit", "kvm"] as const) summarize(part.filter((result) => result.to === to));
  console.log(`${lines.count("round")} rounds, ${lines.count("beat")} beats`);
  for (const line of lines.others) console.log(`the guest's other line: ${line}`);
  expect(lines.wrong).toEqual([]);
});

/** A guest that has not stood still within its time, as its thread waits for the processor, runs on: once more. */
async function changed(vm: Vm, to: "jit" | "kvm", isVerified: boolean): Promise<EngineSwitchResult> {
  for (let tries = 1; ; tries++) {
    try {
      return await vm.switchEngine(to, { isVerified });
    } catch (error) {
      if (!(error instanceof VmError && error.code === "timeout") || tries === 5) throw error;
      console.log(`it did not stand still: ${error.message}`);
    }
  }
}

function summarize(results: readonly EngineSwitchResult[]): void {
  const [first] = results;
  if (!first) return;
  const spread = (of: (result: EngineSwitchResult) => number): string => {
    const sorted = results.map(of).sort((a, b) => a - b);
    const at = (share: number): number => Math.round(sorted[Math.ceil(share * sorted.length) - 1]!);
    return `${at(0.5)} / ${at(0.99)} / ${at(1)}`;
  };
  console.log(
    `${first.from} to ${first.to}, ${results.length} times${first.stateHash ? " with equal hashes" : ""}, median / p99 / most: stood still ${spread((r) => r.pausedMs)} ms, in all ${spread((r) => r.totalMs)} ms, pages moved ${spread((r) => r.movedPages)}, bytes moved ${spread((r) => r.movedBytes)}`,
  );
}

const seconds = (): number => Math.round(performance.now() / 1000);
