import { expect, it } from "vitest";
import { SliceLength } from "./slice-length.ts";

const PS = 1000;

/** Instructions of a slice after so many quiet ones. */
function after(slices: number, length: SliceLength): number {
  for (let i = 0; i < slices; i++) length.look(false);
  return length.instructions(PS);
}

it("slices are longer where nothing has come from outside for a while, and as before when something does", () => {
  const length = new SliceLength(200_000, true);
  expect(after(8, length)).toBe(200_000);
  expect(after(1, length)).toBe(600_000);
  length.look(true);
  expect(length.instructions(PS)).toBe(200_000);
});

it("slices that are long as they are stay so, and no slice is empty", () => {
  expect(after(100, new SliceLength(20_000_000, false))).toBe(20_000_000);
  expect(new SliceLength(1, true).instructions(1e9)).toBe(1);
});
