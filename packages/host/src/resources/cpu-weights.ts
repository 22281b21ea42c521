/**
 * Processor time shared by weight among VMs that wait for a processor, without rights and between processes: each VM notes how
 * much it has used, divided by its weight ("virtual time", as in weighted fair queueing: Demers, Keshav, Shenker 1989), at a place
 * that all can read (weight-file.ts). Who is ahead of the one that is furthest behind rests until that has caught up.
 * Nobody rests for a VM that does not wait: what one leaves, the others use.
 *
 * Why not by nice levels or control groups: docs/decisions/0018-processor-shares.md.
 */

export interface WeightEntry {
  readonly weight: number;
  /** Processor time in milliseconds, divided by the weight. */
  readonly virtualMs: number;
  /** It wants a processor that others have, or rests for others. */
  readonly isContending: boolean;
  /** Of the host's monotonic clock. */
  readonly atMs: number;
}

export interface WeightTable {
  /** All but one's own. */
  others(): readonly WeightEntry[];
  publish(entry: WeightEntry): void;
}

/** Ahead by less is not ahead: switching costs, too. In processor time of the one that is ahead. */
const TOLERANCE_MS = 4;
/** Ahead by more counts as this much: nobody pays for what was before somebody else came. */
const MOST_AHEAD_MS = 60;
/** At a time: then it looks again. */
const MAX_REST_MS = 20;
/** An entry that is older is one of a VM that waits for something else, or is gone. */
const FRESH_MS = 250;
/** Who has waited for a processor for more than this part of its time contends. */
const CONTENDED = 0.02;
/** How much of what was is forgotten with each look. */
const FORGET = 1 / 8;

export class CpuWeight {
  readonly #table: WeightTable;
  #weight: number;
  #virtualMs = 0;
  #isContending = false;
  #waited = 0;

  constructor(table: WeightTable, weight: number) {
    this.#table = table;
    this.#weight = weight;
  }

  set weight(weight: number) {
    this.#weight = weight;
    this.#isContending = false;
  }

  get isContending(): boolean {
    return this.#isContending;
  }

  /** How long the guest rests, having used and waited for the processor for so long since it was asked last. */
  used(cpuMs: number, waitedMs: number, nowMs: number): number {
    const weight = this.#weight;
    this.#virtualMs += cpuMs / weight;
    const all = cpuMs + waitedMs;
    if (all > 0) this.#waited += (waitedMs / all - this.#waited) * FORGET;
    const others = this.#table
      .others()
      .filter(({ isContending, atMs }) => isContending && Math.abs(nowMs - atMs) < FRESH_MS);
    const behindMs = Math.min(...others.map(({ virtualMs }) => virtualMs));
    const contends = this.#waited > CONTENDED;
    // Who comes has no claim on what others have used before.
    if (contends && !this.#isContending && others.length > 0) this.#virtualMs = Math.max(this.#virtualMs, behindMs);
    this.#isContending = contends;
    let restMs = 0;
    const aheadMs = (this.#virtualMs - behindMs) * weight;
    if (contends && aheadMs > TOLERANCE_MS) {
      if (aheadMs > MOST_AHEAD_MS) this.#virtualMs = behindMs + MOST_AHEAD_MS / weight;
      const theirs = others.reduce((sum, other) => sum + other.weight, 0);
      restMs = Math.min((Math.min(aheadMs, MOST_AHEAD_MS) * theirs) / weight, MAX_REST_MS);
    }
    this.#publish(nowMs);
    return restMs;
  }

  /** The guest waits for something else. */
  idle(nowMs: number): void {
    if (!this.#isContending) return;
    this.#isContending = false;
    this.#publish(nowMs);
  }

  #publish(atMs: number): void {
    this.#table.publish({ weight: this.#weight, virtualMs: this.#virtualMs, isContending: this.#isContending, atMs });
  }
}
