import { expect, it } from "vitest";
import { PAGE_BYTES } from "./region.ts";
import { Translations } from "./translations.ts";

/** A page of breakpoints with `code` at `at`, and the translation of that code. */
function made(code: readonly number[], at: number, index: number) {
  const memory = new Uint8Array(3 * PAGE_BYTES).fill(0xcc);
  memory.set(code, PAGE_BYTES + at);
  const entry = PAGE_BYTES + at;
  const ranges = [[entry, entry + code.length]] as const;
  const home = { bytes: 0, isKept: false, places: [index], used: 0 };
  return { memory, translation: { index, home, mode: 9, entry, ranges, code: [Uint8Array.from(code)], isReady: true } };
}

it.each([
  ["a single return", [0xc3], 100],
  ["three bytes", [0x31, 0xc0, 0xc3], 100],
  ["four bytes", [0x31, 0xc0, 0x90, 0xc3], 100],
  ["a return at the page's end", [0xc3], PAGE_BYTES - 1],
])("%s is found, whatever follows it", (_, code, at) => {
  const { memory, translation } = made(code, at, 7);
  const translations = new Translations(memory);
  translations.add(translation);
  const pages = [0, PAGE_BYTES, 0] as const;
  expect(translations.find(PAGE_BYTES + at, 9, () => pages)?.translation.index).toBe(7);
  memory.fill(0, PAGE_BYTES + at + code.length);
  expect(translations.find(PAGE_BYTES + at, 9, () => pages)?.translation.index).toBe(7);
  expect(translations.find(PAGE_BYTES + at, 8, () => pages)).toBeUndefined();
  memory[PAGE_BYTES + at + code.length - 1] = 0xc2;
  expect(translations.find(PAGE_BYTES + at, 9, () => pages)).toBeUndefined();
});

it("what is dropped is found no more, what is like it still is", () => {
  const { memory, translation } = made([0xc3], 100, 7);
  const translations = new Translations(memory);
  translations.add(translation);
  translations.add({ ...translation, index: 8 });
  const found = (): number | undefined =>
    translations.find(PAGE_BYTES + 100, 9, () => [0, PAGE_BYTES, 0])?.translation.index;
  translations.drop(({ index }) => index === 7);
  expect([found(), translations.count]).toEqual([8, 1]);
  translations.drop(() => true);
  expect([found(), translations.count]).toEqual([undefined, 0]);
});
