/** The counters of a VM that has changed its engine: those of the machines that it has left, and of the one that runs it. */

export type Stats = Readonly<Record<string, number>>;

/** Go over with the guest's state, or tell how it is now. */
const AS_NOW: ReadonlySet<string> = new Set([
  "retired",
  "guestNs",
  "calendarSeconds",
  "events",
  "memoryBytes",
  "regionsQueued",
  "processCpuMs",
]);
const MOST: ReadonlySet<string> = new Set(["regionsQueuedMost"]);

/** `left`: as this function, or a machine, has answered when the machine was left. */
export function statsSince(left: Stats, now: Stats): Stats {
  const sum: Record<string, number> = { ...now };
  for (const [name, value] of Object.entries(left)) {
    const here = now[name] ?? 0;
    if (MOST.has(name)) sum[name] = Math.max(here, value);
    else if (!AS_NOW.has(name)) sum[name] = here + value;
  }
  return sum;
}
