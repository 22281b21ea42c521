// Runs cases on the host and on a subject, compares, and sums up: what the tests assert and what people read.

import { compare, type Difference, describeMismatch, type MaskStatistics, newMaskStatistics } from "./compare.ts";
import { compatibilityCases } from "./compatibility.ts";
import { FIELDS } from "./fields.ts";
import type { FormFilter } from "./forms.ts";
import { type CaseAdapter, CaseGenerator, type GeneratedCase } from "./generate.ts";
import type { HostCpu } from "./host-cpu.ts";
import { type CpuResult, type CpuSubject, narrowed } from "./subject.ts";
import { adapted } from "./vendors.ts";

const CHUNK = 4096;
const DETAILED_MISMATCHES = 20;
const DETAILED_PER_FORM = 2;
export const MASKED_SHARE_LIMIT = 0.02;

export interface SuiteOptions {
  readonly host: HostCpu;
  readonly subject: CpuSubject;
  readonly seed: number | string;
  readonly cases: number;
  readonly filter: FormFilter;
  /** 32: those of the cases that are also 32-bit code, and what only that has, in compatibility mode. */
  readonly codeSize?: 32;
  /** Cases to run instead of those that the filter's forms give. */
  readonly source?: Iterable<GeneratedCase>;
  /** Stop at the first mismatch: for the mutation rig. */
  readonly stopAtFirst?: boolean;
}

export interface SuiteReport {
  readonly subject: string;
  /** The host's vendor. */
  readonly vendor: string;
  readonly seed: string;
  readonly cases: number;
  readonly forms: number;
  readonly fewestCasesOfAForm: number;
  readonly mismatches: number;
  /** Form name to its number of mismatches, most first. */
  readonly mismatchesByForm: ReadonlyMap<string, number>;
  readonly details: readonly string[];
  readonly masks: MaskStatistics;
}

export async function runSuite(options: SuiteOptions): Promise<SuiteReport> {
  const { host, subject, seed, filter } = options;
  const adapt: CaseAdapter = (made) => adapted(made, host.vendor);
  const generator = new CaseGenerator(seed, filter, adapt);
  const masks = newMaskStatistics();
  const casesOf = new Map<string, number>(generator.forms.map((form) => [nameOf(form), 0]));
  const mismatchesByForm = new Map<string, number>();
  const details: string[] = [];
  let cases = 0;
  let mismatches = 0;

  const note = (made: GeneratedCase, differences: readonly Difference[]): void => {
    const name = made.form === null ? "without a 64-bit form" : nameOf(made.form);
    const count = (mismatchesByForm.get(name) ?? 0) + 1;
    mismatchesByForm.set(name, count);
    mismatches++;
    if (details.length < DETAILED_MISMATCHES && count <= DETAILED_PER_FORM) {
      details.push(describeMismatch(made, subject.name, differences));
    }
  };

  const generated = generator.cases(options.cases);
  const others = options.codeSize === 32 ? compatibilityCases(generated, seed, adapt) : generated;
  const all = options.source === undefined ? others : adaptedCases(options.source, adapt);
  for (const chunk of chunksOf(all, CHUNK)) {
    const results = await host.run(chunk.map(({ input }) => input));
    for (const [i, made] of chunk.entries()) {
      cases++;
      if (made.form !== null) casesOf.set(nameOf(made.form), (casesOf.get(nameOf(made.form)) ?? 0) + 1);
      const seen = made.input.codeSize !== undefined ? narrowed : (result: CpuResult): CpuResult => result;
      const differences = compare(made, seen(results[i]!), seen(subject.step(made.input)), masks, host.vendor);
      if (differences.length > 0) note(made, differences);
    }
    if (options.stopAtFirst && mismatches > 0) break;
  }
  return {
    subject: subject.name,
    vendor: host.vendor.name,
    seed: String(seed),
    cases,
    forms: generator.forms.length,
    fewestCasesOfAForm: casesOf.size === 0 ? 0 : Math.min(...casesOf.values()),
    mismatches,
    mismatchesByForm: new Map([...mismatchesByForm].sort(([, a], [, b]) => b - a)),
    details,
    masks,
  };
}

function* adaptedCases(source: Iterable<GeneratedCase>, adapt: CaseAdapter): Generator<GeneratedCase> {
  for (const made of source) {
    const result = adapt(made);
    if (result !== null) yield result;
  }
}

function nameOf(form: { readonly name: string; readonly variant: string }): string {
  return `${form.name} ${form.variant}`;
}

function* chunksOf<T>(items: Iterable<T>, size: number): Generator<T[]> {
  let chunk: T[] = [];
  for (const item of items) {
    chunk.push(item);
    if (chunk.length === size) {
      yield chunk;
      chunk = [];
    }
  }
  if (chunk.length > 0) yield chunk;
}

export function maskedShare({ masks }: SuiteReport): number {
  return masks.pairs === 0 ? 0 : masks.maskedPairs / masks.pairs;
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

export function formatReport(report: SuiteReport): string {
  const { masks } = report;
  const mostMasked = [...masks.byField].sort(([, a], [, b]) => b - a).map(([field, count]) => `${field} ${count}`);
  const lines = [
    `${report.subject} against the host: seed ${report.seed}, ${report.cases} cases, ${report.forms} forms, at least ${report.fewestCasesOfAForm} cases each`,
    `masked on ${report.vendor}: ${percent(maskedShare(report))} of ${masks.pairs} (case, field) pairs, ${FIELDS.length} fields a case; ${percent(masks.cases === 0 ? 0 : masks.casesWithMask / masks.cases)} of cases have a masked field`,
    `masked fields: ${mostMasked.join(", ") || "none"}`,
    `mismatches: ${report.mismatches}`,
  ];
  if (report.mismatches > 0) {
    const worst = [...report.mismatchesByForm].slice(0, 30).map(([name, count]) => `${name}: ${count}`);
    lines.push(`mismatches by form: ${worst.join("; ")}`, "", ...report.details);
  }
  return lines.join("\n");
}
