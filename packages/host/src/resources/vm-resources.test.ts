import { afterEach, expect, it, vi } from "vitest";
import type { Vm } from "../vm/vm.ts";
import type { VmLimits } from "./vm-limits.ts";
import { ResourcesOfVm } from "./vm-resources.ts";

afterEach(() => void vi.useRealTimers());

function setUp(fails = false) {
  const told: VmLimits[] = [];
  const ends: string[] = [];
  const vm = {
    ...{ state: "running", engine: "jit" },
    stats: async () => ({ cpuMs: 5, waitedMs: 1, throttledMs: 2, idleMs: 3, outputBytes: 4, interpreterMs: 6 }),
    disks: { limits: [{}], usage: async () => [{ reads: 1, writes: 0, readBytes: 512, writtenBytes: 0, heldMs: 0 }] },
    network: { limits: [], usage: async () => [] },
    cpus: { count: 2, max: 4 },
    memory: { sizeBytes: 2 ** 29, maxBytes: 2 ** 30, balloonBytes: 4096, isBalloonAutomatic: false },
  } as unknown as Vm;
  const resources = new ResourcesOfVm({
    vm,
    limit: async (limits) => {
      if (fails) throw new Error("no");
      told.push(limits);
    },
    end: (_reason, limit) => void ends.push(limit),
  });
  return { resources, told, ends };
}

it("tells the machine what holds, and keeps what is not named", async () => {
  const { resources, told } = setUp();
  await Promise.all([resources.set({ cpu: 0.5 }), resources.set({ cpuWeight: 10 }), resources.set({ cpu: null })]);
  expect(told).toEqual([{ cpu: 0.5 }, { cpu: 0.5, cpuWeight: 10 }, { cpuWeight: 10 }]);
  expect(resources.limits).toEqual({ cpuWeight: 10 });
});

it("changes nothing that the machine could not do", async () => {
  const { resources } = setUp(true);
  await expect(resources.set({ cpu: 0.5 })).rejects.toThrow("no");
  expect(resources.limits).toEqual({});
});

it("ends a VM when its time is over, counted from its start, also where the limit comes later", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  const { resources, ends } = setUp();
  await resources.set({ wallMs: 60_000 });
  vi.advanceTimersByTime(120_000);
  expect(ends).toEqual([]);
  resources.onState("running");
  vi.advanceTimersByTime(30_000);
  resources.onState("paused");
  await resources.set({ wallMs: 40_000 });
  vi.advanceTimersByTime(9000);
  expect(ends).toEqual([]);
  vi.advanceTimersByTime(2000);
  expect(ends).toEqual(["wallMs"]);
});

it("counts what is used", async () => {
  const { resources } = setUp();
  expect(await resources.usage()).toMatchObject({
    ...{ engine: "jit", cpus: 2, maxCpus: 4, outputBytes: 4, limits: {} },
    cpu: { cpuMs: 5, waitedMs: 1, throttledMs: 2, idleMs: 3, interpretedMs: 6 },
    memory: { promisedBytes: 2 ** 29, maxBytes: 2 ** 30, balloonBytes: 4096 },
    disks: [{ reads: 1, limits: {} }],
    networks: [],
  });
  const { residentBytes, sharedBytes } = (await resources.usage()).memory;
  expect(residentBytes).toBeGreaterThan(2 ** 20);
  expect(sharedBytes).toBeLessThan(residentBytes);
});
