/**
 * When to stop the guest for the last step, and when to slow it down: asked after each round, with what the round has
 * shown. The guest is slowed one step at a time, and only while what it writes does not get less.
 */

/** The guest's share of its time, step by step. */
export const SHARES: readonly number[] = [1, 0.8, 0.6, 0.4, 0.25, 0.15, 0.08, 0.04, 0.02, 0.01];
/** What the last step takes beside pages: the devices' state, a few messages. */
const FIXED_MS = 15;
/** So few pages are worth no other round. */
const FEW_PAGES = 4;
/** While rounds make headway, another one is cheaper for the guest than to stand still for more than so many. */
const SMALL_STOP_PAGES = 64;
const MAX_SHRINKING_ROUNDS = 30;
/** A round that leaves more than this of what it carried makes no headway. */
const HEADWAY = 0.7;
/** Rounds without the guest slowed down, before it is. */
const FREE_ROUNDS = 2;
const MAX_ROUNDS = 200;

export interface RoundReport {
  /** Rounds so far. */
  readonly round: number;
  /** Pages that this round carried, and those that were written meanwhile. */
  readonly pages: number;
  readonly dirtyPages: number;
  /** What the link carries, as the best of the last rounds has shown. */
  readonly pagesPerMs: number;
  /** The guest's present share of its time. */
  readonly share: number;
  readonly maxDowntimeMs: number;
  readonly mayThrottle: boolean;
}

export type NextStep =
  | { readonly kind: "stop" }
  | { readonly kind: "round"; readonly share: number }
  /** It will not come to an end. */
  | { readonly kind: "give-up" };

export function nextStep(report: RoundReport): NextStep {
  const { round, pages, dirtyPages, pagesPerMs, share, maxDowntimeMs, mayThrottle } = report;
  if (dirtyPages <= FEW_PAGES) return { kind: "stop" };
  if (dirtyPages / Math.max(pagesPerMs, 0.001) + FIXED_MS <= maxDowntimeMs) {
    const isShrinking = dirtyPages > SMALL_STOP_PAGES && dirtyPages < pages * HEADWAY && round < MAX_SHRINKING_ROUNDS;
    return isShrinking ? { kind: "round", share } : { kind: "stop" };
  }
  if (round >= MAX_ROUNDS) return { kind: "give-up" };
  if (round <= FREE_ROUNDS || dirtyPages < pages * HEADWAY) return { kind: "round", share };
  const slower = SHARES.find((candidate) => candidate < share);
  if (mayThrottle && slower !== undefined) return { kind: "round", share: slower };
  // What the link carries is not known better by trying for ever.
  return round < FREE_ROUNDS + SHARES.length * 3 ? { kind: "round", share } : { kind: "give-up" };
}
