import { expect, it, vi } from "vitest";
import { type DrivenBalloon, driveMemory, type HostMemory, nextBalloonBytes } from "./memory-driver.ts";

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

it("gives back no more than a host can spare, and nothing that would make it short again", () => {
  const justPlenty: HostMemory = { ...PLENTY, availableBytes: 4 * GIB + 100 * MIB };
  expect(nextBalloonBytes(justPlenty, { totalBytes: GIB, availableBytes: GIB / 2 }, GIB)).toBe(GIB - 50 * MIB);
  const waits: HostMemory = { ...PLENTY, pressure: 0.03 };
  expect(settled(waits, GIB, 100 * MIB, 300 * MIB)).toBe(300 * MIB);
});

it("takes a bounded part at a time", () => {
  expect(nextBalloonBytes(SHORT, { totalBytes: 3 * GIB, availableBytes: 2.8 * GIB }, 0)).toBe(256 * MIB);
});

it("does nothing where the guest does not say what it has", () => {
  expect(nextBalloonBytes(SHORT, {}, 5 * MIB)).toBe(5 * MIB);
});

it("looks again and again until it is stopped", async () => {
  const asked: number[] = [];
  const balloon: DrivenBalloon = {
    balloonBytes: 0,
    ...{ isRunning: true, hasEnded: false },
    statistics: async () => ({ totalBytes: GIB, availableBytes: 800 * MIB }),
    aim: (bytes) => void asked.push(bytes),
  };
  const stop = driveMemory(balloon, { intervalMs: 1, readHost: () => SHORT });
  await vi.waitFor(() => expect(asked.length).toBeGreaterThan(1));
  stop();
  const count = asked.length;
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(asked.length).toBe(count);
});

it("asks nothing of a VM that stands still, and ends with it", async () => {
  let asked = 0;
  const balloon = {
    ...{ balloonBytes: 0, isRunning: false, hasEnded: false, aim: () => {} },
    statistics: async () => ({ totalBytes: GIB, availableBytes: ++asked }),
  };
  let looks = 0;
  const readHost = (): HostMemory => {
    looks++;
    return SHORT;
  };
  driveMemory(balloon, { intervalMs: 1, readHost });
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect([asked, looks]).toEqual([0, 0]);
  balloon.isRunning = true;
  await vi.waitFor(() => expect(asked).toBeGreaterThan(1));
  balloon.hasEnded = true;
  await new Promise((resolve) => setTimeout(resolve, 10));
  const count = asked;
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(asked).toBe(count);
});
