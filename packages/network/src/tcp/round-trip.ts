/** How long to wait for an acknowledgement (RFC 6298): smoothed round trip and its variance; doubled by each expiry. */

const CLOCK_GRANULARITY_MS = 1;
const INITIAL_MS = 1000;
/** RFC 6298 says a second, for networks; this link is memory, and a delayed acknowledgement of a guest comes within 40 ms. */
const LEAST_MS = 200;
const MOST_MS = 60_000;

export class RoundTrip {
  #smoothedMs: number | undefined;
  #varianceMs = 0;
  #backOff = 1;

  get timeoutMs(): number {
    const base =
      this.#smoothedMs === undefined
        ? INITIAL_MS
        : this.#smoothedMs + Math.max(CLOCK_GRANULARITY_MS, 4 * this.#varianceMs);
    return Math.min(MOST_MS, Math.max(LEAST_MS, base) * this.#backOff);
  }

  /** Of a segment that was sent once (Karn's rule). */
  sample(ms: number): void {
    this.#backOff = 1;
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = ms;
      this.#varianceMs = ms / 2;
      return;
    }
    this.#varianceMs = 0.75 * this.#varianceMs + 0.25 * Math.abs(this.#smoothedMs - ms);
    this.#smoothedMs = 0.875 * this.#smoothedMs + 0.125 * ms;
  }

  expired(): void {
    this.#backOff = Math.min(64, this.#backOff * 2);
  }

  /** Something new was acknowledged. */
  progressed(): void {
    this.#backOff = 1;
  }
}
