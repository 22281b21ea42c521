import { describe, expect, it } from "vitest";
import type { StateValue } from "../devices/device.ts";
import { StateError } from "./errors.ts";
import { StateReader } from "./reader.ts";

function errorOf(action: () => unknown): StateError {
  try {
    action();
  } catch (error) {
    if (error instanceof StateError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const state: StateValue = {
  byte: 255,
  word: 0x1_0000,
  wide: 1n << 64n,
  flag: true,
  name: "on",
  data: Uint8Array.of(1, 2, 3),
  list: [{ x: 1 }, { x: 2 }],
  numbers: [1, 2, 0.5],
  none: null,
};
const reader = (): StateReader => new StateReader(state, "dev");

describe("StateReader", () => {
  it("returns what fits", () => {
    const r = reader();
    expect(r.u8("byte")).toBe(255);
    expect(r.u32("word")).toBe(0x1_0000);
    expect(r.bool("flag")).toBe(true);
    expect(r.oneOf("name", ["off", "on"])).toBe("on");
    expect(r.bytes("data", 3)).toEqual(Uint8Array.of(1, 2, 3));
    expect(r.array("list", 2).map((element) => element.u8("x"))).toEqual([1, 2]);
    expect(r.optionalNs("none")).toBeUndefined();
  });

  it("returns copies of bytes", () => {
    reader().bytes("data", 3)[0] = 9;
    expect(reader().bytes("data", 3)[0]).toBe(1);
  });

  const refusals: [string, string, () => unknown][] = [
    ["missing", "dev.gone", () => reader().u8("gone")],
    ["missing", "dev.constructor", () => reader().part("constructor")],
    ["type", "dev.flag", () => reader().u8("flag")],
    ["type", "dev.byte", () => reader().u64("byte")],
    ["type", "dev.list", () => reader().object("list")],
    ["type", "dev", () => new StateReader(null, "dev")],
    ["type", "dev.none", () => reader().array("none", 1)],
    ["range", "dev.word", () => reader().u16("word")],
    ["range", "dev.wide", () => reader().u64("wide")],
    ["range", "dev.data", () => reader().bytes("data", 2)],
    ["range", "dev.data", () => reader().bytesExact("data", 4)],
    ["range", "dev.list", () => reader().array("list", 1)],
    ["range", "dev.numbers[2]", () => reader().ints("numbers", 3, 0, 9)],
    ["range", "dev.name", () => reader().oneOf("name", ["off"])],
    ["range", "dev.list[1].x", () => reader().arrayExact("list", 2)[1]!.int("x", 0, 1)],
    ["unknown", "dev.byte", () => reader().end()],
  ];
  it.each(refusals)("refuses: %s at %s", (code, path, action) => {
    const error = errorOf(action);
    expect([error.code, error.path]).toEqual([code, path]);
    expect(error.message).toContain(path);
  });
});
