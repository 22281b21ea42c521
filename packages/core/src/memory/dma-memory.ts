/**
 * Guest memory as bus masters find it: as processors do, but that nothing is written to what is not RAM for reads and stores alike
 * between 0xC0000 and 1 MiB (devices/shadow-ram.ts).
 */
import type { Gpa, GuestMemory, MemorySegment } from "./guest-memory.ts";

const SHADOW = { start: 0xc_0000, end: 0x10_0000, partShift: 14 } as const;

export class DmaMemory implements GuestMemory {
  readonly lowRamBytes: number;
  readonly segments: readonly MemorySegment[];
  /** Bit n: 16 KiB at 0xC0000 + n * 16 KiB. */
  closedParts = 0;
  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
    this.lowRamBytes = memory.lowRamBytes;
    this.segments = memory.segments;
  }

  read(gpa: Gpa, into: Uint8Array): boolean {
    return this.#memory.read(gpa, into);
  }

  write(gpa: Gpa, from: Uint8Array): boolean {
    return this.#isOpen(gpa, from.length) && this.#memory.write(gpa, from);
  }

  place(gpa: Gpa, length: number): number {
    return this.#isOpen(gpa, length) ? this.#memory.place(gpa, length) : -1;
  }

  written(gpa: Gpa, length: number): void {
    this.#memory.written(gpa, length);
  }

  discard(gpa: Gpa, length: number): boolean {
    return this.#isOpen(gpa, length) && this.#memory.discard(gpa, length);
  }

  read8(gpa: Gpa): number | undefined {
    return this.#memory.read8(gpa);
  }

  read16(gpa: Gpa): number | undefined {
    return this.#memory.read16(gpa);
  }

  read32(gpa: Gpa): number | undefined {
    return this.#memory.read32(gpa);
  }

  read64(gpa: Gpa): bigint | undefined {
    return this.#memory.read64(gpa);
  }

  write8(gpa: Gpa, value: number): boolean {
    return this.#isOpen(gpa, 1) && this.#memory.write8(gpa, value);
  }

  write16(gpa: Gpa, value: number): boolean {
    return this.#isOpen(gpa, 2) && this.#memory.write16(gpa, value);
  }

  write32(gpa: Gpa, value: number): boolean {
    return this.#isOpen(gpa, 4) && this.#memory.write32(gpa, value);
  }

  write64(gpa: Gpa, value: bigint): boolean {
    return this.#isOpen(gpa, 8) && this.#memory.write64(gpa, value);
  }

  /** GUEST-CONTROLLED: both. */
  #isOpen(gpa: Gpa, length: number): boolean {
    if (gpa >= SHADOW.end || gpa + length <= SHADOW.start || this.closedParts === 0) return true;
    const first = Math.max(0, gpa - SHADOW.start) >> SHADOW.partShift;
    const last = (Math.min(gpa + length, SHADOW.end) - 1 - SHADOW.start) >> SHADOW.partShift;
    const parts = (2 << last) - (1 << first);
    return (this.closedParts & parts) === 0;
  }
}
