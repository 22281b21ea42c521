/**
 * Numbers with units on the command line: sizes (512M), times (90, 1.5m), seeds. Each parser returns a value or throws a
 * UsageError that shows a good one.
 */
import { CPU_LIMITS, MAX_DISK_BAYS } from "@twinmetal/core";
import { UsageError } from "./usage-error.ts";

const SIZE_UNITS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const TIME_UNITS_MS: Readonly<Record<string, number>> = { "": 1000, s: 1000, m: 60_000, h: 3_600_000 };
const DAY_MS = 86_400_000;
const MAX_DURATION_MS = 3650 * DAY_MS;
/** Node's timers hold no more. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** "512M", "1.5G", "768MiB", or bytes. K, M, G and T are powers of 1024. */
export function parseSize(text: string): number {
  const bytes = bytesOf(text);
  if (!Number.isSafeInteger(bytes)) {
    throw new UsageError(`"${text}" is not a size. Give a number with K, M or G, such as 512M or 1.5G.`);
  }
  return bytes;
}

/** NaN for what is not written like a size. */
function bytesOf(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text.trim()) ?? [];
  return digits === undefined ? Number.NaN : Number(digits) * (SIZE_UNITS[unit?.toUpperCase() ?? ""] ?? 1);
}

/** A memory size within `limits`. A bare small number is most likely meant in MiB, and says so. */
export function parseMemory(text: string, limits: { readonly minBytes: number; readonly maxBytes: number }): number {
  const bytes = parseSize(text);
  const range = `${formatSize(limits.minBytes)} to ${formatSize(limits.maxBytes)}`;
  if (bytes < limits.minBytes) {
    const inMib = /^\d+$/.test(text.trim()) ? bytes * 2 ** 20 : 0;
    const isLikely = inMib >= limits.minBytes && inMib <= limits.maxBytes;
    const hint = isLikely ? ` A number without a unit is in bytes: did you mean ${text.trim()}M?` : "";
    throw new UsageError(`${text} of memory is too little: a VM has ${range}.${hint}`);
  }
  if (bytes > limits.maxBytes) throw new UsageError(`${text} of memory is too much: a VM has ${range}.`);
  if (bytes % 4096 !== 0) throw new UsageError(`${text} of memory is not a whole number of pages of 4 KiB.`);
  return bytes;
}

export interface MemoryChoice {
  readonly bytes: number;
  /** What the VM may get while it runs. */
  readonly maxBytes?: number;
}

/** "512M", or "512M,max=2G". */
export function parseMemoryChoice(
  text: string,
  limits: { readonly minBytes: number; readonly maxBytes: number },
): MemoryChoice {
  const [size = "", max, ...more] = text.split(",");
  const bytes = parseMemory(size, limits);
  if (max === undefined) return { bytes };
  if (!max.startsWith("max=") || more.length > 0)
    throw new UsageError(
      `"${text}" is not a size of memory. Give one, or also the most that it may grow to: 512M,max=2G.`,
    );
  const maxBytes = parseMemory(max.slice("max=".length), limits);
  if (maxBytes < bytes) throw new UsageError(`${text}: the VM starts with more than it may have at most.`);
  return { bytes, maxBytes };
}

export interface CpusChoice {
  readonly count: number;
  /** What the VM may get while it runs. */
  readonly max?: number;
}

export function parseCpus(text: string): number {
  const { min, max } = CPU_LIMITS;
  const cpus = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (cpus >= min && cpus <= max) return cpus;
  throw new UsageError(`"${text}" is no number of processors: a VM has ${min} to ${max}.`);
}

/** "2", or "2,max=4". */
export function parseCpusChoice(text: string): CpusChoice {
  const [, first = text, most] = /^([^,]*),max=([^,]*)$/.exec(text) ?? [];
  const count = parseCpus(first);
  if (most === undefined) return { count };
  const max = parseCpus(most);
  if (max < count) throw new UsageError(`${text}: the VM starts with more processors than it may have at most.`);
  return { count, max };
}

/** Bays of a VM. */
export function parseBays(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MAX_DISK_BAYS) return count;
  throw new UsageError(`"${text}" is no number of bays. Give 1 to ${MAX_DISK_BAYS}.`);
}

/** The size of a disk within `limits`, in bytes. */
export function parseDiskSize(text: string, limits: { readonly minBytes: number; readonly maxBytes: number }): number {
  const bytes = bytesOf(text);
  if (Number.isNaN(bytes)) {
    throw new UsageError(`"${text}" is not a size. Give a number with K, M, G or T, such as 512M or 20G.`);
  }
  if (bytes >= limits.minBytes && bytes <= limits.maxBytes) return Math.ceil(bytes);
  const range = `${formatSize(limits.minBytes)} to ${formatSize(limits.maxBytes)}`;
  throw new UsageError(`${text} is too ${bytes < limits.minBytes ? "little" : "much"} for a disk: it has ${range}.`);
}

/** Seconds, or with s, m or h. Returns milliseconds. */
export function parseTimeout(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)([smh]?)$/.exec(text.trim()) ?? [];
  const timeoutMs = digits === undefined ? 0 : Math.round(Number(digits) * (TIME_UNITS_MS[unit ?? ""] ?? 1000));
  if (timeoutMs <= 0 || timeoutMs > MAX_TIMEOUT_MS) {
    throw new UsageError(
      `"${text}" is not a time. Give seconds, or a number with m or h, up to 24 days: 90, 1.5m, 2h.`,
    );
  }
  return timeoutMs;
}

/** Seconds, or with s, m, h or d, up to ten years. Returns milliseconds. */
export function parseDuration(text: string): number {
  const [, digits, unit = ""] = /^(\d{1,9}(?:\.\d{1,3})?)([smhd]?)$/.exec(text.trim()) ?? [];
  const unitMs = unit === "d" ? DAY_MS : TIME_UNITS_MS[unit]!;
  const timeMs = digits === undefined ? 0 : Math.round(Number(digits) * unitMs);
  if (timeMs > 0 && timeMs <= MAX_DURATION_MS) return timeMs;
  throw new UsageError(
    `"${text}" is not a time. Give seconds, or a number with m, h or d, up to 3650 days: 30m, 2h, 7d.`,
  );
}

/** A short time: 50ms, or seconds with or without s. Returns milliseconds. */
export function parseShortTime(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)(ms|s)?$/.exec(text) ?? [];
  const timeMs = digits === undefined ? 0 : Number(digits) * (unit === "ms" ? 1 : 1000);
  if (timeMs > 0) return timeMs;
  throw new UsageError(`"${text}" is not a time. Give milliseconds or seconds: 50ms, 0.3s.`);
}

export function parseSeed(text: string): string {
  const digits = text.toLowerCase();
  if (!/^([0-9a-f]{2}){1,64}$/.test(digits)) {
    throw new UsageError(`"${text}" is not a seed. Give 2 to 128 hexadecimal digits, an even number, such as 00ff.`);
  }
  return digits;
}

/** Seconds since 1970, or a date that names its time zone. */
export function parseEpoch(text: string): number {
  const isDate = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$/.test(text);
  const seconds = /^\d{1,10}$/.test(text) ? Number(text) : isDate ? Date.parse(text) / 1000 : Number.NaN;
  if (!Number.isSafeInteger(seconds) || seconds < 0 || seconds > 4_102_444_800) {
    throw new UsageError(
      `"${text}" is not a point in time. Give seconds since 1970, or a date from 1970 to 2100 such as 2024-02-29 or 2024-02-29T12:00:00Z.`,
    );
  }
  return seconds;
}

/** "512 MiB", with at most one digit after the point. */
export function formatSize(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let index = 0;
  while (value >= 1024 && index < units.length - 1 && (value % 1024 === 0 || value >= 10_240)) {
    value /= 1024;
    index++;
  }
  return `${Number(value.toFixed(1))} ${units[index]}`;
}

/** "40 s", "3 min", "5 h", "2 days". */
export function formatAge(timeMs: number): string {
  const seconds = Math.max(0, Math.floor(timeMs / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}
