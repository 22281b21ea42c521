import { ramSegments } from "@twinmetal/core";
import { expect, it } from "vitest";
import { ramSlots } from "./ram-slots.ts";

const GIB = 2 ** 30;
const isReadOnly = false;

it("has a slot for each segment of RAM", () => {
  expect(ramSlots(ramSegments(3 * GIB), false)).toEqual([
    { slot: 0, start: 0, sizeBytes: 0xb000_0000, at: 0, isReadOnly },
    { slot: 1, start: 4 * GIB, sizeBytes: 0x1000_0000, at: 0xb000_0000, isReadOnly },
  ]);
});

it("leaves a VGA's window out, and everything else where it was", () => {
  expect(ramSlots(ramSegments(GIB), true)).toEqual([
    { slot: 0, start: 0, sizeBytes: 0xa_0000, at: 0, isReadOnly },
    { slot: 3, start: 0xc_0000, sizeBytes: GIB - 0xc_0000, at: 0xc_0000, isReadOnly },
  ]);
});

it("splits what is protected below 1 MiB from what is not", () => {
  const places = (hasVga: boolean, parts: number, sizeBytes = GIB): unknown[] =>
    ramSlots(ramSegments(sizeBytes), hasVga, parts).map(({ slot, start, sizeBytes, at, isReadOnly }) => {
      expect(at).toBe(start);
      return [slot, start, start + sizeBytes, isReadOnly];
    });
  expect(places(true, 0xffff)).toEqual([
    [0, 0, 0xa_0000, false],
    [4, 0xc_0000, 0x10_0000, true],
    [3, 0x10_0000, GIB, false],
  ]);
  expect(places(false, 0xf00b)).toEqual([
    [0, 0, 0xc_0000, false],
    [4, 0xc_0000, 0xc_8000, true],
    [5, 0xc_8000, 0xc_c000, false],
    [6, 0xc_c000, 0xd_0000, true],
    [7, 0xd_0000, 0xf_0000, false],
    [8, 0xf_0000, 0x10_0000, true],
    [3, 0x10_0000, GIB, false],
  ]);
  expect(places(true, 0xffff, 0xd_0000)).toEqual([
    [0, 0, 0xa_0000, false],
    [4, 0xc_0000, 0xd_0000, true],
  ]);
});
