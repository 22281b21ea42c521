/**
 * What a VM may use of its host, in words: `cpu=25%,weight=300,time=1h` of `--limit`, and the same and more, one a word, of
 * `twinmetal set`. The value "none" takes a limit away.
 */
import { DISK_LIMIT_WORDS, diskLimitName, diskLimitOf } from "./disk-limit-words.ts";
import { END_KEYS } from "./end-actions.ts";
import { WIRE_LIMIT_WORDS, wireLimitName, wireLimitOf } from "./network-card-choice.ts";
import { listOption } from "./options.ts";
import { parseCpus, parseSize, parseTimeout } from "./quantities.ts";
import { UsageError } from "./usage-error.ts";
import type { ResourceChange, VmLimits } from "./vm-library.ts";

const WORDS = {
  cpu: ["cpu", parseShare],
  weight: ["cpuWeight", parseWeight],
  time: ["wallMs", parseTimeout],
  "cpu-time": ["cpuTimeMs", parseTimeout],
  output: ["outputBytes", parseSize],
} as const satisfies Record<string, readonly [keyof VmLimits, (text: string) => number]>;

export const LIMIT = listOption(
  "limit",
  "KEY=VALUE[,...]",
  "What the VM may use: cpu=25% (of a processor; 150% is one and a half), weight=300 (beside other VMs that have one), and what ends it, status 124: time=1h, cpu-time=10m, output=100M. Changed by `twinmetal set`. See docs/guide/resources.md.",
  parseLimits,
);

/** Of `--limit`, all together. */
export function limitsOf({ limit }: { readonly limit?: readonly VmLimits[] | undefined }): VmLimits | undefined {
  return limit && Object.assign({}, ...limit);
}

/** What `parseLimits` reads as the same, a word for each. */
export function limitWords(limits: VmLimits): string[] {
  return Object.entries(WORDS).flatMap(([key, [name]]) => {
    const value = limits[name];
    if (value === undefined) return [];
    if (name === "cpu") return [`${key}=${Number((value * 100).toFixed(4))}%`];
    return [`${key}=${name === "wallMs" || name === "cpuTimeMs" ? value / 1000 : value}`];
  });
}

/** Throws UsageError. */
function parseLimits(text: string): VmLimits {
  return Object.assign({}, ...text.split(",").map((word) => vmLimitOf(...splitWord(word))));
}

function vmLimitOf(key: string, value: string): VmLimits {
  if (!Object.hasOwn(WORDS, key)) {
    const known = Object.keys(WORDS).map((word) => `${word}=`);
    throw new UsageError(`"${key}=${value}" is no limit of a VM. Possible: ${known.join(", ")}.`);
  }
  const [name, parse] = WORDS[key as keyof typeof WORDS];
  return { [name]: parse(value) };
}

/** What the words of `twinmetal set` ask for. Throws UsageError. */
export function parseChange(words: readonly string[]): ResourceChange {
  const limits: Record<string, unknown> = {};
  const disks: Record<string, Record<string, unknown>> = {};
  const networks: Record<string, Record<string, unknown>> = {};
  let cpus: number | undefined;
  const memory: { sizeBytes?: number; balloon?: number | "auto" } = {};
  for (const word of words) {
    const [key, value] = splitWord(word);
    const [, kind, index, part] = /^(disk|net)(\d{0,3})\.([a-z-]+)$/.exec(key) ?? [];
    if (kind !== undefined && part !== undefined) {
      const into = kind === "disk" ? disks : networks;
      const given = kind === "disk" ? diskChange(part, value) : wireChange(part, value);
      into[index || "all"] = { ...into[index || "all"], ...given };
    } else if (key === "cpus") cpus = parseCpus(value);
    else if (key === "memory") memory.sizeBytes = parseSize(value);
    else if (key === "balloon") memory.balloon = value === "auto" ? value : value === "none" ? 0 : parseSize(value);
    else if (Object.hasOwn(WORDS, key) && value === "none") limits[WORDS[key as keyof typeof WORDS][0]] = null;
    else if (Object.hasOwn(WORDS, key)) Object.assign(limits, vmLimitOf(key, value));
    else {
      const known = [...SET_KEYS, ...END_KEYS].join(", ");
      throw new UsageError(`there is nothing called "${key}" to set. Possible: ${known}.`);
    }
  }
  const hasAny = (part: object): boolean => Object.keys(part).length > 0;
  return {
    ...(hasAny(limits) && { limits }),
    ...(hasAny(disks) && { disks }),
    ...(hasAny(networks) && { networks }),
    ...(hasAny(memory) && { memory }),
    ...(cpus !== undefined && { cpus }),
  } as ResourceChange;
}

export const SET_KEYS: readonly string[] = [
  ...Object.keys(WORDS),
  "cpus",
  "memory",
  "balloon",
  ...DISK_LIMIT_WORDS.map((word) => `disk.${word}`),
  ...WIRE_LIMIT_WORDS.map((word) => `net.${word}`),
];

function diskChange(key: string, value: string): object {
  const name = diskLimitName(key);
  if (name === undefined)
    throw new UsageError(`a disk has no "${key}" to set. Possible: ${DISK_LIMIT_WORDS.join(", ")}.`);
  return value === "none" ? { [name]: null } : diskLimitOf(key, value)!;
}

function wireChange(key: string, value: string): object {
  const name = wireLimitName(key);
  if (name === undefined)
    throw new UsageError(`a network card has no "${key}" to set. Possible: ${WIRE_LIMIT_WORDS.join(", ")}.`);
  return value === "none" ? { [name]: null } : wireLimitOf(key, value)!;
}

function splitWord(word: string): [key: string, value: string] {
  const at = word.indexOf("=");
  if (at > 0 && at < word.length - 1) return [word.slice(0, at), word.slice(at + 1)];
  throw new UsageError(`"${word}" sets nothing. Give a key and a value, such as cpu=25%.`);
}

function parseShare(text: string): number {
  const [, digits, isPercent] = /^(\d{1,6}(?:\.\d{1,6})?)(%?)$/.exec(text) ?? [];
  const share = digits === undefined ? Number.NaN : Number(digits) / (isPercent ? 100 : 1);
  if (share >= 0.01 && share <= 64) return share;
  throw new UsageError(`"${text}" is no share of the processors. Give 1% to 6400%, where 100% is one: 25%, or 1.5.`);
}

function parseWeight(text: string): number {
  const weight = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (weight >= 1 && weight <= 10_000) return weight;
  throw new UsageError(`"${text}" is no weight. Give a whole number from 1 to 10000.`);
}
