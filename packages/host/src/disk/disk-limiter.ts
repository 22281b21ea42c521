/**
 * What keeps a disk from being faster than its user allows: requests and bytes per second, each by a token bucket, kept as the
 * time at which the bucket is full again (the generic cell rate algorithm, ITU-T I.371, Annex A). It stands in front of the image,
 * in the thread of the disks: the guest sees a slow disk and nothing else, and its machine no clock of the host's.
 *
 * A request goes while anything is left and may take more than that, so that one of any size gets through; later ones wait in
 * their order.
 */
import type { DiskLimits, DiskUsage } from "./disk-protocol.ts";

/** What a bucket holds unless something else is said: so much of its rate. */
const BURST_MS = 100;
/** Timers know no shorter one. */
const LEAST_WAIT_MS = 1;

interface LimitedRequest {
  readonly operation: "read" | "write" | "flush" | "discard" | "write-zeroes";
  readonly length: number;
}

/** A rate: when its bucket is full again. */
class Rate {
  readonly #perMs: number;
  readonly #burstMs: number;
  #fullAtMs = 0;

  constructor(perSecond: number, burst: number | undefined) {
    this.#perMs = perSecond / 1000;
    this.#burstMs = burst === undefined ? BURST_MS : burst / this.#perMs;
  }

  /** Until something is left: 0 if there is now. */
  waitMs(nowMs: number): number {
    const overMs = this.#fullAtMs - nowMs - this.#burstMs;
    return overMs < 0 ? 0 : Math.max(overMs, LEAST_WAIT_MS);
  }

  take(count: number, nowMs: number): void {
    this.#fullAtMs = Math.max(this.#fullAtMs, nowMs) + count / this.#perMs;
  }
}

export interface DiskLimiterOptions<R> {
  readonly nowMs: () => number;
  /** Calls back once after so long; what was set before is forgotten. */
  readonly setTimer: (callback: () => void, afterMs: number) => void;
  readonly carryOut: (request: R) => void;
}

export class DiskLimiter<R extends LimitedRequest> {
  readonly #options: DiskLimiterOptions<R>;
  #requests: Rate | undefined;
  #bytes: Rate | undefined;
  #held: R[] = [];
  /** Since requests are held. */
  #heldSinceMs = 0;
  readonly #usage = { reads: 0, writes: 0, readBytes: 0, writtenBytes: 0, heldMs: 0 };

  constructor(options: DiskLimiterOptions<R>) {
    this.#options = options;
  }

  /** From here on; what is held is held by the new ones. */
  set({ requestsPerSecond, bytesPerSecond, burstRequests, burstBytes }: DiskLimits): void {
    this.#requests = requestsPerSecond === undefined ? undefined : new Rate(requestsPerSecond, burstRequests);
    this.#bytes = bytesPerSecond === undefined ? undefined : new Rate(bytesPerSecond, burstBytes);
    this.#pass();
  }

  submit(request: R): void {
    if (this.#held.length === 0) this.#heldSinceMs = this.#options.nowMs();
    this.#held.push(request);
    if (this.#held.length === 1) this.#pass();
  }

  /** What is held goes now: the image is about to be given back. */
  passAll(): void {
    for (const request of this.#take(this.#held.length)) this.#options.carryOut(request);
  }

  get usage(): DiskUsage {
    const heldMs = this.#held.length > 0 ? this.#options.nowMs() - this.#heldSinceMs : 0;
    return { ...this.#usage, heldMs: Math.round(this.#usage.heldMs + heldMs) };
  }

  #pass(): void {
    const nowMs = this.#options.nowMs();
    let count = 0;
    let waitMs = 0;
    for (; count < this.#held.length; count++) {
      waitMs = Math.max(this.#requests?.waitMs(nowMs) ?? 0, this.#bytes?.waitMs(nowMs) ?? 0);
      if (waitMs > 0) break;
      this.#requests?.take(1, nowMs);
      this.#bytes?.take(bytesMoved(this.#held[count]!), nowMs);
    }
    if (count < this.#held.length) this.#options.setTimer(() => this.#pass(), waitMs);
    for (const request of this.#take(count)) this.#options.carryOut(request);
  }

  /** The first ones, which are counted. */
  #take(count: number): R[] {
    if (count === 0) return [];
    const nowMs = this.#options.nowMs();
    const taken = this.#held.splice(0, count);
    this.#usage.heldMs += nowMs - this.#heldSinceMs;
    this.#heldSinceMs = nowMs;
    for (const request of taken) {
      const isRead = request.operation === "read";
      if (isRead) {
        this.#usage.reads++;
        this.#usage.readBytes += request.length;
      } else {
        this.#usage.writes++;
        this.#usage.writtenBytes += bytesMoved(request);
      }
    }
    return taken;
  }
}

/** What is only given back moves nothing. */
function bytesMoved({ operation, length }: LimitedRequest): number {
  return operation === "flush" || operation === "discard" ? 0 : length;
}
