/**
 * Wall mode's policy: how guest time follows the host's clock. At each slice's start it compares the two and answers
 * with at most one correction, which then enters through the event log:
 *
 *   guest behind   time jumps forward by the difference
 *   guest ahead    the ratio shrinks until the host has caught up; guest time never runs backwards
 *   on time        the ratio follows the measured speed of the engine
 *
 * Differences below the tolerance are left alone, so a steady guest costs few events. Nothing here is state of the
 * machine: a pause or a restore only anchors it anew, which is the declared rule that guest time stands still meanwhile.
 */
import { PS_PER_INSTRUCTION } from "./guest-clock.ts";

export interface ClockCorrection {
  readonly advanceNs: number;
  readonly psPerInstruction: number;
}

const TOLERANCE_NS = 2_000;
const RATIO_TOLERANCE = 1 / 64;
/** Slices with fewer instructions measure the host's call overhead rather than the engine. */
const MIN_MEASURED_INSTRUCTIONS = 1_000;
/** Weight of one slice in the measured speed, and how far one slice may pull (the host may have been busy elsewhere). */
const WEIGHT = 1 / 8;
const MAX_PULL = 4;
/** Being ahead by this much halves the ratio. */
const AHEAD_HALF_NS = 200_000;

export class WallPacer {
  readonly #wallNs: () => number;
  #originNs = 0;
  #lastWallNs = 0;
  #lastRetired = 0;
  #measuredPs: number;
  #isRunning = false;

  constructor(wallNs: () => number, psPerInstruction: number) {
    this.#wallNs = wallNs;
    this.#measuredPs = psPerInstruction;
  }

  /** Guest time `guestNs` is now: after start, resume and restore. */
  anchor(guestNs: number): void {
    this.#lastWallNs = this.#wallNs();
    this.#originNs = this.#lastWallNs - guestNs;
    this.#isRunning = false;
  }

  /** The vCPU sleeps after the present slice: the next interval measures nothing. */
  idle(): void {
    this.#isRunning = false;
  }

  correction(guestNs: number, retired: number, psPerInstruction: number): ClockCorrection | undefined {
    const wallNs = Math.max(this.#wallNs(), this.#lastWallNs);
    this.#measure(wallNs, retired);
    const behindNs = Math.floor(wallNs - this.#originNs) - guestNs;
    const advanceNs = Math.max(behindNs, 0);
    const aheadNs = Math.max(-behindNs, 0);
    const wanted = this.#measuredPs * (AHEAD_HALF_NS / (AHEAD_HALF_NS + aheadNs));
    const ratio = Math.min(Math.max(Math.round(wanted), PS_PER_INSTRUCTION.min), PS_PER_INSTRUCTION.max);
    const sameRatio = Math.abs(ratio - psPerInstruction) <= psPerInstruction * RATIO_TOLERANCE;
    if (advanceNs <= TOLERANCE_NS && sameRatio) return undefined;
    return { advanceNs, psPerInstruction: sameRatio ? psPerInstruction : ratio };
  }

  #measure(wallNs: number, retired: number): void {
    const count = retired - this.#lastRetired;
    if (this.#isRunning && count >= MIN_MEASURED_INSTRUCTIONS) {
      const measured = ((wallNs - this.#lastWallNs) * 1000) / count;
      const bounded = Math.min(Math.max(measured, this.#measuredPs / MAX_PULL), this.#measuredPs * MAX_PULL);
      const next = this.#measuredPs + (bounded - this.#measuredPs) * WEIGHT;
      this.#measuredPs = Math.min(Math.max(next, PS_PER_INSTRUCTION.min), PS_PER_INSTRUCTION.max);
    }
    this.#lastWallNs = wallNs;
    this.#lastRetired = retired;
    this.#isRunning = true;
  }
}
