import { expect, it } from "vitest";
import type { CpuUsage, VmUsage } from "./vm-usage.ts";
import { usageRates } from "./why-slow.ts";

const IDLE: VmUsage = {
  atMs: 1000,
  state: "running",
  engine: "jit",
  cpus: 1,
  maxCpus: 1,
  cpu: { cpuMs: 0, waitedMs: 0, throttledMs: 0, idleMs: 0 },
  memory: {
    promisedBytes: 2 ** 29,
    maxBytes: 2 ** 29,
    balloonBytes: 0,
    isBalloonAutomatic: false,
    residentBytes: 2 ** 27,
    sharedBytes: 2 ** 25,
  },
  disks: [],
  networks: [],
  outputBytes: 0,
  limits: {},
};
const DISK = { reads: 0, writes: 0, readBytes: 0, writtenBytes: 0, heldMs: 0 };

function later(cpu: Partial<CpuUsage>, more: Partial<VmUsage> = {}): VmUsage {
  return { ...IDLE, atMs: 3000, cpu: { ...IDLE.cpu, ...cpu }, ...more };
}

it("tells rates a second", () => {
  const before = { ...IDLE, disks: [{ ...DISK, limits: {} }] };
  const now = later({ cpuMs: 500 }, { disks: [{ ...DISK, reads: 20, readBytes: 4e6, limits: {} }], outputBytes: 10 });
  expect(usageRates(before, now)).toMatchObject({
    cpu: 0.25,
    diskReadBytes: 2e6,
    diskRequests: 10,
    outputBytes: 5,
    whySlow: undefined,
  });
});

it.each<[VmUsage, RegExp]>([
  [later({ throttledMs: 1500 }, { limits: { cpu: 0.25 } }), /rests 75 %.*limit of 25 % of a processor/],
  [later({ throttledMs: 1000 }, { limits: { cpuWeight: 100 } }), /weight of 100 beside other VMs/],
  [later({ cpuMs: 600, waitedMs: 1400 }), /processors are busy: it waits 70 %/],
  [later({ cpuMs: 2000, interpretedMs: 1800 }), /not translated yet/],
  [later({ cpuMs: 2000, interpretedMs: 0 }), /guest itself/],
  [later({}, { state: "paused" }), /resume it/],
  [
    later({}, { disks: [{ ...DISK, heldMs: 1600, limits: { requestsPerSecond: 100 } }] }),
    /disk 0 is held back 80 %.*100 requests a second/,
  ],
])("says why", (now, words) => {
  const before = { ...IDLE, disks: now.disks.map((disk) => ({ ...disk, heldMs: 0 })) };
  expect(usageRates(before, now).whySlow).toMatch(words);
});
