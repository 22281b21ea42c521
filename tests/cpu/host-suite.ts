// The tests that host-cpu.test.ts and host-cpu.long.test.ts share: one for each tier and seed.

import { afterAll, beforeAll, expect, test } from "vitest";
import { BINDING, boundForms } from "./binding.ts";
import { CASES_PER_FORM } from "./generate.ts";
import { differencesAllowed, featuresOnHost, HostCpu, hostCpuMissing } from "./host-cpu.ts";
import { seededRuns } from "./seeds.ts";
import { formatReport, MASKED_SHARE_LIMIT, maskedShare, runSuite } from "./suite.ts";

/** Each case is decoded, or even translated, anew: fewer than the interpreter's, in one slice. */
const MOST_CASES: Readonly<Record<string, number>> = { evaluator: 50_000, translated: 200_000 };
const DIFFERENT = "cases that differ from the host";

export function compareWithHost(defaultCases: number, slices = 1): void {
  const missing = hostCpuMissing();
  const names = Object.keys(BINDING.subjects);
  if (missing !== null || names.length === 0) {
    const reason = missing ?? "no CPU is bound in tests/cpu/binding.ts";
    console.warn(`CPU against the host skipped: ${reason}`);
    test.skip(`skipped: ${reason}`);
    return;
  }
  const bound = boundForms();
  const filter = { ...bound, features: featuresOnHost(bound.features) };
  let host: HostCpu;
  beforeAll(() => {
    host = new HostCpu();
  });
  afterAll(() => host?.close());

  for (const name of names) {
    // Of the tiers that run the same descriptions only the back-ends' mistakes are looked for.
    const most = MOST_CASES[name];
    const wanted = Math.min(defaultCases, most ?? defaultCases);
    const runs = seededRuns(wanted, most === undefined ? slices : 1);
    // Translated cases take the longest: the commit's seed alone.
    for (const { seed, cases } of name === "translated" ? runs.slice(-1) : runs) {
      test(`${name}, seed ${seed}, ${cases} cases`, async () => {
        const subject = await BINDING.subjects[name]!();
        const report = await runSuite({ host, subject, seed, cases, filter });
        console.log(formatReport(report));
        expect(report.mismatches, DIFFERENT).toBeLessThanOrEqual(differencesAllowed(report.cases));
        expect(report.cases).toBeGreaterThanOrEqual(cases);
        expect(report.fewestCasesOfAForm).toBeGreaterThanOrEqual(CASES_PER_FORM);
        expect(maskedShare(report)).toBeLessThanOrEqual(MASKED_SHARE_LIMIT);
      });
      test(`${name}, compatibility mode, seed ${seed}, of ${cases} cases`, async () => {
        const subject = await BINDING.subjects[name]!();
        const report = await runSuite({ host, subject, seed, cases, filter, codeSize: 32 });
        console.log(formatReport(report));
        expect(report.mismatches, DIFFERENT).toBeLessThanOrEqual(differencesAllowed(report.cases));
        expect(report.cases).toBeGreaterThanOrEqual(cases / 5);
        expect(maskedShare(report)).toBeLessThanOrEqual(MASKED_SHARE_LIMIT);
      });
    }
  }
}
