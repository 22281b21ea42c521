/** Bytes of a WebAssembly module: LEB128 numbers, names, sections (core specification, section 5). */
import { largeBytes, largeModuleBytes } from "../memory/large-bytes.ts";

/** How much a writer grows at most for one byte more. */
const MAX_STEP_BYTES = 1 << 17;

export class WasmWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  length = 0;

  constructor(room = 1024) {
    this.#bytes = largeBytes(room);
  }

  #room(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const step = Math.min(this.#bytes.length, MAX_STEP_BYTES);
    const grown = largeBytes(Math.max(this.#bytes.length + step, this.length + count));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }
  byte(value: number): void {
    this.#room(1);
    this.#bytes[this.length++] = value;
  }
  /** Overwrites a byte. */
  patch(at: number, value: number): void {
    this.#bytes[at] = value;
  }
  bytes(values: ArrayLike<number>): void {
    this.#room(values.length);
    this.#bytes.set(values, this.length);
    this.length += values.length;
  }
  /** Unsigned LEB128, up to 32 bits. */
  u32(value: number): void {
    let v = value >>> 0;
    while (v >= 0x80) {
      this.byte((v & 0x7f) | 0x80);
      v >>>= 7;
    }
    this.byte(v);
  }
  /** Signed LEB128, 32 bits. */
  s32(value: number): void {
    let v = value | 0;
    for (;;) {
      const low = v & 0x7f;
      v >>= 7;
      const isLast = (v === 0 && !(low & 0x40)) || (v === -1 && (low & 0x40) !== 0);
      this.byte(isLast ? low : low | 0x80);
      if (isLast) return;
    }
  }
  /** A number from 0 to 2^20 - 1 as signed LEB128 of three bytes, over what is at `at`. */
  patchNumber(at: number, value: number): void {
    this.#bytes[at] = (value & 0x7f) | 0x80;
    this.#bytes[at + 1] = ((value >> 7) & 0x7f) | 0x80;
    this.#bytes[at + 2] = value >> 14;
  }
  /** Signed LEB128, 64 bits. */
  s64(value: bigint): void {
    let v = BigInt.asIntN(64, value);
    if (v >= -0x80000000n && v <= 0x7fffffffn) {
      this.s32(Number(v));
      return;
    }
    for (;;) {
      const low = Number(v & 0x7fn);
      v >>= 7n;
      const isLast = (v === 0n && !(low & 0x40)) || (v === -1n && (low & 0x40) !== 0);
      this.byte(isLast ? low : low | 0x80);
      if (isLast) return;
    }
  }
  name(text: string): void {
    const bytes = Array.from(text, (c) => c.charCodeAt(0) & 0x7f);
    this.u32(bytes.length);
    this.bytes(bytes);
  }
  append(other: WasmWriter): void {
    this.bytes(other.view());
  }
  /** A section or a sized entry: its length, then its bytes. */
  sized(body: WasmWriter): void {
    this.u32(body.length);
    this.append(body);
  }
  view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.length);
  }
  take(): Uint8Array<ArrayBuffer> {
    const taken = largeModuleBytes(this.length);
    taken.set(this.view());
    return taken;
  }
}
