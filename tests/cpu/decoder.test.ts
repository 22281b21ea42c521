// The CPU's decoder and disassembler against iced: a million byte strings, most of them in 64-bit mode.

import { describe, expect, test } from "vitest";
import { BINDING } from "./binding.ts";
import { compareDecoders } from "./decoder.ts";
import { seededRuns } from "./seeds.ts";

const SHARES = [
  { mode: 64, count: 600_000 },
  { mode: 32, count: 200_000 },
  { mode: 16, count: 200_000 },
] as const;

describe.skipIf(BINDING.decode === null)("decoder against iced", () => {
  const { seed } = seededRuns(1)[0]!;
  for (const { mode, count } of SHARES) {
    test(`${mode} bit, seed ${seed}, ${count} strings`, () => {
      const { features, without } = BINDING;
      const report = compareDecoders({ decode: BINDING.decode!, features, without, mode, seed, count });
      console.log(`${mode} bit: ${report.strings} strings, ${report.valid} valid, ${report.mismatches} differ`);
      expect(report.details.join("\n")).toBe("");
      expect(report.mismatches).toBe(0);
    });
  }
});
