/**
 * While nobody waits for a translation, blocks count as hot sooner: the thread that translates has nothing else to do, and
 * programs that end soon, or that come back again and again for a moment, are never as hot as otherwise asked for. The
 * longer that thread is idle the sooner. A few at a time, so that one which is really hot waits for a few.
 */
import * as L from "../cpu/layout.ts";

/** So many requests are made in haste at a time, */
const FEW = 8;
/** and for so many looks fewer are held back: a module for each would be many modules, and where they are many, blocks are dropped. */
const HELD = 8;
/** Looks at an idle translator until half as many runs are enough. */
const PATIENCE = 4;
/** The fewest runs that are enough, as a fraction of what is asked for otherwise. A region costs the host's first compiler on this thread. */
const LEAST = 1 / 8;

export class Haste {
  readonly #view: DataView;
  readonly #cpuBase: number;
  readonly #heat: number;
  #idle = 0;
  #held = 0;
  /** One that waits is as hot as otherwise asked for. */
  #isUrgent = false;

  /** `heat`: of a block that has not run; `cpuBase`: where the vCPU's state block is. */
  constructor(view: DataView, heat: number, cpuBase: number = L.CPU_BASE) {
    this.#cpuBase = cpuBase;
    this.#view = view;
    this.#heat = heat;
  }

  /** Between two slices. */
  look(waiting: number, isUnderWay: boolean): void {
    if (waiting > 0 || isUnderWay) {
      this.#idle = 0;
      if (isUnderWay || waiting >= FEW) this.#allow(this.#heat);
      return;
    }
    this.#idle++;
    const enough = this.#heat / 2 ** (1 + Math.floor(this.#idle / PATIENCE));
    this.#allow(Math.ceil(Math.max(enough, this.#heat * LEAST)));
  }

  /** Another request waits, for a block that has run so often. */
  asked(waiting: number, runs: number): void {
    if (runs >= this.#heat) this.#isUrgent = true;
    if (waiting >= FEW) this.#allow(this.#heat);
  }

  /** Between two slices: whether those that wait had better wait for others. */
  holdsBack(waiting: number): boolean {
    if (waiting > 0 && waiting < FEW && !this.#isUrgent && this.#held++ < HELD) return true;
    this.#held = 0;
    this.#isUrgent = false;
    return false;
  }

  /** Blocks are hot after so many runs. */
  #allow(runs: number): void {
    const haste = Math.max(0, this.#heat - runs + 1 - L.HASTE_ABOVE);
    this.#view.setInt32(this.#cpuBase + L.HASTE.offset, haste, true);
  }
}
