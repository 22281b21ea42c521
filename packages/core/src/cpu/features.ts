/**
 * Features of the CPU, by name: which every virtual CPU has, which `portable-v1` adds and can be without, and which a VM
 * has only if its spec asks for them. The reasons are in docs/decisions/0006-portable-features.md. The decoder, CPUID
 * and the control registers go by the set that comes out.
 */
import * as L from "./layout.ts";

/**
 * "always": part of what 64-bit code may take for granted. "portable": in the model, and `-NAME` takes it away.
 * "opt-in": beyond the model, `+NAME` adds it. "engine": how an engine runs it, which no guest is told.
 */
export type FeatureKind = "always" | "portable" | "opt-in" | "engine";

interface FeatureRow {
  readonly kind: FeatureKind;
  /** Features without which this one means nothing. */
  readonly needs?: readonly string[];
  /** Its bit in CPU_FEATURES, where routines ask for it. */
  readonly word?: number;
}

const always: FeatureRow = { kind: "always" };
const portable = (row: Omit<FeatureRow, "kind"> = {}): FeatureRow => ({ kind: "portable", ...row });
const engine: FeatureRow = { kind: "engine" };
const optIn = (row: Omit<FeatureRow, "kind"> = {}): FeatureRow => ({ kind: "opt-in", ...row });

const FEATURES = {
  base: always,
  fpu: always,
  tsc: always,
  msr: always,
  cx8: always,
  sep: always,
  cmov: always,
  clflush: always,
  mmx: always,
  fxsr: always,
  sse: always,
  sse2: always,
  syscall: always,
  long: always,
  pdpe1gb: always,

  sse3: portable(),
  ssse3: portable({ needs: ["sse3"] }),
  "sse4.1": portable({ needs: ["ssse3"] }),
  "sse4.2": portable({ needs: ["sse4.1"] }),
  popcnt: portable(),
  cx16: portable(),
  lahf64: portable(),
  movbe: portable(),
  bmi1: portable(),
  bmi2: portable(),
  lzcnt: portable(),
  rdtscp: portable(),
  rdrand: portable(),
  fsgsbase: portable({ word: L.FEATURE_FSGSBASE }),
  xsave: portable({ word: L.FEATURE_XSAVE }),
  xsaveopt: portable({ needs: ["xsave"] }),
  smep: portable({ word: L.FEATURE_SMEP }),

  adx: optIn(),
  aes: optIn(),
  clflushopt: optIn(),
  invpcid: optIn({ word: L.FEATURE_INVPCID }),
  monitor: optIn(),
  pcid: optIn({ word: L.FEATURE_PCID }),
  pclmulqdq: optIn(),
  prefetchw: optIn(),
  rdpid: optIn(),
  rdseed: optIn(),
  sha: optIn(),
  smap: optIn({ word: L.FEATURE_SMAP }),
  umip: optIn({ word: L.FEATURE_UMIP }),
  xgetbv1: optIn({ needs: ["xsave"], word: L.FEATURE_XGETBV1 }),

  yield: engine,
  parallel: engine,
} as const satisfies Readonly<Record<string, FeatureRow>>;

export type Feature = keyof typeof FEATURES;

/** PAUSE ends a run, so that another vCPU's turn comes; without it PAUSE is the NOP that it was before it had a name. */
export const YIELD: Feature = "yield";
/** vCPUs run in parallel: LOCK locks. */
export const PARALLEL: Feature = "parallel";

const ROWS: ReadonlyMap<string, FeatureRow> = new Map(Object.entries(FEATURES));

export function featuresOfKind(kind: FeatureKind): readonly Feature[] {
  return [...ROWS].filter(([, row]) => row.kind === kind).map(([name]) => name as Feature);
}

/** All that there are: what tests of the records run with. */
export const ALL_FEATURES: ReadonlySet<Feature> = new Set([...ROWS.keys()] as Feature[]);

/**
 * A VM's choice: names of opt-in features to add, and of portable ones behind a "-" to take away, sorted, each once.
 * Answers what is wrong with it, or undefined.
 */
export function checkFeatureChoice(choice: readonly string[]): string | undefined {
  for (const [i, entry] of choice.entries()) {
    const isTaken = entry.startsWith("-");
    const name = isTaken ? entry.slice(1) : entry;
    const kind = ROWS.get(name)?.kind;
    if (kind === undefined || kind === "always" || kind === "engine")
      return `There is no CPU feature ${JSON.stringify(name)} to choose. ${known()}`;
    if (isTaken && kind === "opt-in") return `The CPU model has no ${name} that could be taken away. ${known()}`;
    if (!isTaken && kind === "portable") return `The CPU model has ${name} already. ${known()}`;
    const before = choice[i - 1];
    if (before === entry) return `The CPU feature ${entry} is named twice. Name each once.`;
    if (before !== undefined && before > entry) return "The CPU features are not sorted by name.";
  }
  const features = featureSet(choice);
  for (const name of features)
    for (const needed of ROWS.get(name)?.needs ?? [])
      if (!features.has(needed as Feature)) return `The CPU feature ${name} needs ${needed}: take both away or none.`;
  return undefined;
}

const known = (): string =>
  `Possible are, to add: ${featuresOfKind("opt-in").join(", ")}; to take away: ${featuresOfKind("portable").join(", ")}.`;

/** What the jit engine decodes by: a VM's choice, and how several vCPUs run. */
export function decodedFeatures(choice: readonly string[], cpus: number, isParallel = false): readonly string[] {
  return cpus > 1 ? [...choice, isParallel ? PARALLEL : YIELD] : choice;
}

/** The features of a CPU with this choice. Precondition: `checkFeatureChoice` finds nothing wrong. */
export function featureSet(choice: readonly string[]): ReadonlySet<Feature> {
  const features = new Set<Feature>([...featuresOfKind("always"), ...featuresOfKind("portable")]);
  for (const entry of choice) {
    if (entry.startsWith("-")) features.delete(entry.slice(1) as Feature);
    else features.add(entry as Feature);
  }
  return features;
}

/** What the state block's CPU_FEATURES says of them. */
export function featureWord(features: ReadonlySet<string>): number {
  let word = 0;
  for (const name of features) word |= ROWS.get(name)?.word ?? 0;
  return word;
}
