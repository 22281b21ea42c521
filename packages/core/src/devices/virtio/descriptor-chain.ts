/**
 * One buffer that the driver gave to the device: the guest memory behind a chain of descriptors, device-readable
 * parts first, then device-writable ones (virtio 1.2, 2.7.4.2). Addresses and lengths are the guest's; they have been
 * bounded by the walk (queue.ts) but name any address. Every access goes through GuestMemory, which checks it.
 */
import type { Gpa, GuestMemory } from "../../memory/guest-memory.ts";

export interface MemoryPart {
  readonly gpa: Gpa;
  readonly sizeBytes: number;
}

export class DescriptorChain {
  /** The index of the first descriptor: the chain's name in both rings. */
  readonly head: number;
  /** Sums of guest-controlled lengths: up to 2^43, so bound them before allocating. */
  readonly readableBytes: number;
  readonly writableBytes: number;
  readonly #memory: GuestMemory;
  readonly #readable: readonly MemoryPart[];
  readonly #writable: readonly MemoryPart[];

  constructor(memory: GuestMemory, head: number, readable: readonly MemoryPart[], writable: readonly MemoryPart[]) {
    this.head = head;
    this.#memory = memory;
    this.#readable = readable;
    this.#writable = writable;
    this.readableBytes = totalBytes(readable);
    this.writableBytes = totalBytes(writable);
  }

  /** Where the device may write, in order; no address of them is checked. */
  get writableParts(): readonly MemoryPart[] {
    return this.#writable;
  }

  /** Fills `into` from the readable part, starting at `offset`. False if it is shorter or not memory; `into` may be half filled. */
  read(offset: number, into: Uint8Array): boolean {
    return transfer(this.#readable, offset, into, (gpa, bytes) => this.#memory.read(gpa, bytes));
  }

  /** Copies `from` to the writable part, starting at `offset`. False if it is shorter or not RAM; some may be written. */
  write(offset: number, from: Uint8Array): boolean {
    return transfer(this.#writable, offset, from, (gpa, bytes) => this.#memory.write(gpa, bytes));
  }
}

function totalBytes(parts: readonly MemoryPart[]): number {
  let total = 0;
  for (const part of parts) total += part.sizeBytes;
  return total;
}

function transfer(
  parts: readonly MemoryPart[],
  offset: number,
  bytes: Uint8Array,
  copy: (gpa: Gpa, bytes: Uint8Array) => boolean,
): boolean {
  let skip = offset;
  let done = 0;
  for (const part of parts) {
    if (done === bytes.length) break;
    if (skip >= part.sizeBytes) {
      skip -= part.sizeBytes;
      continue;
    }
    const length = Math.min(part.sizeBytes - skip, bytes.length - done);
    if (!copy(part.gpa + skip, bytes.subarray(done, done + length))) return false;
    done += length;
    skip = 0;
  }
  return done === bytes.length;
}
