/**
 * Guest time while the processor runs the guest: a count of nanoseconds that follows the guest's own time-stamp counter.
 *
 *     count(host) = baseCount + (host - baseHost) x rate
 *
 * The rate starts at 1. Now and then the counter is read (`measured`), and the rate becomes what it was over the interval,
 * plus a little, so that the count and the counter meet again after one more interval. The count never runs backwards.
 * Time that passes while the machine stands still is left out by `anchor`.
 */
export class HostTime {
  readonly #hostNs: () => number;
  /** What is NaN at first V8 keeps as doubles: code that was compiled with small integers in them goes, and is made anew. */
  #baseCount = Number.NaN;
  #baseHostNs = Number.NaN;
  #rate = Number.NaN;
  #count = Number.NaN;
  #measuredCounterNs: number | undefined;
  #measuredHostNs = Number.NaN;

  /** `hostNs`: the host's monotonic clock. */
  constructor(hostNs: () => number) {
    this.#hostNs = hostNs;
    this.#baseCount = 0;
    this.#rate = 1;
    this.#count = 0;
    this.#baseHostNs = hostNs();
  }

  /** As of the last `refresh`: a whole number. */
  get count(): number {
    return this.#count;
  }

  refresh(): number {
    const now = Math.floor(this.#baseCount + (this.#hostNs() - this.#baseHostNs) * this.#rate);
    if (now > this.#count) this.#count = now;
    return this.#count;
  }

  /** The count is `count`, and goes on from now: what has passed since the last refresh is not the guest's. */
  anchor(count: number = this.#count): void {
    this.#count = count;
    this.#base(count);
    this.#measuredCounterNs = undefined;
  }

  /** Host time since the rate was last looked at, or Infinity after an anchor. */
  get sinceMeasuredNs(): number {
    if (this.#measuredCounterNs === undefined) return Number.POSITIVE_INFINITY;
    return this.#hostNs() - this.#measuredHostNs;
  }

  /**
   * The guest's counter says `counterNs`, counted from where it said the same as the count. The first answer after an
   * anchor is the beginning of the first interval.
   */
  measured(counterNs: number): void {
    const hostNs = this.#hostNs();
    const count = this.refresh();
    if (this.#measuredCounterNs !== undefined) {
      const intervalNs = hostNs - this.#measuredHostNs;
      if (intervalNs <= 0) return;
      const rate = (counterNs - this.#measuredCounterNs + (counterNs - count)) / intervalNs;
      this.#rate = Math.min(Math.max(rate, MIN_RATE), MAX_RATE);
      this.#base(count);
    }
    this.#measuredCounterNs = counterNs;
    this.#measuredHostNs = hostNs;
  }

  #base(count: number): void {
    this.#baseCount = count;
    this.#baseHostNs = this.#hostNs();
  }
}

/** A host that was stopped for a while makes one interval of any rate. */
const MIN_RATE = 0.5;
const MAX_RATE = 2;
