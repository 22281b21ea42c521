/**
 * Which rows of a screen have changed since somebody last looked: video memory in granules of 256 bytes, and everything
 * when a register that shapes the picture was written. What blinks changes with the frames. No part of the machine's state:
 * looking changes nothing that a guest could notice.
 */
import { ATTR, ATTR_MODE, CRTC, CURSOR_OFF } from "./registers.ts";
import { planeAddress, rasterLine, type ScreenMode, screenModeOf, type VgaView } from "./screen-mode.ts";

const GRANULE_BITS = 8;
const BLINK_FRAMES = 16;
const CURSOR_FRAMES = 8;

/** Rows of pixels, [first, end). */
export interface RowSpan {
  readonly first: number;
  readonly end: number;
}

export class ScreenChanges {
  readonly #granules: Uint8Array;
  #isAll = true;
  #frame = 0;

  constructor(memoryBytes: number) {
    this.#granules = new Uint8Array(Math.ceil(memoryBytes >> GRANULE_BITS));
  }

  /** A byte of video memory, or up to 256 from it on. */
  memory(at: number): void {
    this.#granules[at >> GRANULE_BITS] = 1;
  }

  /** Whole granules. */
  range(at: number, bytes: number): void {
    this.#granules.fill(1, at >> GRANULE_BITS, (at + bytes) >> GRANULE_BITS);
  }

  everything(): void {
    this.#isAll = true;
  }

  /** The changed rows in ascending order, which then count as seen. */
  take(view: VgaView): RowSpan[] {
    const mode = screenModeOf(view);
    this.#blinking(view, mode);
    const spans = this.#isAll ? [{ first: 0, end: mode.height }] : this.#spans(view, mode);
    this.#isAll = false;
    this.#frame = view.frame;
    this.#granules.fill(0);
    return spans;
  }

  #blinking({ crtc, attribute, frame }: VgaView, mode: ScreenMode): void {
    if (mode.kind !== "text") return;
    const passed = (frames: number): boolean => Math.floor(frame / frames) !== Math.floor(this.#frame / frames);
    if (attribute[ATTR.MODE]! & ATTR_MODE.BLINK && passed(BLINK_FRAMES)) this.#isAll = true;
    if (crtc[CRTC.CURSOR_START]! & CURSOR_OFF || !passed(CURSOR_FRAMES)) return;
    this.memory(planeAddress(crtc, (crtc[CRTC.CURSOR_HIGH]! << 8) | crtc[CRTC.CURSOR_LOW]!, 0) * 4);
  }

  #spans(view: VgaView, mode: ScreenMode): RowSpan[] {
    const spans: { first: number; end: number }[] = [];
    for (let y = 0; y < mode.height; y++) {
      if (!this.#isChanged(view, mode, y)) continue;
      const last = spans.at(-1);
      if (last?.end === y) last.end = y + 1;
      else spans.push({ first: y, end: y + 1 });
    }
    return spans;
  }

  #isChanged(view: VgaView, mode: ScreenMode, y: number): boolean {
    const granules = this.#granules;
    if (mode.kind === "linear") {
      const { startByte, strideBytes, width, bpp } = mode.dispi;
      const from = startByte + y * strideBytes;
      const last = from + Math.ceil((width * (bpp === 15 ? 16 : bpp)) / 8) - 1;
      for (let i = from >> GRANULE_BITS; i <= last >> GRANULE_BITS; i++) if (granules[i]) return true;
      return false;
    }
    const { raster } = mode;
    const isText = mode.kind === "text";
    const line = rasterLine(raster, view.crtc[CRTC.PRESET_ROW_SCAN]! & 0x1f, isText ? y : y * raster.repeat);
    for (let column = 0; column <= raster.columns; column++) {
      const at = planeAddress(view.crtc, line.counter + column, isText ? 0 : line.scan) * 4;
      if (granules[at >> GRANULE_BITS]) return true;
    }
    return false;
  }
}
