// The rig finds planted mistakes: each of them, within a few programs.

import { expect, test } from "vitest";
import { INJECTIONS, runBoundaries } from "./boundaries.ts";
import { engineSubject } from "./engine-subject.ts";
import { MISTAKES } from "./mistakes.ts";
import { programFrom } from "./programs.ts";

/** More than enough: most are seen in the first. */
const MOST_PROGRAMS = 60;

const reference = engineSubject({ name: "interpreter" });

test("there are at least ten", () => expect(MISTAKES.length).toBeGreaterThanOrEqual(10));

test.each(MISTAKES)("$name", ({ make }) => {
  const wrong = engineSubject({ name: "wrong", engine: { createCore: make() } });
  const seen = (): boolean => {
    for (let number = 0; number < MOST_PROGRAMS; number++) {
      const run = runBoundaries(programFrom(`mistake/${number}`), reference, wrong, INJECTIONS, "each");
      if (run.mismatch) return true;
    }
    return false;
  };
  expect(seen()).toBe(true);
});
