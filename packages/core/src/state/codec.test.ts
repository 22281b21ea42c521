import { expect, test } from "vitest";
import type { StateValue } from "../devices/device.ts";
import { decodeState, encodeState } from "./codec.ts";
import { StateError } from "./errors.ts";
import { toHex } from "./sha256.ts";

const hexOf = (value: StateValue): string => toHex(encodeState(value));
const fromHex = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));

test("the encodings of RFC 8949, appendix A", () => {
  const examples: readonly (readonly [StateValue, string])[] = [
    [0, "00"],
    [23, "17"],
    [24, "1818"],
    [100, "1864"],
    [1000, "1903e8"],
    [1_000_000, "1a000f4240"],
    [1_000_000_000_000, "1b000000e8d4a51000"],
    [-1, "20"],
    [-1000, "3903e7"],
    [18446744073709551616n, "c249010000000000000000"],
    [-18446744073709551617n, "c349010000000000000000"],
    [-0, "f98000"],
    [1.5, "f93e00"],
    [2 ** -24, "f90001"],
    [0.00006103515625, "f90400"],
    [3.4028234663852886e38, "fa7f7fffff"],
    [1.1, "fb3ff199999999999a"],
    [-4.1, "fbc010666666666666"],
    [Number.POSITIVE_INFINITY, "f97c00"],
    [Number.NaN, "f97e00"],
    [false, "f4"],
    [true, "f5"],
    [null, "f6"],
    [Uint8Array.of(1, 2, 3, 4), "4401020304"],
    ["ü", "62c3bc"],
    [[1, [2, 3], [4, 5]], "8301820203820405"],
    [{ a: 1, b: [2, 3] }, "a26161016162820203"],
  ];
  for (const [value, hex] of examples) {
    expect(hexOf(value)).toBe(hex);
    expect(decodeState(fromHex(hex))).toEqual(value);
  }
});

test("keeps bigints apart from numbers at every size", () => {
  for (const value of [0n, 1n, -1n, 255n, 256n, 2n ** 63n, -(2n ** 63n), 2n ** 64n - 1n]) {
    expect(decodeState(encodeState(value))).toBe(value);
  }
});

test("floats at the borders of half and single precision survive", () => {
  for (const value of [
    65504.5,
    65519.999,
    0.1,
    2 ** -25,
    2 ** -149,
    2 ** 53,
    -(2 ** 60),
    1 + 2 ** -11,
    1023.5,
    2047.5,
  ]) {
    expect(decodeState(encodeState(value))).toBe(value);
  }
});

test("the order of an object's keys does not matter", () => {
  expect(hexOf({ bb: 1, a: 2, ä: 3, c: 4 })).toBe(hexOf({ c: 4, ä: 3, bb: 1, a: 2 }));
});

test("refuses what a state cannot hold", () => {
  const circle: Record<string, StateValue> = {};
  circle["self"] = circle;
  expect(() => encodeState(circle)).toThrow(StateError);
  expect(() => encodeState({ x: undefined } as unknown as StateValue)).toThrow(/state\.x is undefined/);
  expect(() => encodeState("\ud800")).toThrow(StateError);
});

test("refuses every other spelling of a value", () => {
  const spellings = [
    "1817", // 23 in two bytes
    "190064", // 100 in three
    "1b00000000ffffffff",
    "fb3ff8000000000000", // 1.5 as a double
    "f93c00", // 1 as a float
    "f97e01", // another NaN
    "c24100", // zero with a byte
    "c2420001",
    "a2616201616101", // keys out of order
    "a2616101616102", // a key twice
    "9f01ff", // indefinite length
    "f7", // undefined
    "c11a514b67b0", // another tag
    "1bffffffffffffffff",
    "61ff", // not UTF-8
    "a10102", // a key that is a number
    "0000", // two values
    "",
    "5a7fffffff00",
    "9affffffff",
    "baffffffff",
    "a1695f5f70726f746f5f5f00", // __proto__
  ];
  for (const hex of spellings) expect(() => decodeState(fromHex(hex)), hex).toThrow(StateError);
});

test("depth, items and size are bounded", () => {
  expect(() => decodeState(new Uint8Array(100_000).fill(0x81))).toThrow(/too deeply/);
  const limits = { maxDepth: 4, maxItems: 10, maxBytes: 100 };
  expect(() => decodeState(encodeState([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), "x", limits)).toThrow(/more values/);
  expect(() => decodeState(encodeState(new Uint8Array(200)), "x", limits)).toThrow(/limit of 100/);
});

test("damage is refused or gives a value, never anything else", () => {
  const value = { name: "uart0", regs: [1, 2, 3], fifo: Uint8Array.of(1, 2, 3), at: 12.5, tsc: 2n ** 63n, on: true };
  const bytes = encodeState(value);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    try {
      expect(hexOf(decodeState(flipped))).toBe(toHex(flipped));
    } catch (error) {
      expect(error).toBeInstanceOf(StateError);
    }
  }
  for (let length = 0; length < bytes.length; length++) {
    expect(() => decodeState(bytes.subarray(0, length))).toThrow(StateError);
  }
});
