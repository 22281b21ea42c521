/**
 * Counters that run at a fixed rate are computed from guest time, never ticked. Exact integer arithmetic for rates up
 * to 9 MHz: whole seconds and the rest are converted apart, so that no product leaves the exact range of a number.
 */
const NS_PER_SECOND = 1_000_000_000;

/** Ticks of a `hz` clock that have passed `ns` after power-on. */
export function ticksAt(ns: number, hz: number): number {
  const seconds = Math.floor(ns / NS_PER_SECOND);
  return seconds * hz + Math.floor(((ns - seconds * NS_PER_SECOND) * hz) / NS_PER_SECOND);
}

/** The first nanosecond at which `ticks` ticks have passed: the inverse of `ticksAt`. */
export function nsOfTick(ticks: number, hz: number): number {
  const seconds = Math.floor(ticks / hz);
  return seconds * NS_PER_SECOND + Math.ceil(((ticks - seconds * hz) * NS_PER_SECOND) / hz);
}
