/**
 * From two looks at what a VM uses, the rates between them, and in words what holds the guest back most, if anything does. The
 * words name what can be done about it.
 */
import type { VmUsage } from "./vm-usage.ts";

export interface UsageRates {
  /** Parts of one processor. */
  readonly cpu: number;
  readonly waited: number;
  readonly throttled: number;
  readonly idle: number;
  readonly diskReadBytes: number;
  readonly diskWrittenBytes: number;
  readonly diskRequests: number;
  readonly networkSentBytes: number;
  readonly networkReceivedBytes: number;
  readonly outputBytes: number;
  /** Undefined: nothing. */
  readonly whySlow: string | undefined;
}

/** All per second. `before`: of the same VM; undefined: since its start, as far as it is known. */
export function usageRates(before: VmUsage | undefined, now: VmUsage): UsageRates {
  const seconds = before ? Math.max((now.atMs - before.atMs) / 1000, 1e-3) : Number.POSITIVE_INFINITY;
  const rate = (of: (usage: VmUsage) => number): number => (before ? Math.max(0, of(now) - of(before)) / seconds : 0);
  const sum = <T>(list: readonly T[], of: (item: T) => number): number =>
    list.reduce((total, item) => total + of(item), 0);
  const held = now.disks.map(
    ({ heldMs }, index) => (heldMs - (before?.disks[index]?.heldMs ?? heldMs)) / (seconds * 1000),
  );
  const rates = {
    cpu: rate(({ cpu }) => cpu.cpuMs) / 1000,
    waited: rate(({ cpu }) => cpu.waitedMs) / 1000,
    throttled: rate(({ cpu }) => cpu.throttledMs) / 1000,
    idle: rate(({ cpu }) => cpu.idleMs) / 1000,
    diskReadBytes: rate(({ disks }) => sum(disks, ({ readBytes }) => readBytes)),
    diskWrittenBytes: rate(({ disks }) => sum(disks, ({ writtenBytes }) => writtenBytes)),
    diskRequests: rate(({ disks }) => sum(disks, ({ reads, writes }) => reads + writes)),
    networkSentBytes: rate(({ networks }) => sum(networks, ({ sentBytes }) => sentBytes)),
    networkReceivedBytes: rate(({ networks }) => sum(networks, ({ receivedBytes }) => receivedBytes)),
    outputBytes: rate(({ outputBytes }) => outputBytes),
  };
  const interpreted = rate(({ cpu }) => cpu.interpretedMs ?? 0) / 1000;
  return { ...rates, whySlow: whySlow(now, rates, held, interpreted) };
}

/** Less of its time is not worth a word. */
const WORTH = 0.1;

function whySlow(
  { state, limits, disks, cpu }: VmUsage,
  rates: Omit<UsageRates, "whySlow">,
  held: readonly number[],
  interpreted: number,
): string | undefined {
  if (state === "paused") return "it is paused: resume it";
  const reasons: [part: number, words: string][] = [];
  const percent = (part: number): string => `${Math.round(100 * Math.min(part, 1))} %`;
  if (rates.throttled > WORTH) {
    const why =
      limits.cpu === undefined
        ? `its weight of ${limits.cpuWeight ?? "?"} beside other VMs`
        : `its limit of ${percent(limits.cpu)} of a processor`;
    reasons.push([rates.throttled, `it rests ${percent(rates.throttled)} of the time, because of ${why}`]);
  }
  if (rates.waited > WORTH)
    reasons.push([
      rates.waited,
      `the host's processors are busy: it waits ${percent(rates.waited)} of the time for one`,
    ]);
  for (const [index, part] of held.entries()) {
    if (part <= WORTH) continue;
    const { requestsPerSecond, bytesPerSecond } = disks[index]!.limits;
    const limit = [
      requestsPerSecond === undefined ? "" : `${requestsPerSecond} requests`,
      bytesPerSecond === undefined ? "" : `${bytesPerSecond} bytes`,
    ].filter((text) => text !== "");
    reasons.push([
      part,
      `disk ${index} is held back ${percent(part)} of the time by its limit of ${limit.join(" and ")} a second`,
    ]);
  }
  const rest = rates.cpu + rates.waited;
  if (rest > 0.5 && interpreted > 0.3 && cpu.interpretedMs !== undefined)
    reasons.push([interpreted / 2, "most of its code is new and not translated yet: wait a moment"]);
  reasons.sort(([a], [b]) => b - a);
  if (reasons[0]) return reasons[0][1];
  if (rates.cpu > 0.9) return "the guest itself keeps its processor busy";
  return undefined;
}
