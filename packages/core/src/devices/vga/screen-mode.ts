/**
 * What a VGA shows, as a description: a pure function of its registers. Sizes are bounded by the registers' widths (VGA:
 * 256 characters of 9 dots, 1024 lines) or by the Bochs display interface (dispi.ts).
 *
 * A 256-colour mode of the VGA has half as many pixels as dots. Lines that the CRT controller repeats (double scan, or
 * character rows of more than one line that no address bit distinguishes) are one row of pixels.
 */
import type { DispiMode } from "./dispi.ts";
import {
  ATTR,
  ATTR_MODE,
  CLOCKING,
  CRTC,
  CRTC_MODE,
  GFX,
  GFX_MISC,
  GFX_MODE,
  SCAN_LINE,
  SEQ,
  UNDERLINE,
} from "./registers.ts";

/** Registers and memory of a VGA at one moment. Nobody writes them meanwhile. */
export interface VgaView {
  readonly memory: Uint8Array;
  readonly sequencer: Uint8Array;
  readonly crtc: Uint8Array;
  readonly graphics: Uint8Array;
  readonly attribute: Uint8Array;
  readonly palette: Uint8Array;
  readonly pelMask: number;
  readonly hasWideDac: boolean;
  /** The attribute controller takes its address from the display, and not from the CPU: the screen is on. */
  readonly isPaletteOn: boolean;
  readonly dispi: DispiMode | undefined;
  /** Frames since power-on. */
  readonly frame: number;
}

export interface RasterGeometry {
  /** In characters (text) or bytes of a plane (graphics). */
  readonly columns: number;
  /** Scan lines that are shown. */
  readonly lines: number;
  /** Scan lines of a character row. */
  readonly rowLines: number;
  /** Scan lines of one row of pixels. */
  readonly repeat: number;
  readonly isDoubled: boolean;
  /** Counts of the memory address counter: at the top, and from a row to the next. */
  readonly start: number;
  readonly pitch: number;
  /** The line where the counter starts again from 0. */
  readonly lineCompare: number;
}

export type ScreenMode =
  | {
      readonly kind: "text";
      readonly width: number;
      readonly height: number;
      readonly cellWidth: 8 | 9;
      readonly raster: RasterGeometry;
    }
  | {
      readonly kind: "planar";
      readonly width: number;
      readonly height: number;
      readonly hasBytes: boolean;
      readonly raster: RasterGeometry;
    }
  | { readonly kind: "linear"; readonly width: number; readonly height: number; readonly dispi: DispiMode };

export function screenModeOf(view: VgaView): ScreenMode {
  const { dispi, graphics } = view;
  if (dispi) return { kind: "linear", width: dispi.width, height: dispi.height, dispi };
  const raster = rasterOf(view);
  if ((graphics[GFX.MISC]! & GFX_MISC.GRAPHICS) === 0) {
    const cellWidth = view.sequencer[SEQ.CLOCKING]! & CLOCKING.DOTS_8 ? 8 : 9;
    return { kind: "text", width: raster.columns * cellWidth, height: raster.lines, cellWidth, raster };
  }
  const hasBytes = (graphics[GFX.MODE]! & GFX_MODE.SHIFT_256) !== 0;
  const width = raster.columns * (hasBytes ? 4 : 8);
  return { kind: "planar", width, height: Math.ceil(raster.lines / raster.repeat), hasBytes, raster };
}

/** Whether anything is shown at all. */
export function isScreenOn(view: VgaView): boolean {
  if (!view.isPaletteOn || view.sequencer[SEQ.CLOCKING]! & CLOCKING.SCREEN_OFF) return false;
  return view.dispi !== undefined || (view.crtc[CRTC.MODE]! & CRTC_MODE.ENABLE) !== 0;
}

function rasterOf({ crtc, graphics }: VgaView): RasterGeometry {
  const overflow = crtc[CRTC.OVERFLOW]!;
  const scan = crtc[CRTC.MAXIMUM_SCAN_LINE]!;
  const rowLines = (scan & SCAN_LINE.HEIGHT) + 1;
  const isDoubled = (scan & SCAN_LINE.DOUBLE) !== 0;
  const isText = (graphics[GFX.MISC]! & GFX_MISC.GRAPHICS) === 0;
  const substitutes = (crtc[CRTC.MODE]! & 3) !== 3;
  const repeat = (isDoubled ? 2 : 1) * (isText || substitutes ? 1 : rowLines);
  return {
    columns: crtc[CRTC.HORIZONTAL_DISPLAY_END]! + 1,
    lines: (crtc[CRTC.VERTICAL_DISPLAY_END]! | (overflow & 0x02 ? 0x100 : 0) | (overflow & 0x40 ? 0x200 : 0)) + 1,
    rowLines,
    repeat: isText ? 1 : repeat,
    isDoubled,
    start: (crtc[CRTC.START_HIGH]! << 8) | crtc[CRTC.START_LOW]!,
    pitch: crtc[CRTC.OFFSET]! * 2,
    lineCompare:
      crtc[CRTC.LINE_COMPARE]! | (overflow & 0x10 ? 0x100 : 0) | (scan & SCAN_LINE.LINE_COMPARE_9 ? 0x200 : 0),
  };
}

export interface RasterLine {
  /** The memory address counter at the line's first column. */
  readonly counter: number;
  /** The line within its character row. */
  readonly scan: number;
  /** Below the line compare: the lower part of a split screen, which does not pan where that is asked for. */
  readonly isLower: boolean;
}

/** The raster counters at a scan line that is shown. */
export function rasterLine(raster: RasterGeometry, presetRowScan: number, line: number): RasterLine {
  const isLower = line > raster.lineCompare;
  const from = isLower ? line - raster.lineCompare - 1 : line;
  const scanned = (raster.isDoubled ? from >> 1 : from) + (isLower ? 0 : Math.min(presetRowScan, raster.rowLines - 1));
  const counter = (isLower ? 0 : raster.start) + Math.floor(scanned / raster.rowLines) * raster.pitch;
  return { counter: counter & 0xffff, scan: scanned % raster.rowLines, isLower };
}

/** From the counter to an address within each plane: byte, word and double-word mode, CGA's and Hercules's row bits. */
export function planeAddress(crtc: Uint8Array, counter: number, scan: number): number {
  const mode = crtc[CRTC.MODE]!;
  let address = counter & 0xffff;
  if (crtc[CRTC.UNDERLINE]! & UNDERLINE.DOUBLE_WORD) address = (address << 2) & 0xfffc;
  else if ((mode & CRTC_MODE.BYTE) === 0) {
    address = ((address << 1) & 0xfffe) | ((address >> (mode & CRTC_MODE.ADDRESS_WRAP ? 15 : 13)) & 1);
  }
  if ((mode & CRTC_MODE.NOT_BIT_13) === 0) address = (address & ~0x2000) | ((scan & 1) << 13);
  if ((mode & CRTC_MODE.NOT_BIT_14) === 0) address = (address & ~0x4000) | ((scan & 2) << 13);
  return address;
}

/** How many pixels the line moves to the left. */
export function panning(view: VgaView, line: RasterLine, cellWidth: number, hasBytes: boolean): number {
  const { attribute } = view;
  if (line.isLower && attribute[ATTR.MODE]! & ATTR_MODE.PAN_COMPATIBLE) return 0;
  const value = attribute[ATTR.PANNING]! & 15;
  if (hasBytes) return (value >> 1) & 3;
  if (cellWidth === 9) return value >= 8 ? 0 : value + 1;
  return value & 7;
}
