/**
 * The Bochs display interface ("VBE_DISPI", version 0xB0C5): an index and 16-bit data registers that set linear modes of
 * 8 to 32 bits a pixel, or 4 bits in planes, with a larger virtual screen that the display moves over. QEMU's standard VGA
 * offers the same registers in memory, too.
 *
 * The guest may write anything: what a mode is made of is brought into bounds when it is enabled, so that it never reaches
 * beyond video memory. Left out: versions' differences (older identifiers are accepted and answered).
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";

export const DISPI = {
  ID: 0,
  XRES: 1,
  YRES: 2,
  BPP: 3,
  ENABLE: 4,
  BANK: 5,
  VIRT_WIDTH: 6,
  VIRT_HEIGHT: 7,
  X_OFFSET: 8,
  Y_OFFSET: 9,
  VIDEO_MEMORY_64K: 10,
  count: 11,
} as const;
export const DISPI_ENABLE = { ENABLED: 0x01, GETCAPS: 0x02, DAC_8BIT: 0x20, LFB: 0x40, NOCLEARMEM: 0x80 } as const;
export const DISPI_ID = { first: 0xb0c0, last: 0xb0c5 } as const;
export const MAX_RESOLUTION = { x: 2560, y: 1600, bpp: 32 } as const;
const DEPTHS: readonly number[] = [4, 8, 15, 16, 24, 32];
const BANK_BYTES = 0x1_0000;

export interface DispiMode {
  readonly width: number;
  readonly height: number;
  readonly bpp: number;
  readonly strideBytes: number;
  readonly startByte: number;
}

export class Dispi {
  readonly #registers = new Uint16Array(DISPI.count);
  readonly #memoryBytes: number;
  readonly #clear: () => void;
  index = 0;

  /** `clear`: a mode is set, video memory becomes zero. */
  constructor(memoryBytes: number, clear: () => void) {
    this.#memoryBytes = memoryBytes;
    this.#clear = clear;
    this.reset();
  }

  get isEnabled(): boolean {
    return (this.#registers[DISPI.ENABLE]! & DISPI_ENABLE.ENABLED) !== 0;
  }

  get hasWideDac(): boolean {
    return (this.#registers[DISPI.ENABLE]! & DISPI_ENABLE.DAC_8BIT) !== 0;
  }

  get bpp(): number {
    return this.#registers[DISPI.BPP]!;
  }

  /** Where the window at A0000H begins: a byte of video memory, or of each plane with 4 bits a pixel. */
  get bankOffset(): number {
    return this.#registers[DISPI.BANK]! * BANK_BYTES;
  }

  /** The mode that is shown, within video memory; undefined while the VGA shows its own. */
  get mode(): DispiMode | undefined {
    if (!this.isEnabled) return undefined;
    const r = this.#registers;
    const bpp = r[DISPI.BPP]!;
    const strideBytes = this.#stride;
    const startByte =
      r[DISPI.Y_OFFSET]! * strideBytes +
      Math.floor((r[DISPI.X_OFFSET]! * bitsOf(bpp)) / (bpp === 4 ? 32 : 8)) * (bpp === 4 ? 4 : 1);
    return { width: r[DISPI.XRES]!, height: r[DISPI.YRES]!, bpp, strideBytes, startByte };
  }

  read(index: number): number {
    const r = this.#registers;
    if (index === DISPI.VIDEO_MEMORY_64K) return this.#memoryBytes / BANK_BYTES;
    if (r[DISPI.ENABLE]! & DISPI_ENABLE.GETCAPS) {
      if (index === DISPI.XRES) return MAX_RESOLUTION.x;
      if (index === DISPI.YRES) return MAX_RESOLUTION.y;
      if (index === DISPI.BPP) return MAX_RESOLUTION.bpp;
    }
    return r[index] ?? 0;
  }

  /** GUEST-CONTROLLED: both. */
  write(index: number, value: number): void {
    const r = this.#registers;
    switch (index) {
      case DISPI.ID:
        if (value >= DISPI_ID.first && value <= DISPI_ID.last) r[index] = value;
        return;
      case DISPI.XRES:
      case DISPI.YRES:
      case DISPI.BPP:
        // Of a mode that is shown nothing changes.
        if (!this.isEnabled) r[index] = value;
        return;
      case DISPI.ENABLE:
        this.#enable(value);
        return;
      case DISPI.BANK:
        r[index] = value % (this.#memoryBytes / BANK_BYTES);
        return;
      case DISPI.VIRT_WIDTH:
      case DISPI.X_OFFSET:
      case DISPI.Y_OFFSET:
        r[index] = value;
        this.#bound();
        return;
      default: // The virtual height follows from the width; the memory's size is fixed.
    }
  }

  reset(): void {
    const r = this.#registers;
    r.fill(0);
    r[DISPI.ID] = DISPI_ID.last;
    r[DISPI.XRES] = 640;
    r[DISPI.YRES] = 480;
    r[DISPI.BPP] = 8;
    r[DISPI.VIRT_WIDTH] = 640;
    r[DISPI.VIRT_HEIGHT] = 480;
    this.index = 0;
  }

  save(): StateValue {
    return { index: this.index, registers: [...this.#registers] };
  }

  /** Checks only; what it returns puts the state there. */
  parse(reader: StateReader): () => void {
    const index = reader.u16("index");
    const registers = reader.ints("registers", DISPI.count, 0, 0xffff);
    reader.end();
    return () => {
      this.index = index;
      this.#registers.set(registers);
      const id = this.#registers[DISPI.ID]!;
      if (id < DISPI_ID.first || id > DISPI_ID.last) this.#registers[DISPI.ID] = DISPI_ID.last;
      this.#registers[DISPI.BANK]! %= this.#memoryBytes / BANK_BYTES;
      if (this.isEnabled) this.#bound();
    };
  }

  get #stride(): number {
    const r = this.#registers;
    return (r[DISPI.VIRT_WIDTH]! * bitsOf(r[DISPI.BPP]!)) / 8;
  }

  #enable(value: number): void {
    const r = this.#registers;
    const wasEnabled = this.isEnabled;
    r[DISPI.ENABLE] = value & 0xff;
    r[DISPI.BANK] = 0;
    if (!this.isEnabled || wasEnabled) return;
    r[DISPI.VIRT_WIDTH] = 0;
    r[DISPI.X_OFFSET] = 0;
    r[DISPI.Y_OFFSET] = 0;
    this.#bound();
    if ((value & DISPI_ENABLE.NOCLEARMEM) === 0) this.#clear();
  }

  /** Every register to what video memory has room for. */
  #bound(): void {
    const r = this.#registers;
    if (!DEPTHS.includes(r[DISPI.BPP]!)) r[DISPI.BPP] = 8;
    const bits = bitsOf(r[DISPI.BPP]!);
    r[DISPI.XRES] = Math.min(Math.max(r[DISPI.XRES]! & ~7, 8), MAX_RESOLUTION.x);
    const most = Math.floor((this.#memoryBytes * 8) / bits / r[DISPI.XRES]!);
    r[DISPI.YRES] = Math.min(Math.max(r[DISPI.YRES]!, 1), MAX_RESOLUTION.y, most);
    const widest = Math.floor((this.#memoryBytes * 8) / bits / r[DISPI.YRES]!);
    r[DISPI.VIRT_WIDTH] = Math.min(Math.max(r[DISPI.VIRT_WIDTH]! & ~7, r[DISPI.XRES]!), widest & ~7, 0xfff8);
    const rows = Math.floor(this.#memoryBytes / this.#stride);
    r[DISPI.VIRT_HEIGHT] = Math.min(rows, 0xffff);
    r[DISPI.X_OFFSET] = Math.min(r[DISPI.X_OFFSET]!, r[DISPI.VIRT_WIDTH]! - r[DISPI.XRES]!);
    r[DISPI.Y_OFFSET] = Math.min(r[DISPI.Y_OFFSET]!, rows - r[DISPI.YRES]!);
  }
}

/** Of memory for each pixel. */
function bitsOf(bpp: number): number {
  return bpp === 15 ? 16 : bpp;
}
