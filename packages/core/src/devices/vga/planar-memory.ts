/**
 * The CPU's way to the VGA's four planes, through the window at A0000H to BFFFFH (PS/2 Hardware Interface Technical
 * Reference, graphics controller): read modes 0 and 1, write modes 0 to 3, odd/even, chain-4, the latches.
 *
 * Byte `a` of plane `p` is byte 4a + p of video memory, so that the four latches are one 32-bit word, and the linear
 * frame buffer is the same memory. Two address bits that chain-4 and odd/even use to choose planes are zero within the
 * plane; the larger memories' ways to use them for higher bits are left out.
 */
import { GFX, GFX_MODE, MEMORY_MODE, SEQ } from "./registers.ts";

export const PLANE_BYTES = 0x1_0000;

/** Nibble of planes to bytes of a word. */
const SPREAD: readonly number[] = Array.from({ length: 16 }, (_, planes) =>
  [0, 1, 2, 3].reduce((word, plane) => (planes & (1 << plane) ? (word | (0xff << (8 * plane))) >>> 0 : word), 0),
);
/** Start and size of the window, by graphics register 6, bits 3:2; offsets from A0000H. */
const WINDOWS: readonly { readonly start: number; readonly sizeBytes: number }[] = [
  { start: 0, sizeBytes: 0x2_0000 },
  { start: 0, sizeBytes: 0x1_0000 },
  { start: 0x1_0000, sizeBytes: 0x8000 },
  { start: 0x1_8000, sizeBytes: 0x8000 },
];

export class PlanarMemory {
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #sequencer: Uint8Array;
  readonly #graphics: Uint8Array;
  readonly #onWrite: (at: number) => void;
  /** The four latches, plane 0 in the low byte. */
  latches = 0;

  /** `onWrite` is told the byte of video memory that changed, or the first of the four. */
  constructor(memory: Uint8Array, sequencer: Uint8Array, graphics: Uint8Array, onWrite: (at: number) => void) {
    this.#onWrite = onWrite;
    this.#bytes = memory;
    this.#words = new Uint32Array(memory.buffer, memory.byteOffset, memory.length >> 2);
    this.#sequencer = sequencer;
    this.#graphics = graphics;
  }

  /** Address within the planes' window; -1 where there is none. `offset` counts from A0000H. */
  locate(offset: number): number {
    const { start, sizeBytes } = WINDOWS[(this.#graphics[GFX.MISC]! >> 2) & 3]!;
    return offset >= start && offset < start + sizeBytes ? (offset - start) % PLANE_BYTES : -1;
  }

  /** `address`: from `locate`. `bank` is added to the plane's address. */
  read(address: number, bank = 0): number {
    const graphics = this.#graphics;
    if (this.#sequencer[SEQ.MEMORY_MODE]! & MEMORY_MODE.CHAIN_4) {
      this.#latch(bank + (address & 0xfffc));
      return (this.latches >>> (8 * (address & 3))) & 0xff;
    }
    const isOddEven = (graphics[GFX.MODE]! & GFX_MODE.ODD_EVEN) !== 0;
    this.#latch(bank + (isOddEven ? address & 0xfffe : address));
    if (graphics[GFX.MODE]! & GFX_MODE.READ_COMPARE) {
      const different =
        (this.latches ^ SPREAD[graphics[GFX.COLOR_COMPARE]!]!) & SPREAD[graphics[GFX.COLOR_DONT_CARE]!]!;
      return ~(different | (different >>> 8) | (different >>> 16) | (different >>> 24)) & 0xff;
    }
    const map = graphics[GFX.READ_MAP]!;
    return (this.latches >>> (8 * (isOddEven ? (map & 2) | (address & 1) : map))) & 0xff;
  }

  write(address: number, value: number, bank = 0): void {
    const sequencer = this.#sequencer;
    let planes = sequencer[SEQ.MAP_MASK]!;
    const mode = sequencer[SEQ.MEMORY_MODE]!;
    if (mode & MEMORY_MODE.CHAIN_4) {
      const plane = address & 3;
      const at = (bank + (address & 0xfffc)) * 4 + plane;
      if ((planes & (1 << plane)) === 0 || at >= this.#bytes.length) return;
      this.#bytes[at] = value;
      this.#onWrite(at);
      return;
    }
    let at = bank + address;
    if ((mode & MEMORY_MODE.PLANAR) === 0) {
      planes &= address & 1 ? 0b1010 : 0b0101;
      at = bank + (address & 0xfffe);
    }
    const mask = SPREAD[planes]!;
    if (mask === 0 || at >= this.#words.length) return;
    this.#words[at] = (this.#combined(value) & mask) | (this.#words[at]! & ~mask);
    this.#onWrite(at * 4);
  }

  #latch(at: number): void {
    this.latches = at < this.#words.length ? this.#words[at]! : 0xffff_ffff;
  }

  /** What the write mode makes of the CPU's byte and the latches. */
  #combined(value: number): number {
    const graphics = this.#graphics;
    const rotated = (): number => {
      const rotate = graphics[GFX.DATA_ROTATE]! & 7;
      return ((value >> rotate) | (value << (8 - rotate))) & 0xff;
    };
    let bitMask = graphics[GFX.BIT_MASK]!;
    let data: number;
    switch (graphics[GFX.MODE]! & 3) {
      case 0: {
        const set = SPREAD[graphics[GFX.ENABLE_SET_RESET]!]!;
        data = (Math.imul(rotated(), 0x0101_0101) & ~set) | (SPREAD[graphics[GFX.SET_RESET]!]! & set);
        break;
      }
      case 1:
        return this.latches;
      case 2:
        data = SPREAD[value & 15]!;
        break;
      default:
        bitMask &= rotated();
        data = SPREAD[graphics[GFX.SET_RESET]!]!;
    }
    const { latches } = this;
    switch ((graphics[GFX.DATA_ROTATE]! >> 3) & 3) {
      case 1:
        data &= latches;
        break;
      case 2:
        data |= latches;
        break;
      case 3:
        data ^= latches;
    }
    const bits = Math.imul(bitMask, 0x0101_0101);
    return (data & bits) | (latches & ~bits);
  }
}
