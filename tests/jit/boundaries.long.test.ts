// All events at all boundaries: at least 200 programs and 50,000 boundaries for each tier that is fast enough.

import { expect, test } from "vitest";
import { formatMismatch, INJECTIONS, runSeed } from "./boundaries.ts";
import { COMPARED, REFERENCE } from "./tiers.ts";

const WHOLE = 50_000;

test.each(COMPARED)("$subject.name as the interpreter", ({ subject, boundaries }) => {
  const run = runSeed("long", boundaries.long, REFERENCE, subject, INJECTIONS, "all");
  expect(run.mismatches.map(formatMismatch)).toEqual([]);
  if (boundaries.long === WHOLE) expect(run.programs).toBeGreaterThanOrEqual(200);
  console.log(
    `${subject.name}: ${run.programs} programs, ${run.boundaries} boundaries, ${INJECTIONS.length} events at each`,
  );
});
