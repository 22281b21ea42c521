import { describe, expect, it } from "vitest";
import { createFrameRing, RingCards, RingNetwork } from "./frame-ring.ts";

interface Rig {
  readonly machine: RingNetwork;
  readonly cards: RingCards;
  readonly kicks: () => number;
}

function setUp(): Rig {
  const ring = createFrameRing(["net0", "net1"]);
  let kicks = 0;
  const cards = new RingCards(ring, () => kicks++);
  for (const end of cards.ends) end.setUp(true);
  return { machine: new RingNetwork(ring), cards, kicks: () => kicks };
}

const frame = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

describe("a frame ring", () => {
  it("carries frames of each card both ways, in order", () => {
    const { machine, cards } = setUp();
    machine.send("net1", frame(60, 1), false);
    machine.send("net1", frame(1514, 2), true);
    expect(cards.ends[0]!.take()).toBeUndefined();
    expect([cards.ends[1]!.take(), cards.ends[1]!.isOffloaded]).toEqual([frame(60, 1), false]);
    expect([cards.ends[1]!.take(), cards.ends[1]!.isOffloaded]).toEqual([frame(1514, 2), true]);
    expect(cards.ends[1]!.take()).toBeUndefined();
    expect(machine.hasFrame("net0")).toBe(false);
    expect(cards.ends[0]!.deliver(frame(99, 3))).toBe(true);
    expect(machine.hasFrame("net0")).toBe(true);
    expect(machine.take("net0")).toEqual({ bytes: frame(99, 3), segmentBytes: 0 });
    cards.ends[0]!.deliver(frame(60_000, 4), 1448);
    expect(machine.take("net0")?.segmentBytes).toBe(1448);
    expect([machine.takesOffloads("net0"), cards.ends[0]!.takesLarge]).toEqual([false, false]);
    cards.ends[0]!.setTakesOffloads(true);
    machine.setTakesLarge("net0", true);
    expect([machine.takesOffloads("net0"), cards.ends[0]!.takesLarge]).toEqual([true, true]);
    expect([machine.takesOffloads("net1"), cards.ends[1]!.takesLarge]).toEqual([false, false]);
    expect(machine.take("net0")).toBeUndefined();
  });

  it("goes round many times", () => {
    const { machine, cards } = setUp();
    for (let i = 0; i < 3000; i++) {
      const sent = frame(1 + ((i * 977) % 4000), i);
      machine.send("net0", sent, false);
      expect(Buffer.compare(cards.ends[0]!.take()!, sent)).toBe(0);
    }
  });

  it("kicks the machine for the first frame of those that wait, and for the cable", () => {
    const { machine, cards, kicks } = setUp();
    const before = kicks();
    cards.ends[0]!.deliver(frame(60, 1));
    cards.ends[0]!.deliver(frame(60, 2));
    expect(kicks()).toBe(before + 1);
    machine.take("net0");
    machine.take("net0");
    cards.ends[0]!.deliver(frame(60, 3));
    expect(kicks()).toBe(before + 2);
    cards.ends[0]!.setUp(false);
    cards.ends[0]!.setUp(false);
    expect(kicks()).toBe(before + 3);
    expect(machine.isUp("net0")).toBe(false);
  });

  it("makes a network wait that a machine takes nothing of, and tells it of room once half is free", () => {
    const { machine, cards } = setUp();
    let delivered = 0;
    while (cards.ends[0]!.deliver(frame(60_000, delivered))) delivered++;
    expect(delivered).toBe(8);
    const { work } = cards;
    machine.take("net0");
    expect(cards.work).toBe(work); // One frame's room is not worth a wake.
    for (let i = 0; i < 5; i++) machine.take("net0");
    expect(cards.work).not.toBe(work);
    expect(cards.ends[0]!.deliver(frame(60_000, 9))).toBe(true);
  });

  it("drops what a network does not take, and waits for it once only", () => {
    const { machine, cards } = setUp();
    const startMs = performance.now();
    for (let i = 0; i < 40; i++) machine.send("net0", frame(60_000, i), false);
    expect(performance.now() - startMs).toBeLessThan(1000);
    let taken = 0;
    while (cards.ends[0]!.take()) taken++;
    expect(taken).toBe(8);
    machine.send("net0", frame(60, 1), false);
    expect(cards.ends[0]!.take()).toEqual(frame(60, 1));
  });
});
