/**
 * From a VGA's registers and memory to pixels: a pure function, bounded by the mode's size (screen-mode.ts). Pixels are
 * bytes R, G, B, 255, row after row. Left out: the border (overscan), monochrome displays' own colours.
 */

import { paletteColors } from "./dac.ts";
import type { DispiMode } from "./dispi.ts";
import { ATTR, ATTR_MODE, CRTC, CURSOR_OFF, GFX, GFX_MODE, SEQ, UNDERLINE } from "./registers.ts";
import {
  isScreenOn,
  panning,
  planeAddress,
  type RasterLine,
  rasterLine,
  type ScreenMode,
  screenModeOf,
  type VgaView,
} from "./screen-mode.ts";

export interface ScreenImage {
  readonly width: number;
  readonly height: number;
  /** width * height * 4. */
  readonly rgba: Uint8Array;
}

const BLACK = 0xff00_0000;
/** Frames of one half of a blinking character's, and of the cursor's period. */
const BLINK_FRAMES = 16;
const CURSOR_FRAMES = 8;
const FONT_HEIGHT = 32;

export function renderScreen(view: VgaView): ScreenImage {
  const mode = screenModeOf(view);
  const { width, height } = mode;
  const pixels = new Uint32Array(width * height).fill(BLACK);
  if (isScreenOn(view)) {
    const colors = paletteColors(view.palette, view.hasWideDac);
    if (mode.kind === "linear") {
      if (mode.dispi.bpp === 4) renderPlanes(view, mode.dispi, colors, pixels);
      else renderLinear(view, mode.dispi, colors, pixels);
    } else if (mode.kind === "text") renderText(view, mode, colors, pixels);
    else renderPlanar(view, mode, colors, pixels);
  }
  return { width, height, rgba: new Uint8Array(pixels.buffer) };
}

/** The 16 colours of the attribute controller's palette, through the DAC. */
function attributeColors(view: VgaView, colors: Uint32Array): Uint32Array {
  const { attribute, pelMask } = view;
  const select = attribute[ATTR.COLOR_SELECT]!;
  return Uint32Array.from({ length: 16 }, (_, i) => {
    const entry = attribute[i]!;
    const has54 = (attribute[ATTR.MODE]! & ATTR_MODE.PALETTE_54) !== 0;
    const index = ((select & 12) << 4) | (has54 ? (entry & 15) | ((select & 3) << 4) : entry & 63);
    return colors[index & pelMask]!;
  });
}

function renderText(
  view: VgaView,
  { width, height, cellWidth, raster }: Extract<ScreenMode, { kind: "text" }>,
  colors: Uint32Array,
  pixels: Uint32Array,
): void {
  const { memory, crtc, attribute } = view;
  const palette = attributeColors(view, colors);
  const attributeMode = attribute[ATTR.MODE]!;
  const map = view.sequencer[SEQ.CHARACTER_MAP]!;
  const fonts = [fontAt((map & 3) | ((map >> 2) & 4)), fontAt(((map >> 2) & 3) | ((map >> 3) & 4))];
  const blinks = (attributeMode & ATTR_MODE.BLINK) !== 0;
  const isBlinkOff = Math.floor(view.frame / BLINK_FRAMES) % 2 === 1;
  const hasNinth = (attributeMode & ATTR_MODE.LINE_GRAPHICS) !== 0;
  const underlineRow = crtc[CRTC.UNDERLINE]! & UNDERLINE.ROW;
  const cursor = cursorOf(view);
  const preset = crtc[CRTC.PRESET_ROW_SCAN]! & 0x1f;
  for (let y = 0; y < height; y++) {
    const line = rasterLine(raster, preset, y);
    const shift = panning(view, line, cellWidth, false);
    for (let column = 0; column <= raster.columns; column++) {
      const counter = (line.counter + column) & 0xffff;
      const at = planeAddress(crtc, counter, 0) * 4;
      const character = memory[at]!;
      const colour = memory[at + 1]!;
      const font = fonts[colour & 8 ? 1 : 0]!;
      let bits = memory[(font + character * FONT_HEIGHT + line.scan) * 4 + 2]! << 1;
      if (hasNinth && character >= 0xc0 && character < 0xe0) bits |= (bits >> 1) & 1;
      if (attributeMode & ATTR_MODE.MONO && (colour & 7) === 1 && line.scan === underlineRow) bits = 0x1ff;
      if (blinks && colour & 0x80 && isBlinkOff) bits = 0;
      if (cursor && counter === cursor.counter && line.scan >= cursor.first && line.scan <= cursor.last) bits = 0x1ff;
      const front = palette[colour & 15]!;
      const back = palette[blinks ? (colour >> 4) & 7 : colour >> 4]!;
      for (let dot = 0; dot < cellWidth; dot++) {
        const x = column * cellWidth + dot - shift;
        if (x >= 0 && x < width) pixels[y * width + x] = bits & (0x100 >> dot) ? front : back;
      }
    }
  }
}

/** Offset in plane 2 of font 0 to 7: every 16 KiB one, and those half-way between. */
function fontAt(index: number): number {
  return (index & 3) * 0x4000 + (index & 4 ? 0x2000 : 0);
}

/** Where the cursor is and which lines of the cell it has; undefined while it cannot be seen. */
function cursorOf({ crtc, frame }: VgaView): { counter: number; first: number; last: number } | undefined {
  const start = crtc[CRTC.CURSOR_START]!;
  if (start & CURSOR_OFF || Math.floor(frame / CURSOR_FRAMES) % 2 === 1) return undefined;
  const counter = (crtc[CRTC.CURSOR_HIGH]! << 8) | crtc[CRTC.CURSOR_LOW]!;
  return { counter, first: start & 0x1f, last: crtc[CRTC.CURSOR_END]! & 0x1f };
}

function renderPlanar(
  view: VgaView,
  { width, height, hasBytes, raster }: Extract<ScreenMode, { kind: "planar" }>,
  colors: Uint32Array,
  pixels: Uint32Array,
): void {
  const { crtc, graphics } = view;
  const palette = attributeColors(view, colors);
  const isInterleaved = (graphics[GFX.MODE]! & GFX_MODE.SHIFT_INTERLEAVE) !== 0;
  const preset = crtc[CRTC.PRESET_ROW_SCAN]! & 0x1f;
  const perColumn = hasBytes ? 4 : 8;
  const dots = new Uint32Array(perColumn);
  for (let y = 0; y < height; y++) {
    const line: RasterLine = rasterLine(raster, preset, y * raster.repeat);
    const shift = panning(view, line, 8, hasBytes);
    for (let column = 0; column <= raster.columns; column++) {
      const at = planeAddress(crtc, line.counter + column, line.scan) * 4;
      if (hasBytes) bytesOf(view, at, colors, dots);
      else if (isInterleaved) pairsOf(view, at, palette, dots);
      else bitsOf(view, at, palette, dots);
      for (let dot = 0; dot < perColumn; dot++) {
        const x = column * perColumn + dot - shift;
        if (x >= 0 && x < width) pixels[y * width + x] = dots[dot]!;
      }
    }
  }
}

/** One bit of each plane a pixel. */
function bitsOf({ memory, attribute }: VgaView, at: number, palette: Uint32Array, dots: Uint32Array): void {
  const enabled = attribute[ATTR.PLANE_ENABLE]!;
  const [p0, p1, p2, p3] = [memory[at]!, memory[at + 1]!, memory[at + 2]!, memory[at + 3]!];
  for (let dot = 0; dot < 8; dot++) {
    const bit = 7 - dot;
    const index = ((p0 >> bit) & 1) | (((p1 >> bit) & 1) << 1) | (((p2 >> bit) & 1) << 2) | (((p3 >> bit) & 1) << 3);
    dots[dot] = palette[index & enabled]!;
  }
}

/** CGA's four colours: two bits of planes 0 and 1 (and, for the upper half, of 2 and 3) a pixel. */
function pairsOf({ memory, attribute }: VgaView, at: number, palette: Uint32Array, dots: Uint32Array): void {
  const enabled = attribute[ATTR.PLANE_ENABLE]!;
  for (let dot = 0; dot < 8; dot++) {
    const byte = dot >> 2;
    const shift = 6 - 2 * (dot & 3);
    const index = ((memory[at + byte]! >> shift) & 3) | (((memory[at + byte + 2]! >> shift) & 3) << 2);
    dots[dot] = palette[index & enabled]!;
  }
}

/** 256 colours: a byte of each plane is a pixel. */
function bytesOf({ memory, pelMask }: VgaView, at: number, colors: Uint32Array, dots: Uint32Array): void {
  for (let dot = 0; dot < 4; dot++) dots[dot] = colors[memory[at + dot]! & pelMask]!;
}

/** The display interface's 16-colour modes. */
function renderPlanes(view: VgaView, dispi: DispiMode, colors: Uint32Array, pixels: Uint32Array): void {
  const { width, height, strideBytes, startByte } = dispi;
  const palette = attributeColors(view, colors);
  const dots = new Uint32Array(8);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x += 8) {
      bitsOf(view, startByte + y * strideBytes + (x >> 3) * 4, palette, dots);
      pixels.set(dots, y * width + x);
    }
  }
}

function renderLinear(view: VgaView, dispi: DispiMode, colors: Uint32Array, pixels: Uint32Array): void {
  const { memory, pelMask } = view;
  const { width, height, bpp, strideBytes, startByte } = dispi;
  const wide5 = (value: number): number => (value << 3) | (value >> 2);
  const wide6 = (value: number): number => (value << 2) | (value >> 4);
  let to = 0;
  for (let y = 0; y < height; y++) {
    let at = startByte + y * strideBytes;
    switch (bpp) {
      case 8:
        for (let x = 0; x < width; x++) pixels[to++] = colors[memory[at++]! & pelMask]!;
        break;
      case 15:
      case 16:
        for (let x = 0; x < width; x++, at += 2) {
          const pixel = memory[at]! | (memory[at + 1]! << 8);
          const blue = wide5(pixel & 31);
          const green = bpp === 16 ? wide6((pixel >> 5) & 63) : wide5((pixel >> 5) & 31);
          const red = wide5((pixel >> (bpp === 16 ? 11 : 10)) & 31);
          pixels[to++] = BLACK | red | (green << 8) | (blue << 16);
        }
        break;
      default: {
        const step = bpp === 24 ? 3 : 4;
        for (let x = 0; x < width; x++, at += step) {
          pixels[to++] = BLACK | memory[at + 2]! | (memory[at + 1]! << 8) | (memory[at]! << 16);
        }
      }
    }
  }
}
