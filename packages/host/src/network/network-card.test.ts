import { machineSpec } from "@twinmetal/core";
import { afterEach, describe, expect, it } from "vitest";
import { createFrameRing, RingCards, RingNetwork } from "./frame-ring.ts";
import { NetworkCard } from "./network-card.ts";
import type { CardLimits } from "./network-protocol.ts";
import { NetworkOfVm } from "./vm-network.ts";

let card: NetworkCard | undefined;
afterEach(() => {
  card?.close();
});

/** A card whose frames come back, and the machine's end of it. */
async function loopback(limits?: CardLimits) {
  const ring = createFrameRing(["net0"]);
  const machine = new RingNetwork(ring);
  card = new NetworkCard({ to: "loopback", limits }, new RingCards(ring, () => {}).ends[0]!, () => card?.carry());
  await card.open();
  return { machine, card };
}

/** How long a frame takes there and back. */
async function roundTripMs({ machine, card: itsCard }: Awaited<ReturnType<typeof loopback>>): Promise<number> {
  const startMs = performance.now();
  machine.send("net0", new Uint8Array(60).fill(7), false);
  itsCard.carry();
  while (!machine.hasFrame("net0")) {
    if (performance.now() > startMs + 10_000) throw new Error("the frame is lost");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(machine.take("net0")?.bytes).toEqual(new Uint8Array(60).fill(7));
  return performance.now() - startMs;
}

describe("a card's wire", () => {
  it("has the limits that it was given, both ways, until they change", async () => {
    const rig = await loopback({ toGuest: { latencyMs: 40 }, fromGuest: { latencyMs: 60 } });
    expect(await roundTripMs(rig)).toBeGreaterThanOrEqual(99);
    rig.card.limit({ fromGuest: { loss: 1 } });
    rig.machine.send("net0", new Uint8Array(60), false);
    rig.card.carry();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(rig.machine.hasFrame("net0")).toBe(false);
    rig.card.limit({});
    rig.machine.send("net0", new Uint8Array(60), false);
    rig.card.carry();
    expect(rig.machine.hasFrame("net0")).toBe(true);
  });

  it("loses what is too much, and the machine does not wait for it", async () => {
    const { machine, card: itsCard } = await loopback({ fromGuest: { bytesPerSecond: 10_000, burstBytes: 3000 } });
    for (let i = 0; i < 2000; i++) {
      machine.send("net0", new Uint8Array(1000).fill(i), false);
      itsCard.carry();
    }
    let arrived = 0;
    while (machine.take("net0")) arrived++;
    expect(arrived).toBeGreaterThanOrEqual(3);
    expect(arrived).toBeLessThan(100);
  });
});

describe("limits through the library", () => {
  const given: [number, CardLimits][] = [];
  const network = new NetworkOfVm({
    cards: {
      hasUserNetwork: false,
      limits: [{}, {}],
      networks: [],
      change: async () => {},
      limit: async (number, limits) => void given.push([number, limits]),
      usage: async () => [],
      lead: async () => {},
    },
    spec: machineSpec({ memoryBytes: 2 ** 24, devices: [] }),
    tray: async () => undefined,
    interfaces: async () => [],
  });

  it("reach the card", async () => {
    await network.limit(1, { toGuest: { bytesPerSecond: 1e6, latencyMs: 5, jitterMs: 5 } });
    expect(given).toEqual([[1, { toGuest: { bytesPerSecond: 1e6, latencyMs: 5, jitterMs: 5 } }]]);
  });

  it.each([
    [2, {}, "no-network"],
    [-1, {}, "no-network"],
    [0, { toGuest: { loss: 2 } }, "bad-option"],
    [0, { toGuest: { bytesPerSecond: 0 } }, "bad-option"],
    [0, { fromGuest: { latencyMs: Number.NaN } }, "bad-option"],
    [0, { fromGuest: { latencyMs: 5, jitterMs: 6 } }, "bad-option"],
    [0, { fromGuest: { burstBytes: 6 } }, "bad-option"],
    [0, { fromGuest: { speed: 6 } } as CardLimits, "bad-option"],
    [0, { both: {} } as CardLimits, "bad-option"],
  ])("are refused: %i, %o", async (number, limits, code) => {
    await expect(network.limit(number, limits)).rejects.toMatchObject({ code });
  });
});
