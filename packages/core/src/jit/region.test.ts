import { expect, test } from "vitest";
import * as L from "../cpu/layout.ts";
import { handlerSet } from "../interp/core.ts";
import { type CodeWindow, findRegion, PAGE_BYTES, WINDOW_BYTES } from "./region.ts";

const AT = PAGE_BYTES;
/** 0: test eax, eax; 2: jz 7; 4: inc eax; 6: ret; 7: dec eax; 9: call 14; 14: ret. */
const CODE = [0x85, 0xc0, 0x74, 0x03, 0xff, 0xc0, 0xc3, 0xff, 0xc8, 0xe8, 0, 0, 0, 0, 0xc3];

function blocksOf(reached?: readonly number[]): number[] {
  const bytes = new Uint8Array(WINDOW_BYTES);
  bytes.set(CODE, AT);
  const window: CodeWindow = {
    bytes,
    entry: AT,
    hasBefore: false,
    hasAfter: false,
    mode: L.MODE_64 | L.MODE_PROTECTED,
    ...(reached && { reached: Uint16Array.from(reached, (offset) => AT + offset) }),
  };
  const region = findRegion(handlerSet(), window);
  return [...(region?.blocks.keys() ?? [])].map((offset) => offset - AT).sort((a, b) => a - b);
}

test("a region follows every direct branch where nothing is known of what ran", () => {
  expect(blocksOf()).toEqual([0, 4, 7, 14]);
});

test("a region has the ways that control took, and leaves on others", () => {
  expect(blocksOf([0, 4])).toEqual([0, 4]);
  expect(blocksOf([0, 7, 14])).toEqual([0, 7, 14]);
  expect(blocksOf([0, 7])).toEqual([0, 7]);
});

test("where neither way of a branch is known to be taken, a region has both", () => {
  expect(blocksOf([0])).toEqual([0, 4, 7]);
});
