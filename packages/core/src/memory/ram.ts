/**
 * Guest RAM inside a region of one buffer, usually a WebAssembly.Memory that the engine's code works on too. The
 * segments lie in the buffer one after the other, without the hole that separates them in the guest's address space.
 *
 * Here hold bounds, dirty pages and invalidation for every write that does not come from translated code: device DMA,
 * page-walk bits, loaders, restore. ROM, which lies behind RAM and for the guest ends at 4 GiB, is read and never written.
 * Left out: copy-on-write, page-in.
 *
 * Precondition: the buffer is not grown or detached while this object is in use.
 */
import { MEMORY_MAP } from "../machine/board-map.ts";
import type { Gpa, GuestMemory, MemorySegment } from "./guest-memory.ts";

export const PAGE_BYTES = 4096;
/** The board's interrupt controllers lie below that. */
export const MAX_ROM_BYTES: number = 16 * 2 ** 20;

export interface RamOptions {
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
  /** Where RAM starts in the buffer. */
  readonly byteOffset: number;
  /** Ascending, whole pages, not overlapping: see `ramSegments`. */
  readonly segments: readonly MemorySegment[];
  /** Size of the ROM behind the segments; default none. Whole pages. */
  readonly romBytes?: number;
  /** After each write: code translated from there is stale. `at`: counted from RAM's start in the buffer, without holes. */
  readonly onWrite?: (at: number, length: number) => void;
  /** One byte for each page in buffer order, not 0 once written. Translated stores may set them as well. */
  readonly dirtyPages?: Uint8Array;
}

/** The memory that RAM lies in, for another engine of the process that takes the VM over. What is below RAM is the engine's. */
export interface RamHolder {
  /** Shared. */
  readonly memory: WebAssembly.Memory;
  readonly ramOffset: number;
}

export interface RamRegion {
  readonly start: Gpa;
  /** The segment's bytes themselves. Whoever writes here answers for dirty pages and stale code: see `Ram.written`. */
  readonly bytes: Uint8Array;
}

/** Segments of a board with `sizeBytes` of RAM: from 0 up to `lowRamEnd`, at most the PCI hole; the rest from 4 GiB. */
export function ramSegments(sizeBytes: number, lowRamEnd: number = MEMORY_MAP.lowRamEnd): MemorySegment[] {
  const low: MemorySegment = { start: 0, sizeBytes: Math.min(sizeBytes, lowRamEnd), kind: "ram" };
  if (sizeBytes <= lowRamEnd) return [low];
  return [low, { start: MEMORY_MAP.highRamStart, sizeBytes: sizeBytes - lowRamEnd, kind: "ram" }];
}

export class Ram implements GuestMemory {
  /** Of RAM. */
  readonly segments: readonly MemorySegment[];
  readonly romBytes: number;
  readonly lowRamBytes: number;
  readonly sizeBytes: number;
  readonly dirtyPages: Uint8Array;
  /** The segments' bytes, in the order of `segments`. */
  readonly regions: readonly RamRegion[];
  /** Makes whole pages zeros that take no memory; false where it cannot. Default: nobody can. */
  giveBack: ((bytes: Uint8Array) => boolean) | undefined;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #onWrite: (at: number, length: number) => void;
  /** Of the first segment, which takes nearly all accesses. */
  readonly #lowEnd: number;

  constructor(options: RamOptions) {
    this.segments = options.segments;
    this.sizeBytes = checkSegments(options.segments);
    this.#lowEnd = this.segments[0]!.sizeBytes;
    this.lowRamBytes = this.#lowEnd;
    this.romBytes = options.romBytes ?? 0;
    this.#bytes = new Uint8Array(options.buffer, options.byteOffset, this.sizeBytes + this.romBytes);
    this.#view = new DataView(options.buffer, options.byteOffset, this.sizeBytes + this.romBytes);
    this.#onWrite = options.onWrite ?? (() => {});
    this.dirtyPages = options.dirtyPages ?? new Uint8Array(this.sizeBytes / PAGE_BYTES);
    if (this.dirtyPages.length < this.sizeBytes / PAGE_BYTES) throw new RangeError("too few dirty bytes for this RAM");
    let at = 0;
    this.regions = this.segments.map((segment) => {
      const bytes = this.#bytes.subarray(at, at + segment.sizeBytes);
      at += segment.sizeBytes;
      return { start: segment.start, bytes };
    });
  }

  /** Puts the ROM's content there: before anything runs. */
  loadRom(bytes: Uint8Array): void {
    if (bytes.length !== this.romBytes) throw new RangeError(`${bytes.length} bytes for a ROM of ${this.romBytes}`);
    this.#bytes.set(bytes, this.sizeBytes);
  }

  read(gpa: Gpa, into: Uint8Array): boolean {
    const at = this.#locateToRead(gpa, into.length);
    if (at < 0) return false;
    into.set(this.#bytes.subarray(at, at + into.length));
    return true;
  }

  write(gpa: Gpa, from: Uint8Array): boolean {
    const at = this.place(gpa, from.length);
    if (at < 0) return false;
    this.#bytes.set(from, at);
    this.#mark(at, from.length);
    return true;
  }

  discard(gpa: Gpa, length: number): boolean {
    const at = this.place(gpa, length);
    if (at < 0 || gpa % PAGE_BYTES !== 0 || length % PAGE_BYTES !== 0) return false;
    if (length === 0) return true;
    const bytes = this.#bytes.subarray(at, at + length);
    if (!this.giveBack?.(bytes)) clearPages(bytes);
    this.#mark(at, length);
    return true;
  }

  read8(gpa: Gpa): number | undefined {
    const at = this.#locateToRead(gpa, 1);
    return at < 0 ? undefined : this.#view.getUint8(at);
  }

  read16(gpa: Gpa): number | undefined {
    const at = this.#locateToRead(gpa, 2);
    return at < 0 ? undefined : this.#view.getUint16(at, true);
  }

  read32(gpa: Gpa): number | undefined {
    const at = this.#locateToRead(gpa, 4);
    return at < 0 ? undefined : this.#view.getUint32(at, true);
  }

  read64(gpa: Gpa): bigint | undefined {
    const at = this.#locateToRead(gpa, 8);
    return at < 0 ? undefined : this.#view.getBigUint64(at, true);
  }

  write8(gpa: Gpa, value: number): boolean {
    const at = this.place(gpa, 1);
    if (at < 0) return false;
    this.#view.setUint8(at, value);
    this.#mark(at, 1);
    return true;
  }

  write16(gpa: Gpa, value: number): boolean {
    const at = this.place(gpa, 2);
    if (at < 0) return false;
    this.#view.setUint16(at, value, true);
    this.#mark(at, 2);
    return true;
  }

  write32(gpa: Gpa, value: number): boolean {
    const at = this.place(gpa, 4);
    if (at < 0) return false;
    this.#view.setUint32(at, value, true);
    this.#mark(at, 4);
    return true;
  }

  write64(gpa: Gpa, value: bigint): boolean {
    const at = this.place(gpa, 8);
    if (at < 0) return false;
    this.#view.setBigUint64(at, value, true);
    this.#mark(at, 8);
    return true;
  }

  #locateToRead(gpa: Gpa, length: number): number {
    const at = this.place(gpa, length);
    const romStart = MEMORY_MAP.highRamStart - this.romBytes;
    const isRom = at < 0 && gpa >= romStart && gpa + length <= MEMORY_MAP.highRamStart;
    return isRom ? this.sizeBytes + (gpa - romStart) : at;
  }

  written(gpa: Gpa, length: number): void {
    const at = this.place(gpa, length);
    if (at < 0) throw new RangeError(`0x${gpa.toString(16)} + ${length} is not RAM`);
    this.#mark(at, length);
  }

  /** GUEST-CONTROLLED: both. */
  place(gpa: Gpa, length: number): number {
    if (gpa >= 0 && gpa + length <= this.#lowEnd) return gpa;
    let at = this.#lowEnd;
    for (let i = 1; i < this.segments.length; i++) {
      const { start, sizeBytes } = this.segments[i]!;
      if (gpa >= start && gpa + length <= start + sizeBytes) return at + (gpa - start);
      at += sizeBytes;
    }
    return -1;
  }

  #mark(at: number, length: number): void {
    if (length === 0) return;
    const last = Math.floor((at + length - 1) / PAGE_BYTES);
    for (let page = Math.floor(at / PAGE_BYTES); page <= last; page++) this.dirtyPages[page] = 1;
    this.#onWrite(at, length);
  }
}

/** Those that are zeros are only read: they may take no memory of the host's yet. */
function clearPages(bytes: Uint8Array): void {
  const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
  for (let at = 0; at < words.length; at += PAGE_BYTES / 8) {
    const page = words.subarray(at, at + PAGE_BYTES / 8);
    if (page.some((word) => word !== 0n)) page.fill(0n);
  }
}

/** The sum of the sizes. */
function checkSegments(segments: readonly MemorySegment[]): number {
  let total = 0;
  let end = 0;
  for (const { start, sizeBytes, kind } of segments) {
    if (kind !== "ram" || sizeBytes <= 0 || sizeBytes % PAGE_BYTES !== 0 || start % PAGE_BYTES !== 0 || start < end) {
      throw new RangeError(`no possible RAM segment: ${sizeBytes} bytes of ${kind} at 0x${start.toString(16)}`);
    }
    total += sizeBytes;
    end = start + sizeBytes;
  }
  if (segments[0]?.start !== 0) throw new RangeError("RAM starts at address 0");
  return total;
}
