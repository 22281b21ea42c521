import { expect, it } from "vitest";
import type { DiskLimits } from "../disk/disk-protocol.ts";
import type { CardLimits } from "../network/network-protocol.ts";
import type { MemoryChange, Vm } from "../vm/vm.ts";
import { changeResources, isResourceChange } from "./resource-change.ts";
import type { VmLimitsChange } from "./vm-limits.ts";

function fakeVm() {
  const done: unknown[] = [];
  const limits: DiskLimits[] = [{ bytesPerSecond: 10_000_000, burstBytes: 8192 }, {}];
  const cards: CardLimits[] = [{}];
  const vm = {
    resources: { set: async (change: VmLimitsChange) => void done.push(["set", change]) },
    disks: { limits, limit: async (disk: number, given: DiskLimits) => void done.push(["disk", disk, given]) },
    network: { limits: cards, limit: async (card: number, given: CardLimits) => void done.push(["net", card, given]) },
    memory: {
      check: ({ sizeBytes = 0 }: MemoryChange) => {
        if (sizeBytes > 100) throw new Error("So much cannot be.");
      },
      set: async (change: MemoryChange) => void done.push(["memory", change]),
    },
    cpus: {
      check: (count: number) => {
        if (count > 4) throw new Error("So many cannot be.");
      },
      set: async (count: number) => void done.push(["cpus", count]),
    },
  };
  return { vm: vm as unknown as Vm, done };
}

it("changes what is named, and takes away what is null", async () => {
  const { vm, done } = fakeVm();
  await changeResources(vm, {
    limits: { cpu: 0.5, wallMs: null },
    disks: { "0": { requestsPerSecond: 100, burstBytes: null }, "1": { bytesPerSecond: 5e6 } },
    networks: { all: { latencyMs: 20 } },
    memory: { balloon: 4096 },
    cpus: 3,
  });
  expect(done).toEqual([
    ["set", { cpu: 0.5, wallMs: null }],
    ["disk", 0, { bytesPerSecond: 10_000_000, requestsPerSecond: 100 }],
    ["disk", 1, { bytesPerSecond: 5e6 }],
    ["net", 0, { toGuest: { latencyMs: 20 }, fromGuest: { latencyMs: 20 } }],
    ["memory", { balloon: 4096 }],
    ["cpus", 3],
  ]);
});

it.each([
  [{ limits: { cpu: 0 } }, /share of the host's processors/],
  [{ limits: { cpu: 0.5, speed: 3 } }, /no limit "speed"/],
  [{ disks: { "": {} } }, /no disk/],
  [{ limits: { cpu: 0.5 }, disks: { "2": {} } }, /no disk 2\. It has disks 0 to 1/],
  [{ limits: { cpu: 0.5 }, disks: { all: { requestsPerSecond: -1 } } }, /requestsPerSecond is from 1/],
  [{ limits: { cpu: 0.5 }, disks: { "0": { bytesPerSecond: null } } }, /burstBytes go with/],
  [{ limits: { cpu: 0.5 }, networks: { "1": {} } }, /no network card 1/],
  [{ limits: { cpu: 0.5 }, cpus: 5 }, /So many cannot be/],
  [{ limits: { cpu: 0.5 }, memory: { sizeBytes: 101 } }, /So much cannot be/],
])("changes nothing for %j", async (change, message) => {
  const { vm, done } = fakeVm();
  await expect(changeResources(vm, change as never)).rejects.toThrow(message);
  expect(done).toEqual([]);
});

it("knows what could be a change", () => {
  expect(isResourceChange({ limits: {}, disks: { "0": {} } })).toBe(true);
  for (const wrong of [null, 1, { limits: 1 }, { disks: { "0": null } }, { more: {} }, { memory: null }])
    expect(isResourceChange(wrong)).toBe(false);
});
