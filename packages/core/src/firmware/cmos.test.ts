import { expect, test } from "vitest";
import { cmosOf } from "./cmos.ts";

const MIB = 2 ** 20;

test("names the sizes of memory in the units of each register", () => {
  const word = (cmos: Record<number, number>, at: number): number => (cmos[at] ?? 0) | ((cmos[at + 1] ?? 0) << 8);
  const small = cmosOf(16 * MIB);
  expect([word(small, 0x15), word(small, 0x17), word(small, 0x34), word(small, 0x5b)]).toEqual([640, 15 * 1024, 0, 0]);
  const large = cmosOf(3072 * MIB);
  expect(word(large, 0x30)).toBe(0xffff);
  expect(word(large, 0x34)).toBe((2816 - 16) * 16);
  expect(word(large, 0x5b)).toBe(256 * 16);
});

test("names floppy drives", () => {
  const types = (floppies: number): (number | undefined)[] => {
    const cmos = cmosOf(16 * MIB, 1, floppies);
    return [cmos[0x10], cmos[0x14]];
  };
  expect([types(0), types(1), types(2)]).toEqual([
    [undefined, 0x02],
    [0x40, 0x03],
    [0x44, 0x43],
  ]);
});
