import { describe, expect, it } from "vitest";
import { FakeWorld } from "./fake-world.ts";
import { ShapedWire, type WireLimits } from "./shaped-wire.ts";

/** A wire at whose end is the test. */
function wireOf(limits: WireLimits, seed = 1) {
  const world = new FakeWorld(seed);
  const arrived: { readonly atMs: number; readonly number: number; readonly bytes: number }[] = [];
  const end = { isOpen: true, ready: 0 };
  const wire = new ShapedWire<number>({
    world,
    deliver: ({ length }, number) => {
      if (end.isOpen) arrived.push({ atMs: world.nowMs(), number, bytes: length });
      return end.isOpen;
    },
    ready: () => void end.ready++,
  });
  wire.limits = limits;
  return { world, wire, arrived, end };
}

/** As many frames as it takes for so long. */
function flood({ world, wire, arrived }: ReturnType<typeof wireOf>, ms: number, frameBytes: number): number {
  const fromMs = world.nowMs();
  const before = arrived.length;
  let number = 0;
  for (; world.nowMs() < fromMs + ms; world.advance(1)) while (wire.push(new Uint8Array(frameBytes), number)) number++;
  return arrived.slice(before).reduce((sum, { bytes }) => sum + bytes, 0);
}

describe("a shaped wire", () => {
  it.each([
    [125_000, 1514],
    [1_250_000, 60],
    [1_250_000, 65_535],
    [12_500_000, 1514],
    [2000, 1514],
  ])("keeps to %i bytes a second within a percent, with frames of %i bytes", (bytesPerSecond, frameBytes) => {
    const rig = wireOf({ bytesPerSecond, burstBytes: 1 });
    const seconds = bytesPerSecond < 10_000 ? 600 : 10;
    const bytes = flood(rig, seconds * 1000, frameBytes);
    expect(bytes).toBeGreaterThan(bytesPerSecond * seconds * 0.99 - frameBytes);
    expect(bytes).toBeLessThan(bytesPerSecond * seconds * 1.01 + frameBytes);
  });

  it("lets a burst go at once after a silence, and the rest at its rate", () => {
    const rig = wireOf({ bytesPerSecond: 100_000, burstBytes: 50_000 });
    for (const time of [1, 2]) {
      for (let i = 0; i < 60; i++) rig.wire.push(new Uint8Array(1000), i);
      expect(rig.arrived.length, `burst ${time}`).toBeGreaterThanOrEqual(50);
      expect(rig.arrived.length, `burst ${time}`).toBeLessThanOrEqual(52);
      rig.world.advance(5000);
      rig.arrived.length = 0;
    }
  });

  it("delays by what was asked for, within the jitter, in order", () => {
    const rig = wireOf({ latencyMs: 50, jitterMs: 20 });
    const delays: number[] = [];
    for (let i = 0; i < 200; i++) {
      const sentMs = rig.world.nowMs();
      rig.wire.push(new Uint8Array(100), i);
      rig.world.advance(200);
      delays.push(rig.arrived.at(-1)!.atMs - sentMs);
    }
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(30);
    expect(Math.max(...delays)).toBeLessThanOrEqual(70);
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(30);
    for (let i = 0; i < 1000; i++) rig.wire.push(new Uint8Array(100), 200 + i);
    rig.world.advance(1000);
    expect(rig.arrived.map(({ number }) => number)).toEqual([...Array(1200).keys()]);
  });

  it("loses the share that was asked for, the same frames with the same chance", () => {
    const lost = [1, 1, 2].map((seed) => {
      const rig = wireOf({ loss: 0.02 }, seed);
      for (let i = 0; i < 50_000; i++) rig.wire.push(new Uint8Array(60), i);
      return rig.arrived.map(({ number }) => number);
    });
    expect(50_000 - lost[0]!.length).toBeGreaterThan(850);
    expect(50_000 - lost[0]!.length).toBeLessThan(1150);
    expect(lost[1]).toEqual(lost[0]);
    expect(lost[2]).not.toEqual(lost[0]);
    const all = wireOf({ loss: 1 });
    expect(all.wire.push(new Uint8Array(60), 0)).toBe(true);
    expect(all.arrived).toEqual([]);
  });

  it("changes its limits for what is on it, too", () => {
    const rig = wireOf({ latencyMs: 10_000 });
    rig.wire.push(new Uint8Array(60), 0);
    rig.world.advance(1000);
    rig.wire.limits = { latencyMs: 5 };
    rig.world.advance(5);
    expect(rig.arrived).toMatchObject([{ atMs: 1005 }]);
    rig.wire.limits = { bytesPerSecond: 1000, burstBytes: 1 };
    for (let i = 1; i <= 2; i++) rig.wire.push(new Uint8Array(90), i);
    rig.wire.limits = {};
    expect(rig.arrived.length).toBe(3);
    expect([rig.wire.isPlain, rig.world.timers]).toEqual([true, 0]);
  });

  it("says when it has room again, however long one frame takes", () => {
    const rig = wireOf({ bytesPerSecond: 1000, burstBytes: 1 });
    expect(rig.wire.push(new Uint8Array(65_535), 0)).toBe(true);
    expect(rig.wire.hasRoom()).toBe(false);
    expect(rig.wire.push(new Uint8Array(60), 1)).toBe(false);
    rig.world.advance(60_000);
    expect(rig.end.ready).toBe(0);
    rig.world.advance(6000);
    expect([rig.end.ready, rig.wire.hasRoom()]).toEqual([1, true]);
  });

  it("forgets nobody where time goes on between two looks", () => {
    const rig = wireOf({ latencyMs: 10, bytesPerSecond: 1000, burstBytes: 1 });
    const { nowMs } = rig.world;
    let looks = 0;
    // A clock that is never the same twice.
    rig.world.nowMs = () => nowMs.call(rig.world) + looks++ * 0.7;
    for (let i = 0; i < 50; i++) {
      if (!rig.wire.push(new Uint8Array(60), i)) rig.world.advance(61);
      while (rig.world.step());
    }
    expect(rig.arrived.length).toBeGreaterThan(40);
    expect([rig.world.timers, rig.wire.hasRoom()]).toEqual([0, true]);
  });

  it("waits with what is not taken, and is bounded", () => {
    const rig = wireOf({ latencyMs: 1 });
    rig.end.isOpen = false;
    let frames = 0;
    while (rig.wire.push(new Uint8Array(10_000), frames)) frames++;
    expect(frames).toBeLessThan(7000);
    rig.world.advance(5000);
    expect([rig.arrived.length, rig.end.ready, rig.world.timers]).toEqual([0, 0, 0]);
    rig.end.isOpen = true;
    rig.wire.pump();
    expect([rig.arrived.length, rig.end.ready]).toEqual([frames, 1]);
  });
});
