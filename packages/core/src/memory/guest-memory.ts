/**
 * Guest-physical memory: one contract for the CPU's slow paths, DMA of devices, page-walk bits and copies
 * (docs/architecture.md, "Memory"). Dirty tracking, code invalidation and bounds hold here and nowhere else.
 *
 * Layout: segments of RAM and ROM, with the PCI hole below 4 GiB between them. All addresses and lengths that arrive here are
 * guest-controlled.
 */
declare const gpaBrand: unique symbol;
/** A guest-physical address: an integer below 2^52, exact in a number. */
export type Gpa = number & { readonly [gpaBrand]?: never };

export interface MemorySegment {
  readonly start: Gpa;
  readonly sizeBytes: number;
  readonly kind: "ram" | "rom";
}

export interface GuestMemory {
  readonly segments: readonly MemorySegment[];
  /** Bytes of RAM below 4 GiB, from address 0. */
  readonly lowRamBytes: number;
  /** Copies guest memory into `into`. False, with `into` untouched, if any byte is not RAM or ROM. */
  read(gpa: Gpa, into: Uint8Array): boolean;
  /** Copies `from` to guest RAM and invalidates translated code there. False, with nothing written, if any byte is not RAM. */
  write(gpa: Gpa, from: Uint8Array): boolean;
  /**
   * Where these bytes lie in the piece of the host's memory that RAM is, for who reads and writes there by itself; -1 unless
   * all are RAM.
   */
  place(gpa: Gpa, length: number): number;
  /** Who has written there by itself says so: invalidates translated code. Throws RangeError unless all is RAM. */
  written(gpa: Gpa, length: number): void;
  /**
   * The guest gives these whole pages back: they become zeros, and take no memory of the host's until they are touched where
   * the host can do that. False, with nothing changed, unless all is RAM and whole pages of 4 KiB.
   */
  discard(gpa: Gpa, length: number): boolean;
  /** Little-endian loads and stores; undefined or false outside RAM (a load also reads ROM). */
  read8(gpa: Gpa): number | undefined;
  read16(gpa: Gpa): number | undefined;
  read32(gpa: Gpa): number | undefined;
  read64(gpa: Gpa): bigint | undefined;
  write8(gpa: Gpa, value: number): boolean;
  write16(gpa: Gpa, value: number): boolean;
  write32(gpa: Gpa, value: number): boolean;
  write64(gpa: Gpa, value: bigint): boolean;
}
