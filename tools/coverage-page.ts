// docs/reference/coverage.md: which instruction forms are compared with the host's CPU, from the rig's own lists.

import { type Coverage, coverage, type FeatureCoverage } from "../tests/cpu/coverage-figures.ts";

const HEAD = `# Instructions compared with real CPUs

How much of the jit engine's CPU is compared with the CPU that the tests run on. Made by \`npm run reference\`; a test
holds this page up to date.

A form is an instruction with one encoding and operand size (a Code of the decoder \`iced-x86\`) in 64-bit mode, its
register and its memory variant apart. "Compared" means at least ten cases of exactly that form in each run of CI and
for each seed; "cases" is the number for the form that has the fewest, both seeds together. Rows are CPUID features by
\`iced-x86\`'s names; "general" is what every 64-bit CPU has. Instructions that only 16 and 32-bit code has, and code in
compatibility mode, are compared too, but not counted here ([tests/cpu](../../tests/cpu/README.md)).
`;

const percent = (part: number, whole: number): string => `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`;

function row({ feature, forms, withRecord, compared, fewestCases }: Omit<FeatureCoverage, "isPortable">): string {
  return `| ${feature} | ${forms} | ${withRecord} | ${compared} | ${percent(compared, forms)} | ${fewestCases || ""} |`;
}

function table(rows: readonly FeatureCoverage[]): string {
  const sum = (of: (row: FeatureCoverage) => number): number => rows.reduce((all, each) => all + of(each), 0);
  const cases = rows.map(({ fewestCases }) => fewestCases).filter((count) => count > 0);
  const all = {
    feature: "all",
    forms: sum(({ forms }) => forms),
    withRecord: sum(({ withRecord }) => withRecord),
    compared: sum(({ compared }) => compared),
    fewestCases: Math.min(...cases),
  };
  return [
    "| feature | forms | with a record | compared | share | cases |",
    "| --- | --: | --: | --: | --: | --: |",
    ...rows.map(row),
    row(all),
  ].join("\n");
}

export function coveragePage({ features, uncompared }: Coverage = coverage()): string {
  const reasons = uncompared.map(
    ({ reason, forms }) => `- ${reason}: ${forms.map((name) => `\`${name}\``).join(", ")}`,
  );
  return [
    HEAD,
    "## `portable-v1`\n",
    `${table(features.filter(({ isPortable }) => isPortable))}\n`,
    "## Opt-in features\n",
    `${table(features.filter(({ isPortable }) => !isPortable))}\n`,
    "## Not compared, and why\n",
    "System ROMs under `tests/roms` and unit tests hold these to the manual.\n",
    `${reasons.join("\n")}\n`,
  ].join("\n");
}
