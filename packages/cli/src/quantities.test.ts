import { describe, expect, it } from "vitest";
import {
  formatSize,
  parseDiskSize,
  parseDuration,
  parseEpoch,
  parseMemory,
  parseMemoryChoice,
  parseSeed,
  parseSize,
  parseTimeout,
} from "./quantities.ts";
import { UsageError } from "./usage-error.ts";

const LIMITS = { minBytes: 16 * 2 ** 20, maxBytes: 3072 * 2 ** 20 };

describe("sizes", () => {
  it.each([
    ["512M", 2 ** 29],
    ["512m", 2 ** 29],
    ["1.5G", 1.5 * 2 ** 30],
    ["768MiB", 768 * 2 ** 20],
    ["64KB", 65536],
    ["4096", 4096],
  ])("%s", (text, bytes) => expect(parseSize(text)).toBe(bytes));

  it.each(["", "M", "-1M", "1X", "1M2", "0x10", "1e9", "9999999G", "0.3K"])(
    "refuses %j and shows a good one",
    (text) => {
      expect(() => parseSize(text)).toThrow(/is not a size\. Give .* such as 512M/);
    },
  );

  it("names the limits of memory, and what a bare number most likely meant", () => {
    expect(() => parseMemory("512", LIMITS)).toThrow(/too little: a VM has 16 MiB to 3 GiB\..*did you mean 512M\?/);
    expect(() => parseMemory("4G", LIMITS)).toThrow(/too much: a VM has 16 MiB to 3 GiB\.$/);
    expect(() => parseMemory("20971521", LIMITS)).toThrow(/whole number of pages/);
    expect(parseMemory("3G", LIMITS)).toBe(3 * 2 ** 30);
    expect(parseMemoryChoice("1G", LIMITS)).toEqual({ bytes: 2 ** 30 });
    expect(parseMemoryChoice("1G,max=2G", LIMITS)).toEqual({ bytes: 2 ** 30, maxBytes: 2 ** 31 });
    for (const wrong of ["1G,2G", "1G,max=2G,x", "1G,max=", "2G,max=1G", "1G,max=4G"])
      expect(() => parseMemoryChoice(wrong, LIMITS)).toThrow(UsageError);
  });

  it("of disks have limits of their own", () => {
    const limits = { minBytes: 512, maxBytes: 2 ** 50 };
    expect(parseDiskSize("2T", limits)).toBe(2 ** 41);
    expect(() => parseDiskSize("0", limits)).toThrow("0 is too little for a disk: it has 512 bytes to 1024 TiB.");
    expect(() => parseDiskSize("9000T", limits)).toThrow(/^9000T is too much for a disk/);
    expect(() => parseDiskSize("big", limits)).toThrow(/"big" is not a size\. Give a number with K, M, G or T/);
  });

  it("are written so that people can read them", () => {
    expect([500, 2 ** 20, 12_345_678, 1.5 * 2 ** 30, 3 * 2 ** 30, 2 ** 41].map(formatSize)).toEqual([
      "500 bytes",
      "1 MiB",
      "11.8 MiB",
      "1536 MiB",
      "3 GiB",
      "2 TiB",
    ]);
  });
});

describe("times", () => {
  it.each([
    ["90", 90_000],
    ["0.5", 500],
    ["1.5m", 90_000],
    ["2h", 7_200_000],
  ])("%s", (text, ms) => expect(parseTimeout(text)).toBe(ms));

  it.each(["0", "-1", "", "1d", "forever", "99999h"])("refuses %j", (text) => {
    expect(() => parseTimeout(text)).toThrow(/is not a time/);
  });

  it("has a calendar in seconds or as a date", () => {
    expect(parseEpoch("0")).toBe(0);
    expect(parseEpoch("2024-02-29")).toBe(1_709_164_800);
    expect(parseEpoch("2024-02-29T12:00:00Z")).toBe(1_709_208_000);
    for (const text of ["", "tomorrow", "2024-02-29T12:00:00", "2024-13-01", "-5", "9999999999"]) {
      expect(() => parseEpoch(text)).toThrow(/is not a point in time/);
    }
  });
});

it("takes seeds of whole bytes", () => {
  expect(parseSeed("00FF")).toBe("00ff");
  for (const text of ["", "0", "xyz", "00".repeat(65)]) expect(() => parseSeed(text)).toThrow(/is not a seed/);
});

it("reads long times", () => {
  expect(["90", "1.5m", "2h", "7d", "3650d"].map(parseDuration)).toEqual([
    90_000, 90_000, 7_200_000, 604_800_000, 3.1536e11,
  ]);
  for (const text of ["", "0", "-1", "1w", "1e3", "NaN", "Infinity", "3651d", "9999999999", "1d2h"]) {
    expect(() => parseDuration(text)).toThrow("is not a time");
  }
});
