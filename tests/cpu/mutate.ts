// Does the rig notice mistakes? Plants one semantic bug after the other in the instruction records, runs a reduced
// suite for each, and counts those that some case showed.

import type { FormFilter } from "./forms.ts";
import type { HostCpu } from "./host-cpu.ts";
import type { CpuSubject } from "./subject.ts";
import { runSuite } from "./suite.ts";

export interface Mutation {
  /** What is wrong, for example "ADC forgets the carry in". */
  readonly name: string;
  /** Forms to run, by iced's mnemonic in lower case; all when missing. */
  readonly mnemonics?: readonly string[];
  /** Plants the bug in the records and returns how to take it out again. */
  readonly apply: () => () => void;
}

export interface MutationOptions {
  readonly host: HostCpu;
  /** Builds the CPU from the records as they are now. */
  readonly build: () => CpuSubject | Promise<CpuSubject>;
  readonly mutations: readonly Mutation[];
  readonly filter: FormFilter;
  readonly seed: number | string;
  readonly cases: number;
}

export interface MutationOutcome {
  readonly name: string;
  readonly isCaught: boolean;
  /** The first mismatch, or why there was none. */
  readonly evidence: string;
}

/** A mutated CPU that cannot even be built is no bug that a test could have caught: it does not count as one. */
export async function runMutations(options: MutationOptions): Promise<MutationOutcome[]> {
  const outcomes: MutationOutcome[] = [];
  for (const mutation of options.mutations) {
    const undo = mutation.apply();
    try {
      outcomes.push(await tryMutation(mutation, options));
    } finally {
      undo();
    }
  }
  return outcomes;
}

async function tryMutation(mutation: Mutation, options: MutationOptions): Promise<MutationOutcome> {
  const { name, mnemonics } = mutation;
  let subject: CpuSubject;
  try {
    subject = await options.build();
  } catch (error) {
    return { name, isCaught: false, evidence: `cannot be built: ${(error as Error).message}` };
  }
  const filter = mnemonics === undefined ? options.filter : { ...options.filter, mnemonics: new Set(mnemonics) };
  const report = await runSuite({ ...options, subject, filter, stopAtFirst: true });
  if (report.forms === 0)
    return { name, isCaught: false, evidence: `no form has the mnemonics ${mnemonics?.join(", ")}` };
  const isCaught = report.mismatches > 0;
  return { name, isCaught, evidence: isCaught ? report.details[0]! : `${report.cases} cases agreed` };
}

export function formatOutcomes(outcomes: readonly MutationOutcome[]): string {
  const caught = outcomes.filter(({ isCaught }) => isCaught).length;
  const missed = outcomes
    .filter(({ isCaught }) => !isCaught)
    .map(({ name, evidence }) => `  missed: ${name} (${evidence})`);
  return [`planted bugs: ${caught} of ${outcomes.length} caught`, ...missed].join("\n");
}
