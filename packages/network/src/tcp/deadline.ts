/**
 * A time at which something happens unless it is set anew. Most are moved on long before they come, so that the host's timer
 * stays where it is and, when it expires too early, is set again.
 */
import type { NetworkWorld, Timer } from "../world.ts";

export class Deadline {
  readonly #world: NetworkWorld;
  readonly #expired: () => void;
  #dueMs: number | undefined;
  #timer: Timer | undefined;
  #timerMs = 0;

  constructor(world: NetworkWorld, expired: () => void) {
    this.#world = world;
    this.#expired = expired;
  }

  set(afterMs: number): void {
    const dueMs = this.#world.nowMs() + afterMs;
    this.#dueMs = dueMs;
    if (this.#timer && this.#timerMs <= dueMs) return;
    this.#timer?.cancel();
    this.#arm(dueMs, afterMs);
  }

  setUnlessSet(afterMs: number): void {
    if (this.#dueMs === undefined) this.set(afterMs);
  }

  cancel(): void {
    this.#dueMs = undefined;
  }

  /** For good: the host's timer, which would keep everything that it leads to, is gone. */
  stop(): void {
    this.cancel();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(dueMs: number, afterMs: number): void {
    this.#timerMs = dueMs;
    this.#timer = this.#world.setTimer(afterMs, () => this.#look());
  }

  #look(): void {
    this.#timer = undefined;
    const dueMs = this.#dueMs;
    if (dueMs === undefined) return;
    const leftMs = dueMs - this.#world.nowMs();
    if (leftMs > 0) {
      this.#arm(dueMs, leftMs);
      return;
    }
    this.#dueMs = undefined;
    this.#expired();
  }
}
