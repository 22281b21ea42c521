// The tiers of the jit engine as subjects: the reference, and those that are compared with it.

import type { JitEngineOptions } from "../../packages/core/src/engine/jit-engine.ts";
import { createCore } from "../../packages/core/src/interp/core.ts";
import { createEvaluatorCore } from "../../packages/core/src/interp/evaluator-cpu.ts";
import { Random } from "../cpu/random.ts";
import { engineSubject } from "./engine-subject.ts";
import { SeenTranslator } from "./seen-targets.ts";
import type { Subject } from "./subject.ts";
import { switchingSubject } from "./switching-subject.ts";

const HEATS = [0, 0, 1, 3, 20, 1_000_000] as const;

/** Each block is translated when it has run as often as chance says: at once, later, or never. */
const coreOfAnyHeat: typeof createCore = (...given) => {
  const core = createCore(...given);
  const random = new Random("heat");
  Object.defineProperty(core.decoder, "heat", { get: () => random.pick(HEATS), set: () => {} });
  return core;
};

/** What an engine of each tier is made with. */
export const ENGINES: Readonly<Record<string, Partial<JitEngineOptions>>> = {
  interpreter: { tier: "interp" },
  evaluator: { createCore: createEvaluatorCore },
  jit: { tier: "jit" },
  auto: { tier: "auto" },
  "jit with targets seen": { tier: "jit", translator: new SeenTranslator() },
  mixed: { tier: "jit", createCore: coreOfAnyHeat },
};

/** Fast enough for an operating system; the first is the reference. */
export const FAST_TIERS: readonly string[] = ["interpreter", "auto", "jit"];

const tier = (name: string): { name: string; engine: Partial<JitEngineOptions> } => ({ name, engine: ENGINES[name]! });

const short = (_left: number, random: Random): number => 1 + random.below(9);

/** In one slice from event to event. */
export const REFERENCE: Subject = engineSubject(tier("interpreter"));

export interface ComparedTier {
  readonly subject: Subject;
  /** How many boundaries of programs are tried in CI: what a few seconds allow; and by the long suite. */
  readonly boundaries: { readonly ci: number; readonly long: number };
}

export const COMPARED: readonly ComparedTier[] = [
  { subject: engineSubject(tier("jit")), boundaries: { ci: 3000, long: 50_000 } },
  { subject: engineSubject(tier("jit with targets seen")), boundaries: { ci: 1000, long: 50_000 } },
  {
    subject: engineSubject({ ...tier("jit"), name: "jit in short slices", slice: short }),
    boundaries: { ci: 600, long: 5000 },
  },
  { subject: engineSubject(tier("mixed")), boundaries: { ci: 1500, long: 20_000 } },
  {
    subject: switchingSubject("interpreter and jit in turn", [tier("interpreter"), tier("jit")]),
    boundaries: { ci: 600, long: 20_000 },
  },
  {
    subject: engineSubject({
      ...{ ...tier("interpreter"), name: "interpreter in short slices", slice: short },
      mostRetired: 100_000,
    }),
    boundaries: { ci: 2000, long: 50_000 },
  },
  { subject: engineSubject({ ...tier("evaluator"), mostRetired: 20_000 }), boundaries: { ci: 150, long: 3000 } },
  {
    subject: switchingSubject("interpreter and evaluator in turn", [tier("interpreter"), tier("evaluator")], 40_000),
    boundaries: { ci: 150, long: 3000 },
  },
];
