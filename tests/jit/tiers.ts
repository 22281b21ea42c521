// The tiers of the jit engine as subjects: the reference, and those that are compared with it.

import type { JitEngineOptions } from "../../packages/core/src/engine/jit-engine.ts";
import { createEvaluatorCore } from "../../packages/core/src/interp/evaluator-cpu.ts";
import { engineSubject } from "./engine-subject.ts";
import type { Subject } from "./subject.ts";
import { switchingSubject } from "./switching-subject.ts";

/** What an engine of each tier is made with. */
export const ENGINES: Readonly<Record<string, Partial<JitEngineOptions>>> = {
  interpreter: {},
  evaluator: { createCore: createEvaluatorCore },
};

/** Fast enough for an operating system; the first is the reference. */
export const FAST_TIERS: readonly string[] = ["interpreter"];

const tier = (name: string): { name: string; engine: Partial<JitEngineOptions> } => ({ name, engine: ENGINES[name]! });

/** In one slice from event to event. */
export const REFERENCE: Subject = engineSubject(tier("interpreter"));

export interface ComparedTier {
  readonly subject: Subject;
  /** How many boundaries of programs are tried in CI: what a few seconds allow; and by the long suite. */
  readonly boundaries: { readonly ci: number; readonly long: number };
}

export const COMPARED: readonly ComparedTier[] = [
  {
    subject: engineSubject({ name: "interpreter in short slices", slice: (_, random) => 1 + random.below(9) }),
    boundaries: { ci: 3000, long: 50_000 },
  },
  {
    subject: engineSubject(tier("evaluator")),
    boundaries: { ci: 150, long: 3000 },
  },
  {
    subject: switchingSubject("interpreter and evaluator in turn", [tier("interpreter"), tier("evaluator")]),
    boundaries: { ci: 150, long: 3000 },
  },
];
