/**
 * Names of the VGA's registers and bits, as in IBM's "PS/2 Hardware Interface Technical Reference" (video subsystem):
 * sequencer, CRT controller, graphics controller, attribute controller, general registers. Ports count from 3B0H.
 */

/** Offsets from port 3B0H. */
export const VGA_PORT = {
  base: 0x3b0,
  count: 0x30,
  monoCrtc: 0x04,
  monoStatus: 0x0a,
  attribute: 0x10,
  attributeRead: 0x11,
  misc: 0x12,
  videoEnable: 0x13,
  sequencer: 0x14,
  pelMask: 0x16,
  dacReadIndex: 0x17,
  dacWriteIndex: 0x18,
  dacData: 0x19,
  featureRead: 0x1a,
  miscRead: 0x1c,
  graphics: 0x1e,
  colorCrtc: 0x24,
  colorStatus: 0x2a,
} as const;

/** Miscellaneous output register. */
export const MISC = { COLOR_IO: 0x01, RAM_ENABLE: 0x02, CLOCK: 0x0c, CLOCK_28: 0x04 } as const;

export const SEQ = { RESET: 0, CLOCKING: 1, MAP_MASK: 2, CHARACTER_MAP: 3, MEMORY_MODE: 4, count: 5 } as const;
export const CLOCKING = { DOTS_8: 0x01, SCREEN_OFF: 0x20 } as const;
export const MEMORY_MODE = { PLANAR: 0x04, CHAIN_4: 0x08 } as const;

export const CRTC = {
  HORIZONTAL_TOTAL: 0x00,
  HORIZONTAL_DISPLAY_END: 0x01,
  HORIZONTAL_BLANK_START: 0x02,
  VERTICAL_TOTAL: 0x06,
  OVERFLOW: 0x07,
  PRESET_ROW_SCAN: 0x08,
  MAXIMUM_SCAN_LINE: 0x09,
  CURSOR_START: 0x0a,
  CURSOR_END: 0x0b,
  START_HIGH: 0x0c,
  START_LOW: 0x0d,
  CURSOR_HIGH: 0x0e,
  CURSOR_LOW: 0x0f,
  RETRACE_START: 0x10,
  RETRACE_END: 0x11,
  VERTICAL_DISPLAY_END: 0x12,
  OFFSET: 0x13,
  UNDERLINE: 0x14,
  MODE: 0x17,
  LINE_COMPARE: 0x18,
  count: 0x19,
} as const;
/** CRTC 11H: registers 0 to 7 are read-only, but for the line compare bit in the overflow register. */
export const PROTECT = 0x80;
export const OVERFLOW_LINE_COMPARE = 0x10;
export const SCAN_LINE = { HEIGHT: 0x1f, LINE_COMPARE_9: 0x40, DOUBLE: 0x80 } as const;
export const CURSOR_OFF = 0x20;
export const UNDERLINE = { ROW: 0x1f, DOUBLE_WORD: 0x40 } as const;
export const CRTC_MODE = { NOT_BIT_13: 0x01, NOT_BIT_14: 0x02, ADDRESS_WRAP: 0x20, BYTE: 0x40, ENABLE: 0x80 } as const;

export const GFX = {
  SET_RESET: 0,
  ENABLE_SET_RESET: 1,
  COLOR_COMPARE: 2,
  DATA_ROTATE: 3,
  READ_MAP: 4,
  MODE: 5,
  MISC: 6,
  COLOR_DONT_CARE: 7,
  BIT_MASK: 8,
  count: 9,
} as const;
export const GFX_MODE = { READ_COMPARE: 0x08, ODD_EVEN: 0x10, SHIFT_INTERLEAVE: 0x20, SHIFT_256: 0x40 } as const;
export const GFX_MISC = { GRAPHICS: 0x01 } as const;

export const ATTR = {
  MODE: 0x10,
  OVERSCAN: 0x11,
  PLANE_ENABLE: 0x12,
  PANNING: 0x13,
  COLOR_SELECT: 0x14,
  count: 0x15,
} as const;
export const ATTR_INDEX = { REGISTER: 0x1f, ADDRESS_SOURCE: 0x20 } as const;
export const ATTR_MODE = {
  GRAPHICS: 0x01,
  MONO: 0x02,
  LINE_GRAPHICS: 0x04,
  BLINK: 0x08,
  PAN_COMPATIBLE: 0x20,
  PALETTE_54: 0x80,
} as const;

/** Input status 1. */
export const STATUS_1 = { DISPLAY_DISABLED: 0x01, VERTICAL_RETRACE: 0x08 } as const;
