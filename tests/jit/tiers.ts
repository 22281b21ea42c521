// The tiers of the jit engine as subjects: the reference, and those that are compared with it.

import { createEvaluatorCore } from "../../packages/core/src/interp/evaluator-cpu.ts";
import { type EngineSubjectOptions, engineSubject } from "./engine-subject.ts";
import type { Subject } from "./subject.ts";
import { switchingSubject } from "./switching-subject.ts";

const INTERPRETER: EngineSubjectOptions = { name: "interpreter" };
const EVALUATOR: EngineSubjectOptions = { name: "evaluator", engine: { createCore: createEvaluatorCore } };

/** In one slice from event to event. */
export const REFERENCE: Subject = engineSubject(INTERPRETER);

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
    subject: engineSubject(EVALUATOR),
    boundaries: { ci: 150, long: 3000 },
  },
  {
    subject: switchingSubject("interpreter and evaluator in turn", [INTERPRETER, EVALUATOR]),
    boundaries: { ci: 150, long: 3000 },
  },
];
