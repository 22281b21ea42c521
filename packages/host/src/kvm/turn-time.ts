/**
 * Guest time of vCPUs that take turns in one thread. There is one count of nanoseconds (host-time.ts), which is the sum of
 * theirs: what passes is the one's whose turn it is, waiting included. So a saved state means the same as on the jit engine,
 * where each vCPU counts its instructions and guest time is the sum.
 *
 * Whose turn it is changes by `bring` alone, and what has been looked at till then stays the other's.
 */

import type { TscPlace } from "./guest-tsc.ts";
import type { HostTime } from "./host-time.ts";

export class TurnTime {
  readonly whole: HostTime;
  /** What all their time-stamp counters have in common. */
  readonly tsc: TscPlace;
  /** Of each but the current one. */
  readonly #counts: number[] = [];
  #current = 0;
  /** Of all but the current one. As with HostTime's, V8 is to keep them as doubles. */
  #others = Number.NaN;
  /** The guest has run since the time was looked at. */
  isStale = false;

  constructor(whole: HostTime, tsc: TscPlace, vcpus: number) {
    this.whole = whole;
    this.tsc = tsc;
    this.#counts = Array.from({ length: vcpus }, () => 0);
    this.#others = 0;
  }

  countOf(index: number): number {
    if (this.isStale) this.refresh();
    return index === this.#current ? this.whole.count - this.#others : this.#counts[index]!;
  }

  refresh(): void {
    this.isStale = false;
    this.whole.refresh();
  }

  /** What passes from here on is this one's. */
  bring(index: number): void {
    if (index === this.#current) return;
    const before = this.countOf(this.#current);
    this.#others += before - this.#counts[index]!;
    this.#counts[this.#current] = before;
    this.#current = index;
  }

  /** What has passed since the last look is nobody's. */
  anchor(): void {
    this.isStale = false;
    this.whole.anchor();
    this.tsc.forget();
  }

  /** This one's count is another. The others' stay, so the whole goes on from elsewhere, unless it is what it was. */
  put(index: number, count: number): void {
    const more = count - this.countOf(index);
    if (more === 0 && this.#counts.length > 1) return;
    if (index !== this.#current) {
      this.#counts[index] = count;
      this.#others += more;
    }
    this.whole.anchor(this.whole.count + more);
    this.tsc.forget();
  }
}
