// 32-bit and 16-bit code with segments that are not flat, against the host, whose process gets the same LDT.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BINDING } from "./binding.ts";
import { differencesAllowed, HostCpu, hostCpuMissing } from "./host-cpu.ts";
import { Random } from "./random.ts";
import { seededRuns } from "./seeds.ts";
import { segmentCases } from "./segment-cases.ts";
import { LDT_ARGUMENTS } from "./segments.ts";
import { formatReport, MASKED_SHARE_LIMIT, maskedShare, runSuite } from "./suite.ts";

const CASES = 20_000;
const EVALUATOR_CASES = 4_000;
const missing = hostCpuMissing();
if (missing !== null) console.warn(`segments against the host skipped: ${missing}`);

describe.skipIf(missing !== null)("segments against the host", () => {
  let host: HostCpu;
  beforeAll(() => {
    host = new HostCpu(LDT_ARGUMENTS);
  });
  afterAll(() => host?.close());

  for (const [name, build] of Object.entries(BINDING.subjects))
    for (const { seed, cases } of seededRuns(name === "evaluator" ? EVALUATOR_CASES : CASES))
      test(`${name}, seed ${seed}, ${cases} cases`, async () => {
        const source = segmentCases(new Random(`${seed} segments`), seed, cases);
        const filter = { features: new Set<string>() };
        const report = await runSuite({ host, subject: await build(), seed, cases, filter, source });
        console.log(formatReport(report));
        expect(report.mismatches, "cases that differ").toBeLessThanOrEqual(differencesAllowed(report.cases));
        expect(report.cases).toBeGreaterThan(cases * 0.99);
        expect(maskedShare(report)).toBeLessThanOrEqual(MASKED_SHARE_LIMIT);
      });
});
