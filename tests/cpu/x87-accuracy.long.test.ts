import { expect, it } from "vitest";
import { formatAccuracy, measure, NAMES } from "./x87-accuracy.ts";

const CASES = 50_000;

it.each(NAMES)("%s is within one unit in the last place", (name) => {
  const accuracy = measure(name, CASES);
  console.log(formatAccuracy(name, accuracy));
  expect(accuracy.wrong.slice(0, 10)).toEqual([]);
  expect(Math.max(...accuracy.worst)).toBeLessThanOrEqual(1);
});
