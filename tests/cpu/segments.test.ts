// 32-bit and 16-bit code with segments that are not flat, against the host, whose process gets the same LDT.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BINDING } from "./binding.ts";
import { HostCpu, hostCpuMissing } from "./host-cpu.ts";
import { Random } from "./random.ts";
import { seededRuns } from "./seeds.ts";
import { segmentCases } from "./segment-cases.ts";
import { LDT_ARGUMENTS } from "./segments.ts";
import { formatReport, MASKED_SHARE_LIMIT, maskedShare, runSuite } from "./suite.ts";

const CASES = 20_000;
const EVALUATOR_CASES = 4_000;
/** Share of cases that may differ, by vendor. Intel's were never seen in this suite: its quirks are not known yet. */
const UNEXPLAINED_SHARE: Readonly<Record<string, number>> = { AuthenticAMD: 0, GenuineIntel: 0.01 };
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
        const limit = report.cases * (UNEXPLAINED_SHARE[host.vendor.name] ?? 0);
        expect(report.mismatches, "cases that differ from the host").toBeLessThanOrEqual(limit);
        expect(report.cases).toBeGreaterThan(cases * 0.99);
        expect(maskedShare(report)).toBeLessThanOrEqual(MASKED_SHARE_LIMIT);
      });
});
