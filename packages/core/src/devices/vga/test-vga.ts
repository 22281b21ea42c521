/** A VGA for tests, with modes that its tests set and a way to read pixels. */
import { FakeContext } from "../fake-context.ts";
import { DISPI, DISPI_ENABLE } from "./dispi.ts";
import { egaPalette, type ModeRegisters, programMode, programPalette, TEXT_MODE } from "./mode-registers.ts";
import { VGA_PORT as PORT } from "./registers.ts";
import { renderScreen, type ScreenImage } from "./render.ts";
import { createVga, type Vga } from "./vga.ts";

export const TEST_MEMORY_BYTES = 0x8_0000;
export const BLACK = 0x00_0000;
export const BLUE = 0x00_00aa;
export const GREY = 0xaa_aaaa;
export const WHITE = 0xff_ffff;

const hex = (text: string): number[] => text.split(" ").map((digits) => Number.parseInt(digits, 16));
const zeros = (count: number): number[] => new Array<number>(count).fill(0);

export const MODES: Readonly<Record<"text" | "cga4" | "cga6" | "vga12" | "vga13" | "unchained", ModeRegisters>> = {
  text: TEXT_MODE,
  cga4: {
    misc: 0x63,
    sequencer: hex("03 09 03 00 02"),
    crtc: [...hex("2d 27 28 90 2b 80 bf 1f 00 c1"), ...zeros(6), ...hex("9c 8e 8f 14 00 96 b9 a2 ff")],
    graphics: hex("00 00 00 00 00 30 0f 00 ff"),
    attribute: hex("00 13 15 17 02 04 06 07 10 11 12 13 14 15 16 17 01 00 03 00 00"),
  },
  cga6: {
    misc: 0x63,
    sequencer: hex("03 01 01 00 06"),
    crtc: [...hex("5f 4f 50 82 54 80 bf 1f 00 c1"), ...zeros(6), ...hex("9c 8e 8f 28 00 96 b9 c2 ff")],
    graphics: hex("00 00 00 00 00 00 0d 00 ff"),
    attribute: [0, ...new Array<number>(15).fill(0x17), 1, 0, 1, 0, 0],
  },
  vga12: {
    misc: 0xe3,
    sequencer: hex("03 01 0f 00 06"),
    crtc: [...hex("5f 4f 50 82 54 80 0b 3e 00 40"), ...zeros(6), ...hex("ea 8c df 28 00 e7 04 e3 ff")],
    graphics: hex("00 00 00 00 00 00 05 0f ff"),
    attribute: hex("00 01 02 03 04 05 14 07 38 39 3a 3b 3c 3d 3e 3f 01 00 0f 00 00"),
  },
  vga13: {
    misc: 0x63,
    sequencer: hex("03 01 0f 00 0e"),
    crtc: [...hex("5f 4f 50 82 54 80 bf 1f 00 41"), ...zeros(6), ...hex("9c 8e 8f 28 40 96 b9 a3 ff")],
    graphics: hex("00 00 00 00 00 40 05 0f ff"),
    attribute: hex("00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 41 00 0f 00 00"),
  },
  unchained: {
    misc: 0x63,
    sequencer: hex("03 01 0f 00 06"),
    crtc: [...hex("5f 4f 50 82 54 80 bf 1f 00 41"), ...zeros(6), ...hex("9c 8e 8f 28 00 96 b9 e3 ff")],
    graphics: hex("00 00 00 00 00 40 05 0f ff"),
    attribute: hex("00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 41 00 0f 00 00"),
  },
};

export interface TestVga {
  readonly context: FakeContext;
  readonly vga: Vga;
  out(port: number, index: number, value: number): void;
  /** Writes bytes through the window at A0000H. */
  poke(address: number, ...values: number[]): void;
  peek(address: number): number;
  image(): ScreenImage;
  /** 0xRRGGBB of the last `image`, made on the first call after `poke`. */
  pixel(x: number, y: number): number;
  row(y: number, from: number, count: number): number[];
}

export function testVga(mode?: keyof typeof MODES): TestVga {
  const context = new FakeContext();
  const vga = createVga(context, { name: "vga0", memoryBytes: TEST_MEMORY_BYTES });
  let image: ScreenImage | undefined;
  const pixel = (x: number, y: number): number => {
    image ??= renderScreen(vga.view);
    const at = (y * image.width + x) * 4;
    return (image.rgba[at]! << 16) | (image.rgba[at + 1]! << 8) | image.rgba[at + 2]!;
  };
  if (mode) {
    programMode(vga.ports, MODES[mode]);
    programPalette(vga.ports, egaPalette());
  }
  return {
    context,
    vga,
    out: (port, index, value) => {
      image = undefined;
      vga.ports.write(port, 1, index);
      vga.ports.write(port + 1, 1, value);
    },
    poke: (address, ...values) => {
      image = undefined;
      for (const [i, value] of values.entries()) vga.window.write(address - 0xa0000 + i, 1, value);
    },
    peek: (address) => vga.window.read(address - 0xa0000, 1),
    image: () => (image = renderScreen(vga.view)),
    pixel,
    row: (y, from, count) => Array.from({ length: count }, (_, i) => pixel(from + i, y)),
  };
}

/** One line of a character's picture, in font 0. */
export function setGlyph(test: TestVga, character: number, lines: readonly number[]): void {
  const { out, poke } = test;
  out(PORT.sequencer, 2, 4);
  out(PORT.sequencer, 4, 6);
  out(PORT.graphics, 5, 0);
  out(PORT.graphics, 6, 4);
  poke(0xa0000 + character * 32, ...lines);
  out(PORT.sequencer, 2, 3);
  out(PORT.sequencer, 4, 2);
  out(PORT.graphics, 5, 0x10);
  out(PORT.graphics, 6, 0x0e);
}

export function setDispi(vga: Vga, width: number, height: number, bpp: number, flags = 0): void {
  const write = (index: number, value: number): void => {
    vga.dispiPorts.write(0, 2, index);
    vga.dispiPorts.write(1, 2, value);
  };
  write(DISPI.ENABLE, 0);
  write(DISPI.XRES, width);
  write(DISPI.YRES, height);
  write(DISPI.BPP, bpp);
  write(DISPI.ENABLE, DISPI_ENABLE.ENABLED | DISPI_ENABLE.LFB | flags);
  vga.ports.read(PORT.colorStatus, 1);
  vga.ports.read(PORT.monoStatus, 1);
  vga.ports.write(PORT.attribute, 1, 0x20);
}
