import { describe, expect, it } from "vitest";
import { guestMapping, ProcessUsage } from "./process-usage.mjs";

const MIB = 2 ** 20;
const mapping = (start, sizeMiB, access) =>
  `${start.toString(16)}-${(start + sizeMiB * MIB).toString(16)} ${access} 00000000 00:00 0 \nSize: ${sizeMiB * 1024} kB\nRss: 4 kB\n`;

describe("guestMapping", () => {
  it("is the smallest writable mapping that guest RAM fits into", () => {
    const maps = [
      mapping(0x1000_0000, 8, "rw-p"),
      mapping(0x2000_0000, 512, "---p"),
      mapping(0x8000_0000, 544, "rw-p"),
      mapping(0x1_0000_0000, 2048, "rw-s"),
    ].join("");
    expect(guestMapping(maps, 512 * MIB)).toEqual({ start: 0x8000_0000, end: 0x8000_0000 + 544 * MIB });
    expect(guestMapping(mapping(0x1000_0000, 8, "rw-p"), 512 * MIB)).toBeUndefined();
  });
});

describe.runIf(process.platform === "linux")("ProcessUsage", () => {
  it("counts CPU time that goes on growing, and memory beyond what was touched of the guest's", () => {
    const guest = Buffer.alloc(96 * MIB);
    guest.fill(1, 0, 64 * MIB);
    const usage = new ProcessUsage(process.pid, 96 * MIB);
    const first = usage.cpuSeconds();
    for (const until = performance.now() + 50; performance.now() < until; ) guest[0]++;
    expect(usage.cpuSeconds()).toBeGreaterThan(first);
    usage.sampleMemory();
    expect(usage.peakBytes).toBeGreaterThan(64 * MIB);
    expect(usage.overGuestBytes).toBeLessThanOrEqual(usage.peakBytes);
  });

  it("stays at what it knew once the process is gone", () => {
    const usage = new ProcessUsage(2 ** 30, MIB);
    usage.sampleMemory();
    expect(usage.cpuSeconds()).toBe(0);
    expect(usage.peakBytes).toBeUndefined();
  });
});
