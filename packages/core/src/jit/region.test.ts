import { expect, test } from "vitest";
import * as L from "../cpu/layout.ts";
import { handlerSet } from "../interp/core.ts";
import { DISPATCH } from "./indirect.ts";
import {
  type Block,
  type CodeWindow,
  findRegion,
  isOutermost,
  MAX_STRAIGHT,
  PAGE_BYTES,
  type Region,
  WINDOW_BYTES,
} from "./region.ts";

const AT = PAGE_BYTES;
/** 0: test eax, eax; 2: jz 7; 4: inc eax; 6: ret; 7: dec eax; 9: call 14; 14: ret. */
const CODE = [0x85, 0xc0, 0x74, 0x03, 0xff, 0xc0, 0xc3, 0xff, 0xc8, 0xe8, 0, 0, 0, 0, 0xc3];

function regionOf(code: readonly number[], reached?: readonly number[], seen?: readonly number[]): Region | undefined {
  const bytes = new Uint8Array(WINDOW_BYTES);
  bytes.set(code, AT);
  const window: CodeWindow = {
    bytes,
    entry: AT,
    hasBefore: false,
    hasAfter: false,
    mode: L.MODE_64 | L.MODE_PROTECTED,
    ...(reached && { reached: Uint16Array.from(reached, (offset) => AT + offset) }),
    ...(seen && { seen: Uint16Array.from(seen, (offset) => AT + offset) }),
  };
  return findRegion(handlerSet(), window);
}

function blocksOf(reached?: readonly number[]): number[] {
  const region = regionOf(CODE, reached);
  const outermost = [...(region?.blocks.values() ?? [])].filter(isOutermost);
  return outermost.map(({ offset }) => offset - AT).sort((a, b) => a - b);
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

test("a loop of a long straight line is one region, and a longer line is cut off", () => {
  const back = (length: number): number[] => [0xe9, ...new Uint8Array(Int32Array.of(-5 - length).buffer)];
  const line = (count: number): number[] => Array<number>(count).fill(0x90);
  const loop = regionOf([...line(1000), ...back(1000)]);
  expect(loop?.blocks.get(AT)?.successors).toEqual([AT]);
  expect(loop?.instructionCount).toBe(1001);
  expect(regionOf(line(4000))?.instructionCount).toBe(MAX_STRAIGHT);
});

test("a small function is part of the region once for each call, a long one is not", () => {
  // 0: call 16; 5: call 16; 10: ret; 16: inc eax; 18: ret
  const small = [0xe8, 11, 0, 0, 0, 0xe8, 6, 0, 0, 0, 0xc3, 0, 0, 0, 0, 0, 0xff, 0xc0, 0xc3];
  const region = regionOf(small);
  const at = (offset: number): Block[] => [...(region?.blocks.values() ?? [])].filter((b) => b.offset === AT + offset);
  expect(at(16)).toHaveLength(2);
  expect(at(16).map(({ successors }) => successors)).toEqual([[AT + 5], [AT + 10]]);
  expect(at(0)[0]?.callsInside).toBe(true);
  expect(region?.ranges).toEqual([
    [AT, AT + 11],
    [AT + 16, AT + 19],
  ]);
  const long = [...small.slice(0, 16), ...Array<number>(50).fill(0x90), 0xc3];
  expect([...(regionOf(long)?.blocks.keys() ?? [])]).toEqual([AT, AT + 5, AT + 10]);
});

test("what was seen behind an indirect jump is part of the region, behind one dispatch", () => {
  // 0: inc eax; jmp rax; 4: inc ecx; jmp rax; 8: inc edx; ret; 11: ret
  const code = [0xff, 0xc0, 0xff, 0xe0, 0xff, 0xc1, 0xff, 0xe0, 0xff, 0xc2, 0xc3, 0xc3];
  const region = regionOf(code, [0, 4, 8, 11], [0, 4, 4, 8, 8, 11]);
  expect(region?.blocks.get(AT)?.successors).toEqual([DISPATCH]);
  expect(region?.blocks.get(AT + 4)?.successors).toEqual([DISPATCH]);
  expect(region?.blocks.get(DISPATCH)?.successors).toEqual([AT + 4, AT + 8]);
  expect(regionOf(code)?.blocks.size).toBe(1);
});

test("small functions that an indirect call was seen to call are part of the region", () => {
  // 0: call rax; 2: ret; 3: inc eax; ret; 6: inc ecx; ret
  const code = [0xff, 0xd0, 0xc3, 0xff, 0xc0, 0xc3, 0xff, 0xc1, 0xc3];
  const region = regionOf(code, undefined, [0, 3, 0, 6]);
  const [behind, ...inside] = region?.blocks.get(AT)?.successors ?? [];
  expect(behind).toBe(AT + 2);
  expect(inside.map((id) => region?.blocks.get(id)?.offset)).toEqual([AT + 3, AT + 6]);
});

test("a target that cannot be decoded is not looked at again and again", () => {
  // jmp rax; 2: half an instruction at the end of what is known
  const code = [0xff, 0xe0, ...Array<number>(PAGE_BYTES - 3).fill(0x90), 0x0f];
  expect(regionOf(code, undefined, [0, PAGE_BYTES - 1])?.blocks.get(AT)?.successors).toEqual([]);
});
