// docs/reference/instructions.md, made from the instruction records and, for what is missing, from iced's list.

import { mnemonicsOf } from "../packages/core/src/isa/notation.ts";
import { type Feature, type InstructionRecord, RECORDS } from "../packages/core/src/isa/record.ts";
import "../packages/core/src/isa/records/index.ts";
import { type MissingInstruction, missingInstructions } from "../tests/cpu/coverage.ts";

const TITLES: Readonly<Partial<Record<Feature, string>>> = {
  base: "General",
  long: "64-bit mode",
  fpu: "x87",
  mmx: "MMX",
  sse: "SSE",
  sse2: "SSE2",
};

/**
 * Features, by iced's names, of the processors that the model has to run on (Haswell, Zen 1 and later) and of its own
 * opt-in ones: what no record stands for is listed. Not PREFETCHW, which runs as a NOP of its opcode.
 */
const EXPECTED: ReadonlySet<string> = new Set([
  ...["INTEL8086", "INTEL186", "INTEL286", "INTEL386", "INTEL486", "X64", "CMOV", "CPUID", "TSC", "MSR", "CX8", "SEP"],
  ...["CMPXCHG16B", "SYSCALL", "RDTSCP", "RDPMC", "SMAP", "FPU", "FPU287", "FPU387", "MMX", "FXSR", "XSAVE", "SSE"],
  ...["SSE2", "SSE3", "SSSE3", "SSE4_1", "SSE4_2", "POPCNT", "CLFSH", "PAUSE", "MULTIBYTENOP", "MONITOR", "MOVBE"],
  ...["BMI1", "BMI2", "LZCNT", "ADX", "RDRAND", "RDSEED", "FSGSBASE", "CLFLUSHOPT", "XSAVEOPT", "INVPCID", "RDPID"],
  ...["AES", "PCLMULQDQ", "SHA", "AVX", "AVX2", "FMA", "F16C", "XSAVEC", "XSAVES", "SMM", "VMX", "SVM"],
]);

const GROUPS: readonly (readonly [RegExp, string])[] = [
  [/^(INTEL\d+|X64)$/, "General"],
  [/^FPU/, "x87"],
];

const HEAD = `# Instructions

Every instruction that the jit engine's CPU has, from the records in \`packages/core/src/isa/records\`. Made by
\`npm run reference\`; a test holds this page up to date.

Forms are in the manual's notation (Intel SDM volume 2, 3.1.1 and appendix A), explained in
\`packages/core/src/isa/record.ts\`. What is not here raises #UD, and CPUID does not promise it. Each form that a user
program can execute is compared with the host's CPU (\`tests/cpu/README.md\`).
`;

function formText(text: string): string {
  const [encoding = "", operands = ""] = text.split("|").map((part) => part.trim());
  return `\`${operands ? `${encoding} ${operands}` : encoding}\``;
}

function rowOf(record: InstructionRecord): string {
  const names = [...new Set(mnemonicsOf(record))].join(" ");
  const support = record.partly ? `partly: ${record.partly}` : "yes";
  return `| ${names} | ${record.forms.map(formText).join(", ")} | ${support} |`;
}

function sectionOf(title: string, records: readonly InstructionRecord[]): string {
  const sorted = [...records].sort((a, b) => (mnemonicsOf(a)[0] ?? "").localeCompare(mnemonicsOf(b)[0] ?? "", "en"));
  return `## ${title}\n\n| mnemonic | forms | supported |\n| --- | --- | --- |\n${sorted.map(rowOf).join("\n")}\n`;
}

function missingSection(missing: readonly MissingInstruction[]): string {
  const byFeature = new Map<string, Set<string>>();
  for (const { mnemonic, features } of missing) {
    if (!features.every((feature) => EXPECTED.has(feature))) continue;
    const group = features
      .map((feature) => GROUPS.find(([pattern]) => pattern.test(feature))?.[1] ?? feature)
      .join(" and ");
    const mnemonics = byFeature.get(group) ?? new Set();
    byFeature.set(group, mnemonics.add(mnemonic));
  }
  const rows = [...byFeature].sort(([a], [b]) => a.localeCompare(b, "en"));
  const lines = rows.map(([feature, mnemonics]) => `| ${feature} | ${[...mnemonics].sort().join(" ")} |`);
  const intro = "Instructions of the processors that the model has to run on which it does not have: they raise #UD.";
  return `## Not supported\n\n${intro}\n\n| feature | mnemonics |\n| --- | --- |\n${lines.join("\n")}\n`;
}

export function instructionsPage(): string {
  const groups = new Map<string, InstructionRecord[]>();
  for (const record of RECORDS) {
    const title = TITLES[record.feature] ?? "System and others";
    groups.set(title, [...(groups.get(title) ?? []), record]);
  }
  const order = [...Object.values(TITLES), "System and others"];
  const sections = order.filter((title) => groups.has(title)).map((title) => sectionOf(title, groups.get(title) ?? []));
  return [HEAD, ...sections, missingSection(missingInstructions(RECORDS))].join("\n");
}
