/** How fast and how large a disk may be, in words: `iops=500,rate=20M,burst=64M,space=10G`, of `--disk` and of `twinmetal set`. */
import { parseSize } from "./quantities.ts";
import { UsageError } from "./usage-error.ts";
import { DISK_LIMIT_RANGES, type DiskLimits } from "./vm-library.ts";

const WORDS = {
  iops: ["requestsPerSecond", numberOf, "so many requests a second"],
  rate: ["bytesPerSecond", parseSize, "such a rate in bytes a second"],
  "iops-burst": ["burstRequests", numberOf, "such a burst of requests"],
  burst: ["burstBytes", parseSize, "such a burst of bytes"],
  space: ["spaceBytes", parseSize, "such a space"],
} as const satisfies Record<string, readonly [keyof DiskLimits, (text: string) => number, string]>;

export const DISK_LIMIT_WORDS: readonly string[] = Object.keys(WORDS);

/** Undefined: it is no limit's word. */
export function diskLimitName(key: string): keyof DiskLimits | undefined {
  return Object.hasOwn(WORDS, key) ? WORDS[key as keyof typeof WORDS][0] : undefined;
}

/** Undefined: it is no limit's word. Throws UsageError. */
export function diskLimitOf(key: string, value: string): DiskLimits | undefined {
  if (!Object.hasOwn(WORDS, key)) return undefined;
  const [name, parse, what] = WORDS[key as keyof typeof WORDS];
  const number = parse(value);
  const [least, most] = DISK_LIMIT_RANGES[name];
  if (number >= least && number <= most) return { [name]: number };
  throw new UsageError(`a disk cannot have ${what} as ${value}: give ${least} to ${most}.`);
}

/** What `diskLimitOf` reads as the same. */
export function diskLimitWords(limits: DiskLimits = {}): string[] {
  return Object.entries(WORDS).flatMap(([key, [name]]) =>
    limits[name] === undefined ? [] : [`${key}=${limits[name]}`],
  );
}

function numberOf(text: string): number {
  return /^\d{1,9}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
}
