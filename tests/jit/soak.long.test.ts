// Programs in a Linux guest for half an hour (TWINMETAL_SOAK_MINUTES): each has to print what it printed on the
// interpreter, and the process must not grow. The tiny guest has busybox only: no compilers, no Python.

import { expect, test } from "vitest";
import { createVm, type Vm } from "../../packages/host/src/index.ts";
import { tinyGuest } from "../guest/tiny-guest.ts";

const MINUTES = Number(process.env["TWINMETAL_SOAK_MINUTES"] ?? 30);
const MOST_GROWTH_BYTES = 100 << 20;
const PROGRAMS = [
  "i=0; s=0; while [ $i -lt 3000 ]; do s=$(((s * 31 + i) % 65521)); i=$((i + 1)); done; echo $s",
  "awk 'BEGIN { for (i = 0; i < 60000; i++) { s = s / 3 + i * 0.7; t[i % 97] += i }; printf \"%.9f %d\\n\", s, t[13] }'",
  "seq 1 20000 | sort -r | uniq | sha256sum",
  "seq 1 20000 | gzip | gunzip | md5sum",
  "seq 1 5000 | sed 's/\\(.\\)\\(.\\)/\\2\\1/' | grep -c 7",
  "for i in 1 2 3 4 5 6 7 8; do echo $i | cat | tr 1-8 a-h; done",
];

async function outputs(vm: Vm): Promise<string[]> {
  const all: string[] = [];
  for (const program of PROGRAMS) {
    const { stdout, exitCode } = await vm.exec(["sh", "-c", program]);
    all.push(`${exitCode}: ${Buffer.from(stdout).toString()}`);
  }
  return all;
}

test("programs for a long time", { timeout: (MINUTES + 10) * 60_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const start = async (tier: "interp" | "auto"): Promise<Vm> => {
    const vm = await createVm({ memoryBytes: 128 << 20, tier });
    await vm.start();
    return vm;
  };
  const right = await start("interp");
  const expected = await outputs(right);
  await right.kill();
  await using vm = await start("auto");
  const until = performance.now() + MINUTES * 60_000;
  let rounds = 0;
  let settled = 0;
  for (; performance.now() < until; rounds++) {
    expect(await outputs(vm)).toEqual(expected);
    if (rounds < 5) settled = process.memoryUsage().rss;
  }
  console.log(
    `${rounds} rounds, ${(process.memoryUsage().rss - settled) >> 20} MiB more than after the fifth`,
    expected,
  );
  expect(process.memoryUsage().rss - settled).toBeLessThan(MOST_GROWTH_BYTES);
});
