// What planted bugs are made of: a record with other semantics, another record's or its own with one thing about the
// builder changed.

import type { Expr } from "../../packages/core/src/ir/builder.ts";
import { type InstructionRecord, RECORDS } from "../../packages/core/src/isa/record.ts";
import type { Semantics } from "../../packages/core/src/isa/semantics.ts";

export type Write = InstructionRecord["semantics"];

export interface PlantedBug {
  readonly what: string;
  readonly record: string;
  readonly wrong: (original: Write) => Write;
}

export function recordOf(name: string): InstructionRecord {
  const record = RECORDS.find((candidate) => candidate.name === name);
  if (!record) throw new Error(`no record is named ${name}`);
  return record;
}

/** The semantics of another record. */
export const as = (name: string) => (): Write => (s) => recordOf(name).semantics(s);

/** Its own semantics, after `change` has replaced methods of the builder. */
export const changed =
  (change: (s: Semantics) => void) =>
  (original: Write): Write =>
  (s) => {
    change(s);
    original(s);
  };

/** Only some bits of the immediate are looked at. */
export function immediateBits(bits: number, forced = 0): PlantedBug["wrong"] {
  return changed((s) => {
    const right = s.immediate.bind(s);
    s.immediate = (width) => s.b.keep(right(width).and(bits).or(forced));
  });
}

/** What is written to the first operand. */
export function result(f: (value: Expr, s: Semantics) => Expr): PlantedBug["wrong"] {
  return changed((s) => {
    const right = s.write.bind(s);
    s.write = (i, value) => right(i, f(value, s));
  });
}

type Flags = Parameters<Semantics["setFlags"]>[0];

/** Flags that are set one by one. */
export function flags(f: (right: Flags) => Flags): PlantedBug["wrong"] {
  return changed((s) => {
    const right = s.setFlags.bind(s);
    s.setFlags = (all) => right(f(all));
  });
}

/** Flags are computed with other arguments. */
export function withResultFlags(
  f: (s: Semantics, w: number, cf: Expr, of: Expr) => readonly [Expr, Expr],
): PlantedBug["wrong"] {
  return changed((s) => {
    const right = s.resultFlags.bind(s);
    s.resultFlags = (w, value, cf, of, af) => {
      const [cfWrong, ofWrong] = f(s, w, cf, of);
      right(w, value, cfWrong, ofWrong, af);
    };
  });
}

export const swappedSubFlags: PlantedBug["wrong"] = changed((s) => {
  const right = s.subFlags.bind(s);
  s.subFlags = (w, a, c, value) => right(w, c, a, value);
});

export function withCondition(cc: number): PlantedBug["wrong"] {
  return changed((s) => {
    const right = s.condition.bind(s);
    s.condition = () => right(cc);
  });
}
