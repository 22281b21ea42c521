// Most of the forms that the CPU promises are compared with the host's, and the list of the others is complete.

import { expect, test } from "vitest";
import { coverage } from "./coverage-figures.ts";

const COMPARED_AT_LEAST = 0.95;

test("nearly all forms of portable-v1 are compared with the host in ten cases each", () => {
  const { features, uncompared } = coverage();
  const portable = features.filter(({ isPortable }) => isPortable);
  const sum = (of: (row: (typeof portable)[number]) => number): number =>
    portable.reduce((all, row) => all + of(row), 0);
  const forms = sum((row) => row.forms);
  expect(sum((row) => row.withRecord)).toBe(forms);
  expect(sum((row) => row.compared) / forms).toBeGreaterThanOrEqual(COMPARED_AT_LEAST);
  expect(uncompared.map(({ reason }) => reason)).not.toContain("too few cases");
});
