/**
 * Where the electron beam is: input status 1 and the frame count, computed from guest time and the CRT controller's
 * totals. Nothing ticks. Totals that no monitor would show are replaced by 31.5 kHz and 70 Hz, so that a guest that waits
 * for the retrace always sees one.
 */
import { CLOCKING, CRTC, MISC, STATUS_1 } from "./registers.ts";

const DOT_CLOCK_HZ = { slow: 25_175_000, fast: 28_322_000 } as const;
const MIN_CHARACTERS = 40;
const MIN_LINES = 200;
const DEFAULT_LINE_NS = 31_778;
const DEFAULT_LINES = { total: 449, retrace: 412, displayed: 400 } as const;
const RETRACE_LINES = 2;

export interface Timing {
  readonly lineNs: number;
  /** Of the line, while the display is on. */
  readonly displayedNs: number;
  readonly total: number;
  readonly displayed: number;
  readonly retrace: number;
}

export function timingOf(crtc: Uint8Array, clocking: number, misc: number): Timing {
  const overflow = crtc[CRTC.OVERFLOW]!;
  const bits = (low: number, bit8: number, bit9: number): number =>
    low | (overflow & bit8 ? 0x100 : 0) | (overflow & bit9 ? 0x200 : 0);
  const characters = crtc[CRTC.HORIZONTAL_TOTAL]! + 5;
  const shown = crtc[CRTC.HORIZONTAL_DISPLAY_END]! + 1;
  const total = bits(crtc[CRTC.VERTICAL_TOTAL]!, 0x01, 0x20) + 2;
  const displayed = bits(crtc[CRTC.VERTICAL_DISPLAY_END]!, 0x02, 0x40) + 1;
  const retrace = bits(crtc[CRTC.RETRACE_START]!, 0x04, 0x80);
  if (
    characters < MIN_CHARACTERS ||
    total < MIN_LINES ||
    retrace >= total ||
    displayed >= total ||
    shown >= characters
  ) {
    return { lineNs: DEFAULT_LINE_NS, displayedNs: Math.floor(DEFAULT_LINE_NS * 0.8), ...DEFAULT_LINES };
  }
  const hz = (misc & MISC.CLOCK) === MISC.CLOCK_28 ? DOT_CLOCK_HZ.fast : DOT_CLOCK_HZ.slow;
  const dots = clocking & CLOCKING.DOTS_8 ? 8 : 9;
  const lineNs = Math.round((characters * dots * 1e9) / hz);
  return { lineNs, displayedNs: Math.floor((lineNs * shown) / characters), total, displayed, retrace };
}

export function status1(timing: Timing, nowNs: number): number {
  const { lineNs, total } = timing;
  const line = Math.floor(nowNs / lineNs) % total;
  const isRetrace = line >= timing.retrace && line < timing.retrace + RETRACE_LINES;
  const isOff = line >= timing.displayed || nowNs % lineNs >= timing.displayedNs;
  return (isRetrace ? STATUS_1.VERTICAL_RETRACE : 0) | (isOff || isRetrace ? STATUS_1.DISPLAY_DISABLED : 0);
}

/** Frames since power-on: what blinks counts them. */
export function frameAt(timing: Timing, nowNs: number): number {
  return Math.floor(nowNs / (timing.lineNs * timing.total));
}
