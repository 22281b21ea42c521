/**
 * The palette: 256 entries of three bytes behind an index that counts up after each third byte (PS/2 Hardware Interface
 * Technical Reference, "Video digital-to-analog converter"). Components have six bits, or eight where the Bochs display
 * interface says so. Left out: that the palette must not be written outside of retrace.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";

const ENTRIES = 256;
const PALETTE_BYTES = ENTRIES * 3;
const STATE = { WRITE: 0, READ: 3 } as const;

export class Dac {
  readonly palette: Uint8Array = new Uint8Array(PALETTE_BYTES);
  pelMask = 0xff;
  /** Position of the next byte to be read and to be written: entry * 3 + component. */
  #readAt = 0;
  #writeAt = 0;
  #isReading = false;

  get state(): number {
    return this.#isReading ? STATE.READ : STATE.WRITE;
  }

  get writeIndex(): number {
    return Math.floor(this.#writeAt / 3);
  }

  selectRead(index: number): void {
    this.#readAt = index * 3;
    this.#isReading = true;
  }

  selectWrite(index: number): void {
    this.#writeAt = index * 3;
    this.#isReading = false;
  }

  read(): number {
    const value = this.palette[this.#readAt]!;
    this.#readAt = (this.#readAt + 1) % PALETTE_BYTES;
    return value;
  }

  write(value: number, isWide: boolean): void {
    this.palette[this.#writeAt] = isWide ? value : value & 0x3f;
    this.#writeAt = (this.#writeAt + 1) % PALETTE_BYTES;
  }

  reset(): void {
    this.palette.fill(0);
    this.pelMask = 0xff;
    this.#readAt = 0;
    this.#writeAt = 0;
    this.#isReading = false;
  }

  save(): StateValue {
    return {
      palette: this.palette.slice(),
      pelMask: this.pelMask,
      readAt: this.#readAt,
      writeAt: this.#writeAt,
      isReading: this.#isReading,
    };
  }

  /** Checks only; what it returns puts the state there. */
  parse(reader: StateReader): () => void {
    const palette = reader.bytesExact("palette", PALETTE_BYTES);
    const pelMask = reader.u8("pelMask");
    const readAt = reader.int("readAt", 0, PALETTE_BYTES - 1);
    const writeAt = reader.int("writeAt", 0, PALETTE_BYTES - 1);
    const isReading = reader.bool("isReading");
    reader.end();
    return () => {
      this.palette.set(palette);
      this.pelMask = pelMask;
      this.#readAt = readAt;
      this.#writeAt = writeAt;
      this.#isReading = isReading;
    };
  }
}

/** All 256 colours as bytes R, G, B, 255 in memory order. */
export function paletteColors(palette: Uint8Array, isWide: boolean): Uint32Array {
  const colors = new Uint32Array(ENTRIES);
  const wide = (value: number): number => (isWide ? value : ((value & 0x3f) << 2) | ((value & 0x3f) >> 4));
  for (let i = 0; i < ENTRIES; i++) {
    const [r, g, b] = [wide(palette[i * 3]!), wide(palette[i * 3 + 1]!), wide(palette[i * 3 + 2]!)];
    colors[i] = (r | (g << 8) | (b << 16) | 0xff00_0000) >>> 0;
  }
  return colors;
}
