// One full pass of memtest86+ over 16 MiB. Its last test waits for minutes, so the clock is the host's.

import { expect, test } from "vitest";
import { debianFile } from "./debian-files.ts";
import { MEMTEST, memtestScreen, startMemtest } from "./memtest.ts";

test("memtest86+ completes a pass without errors", { timeout: 20 * 60_000 }, async () => {
  const file = await debianFile(MEMTEST);
  if (typeof file === "string") throw new Error(file);
  const pc = startMemtest(file, "wall");
  const finished = pc.runUntil(() => (memtestScreen(pc)?.passes ?? 0) >= 1, 18 * 60);
  console.log(`${(pc.machine.vcpu.retired / 1e9).toFixed(1)} thousand million instructions`);
  expect(finished, pc.screen().join("\n")).toBe(true);
  expect(memtestScreen(pc)).toMatchObject({ passes: 1, errors: 0 });
});
