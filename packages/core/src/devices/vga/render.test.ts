import { describe, expect, it } from "vitest";
import { DISPI, DISPI_ENABLE } from "./dispi.ts";
import { programPalette } from "./mode-registers.ts";
import { VGA_PORT as PORT } from "./registers.ts";
import { screenText } from "./screen-text.ts";
import { BLACK, BLUE, GREY, setDispi, setGlyph, testVga, WHITE } from "./test-vga.ts";

const RED = 0xaa_0000;

describe("text", () => {
  it("draws characters from plane 2 in their attributes' colours, the ninth dot of line graphics repeated", () => {
    const test = testVga("text");
    setGlyph(test, 0x41, [0b1000_0001, 0xff]);
    setGlyph(test, 0xc4, [0xff]);
    test.poke(0xb8000, 0x41, 0x17, 0xc4, 0x0f);
    expect(test.image()).toMatchObject({ width: 720, height: 400 });
    expect(test.row(0, 0, 9)).toEqual([GREY, BLUE, BLUE, BLUE, BLUE, BLUE, BLUE, GREY, BLUE]);
    expect(test.row(1, 0, 9)).toEqual([...new Array<number>(8).fill(GREY), BLUE]);
    expect(test.row(0, 9, 9)).toEqual(new Array<number>(9).fill(WHITE));
    expect(test.pixel(18, 0)).toBe(BLACK);
  });

  it("reads as text, scrolled by the start address, and not at all while the screen is off", () => {
    const test = testVga("text");
    const text = [..."Hello"].flatMap((letter) => [letter.charCodeAt(0), 7]);
    test.poke(0xb8000 + 160, ...text, 0xb3, 7);
    expect(screenText(test.vga.view)?.slice(0, 3)).toEqual(["", "Hello│", ""]);
    expect(screenText(test.vga.view)).toHaveLength(25);
    test.out(PORT.colorCrtc, 0x0d, 80);
    expect(screenText(test.vga.view)?.[0]).toBe("Hello│");
    test.out(PORT.sequencer, 1, 0x20);
    expect(screenText(test.vga.view)).toBeUndefined();
  });

  it("shows the cursor for 8 frames in 16, and blinking characters for 16 in 32", () => {
    const test = testVga("text");
    setGlyph(test, 0x42, [0, 0, 0xff]);
    test.poke(0xb8000, 0x20, 0x07, 0x42, 0x87);
    const at = (frames: number): [number, number] => {
      const copy = testVga("text");
      copy.context.clock.jump(Math.ceil(frames * 14_268_200));
      copy.vga.restore(test.vga.save());
      return [copy.pixel(0, 13), copy.pixel(9, 2)];
    };
    expect(at(0.5)).toEqual([GREY, GREY]);
    expect(at(8.5)).toEqual([BLACK, GREY]);
    expect(at(16.5)).toEqual([GREY, BLACK]);
    expect(at(32.5)).toEqual([GREY, GREY]);
  });

  it("splits the screen at the line compare", () => {
    const test = testVga("text");
    test.poke(0xb8000, 0x5a, 7);
    test.out(PORT.colorCrtc, 0x0c, 4);
    test.out(PORT.colorCrtc, 0x07, 0x0f);
    test.out(PORT.colorCrtc, 0x09, 0x0f);
    test.out(PORT.colorCrtc, 0x18, 159);
    expect(screenText(test.vga.view)?.[10]).toBe("Z");
    expect(screenText(test.vga.view)?.[0]).toBe("");
  });
});

describe("planes", () => {
  it("takes a bit of each plane in 16 colours", () => {
    const test = testVga("vga12");
    test.out(PORT.sequencer, 2, 0b0001);
    test.poke(0xa0000, 0b1100_0000);
    test.out(PORT.sequencer, 2, 0b1111);
    test.poke(0xa0000 + 80 * 479 + 79, 0b0000_0001);
    expect(test.image()).toMatchObject({ width: 640, height: 480 });
    expect(test.row(0, 0, 4)).toEqual([BLUE, BLUE, BLACK, BLACK]);
    expect(test.row(479, 638, 2)).toEqual([BLACK, WHITE]);
  });

  it("takes bytes in chain-4 (mode 13h) and unchained, 200 lines shown twice each", () => {
    const test = testVga("vga13");
    test.poke(0xa0000 + 320 * 199 + 316, 1, 2, 4, 7);
    expect(test.image()).toMatchObject({ width: 320, height: 200 });
    expect(test.row(199, 316, 4)).toEqual([0x0000aa, 0x00aa00, 0xaa0000, 0xaaaaaa]);
    const unchained = testVga("unchained");
    unchained.out(PORT.sequencer, 2, 0b0100);
    unchained.poke(0xa0000 + 80 * 3 + 1, 4);
    expect(unchained.image()).toMatchObject({ width: 320, height: 200 });
    expect(unchained.row(3, 4, 4)).toEqual([BLACK, BLACK, RED, BLACK]);
  });

  it("shows CGA's modes: odd lines 8 KiB behind, two bits or one a pixel", () => {
    const four = testVga("cga4");
    four.poke(0xb8000, 0b00_01_10_11);
    four.poke(0xba000, 0b11_00_00_00);
    expect(four.image()).toMatchObject({ width: 320, height: 200 });
    expect(four.row(0, 0, 4)).toEqual([BLACK, 0x00ffaa, 0xaa55aa, 0xaaffaa]);
    expect(four.row(1, 0, 2)).toEqual([0xaaffaa, BLACK]);
    const two = testVga("cga6");
    two.poke(0xb8000, 0b0100_0000);
    two.poke(0xba000, 0b1000_0000);
    expect(two.image()).toMatchObject({ width: 640, height: 200 });
    expect(two.row(0, 0, 3)).toEqual([BLACK, 0xaaffaa, BLACK]);
    expect(two.row(1, 0, 2)).toEqual([0xaaffaa, BLACK]);
  });

  it("pans by pixels", () => {
    const test = testVga("vga12");
    test.poke(0xa0000, 0b0001_0000);
    test.vga.ports.read(PORT.colorStatus, 1);
    test.vga.ports.write(PORT.attribute, 1, 0x33);
    test.vga.ports.write(PORT.attribute, 1, 3);
    expect(test.row(0, 0, 2)).toEqual([WHITE, BLACK]);
  });
});

describe("display interface", () => {
  const fill = (bpp: number, bytes: readonly number[], flags = 0): number => {
    const test = testVga();
    programPalette(test.vga.ports, [0, 0, 0, 0, 0x3f, 0x15]);
    setDispi(test.vga, 64, 48, bpp, flags);
    const step = Math.ceil(bpp / 8);
    for (const [i, byte] of bytes.entries()) test.vga.linear.write((64 * 2 + 3) * step + i, 1, byte);
    expect(test.image()).toMatchObject({ width: 64, height: 48 });
    expect(test.pixel(4, 2)).toBe(BLACK);
    return test.pixel(3, 2);
  };

  it("shows 8, 15, 16, 24 and 32 bits a pixel", () => {
    expect(fill(8, [1])).toBe(0x00ff55);
    expect(fill(15, [0x1f, 0x7c])).toBe(0xff00ff);
    expect(fill(16, [0xe0, 0x07])).toBe(0x00ff00);
    expect(fill(24, [0x12, 0x34, 0x56])).toBe(0x563412);
    expect(fill(32, [0x12, 0x34, 0x56, 0x78])).toBe(0x563412);
  });

  it("has palette entries of eight bits where they are asked for", () => {
    const test = testVga();
    setDispi(test.vga, 64, 48, 8, DISPI_ENABLE.DAC_8BIT);
    programPalette(test.vga.ports, [0x12, 0x34, 0xff]);
    expect(test.pixel(0, 0)).toBe(0x1234ff);
  });

  it("moves over a virtual screen, and never beyond memory", () => {
    const test = testVga();
    setDispi(test.vga, 64, 48, 32);
    const write = (index: number, value: number): void => test.vga.registers.write(0x500 + 2 * index, 2, value);
    write(DISPI.VIRT_WIDTH, 128);
    write(DISPI.X_OFFSET, 10);
    write(DISPI.Y_OFFSET, 7);
    test.vga.linear.write((7 * 128 + 10) * 4, 4, 0x00aabbcc);
    expect(test.pixel(0, 0)).toBe(0xaabbcc);
    for (const index of [DISPI.VIRT_WIDTH, DISPI.X_OFFSET, DISPI.Y_OFFSET]) write(index, 0xffff);
    const { width, height, strideBytes, startByte } = test.vga.view.dispi!;
    expect(startByte + (height - 1) * strideBytes + width * 4).toBeLessThanOrEqual(0x8_0000);
    expect(test.vga.registers.read(0x500, 2)).toBe(0xb0c5);
  });

  it("reaches all of memory through the window by banks", () => {
    const test = testVga();
    setDispi(test.vga, 256, 192, 32);
    test.vga.registers.write(0x500 + 2 * DISPI.BANK, 2, 1);
    test.vga.window.write(0x10, 4, 0x0011_2233);
    expect(test.vga.linear.read(0x1_0010, 4)).toBe(0x0011_2233);
    expect(test.pixel(4, 64)).toBe(0x112233);
  });
});
