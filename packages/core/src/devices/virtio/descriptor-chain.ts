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

  /** Where in RAM these bytes of the part that is read, or written, lie: BlockRequest.spans. Undefined if not all are RAM. */
  spans(isWritten: boolean, offset: number, length: number): number[] | undefined {
    const spans: number[] = [];
    const isRam = eachPart(isWritten ? this.#writable : this.#readable, offset, length, (gpa, _done, bytes) => {
      const place = this.#memory.place(gpa, bytes);
      if (place < 0) return false;
      const last = spans.length - 2;
      if (last >= 0 && spans[last]! + spans[last + 1]! === place) spans[last + 1]! += bytes;
      else spans.push(place, bytes);
      return true;
    });
    return isRam ? spans : undefined;
  }

  /** Somebody else has written there, as far as it is RAM. */
  written(offset: number, length: number): void {
    eachPart(this.#writable, offset, length, (gpa, _done, bytes) => {
      if (this.#memory.place(gpa, bytes) >= 0) this.#memory.written(gpa, bytes);
      return true;
    });
  }

  /** Fills `into` from the readable part, starting at `offset`. False if it is shorter or not memory; `into` may be half filled. */
  read(offset: number, into: Uint8Array): boolean {
    return eachPart(this.#readable, offset, into.length, (gpa, done, length) =>
      this.#memory.read(gpa, into.subarray(done, done + length)),
    );
  }

  /** Copies `from` to the writable part, starting at `offset`. False if it is shorter or not RAM; some may be written. */
  write(offset: number, from: Uint8Array): boolean {
    return eachPart(this.#writable, offset, from.length, (gpa, done, length) =>
      this.#memory.write(gpa, from.subarray(done, done + length)),
    );
  }
}

function totalBytes(parts: readonly MemoryPart[]): number {
  let total = 0;
  for (const part of parts) total += part.sizeBytes;
  return total;
}

/** False if there are fewer bytes, or at the first part for which `act` says so. */
function eachPart(
  parts: readonly MemoryPart[],
  offset: number,
  wanted: number,
  act: (gpa: Gpa, done: number, length: number) => boolean,
): boolean {
  let skip = offset;
  let done = 0;
  for (const part of parts) {
    if (done === wanted) break;
    if (skip >= part.sizeBytes) {
      skip -= part.sizeBytes;
      continue;
    }
    const length = Math.min(part.sizeBytes - skip, wanted - done);
    if (!act(part.gpa + skip, done, length)) return false;
    done += length;
    skip = 0;
  }
  return done === wanted;
}
