/**
 * What one side of a connection receives (RFC 9293, 3.10.7.4): bytes in order go on at once, later ones wait in a queue that the
 * window bounds. The window's right edge never moves back, and moves forward in steps that are worth a segment (RFC 9293,
 * 3.8.6.2.2). GUEST-CONTROLLED: sequence numbers and payloads.
 */
import type { Range } from "./segment.ts";
import { distance, plus } from "./sequence.ts";

const MAX_SACK_BLOCKS = 3;
/** A window of full segments has fewer; a sender of tiny ones sends again what does not fit. */
const MAX_QUEUED = 2048;

interface Queued {
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

export interface Accepted {
  /** In order, each for itself. */
  readonly bytes: readonly Uint8Array[];
  /** Something lies out of order, or fills a hole, or was there already: to be acknowledged at once. */
  readonly isUnusual: boolean;
}

export class ReceiveHalf {
  /** RCV.NXT */
  next: number;
  readonly #limitBytes: number;
  readonly #mss: number;
  /** Sorted, disjoint. */
  readonly #queue: Queued[] = [];
  #queuedBytes = 0;
  /** The end of the window that was announced last. */
  #edge: number;
  #lastArrival: number | undefined;

  constructor(initialSequence: number, limitBytes: number, mss: number) {
    this.next = plus(initialSequence, 1);
    this.#limitBytes = limitBytes;
    this.#mss = mss;
    this.#edge = this.next;
  }

  /** The window to announce while so many delivered bytes wait on the host's side. */
  window(pendingBytes: number): number {
    const edge = plus(this.next, Math.max(0, this.#limitBytes - pendingBytes));
    const gain = distance(edge, this.#edge);
    const isWorthwhile = gain >= Math.min(this.#mss, this.#limitBytes / 2);
    if (isWorthwhile) this.#edge = edge;
    return Math.max(0, distance(this.#edge, this.next));
  }

  /** Would `window` now say so much more that the sender, which may be waiting for it, has to hear? */
  isWindowOpening(pendingBytes: number): boolean {
    const gain = distance(plus(this.next, Math.max(0, this.#limitBytes - pendingBytes)), this.#edge);
    return gain >= Math.min(2 * this.#mss, this.#limitBytes / 2);
  }

  /**
   * RFC 9293, table 6: some of the segment lies in the window. `length` counts SYN and FIN. One without length may also lie at
   * the window's end, where a sender is that has used all of it.
   */
  isAcceptable(sequence: number, length: number): boolean {
    const windowBytes = Math.max(0, distance(this.#edge, this.next));
    const start = distance(sequence, this.next);
    if (length === 0) return start >= 0 && start <= windowBytes;
    const end = start + length - 1;
    return windowBytes > 0 && ((start >= 0 && start < windowBytes) || (end >= 0 && end < windowBytes));
  }

  accept(sequence: number, payload: Uint8Array): Accepted {
    const skip = Math.max(0, -distance(sequence, this.next));
    const start = plus(sequence, skip);
    const room = Math.max(0, distance(this.#edge, start));
    if (skip >= payload.length || room === 0) return { bytes: [], isUnusual: true };
    const bytes = payload.subarray(skip, Math.min(payload.length, skip + room));
    if (start !== this.next) {
      this.#insert(start, bytes);
      return { bytes: [], isUnusual: true };
    }
    this.next = plus(this.next, bytes.length);
    if (this.#queue.length === 0) return { bytes: [bytes], isUnusual: skip > 0 };
    return { bytes: [bytes, ...this.#take()], isUnusual: true };
  }

  #insert(sequence: number, bytes: Uint8Array): void {
    this.#lastArrival = sequence;
    let [at, rest] = [sequence, bytes];
    for (let i = 0; rest.length > 0; i++) {
      const other = this.#queue[i];
      if (other && distance(plus(other.sequence, other.bytes.length), at) <= 0) continue;
      const free = other ? Math.max(0, distance(other.sequence, at)) : rest.length;
      const part = rest.subarray(0, Math.min(free, rest.length));
      if (part.length > 0) {
        if (this.#queue.length === MAX_QUEUED) return;
        this.#queue.splice(i, 0, { sequence: at, bytes: part });
        this.#queuedBytes += part.length;
        at = plus(at, part.length);
        rest = rest.subarray(part.length);
      } else {
        const covered = Math.min(rest.length, distance(plus(other!.sequence, other!.bytes.length), at));
        at = plus(at, covered);
        rest = rest.subarray(covered);
      }
    }
  }

  /** What follows in order now, from the queue. */
  #take(): Uint8Array[] {
    const ready: Uint8Array[] = [];
    let count = 0;
    for (const { sequence, bytes } of this.#queue) {
      const covered = distance(this.next, sequence);
      if (covered < 0) break;
      count++;
      this.#queuedBytes -= bytes.length;
      if (covered >= bytes.length) continue;
      ready.push(bytes.subarray(covered));
      this.next = plus(sequence, bytes.length);
    }
    this.#queue.splice(0, count);
    return ready;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** What lies out of order, the block of the last arrival first (RFC 2018, 4). */
  sackBlocks(): Range[] {
    const blocks: [number, number][] = [];
    for (const { sequence, bytes } of this.#queue) {
      const last = blocks.at(-1);
      const end = plus(sequence, bytes.length);
      if (last && last[1] === sequence) last[1] = end;
      else blocks.push([sequence, end]);
    }
    const arrival = this.#lastArrival;
    const latest = blocks.findIndex(
      ([start, end]) => arrival !== undefined && distance(arrival, start) >= 0 && distance(arrival, end) < 0,
    );
    if (latest > 0) blocks.unshift(...blocks.splice(latest, 1));
    return blocks.slice(0, MAX_SACK_BLOCKS);
  }
}
