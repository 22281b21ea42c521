import { expect, it } from "vitest";
import { FlatMemory } from "../devices/fake-context.ts";
import { DmaMemory } from "./dma-memory.ts";

it("is closed to bus masters where it is not RAM for all, to the byte", () => {
  const ram = new FlatMemory(0x20_0000);
  const memory = new DmaMemory(ram);
  memory.closedParts = 0b1000_0000_0000_0001;
  const places = [0xb_ffff, 0xc_0000, 0xc_3fff, 0xc_4000, 0xf_bfff, 0xf_c000, 0xf_ffff, 0x10_0000];
  const open = [true, false, false, true, true, false, false, true];
  expect(places.map((gpa) => memory.write8(gpa, 1))).toEqual(open);
  expect(places.map((gpa) => memory.place(gpa, 1) === gpa)).toEqual(open);
  expect(places.map((gpa) => ram.bytes[gpa])).toEqual(open.map(Number));
  // Over an edge, and over all.
  const bytes = Uint8Array.of(2, 2);
  expect(places.map((gpa) => memory.write(gpa, bytes))).toEqual([false, false, false, true, false, false, false, true]);
  expect([memory.write16(0xb_ffff, 3), memory.write32(0xf_bffd, 3), memory.write64(0xf_fff8, 3n)]).toEqual(
    Array(3).fill(false),
  );
  expect([memory.place(0x8_0000, 0x10_0000), memory.discard(0xc_0000, 4096), memory.discard(0xc_4000, 4096)]).toEqual([
    -1,
    false,
    true,
  ]);
  expect([memory.read8(0xc_0000), memory.read16(0xb_fffe)]).toEqual([0, 0x0100]);
  memory.closedParts = 0;
  expect(places.every((gpa) => memory.write16(gpa, 4))).toBe(true);
});

it("has the bounds of the memory behind it", () => {
  const memory = new DmaMemory(new FlatMemory(0x20_0000));
  memory.closedParts = 0xffff;
  expect([-1, Number.NaN, 2 ** 52].map((gpa) => memory.write8(gpa, 1))).toEqual([false, false, false]);
  expect(memory.place(0x20_0000, 0)).toBe(0x20_0000);
});
