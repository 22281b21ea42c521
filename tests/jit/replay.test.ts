// A run recorded on one tier replays on another, to the same state, output and count.

import { expect, test } from "vitest";
import { SERIAL_CHANNEL } from "../../packages/core/src/machine/board.ts";
import { BUSY_GUEST, testKernel } from "../../packages/core/src/machine/test-kernel.ts";
import { type BootFiles, record, replay } from "./tier-machine.ts";
import { ENGINES } from "./tiers.ts";

const FILES: BootFiles = { kernel: testKernel(BUSY_GUEST), commandLine: "", memoryBytes: 16 << 20 };
const SLICES_NS = [1009, 50_000];

const pairs = [
  ["interpreter", "jit"],
  ["jit", "interpreter"],
  ["interpreter", "mixed"],
  ["mixed", "interpreter"],
] as const;

test.each(pairs)("recorded on %s, replayed on %s", (from, to) => {
  const { tape, end } = record(FILES, ENGINES[from]!, (machine, slice) => {
    if (slice % 7 === 3) machine.input(SERIAL_CHANNEL, new TextEncoder().encode(`${slice};`));
  });
  expect(end.result).toEqual({ kind: "stopped", state: "off" });
  expect(end.serial).toMatch(/3;/);
  for (const sliceNs of SLICES_NS) expect(replay(FILES, ENGINES[to]!, tape, sliceNs)).toEqual(end);
});
