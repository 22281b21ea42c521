import { describe, expect, it } from "vitest";
import { KeyError, strokesOf } from "./layouts.ts";
import { keyNames, usageOf } from "./scan-codes.ts";
import { pressedKeys, typedText } from "./typing.ts";

const usages = (text: string): [number, boolean][] =>
  strokesOf(text, "us").map(({ usage, isShifted }) => [usage, isShifted]);

describe("text", () => {
  it("has a key for every printable ASCII character, no two alike", () => {
    const ascii = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));
    const strokes = ascii.map((character) => typedText(character).join());
    expect(new Set(strokes).size).toBe(95);
    expect(usages("a?\n")).toEqual([
      [usageOf("a"), false],
      [usageOf("slash"), true],
      [usageOf("enter"), false],
    ]);
  });

  it("is typed in Hangul between two presses of the Hangul key", () => {
    const hangul = { usage: usageOf("hangul"), isShifted: false };
    const expected = (keys: string): unknown[] => strokesOf(keys, "us");
    expect(strokesOf("a한글b", "kr")).toEqual([
      ...expected("a"),
      hangul,
      ...expected("gksrmf"),
      hangul,
      ...expected("b"),
    ]);
    expect(strokesOf("쏴값", "kr")).toEqual([hangul, ...expected("Thkrkqt"), hangul]);
    expect(strokesOf("ㅋㅘ", "kr")).toEqual([hangul, ...expected("zhk"), hangul]);
    expect(strokesOf("\u1112\u1161\u11ab", "kr")).toEqual(strokesOf("한", "kr"));
  });

  it("is refused where a layout has no key for it, and where it is too long", () => {
    expect(() => typedText("한")).toThrow(KeyError);
    expect(() => typedText("é", "kr")).toThrow(/no key for "é"/);
    expect(() => typedText("x".repeat(1001))).toThrow(/at most 1000/);
  });
});

describe("keys", () => {
  it("are held together and released the other way round", () => {
    const [ctrl, c] = [usageOf("ctrl")!, usageOf("c")!];
    expect([...pressedKeys("Ctrl-c")]).toEqual([ctrl, 1, c, 1, c, 0, ctrl, 0]);
    expect(() => pressedKeys("ctrl-blah")).toThrow(/no key "blah"/);
  });

  it("have each a usage of its own", () => {
    expect(new Set(keyNames().map((name) => usageOf(name))).size).toBe(keyNames().length);
  });
});
