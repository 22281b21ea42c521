// docs/reference/cpuid.md, made from the tables of CPUID's fields and of the MSRs.

import { type CpuidContext, fieldValue } from "../packages/core/src/cpu/cpuid.ts";
import { CPUID_ROWS, type CpuidRow } from "../packages/core/src/cpu/cpuid-table.ts";
import { featureSet, featuresOfKind } from "../packages/core/src/cpu/features.ts";
import { MSR_ROWS, type MsrRow } from "../packages/core/src/cpu/msr-table.ts";

const HEAD = `# CPUID and model-specific registers

What CPUID answers and which MSRs exist, with the reason for each: from \`packages/core/src/cpu/cpuid-table.ts\` and
\`msr-table.ts\`. Made by \`npm run reference\`; a test holds this page up to date.

The model is \`portable-v1\` ([which features it has, and why](../decisions/0006-portable-features.md)). "+" marks what
\`--cpu portable-v1,+NAME\` adds; "-" what \`-NAME\` takes away. Bits, leaves and sub-leaves without a row are 0. Leaves beyond
the highest basic and the highest extended one answer as the highest basic leaf, as Intel's processors do.
`;

const CONTEXT: CpuidContext = {
  osxsave: false,
  xcr0: 1n,
  apicId: 0,
  isApicEnabled: true,
  tscFrequencyHz: 1e9,
  features: featureSet([]),
};

const hex = (value: number): string => (value > 9 ? `0x${value.toString(16)}` : String(value));

function shownValue(row: CpuidRow): string {
  if (row.feature === undefined) return row.shown ?? hex(fieldValue(row, CONTEXT));
  const kinds = { "opt-in": "+", portable: "-" } as const;
  const kind = (["opt-in", "portable"] as const).find((name) => featuresOfKind(name).includes(row.feature!));
  const value = fieldValue(row, CONTEXT);
  return kind ? `${value} (${kinds[kind]}${row.feature})` : String(value);
}

function leafSection(leaf: number): string {
  const rows = CPUID_ROWS.filter((row) => row.leaf === leaf).map((row) => {
    const register = row.subleaf === undefined ? row.register : `${row.subleaf} ${row.register}`;
    return `| ${register.toUpperCase()} | ${row.bit} | ${row.name} | ${shownValue(row)} | ${row.reason} |`;
  });
  const title = `## Leaf ${leaf.toString(16).toUpperCase()}H`;
  const hasSubleaves = CPUID_ROWS.some((row) => row.leaf === leaf && row.subleaf !== undefined);
  return `${title}\n\n| ${hasSubleaves ? "sub-leaf, " : ""}register | bit | field | value | reason |\n| --- | --- | --- | --- | --- |\n${rows.join("\n")}\n`;
}

function msrRow(row: MsrRow): string {
  const name = (index: number): string => index.toString(16).toUpperCase();
  const index =
    row.last === undefined || row.last === row.index ? name(row.index) : `${name(row.index)}-${name(row.last)}`;
  return `| ${index}H | ${row.name} | ${row.reset} | ${row.write} | ${row.reason} |`;
}

export function cpuidPage(): string {
  const leaves = [...new Set(CPUID_ROWS.map(({ leaf }) => leaf))];
  const msrs = `## Model-specific registers\n\nEvery other index is absent: #GP(0). Performance counters are, and IA32_PLATFORM_INFO.\n\n| index | name | after power-on | write | reason |\n| --- | --- | --- | --- | --- |\n${MSR_ROWS.map(msrRow).join("\n")}\n`;
  return [HEAD, ...leaves.map(leafSection), msrs].join("\n");
}
