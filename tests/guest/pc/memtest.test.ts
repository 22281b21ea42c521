// The first tests of memtest86+ over 16 MiB, in 32-bit protected mode with paging off and PAE on; the whole pass is in
// memtest.long.test.ts.

import { expect, test } from "vitest";
import { renderScreen } from "../../../packages/core/src/devices/vga/render.ts";
import { debianFile } from "./debian-files.ts";
import { MEMTEST, memtestScreen, startMemtest } from "./memtest.ts";

const file = await debianFile(MEMTEST);
if (typeof file === "string") console.warn(`memtest86+ skipped: ${file}`);

test.skipIf(typeof file === "string")("memtest86+ tests memory without an error", { timeout: 120_000 }, () => {
  const pc = startMemtest(file as Uint8Array, "virtual");
  const reached = pc.runUntil(() => (memtestScreen(pc)?.test ?? 0) >= 3, 100);
  expect(pc.screen().join("\n")).toContain("Memtest86+");
  expect(reached, pc.screen().join("\n")).toBe(true);
  expect(memtestScreen(pc)).toMatchObject({ errors: 0 });
});

test.skipIf(typeof file === "string")("memtest86+ draws its screen on a VGA", { timeout: 120_000 }, () => {
  const pc = startMemtest(file as Uint8Array, "virtual", true);
  expect(
    pc.runUntil(() => memtestScreen(pc) !== null, 100),
    pc.screen().join("\n"),
  ).toBe(true);
  expect(pc.screen()[0]).toContain("Memtest86+");
  const { width, height, rgba } = renderScreen(pc.vga!.view);
  expect([width, height]).toEqual([720, 400]);
  const colors = new Set(new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4));
  // Grey on blue.
  for (const color of [0xffaa0000, 0xffaaaaaa]) expect(colors).toContain(color);
});
