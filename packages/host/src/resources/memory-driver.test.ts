import { expect, it, vi } from "vitest";
import type { Vm } from "../vm/vm.ts";
import { driveMemory, type HostMemory, nextBalloonBytes } from "./memory-driver.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const SHORT: HostMemory = { totalBytes: 16 * GIB, availableBytes: GIB, pressure: 0 };
const PRESSED: HostMemory = { totalBytes: 16 * GIB, availableBytes: 3 * GIB, pressure: 0.2 };
const MIDDLE: HostMemory = { totalBytes: 16 * GIB, availableBytes: 3 * GIB, pressure: 0 };
const PLENTY: HostMemory = { totalBytes: 16 * GIB, availableBytes: 12 * GIB, pressure: 0 };

/** A guest that uses so much of its memory: where its balloon comes to. */
function settled(host: HostMemory, totalBytes: number, usedBytes: number, balloonBytes = 0): number {
  let balloon = balloonBytes;
  for (let i = 0; i < 40; i++) {
    const left = totalBytes - balloon;
    balloon = nextBalloonBytes(host, { totalBytes: left, availableBytes: Math.max(0, left - usedBytes) }, balloon);
  }
  return balloon;
}

it.each([SHORT, PRESSED])("gives what a guest has idle to a host that is short of memory", (host) => {
  const balloon = settled(host, GIB, 200 * MIB);
  expect(balloon).toBeGreaterThan(700 * MIB);
  expect(GIB - balloon - 200 * MIB).toBeGreaterThan(40 * MIB);
});

it("takes nothing from a guest that needs it all, and nothing while the host is well", () => {
  expect(settled(SHORT, GIB, 990 * MIB)).toBe(0);
  expect(settled(PLENTY, GIB, 100 * MIB)).toBe(0);
  expect(settled(MIDDLE, GIB, 100 * MIB, 300 * MIB)).toBe(300 * MIB);
});

it("gives back what a guest needs, however short the host is, and all once there is plenty", () => {
  expect(settled(SHORT, GIB, 900 * MIB, 700 * MIB)).toBeLessThan(130 * MIB);
  expect(settled(PLENTY, GIB, 100 * MIB, 700 * MIB)).toBe(0);
});

it("does nothing where the guest does not say what it has", () => {
  expect(nextBalloonBytes(SHORT, {}, 5 * MIB)).toBe(5 * MIB);
});

it("looks again and again until it is stopped", async () => {
  const asked: number[] = [];
  const memory = {
    balloonBytes: 0,
    statistics: async () => ({ totalBytes: GIB, availableBytes: 800 * MIB }),
    balloon: async (bytes: number) => {
      asked.push(bytes);
      memory.balloonBytes = bytes;
      return bytes;
    },
  };
  const vm = { memory, state: "running" } as unknown as Vm;
  const stop = driveMemory(vm, { intervalMs: 1, readHost: () => SHORT });
  await vi.waitFor(() => expect(asked.length).toBeGreaterThan(1));
  stop();
  const count = asked.length;
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(asked.length).toBeLessThanOrEqual(count + 1);
});
