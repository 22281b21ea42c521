import { expect, test } from "vitest";
import { largeBytes, largeModuleBytes } from "./large-bytes.ts";

test.each([0, 1000, 200_000])("buffers of %i bytes begin as zeros and can be written", (length) => {
  for (const bytes of [largeBytes(length), largeModuleBytes(length)]) {
    expect(bytes.length).toBe(length);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    bytes.fill(7);
    expect(bytes.slice(-3).every((byte) => byte === 7)).toBe(true);
  }
});

test("a large buffer is transferred; a module is made from the other kind", () => {
  const bytes = largeBytes(200_000).fill(9);
  const there = structuredClone(bytes, { transfer: [bytes.buffer] });
  expect(there.length).toBe(200_000);
  expect(there[199_999]).toBe(9);
  expect(bytes.length).toBe(0);

  const module = largeModuleBytes(200_000);
  // The magic number, version 1, and a custom section without a name over the rest.
  module.set([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 0, ...[0xb4, 0x9a, 0x0c], 0]);
  expect(WebAssembly.Module.exports(new WebAssembly.Module(module))).toEqual([]);
});
