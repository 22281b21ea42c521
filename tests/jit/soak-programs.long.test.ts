// The performance guest's 23 programs (shells, compressors, OpenSSL, SQLite, Python, Perl) in one VM again and again, for
// half an hour (TWINMETAL_SOAK_MINUTES): each has to print what it printed on the interpreter, and the process must not
// grow. TWINMETAL_BENCH_GUEST names a guest that is there; TWINMETAL_SOAK_ONLY some of the programs.

import { expect, test } from "vitest";
import { createVm, type Vm } from "../../packages/host/src/index.ts";

interface PerformanceGuest {
  readonly kernel: string;
  readonly initrd: string;
}

const MINUTES = Number(process.env["TWINMETAL_SOAK_MINUTES"] ?? 30);
const ONLY = process.env["TWINMETAL_SOAK_ONLY"] ?? "";
const ROUND_MS = 20 * 60_000;
const SETTLED_AFTER = 3;
const MOST_GROWTH_BYTES = 100 << 20;
const ENDED = "@@ALLDONE";

async function performanceGuest(): Promise<PerformanceGuest | { readonly missing: string }> {
  const module = new URL("../../bench/guest-image.mjs", import.meta.url).href;
  const { provideGuest } = (await import(module)) as {
    provideGuest(how: object): Promise<PerformanceGuest>;
  };
  const named = process.env["TWINMETAL_BENCH_GUEST"];
  return await provideGuest({ bits: 64, named, onBuild: () => {} }).catch((error: Error) => ({
    missing: `the performance guest could not be built: ${error.message}`,
  }));
}

/** A VM with a shell on its console, in the guest's root. */
async function start({ kernel, initrd }: PerformanceGuest, tier: "interp" | "auto"): Promise<Vm> {
  const append = "console=ttyS0 quiet rdinit=/bin/sh";
  const vm = await createVm({ kernel, initrd, append, memoryBytes: 512 << 20, tier });
  await vm.start();
  await vm.serial.waitFor("# ", { timeoutMs: ROUND_MS });
  const mounts = ["-t proc p /proc", "-t sysfs s /sys", "-t devtmpfs d /dev", "-t tmpfs t /tmp"];
  await vm.serial.write(`${mounts.map((words) => `/bb/mount ${words}`).join("; ")}; echo @@"READY"\n`);
  await vm.serial.waitFor("@@READY", { timeoutMs: ROUND_MS });
  return vm;
}

/** Name, status and hash of the output of each program. */
async function round(vm: Vm): Promise<string[]> {
  await vm.serial.write(`/bin/sh /bench.sh real 1 /mbench 200 ${ONLY}\n`);
  const text = await vm.serial.waitFor(ENDED, { timeoutMs: ROUND_MS });
  const ends = text.matchAll(/@@E (\S+) \d+ \d+ \d+ (.*?)\s*$/gm);
  return [...ends].map(([, name, facts]) => `${name} ${facts}`);
}

test("the performance guest's programs for a long time", { timeout: (MINUTES + 60) * 60_000 }, async ({ skip }) => {
  const guest = await performanceGuest();
  if ("missing" in guest) return skip(guest.missing);
  const right = await start(guest, "interp");
  const expected = await round(right);
  await right.close();
  expect(expected.length).toBe(ONLY === "" ? 23 : ONLY.split(",").length);
  for (const line of expected) expect(line).toContain("rc=0 out=");

  await using vm = await start(guest, "auto");
  const startMs = performance.now();
  const until = startMs + MINUTES * 60_000;
  const sizes: number[] = [];
  do {
    expect(await round(vm)).toEqual(expected);
    sizes.push(process.memoryUsage().rss);
  } while (performance.now() < until);
  const settled = Math.max(...sizes.slice(0, SETTLED_AFTER));
  const minutes = Math.round((performance.now() - startMs) / 60_000);
  console.log(
    `${sizes.length} rounds of ${expected.length} programs in ${minutes} minutes, MiB after each: ${sizes.map((size) => size >> 20).join(" ")}`,
  );
  expect(Math.max(...sizes) - settled).toBeLessThan(MOST_GROWTH_BYTES);
});
