import { describe, expect, it } from "vitest";
import { VGA_PORT as PORT } from "./registers.ts";
import { type TestVga, testVga } from "./test-vga.ts";

const A = 0xa0000;

/** The four planes' bytes at an address. */
function planes(test: TestVga, address: number): number[] {
  test.out(PORT.graphics, 5, 0);
  return [0, 1, 2, 3].map((plane) => {
    test.out(PORT.graphics, 4, plane);
    return test.peek(address);
  });
}

/** Planes 0 to 3 hold 0x11, 0x22, 0x44, 0x88 and are in the latches. */
function latched(): TestVga {
  const test = testVga("vga12");
  for (let plane = 0; plane < 4; plane++) {
    test.out(PORT.sequencer, 2, 1 << plane);
    test.poke(A, 0x11 << plane);
  }
  test.out(PORT.sequencer, 2, 0x0f);
  test.peek(A);
  return test;
}

describe("write modes", () => {
  it("0: rotates, sets and resets planes, combines with the latches under the bit mask", () => {
    const test = latched();
    test.out(PORT.graphics, 3, 4);
    test.poke(A + 1, 0x1f);
    expect(planes(test, A + 1)).toEqual([0xf1, 0xf1, 0xf1, 0xf1]);
    test.out(PORT.graphics, 3, 0);
    test.out(PORT.graphics, 0, 0b0010);
    test.out(PORT.graphics, 1, 0b0011);
    test.poke(A + 2, 0x55);
    expect(planes(test, A + 2)).toEqual([0x00, 0xff, 0x55, 0x55]);
    test.out(PORT.graphics, 1, 0);
    test.out(PORT.graphics, 8, 0xf0);
    test.peek(A);
    test.poke(A + 3, 0xff);
    expect(planes(test, A + 3)).toEqual([0xf1, 0xf2, 0xf4, 0xf8]);
    test.out(PORT.graphics, 8, 0xff);
    for (const [operation, expected] of [
      [0x08, [0x01, 0x02, 0x04, 0x08]],
      [0x10, [0x1f, 0x2f, 0x4f, 0x8f]],
      [0x18, [0x1e, 0x2d, 0x4b, 0x87]],
    ] as const) {
      test.out(PORT.graphics, 3, operation);
      test.peek(A);
      test.poke(A + 4, 0x0f);
      test.out(PORT.graphics, 3, 0);
      expect(planes(test, A + 4)).toEqual(expected);
    }
  });

  it("1 copies the latches, 2 takes a colour, 3 a mask", () => {
    const test = latched();
    test.out(PORT.graphics, 5, 1);
    test.poke(A + 1, 0xaa);
    expect(planes(test, A + 1)).toEqual([0x11, 0x22, 0x44, 0x88]);
    test.out(PORT.graphics, 5, 2);
    test.out(PORT.graphics, 8, 0x0f);
    test.peek(A);
    test.poke(A + 2, 0b0101);
    expect(planes(test, A + 2)).toEqual([0x1f, 0x20, 0x4f, 0x80]);
    test.out(PORT.graphics, 5, 3);
    test.out(PORT.graphics, 0, 0b1000);
    test.out(PORT.graphics, 8, 0xff);
    test.peek(A);
    test.poke(A + 3, 0xc0);
    expect(planes(test, A + 3)).toEqual([0x11, 0x22, 0x04, 0xc8]);
  });

  it("writes only the planes of the map mask", () => {
    const test = latched();
    test.out(PORT.sequencer, 2, 0b1001);
    test.poke(A, 0xff);
    expect(planes(test, A)).toEqual([0xff, 0x22, 0x44, 0xff]);
  });
});

describe("reading", () => {
  it("compares colours in read mode 1", () => {
    const test = latched();
    test.out(PORT.graphics, 5, 8);
    test.out(PORT.graphics, 2, 0b0001);
    test.out(PORT.graphics, 7, 0b1111);
    expect(test.peek(A)).toBe(0x11);
    test.out(PORT.graphics, 7, 0);
    expect(test.peek(A)).toBe(0xff);
  });

  it("has the window where the graphics controller puts it, and nothing beside it or without RAM enabled", () => {
    const test = testVga("text");
    test.poke(0xb8000, 0x41);
    expect(test.peek(0xb8000)).toBe(0x41);
    expect(test.peek(0xb0000)).toBe(0xff);
    test.out(PORT.graphics, 6, 0x0a);
    expect(test.peek(0xb0000)).toBe(0x41);
    expect(test.peek(0xb8000)).toBe(0xff);
    test.vga.ports.write(PORT.misc, 1, 0x65);
    expect(test.peek(0xb0000)).toBe(0xff);
  });

  it("chains planes by the low address bits", () => {
    const test = testVga("vga13");
    test.poke(A, 1, 2, 3, 4, 5);
    expect([0, 1, 2, 3, 4].map((i) => test.peek(A + i))).toEqual([1, 2, 3, 4, 5]);
    test.out(PORT.sequencer, 4, 6);
    expect(planes(test, A)).toEqual([1, 2, 3, 4]);
  });
});
