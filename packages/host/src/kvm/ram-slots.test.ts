import { ramSegments } from "@twinmetal/core";
import { expect, it } from "vitest";
import { ramSlots } from "./ram-slots.ts";

const GIB = 2 ** 30;

it("has a slot for each segment of RAM", () => {
  expect(ramSlots(ramSegments(3 * GIB), false)).toEqual([
    { slot: 0, start: 0, sizeBytes: 0xb000_0000, at: 0 },
    { slot: 1, start: 4 * GIB, sizeBytes: 0x1000_0000, at: 0xb000_0000 },
  ]);
});

it("leaves a VGA's window out, and everything else where it was", () => {
  expect(ramSlots(ramSegments(GIB), true)).toEqual([
    { slot: 0, start: 0, sizeBytes: 0xa_0000, at: 0 },
    { slot: 3, start: 0xc_0000, sizeBytes: GIB - 0xc_0000, at: 0xc_0000 },
  ]);
});
