/** The timer that ends a run: one for all vCPUs of a thread, as one of them runs at a time. It signals the thread. */
import { RUN } from "./abi.ts";
import type { LinuxCalls } from "./linux-calls.ts";

/** A run is at least so many entries long that nothing runs in: the guest then gets somewhere in each. */
const MIN_RUN_ENTRIES = 20;
const MEASURED_ENTRIES = 3;

/** How short a run may be, by what an entry costs here. */
export function leastRunNs(run: DataView, enterGuest: () => number, minRunNs: number): number {
  let least = Number.POSITIVE_INFINITY;
  run.setUint8(RUN.immediate_exit, 1);
  for (let i = 0; i < MEASURED_ENTRIES; i++) {
    const startMs = performance.now();
    enterGuest();
    least = Math.min(least, (performance.now() - startMs) * 1e6);
  }
  run.setUint8(RUN.immediate_exit, 0);
  return Math.max(minRunNs, MIN_RUN_ENTRIES * least);
}

export class RunTimer {
  readonly #calls: LinuxCalls;
  readonly #timer: number;
  /** A time that is no small integer: V8 then keeps it as a double, and compiled code that reads it stays valid. */
  #endsNs = Number.NaN;

  constructor(calls: LinuxCalls, timer: number) {
    this.#calls = calls;
    this.#timer = timer;
  }

  /** A run of `budgetNs` begins, at least `leastNs` long. */
  set(nowNs: number, budgetNs: number, leastNs: number): void {
    const endsNs = nowNs + Math.max(budgetNs, leastNs);
    // One that is set already and ends a little earlier does as well: the run is then one of two.
    if (this.#endsNs > nowNs && this.#endsNs <= endsNs && endsNs - this.#endsNs < budgetNs / 8) return;
    this.#endsNs = endsNs;
    this.#calls.setTimer(this.#timer, endsNs - nowNs);
  }

  /** Its signal, or another one, was taken away. */
  taken(): void {
    this.#endsNs = 0;
  }
}
