import { describe, expect, it } from "vitest";
import { StateError } from "../../state/errors.ts";
import { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { FakeContext } from "../fake-context.ts";
import { AREA, Virtqueue } from "./queue.ts";

const SIZE = 6; // No power of two.
const [RING, DRIVER, DEVICE, DATA, TABLE] = [0x1000, 0x2000, 0x3000, 0x4000, 0x6000];
const [NEXT, WRITE, INDIRECT, AVAIL, USED] = [1, 2, 4, 1 << 7, 1 << 15];
const [DISABLE, EVENT] = [1, 2];
const ALL = { eventIndex: true, indirect: true, packed: true };

interface Entry {
  readonly gpa: number | bigint;
  readonly sizeBytes: number;
  readonly flags?: number;
  readonly id?: number;
}

function setUp(features = { ...ALL, eventIndex: false }) {
  const { memory } = new FakeContext();
  const broken: string[] = [];
  const create = (): Virtqueue => new Virtqueue(memory, 8, (reason) => broken.push(reason));
  const queue = create();
  queue.setSize(SIZE, true);
  queue.setAddressHalf(AREA.DESCRIPTOR, false, RING);
  queue.setAddressHalf(AREA.DRIVER, false, DRIVER);
  queue.setAddressHalf(AREA.DEVICE, false, DEVICE);
  queue.enable(features);
  let place = 0;
  const descriptor = (at: number, { gpa, sizeBytes, flags = 0, id = 0 }: Entry): void => {
    memory.write64(at, BigInt(gpa));
    memory.write32(at + 8, sizeBytes);
    memory.write16(at + 12, id);
    memory.write16(at + 14, flags);
  };
  return {
    memory,
    queue,
    broken,
    create,
    descriptor,
    /** The next descriptors of the ring, available. */
    add: (...entries: Entry[]): void => {
      for (const entry of entries) {
        const lap = Math.floor(place / SIZE) % 2 === 0 ? AVAIL : USED;
        descriptor(RING + 16 * (place++ % SIZE), { ...entry, flags: (entry.flags ?? 0) | lap });
      }
    },
    slot: (index: number) => {
      const at = RING + 16 * index;
      return { sizeBytes: memory.read32(at + 8), id: memory.read16(at + 12), flags: memory.read16(at + 14) };
    },
  };
}

describe("buffers", () => {
  it("gathers and scatters a chain; the identifier is in its last descriptor", () => {
    const { memory, queue, add, slot } = setUp();
    memory.write(DATA, Uint8Array.of(1, 2, 3));
    add({ gpa: DATA, sizeBytes: 3, flags: NEXT, id: 77 }, { gpa: DATA + 16, sizeBytes: 4, flags: WRITE, id: 9 });
    const chain = queue.pop()!;
    expect([chain.head, chain.readableBytes, chain.writableBytes]).toEqual([9, 3, 4]);
    const into = new Uint8Array(2);
    expect(chain.read(1, into)).toBe(true);
    expect([...into]).toEqual([2, 3]);
    expect(chain.write(0, Uint8Array.of(5, 6))).toBe(true);
    expect(queue.pop()).toBeUndefined();
    queue.push(chain, 2);
    expect(slot(0)).toEqual({ sizeBytes: 2, id: 9, flags: AVAIL | USED | WRITE });
    queue.push(chain, 2);
    expect(queue.inFlightCount).toBe(0);
  });

  it("gives back in the order of use, over what came first, for several laps", () => {
    const { memory, queue, add, slot, broken } = setUp();
    for (let round = 0; round < 50; round++) {
      memory.write8(DATA, round);
      add({ gpa: DATA, sizeBytes: 1, flags: NEXT }, { gpa: DATA, sizeBytes: 1, flags: NEXT });
      add({ gpa: DATA, sizeBytes: 1, id: 1 }, { gpa: DATA + 8, sizeBytes: 2, flags: WRITE, id: 2 });
      const [first, second] = [queue.pop()!, queue.pop()!];
      const place = 4 * round;
      const lap = Math.floor(place / SIZE) % 2 === 0 ? AVAIL | USED : 0;
      queue.push(second, 2);
      expect(slot(place % SIZE)).toEqual({ sizeBytes: 2, id: 2, flags: lap | WRITE });
      const byte = new Uint8Array(1);
      expect(first.read(2, byte) && byte[0]).toBe(round);
      queue.push(first, 0);
      const nextLap = Math.floor((place + 1) / SIZE) % 2 === 0 ? AVAIL | USED : 0;
      expect(slot((place + 1) % SIZE)).toEqual({ sizeBytes: 0, id: 1, flags: nextLap });
    }
    expect(broken).toEqual([]);
  });

  it("takes all of an indirect table, whose flags but WRITE mean nothing", () => {
    const { queue, add, descriptor } = setUp();
    descriptor(TABLE, { gpa: DATA, sizeBytes: 10, flags: 0 });
    descriptor(TABLE + 16, { gpa: DATA, sizeBytes: 20, flags: NEXT | WRITE | AVAIL | USED, id: 5 });
    descriptor(TABLE + 32, { gpa: DATA, sizeBytes: 30, flags: WRITE });
    add({ gpa: TABLE, sizeBytes: 48, flags: INDIRECT | WRITE, id: 3 });
    const chain = queue.pop()!;
    expect([chain.head, chain.readableBytes, chain.writableBytes]).toEqual([3, 10, 50]);
  });
});

describe("what a driver must not do breaks the queue, once", () => {
  type Rig = ReturnType<typeof setUp>;
  const one = { gpa: DATA, sizeBytes: 1 };
  const indirect = (sizeBytes: number, flags = 0): Entry => ({ gpa: TABLE, sizeBytes, flags: INDIRECT | flags });
  const cases: [string, RegExp, (rig: Rig) => void][] = [
    ["a chain longer than the ring", /more/, ({ add }) => add(...new Array<Entry>(SIZE).fill({ ...one, flags: NEXT }))],
    ["readable after writable", /readable/, ({ add }) => add({ ...one, flags: NEXT | WRITE }, one)],
    ["an address beyond 52 bits", /address space/, ({ add }) => add({ ...one, gpa: 1n << 52n })],
    ["an indirect table with a next", /indirect/, ({ add }) => add(indirect(16, NEXT), one)],
    ["an empty indirect table", /indirect/, ({ add }) => add(indirect(0))],
    ["an uneven indirect table", /indirect/, ({ add }) => add(indirect(17))],
    ["a huge indirect table", /indirect/, ({ add }) => add(indirect(0xffff_fff0))],
    ["an indirect table outside RAM", /RAM/, ({ add }) => add({ ...indirect(16), gpa: 0xffff_0000 })],
    ["the same identifier twice", /twice/, ({ add, queue }) => [add(one, one), queue.pop()]],
  ];
  it.each(cases)("%s", (_name, reason, arrange) => {
    const rig = setUp();
    arrange(rig);
    expect(rig.queue.pop()).toBeUndefined();
    expect(rig.queue.pop()).toBeUndefined();
    expect(rig.broken).toHaveLength(1);
    expect(rig.broken[0]).toMatch(reason);
  });

  it("more buffers than the ring has places", () => {
    const { queue, add, broken } = setUp();
    for (let id = 0; id <= SIZE; id++) {
      add({ ...one, id });
      queue.pop();
    }
    expect(broken).toEqual(["more is available than the ring holds"]);
  });

  it("areas outside RAM, or misaligned, and a split ring of a size that only a packed one may have", () => {
    const { memory } = setUp();
    for (const [area, address] of [
      [AREA.DESCRIPTOR, 0xf000_0000],
      [AREA.DEVICE, 0xf000_0000],
      [AREA.DESCRIPTOR, RING + 8],
      [AREA.DRIVER, DRIVER + 2],
    ] as const) {
      const reasons: string[] = [];
      const queue = new Virtqueue(memory, 8, (reason) => reasons.push(reason));
      queue.setAddressHalf(area, false, address);
      queue.enable(ALL);
      expect(queue.pop()).toBeUndefined();
      expect(reasons).toHaveLength(1);
    }
    const reasons: string[] = [];
    const queue = new Virtqueue(memory, 8, (reason) => reasons.push(reason));
    queue.setSize(SIZE, true);
    queue.enable({ ...ALL, packed: false });
    expect(reasons).toHaveLength(1);
  });
});

describe("notifications", () => {
  it("by flag", () => {
    const { memory, queue, add } = setUp();
    const complete = (): boolean => {
      add({ gpa: DATA, sizeBytes: 1 });
      queue.push(queue.pop()!, 0);
      return queue.takeInterrupt();
    };
    expect([queue.takeInterrupt(), complete(), queue.takeInterrupt()]).toEqual([false, true, false]);
    memory.write16(DRIVER + 2, DISABLE);
    expect(complete()).toBe(false);
    // Without the feature there are no places to wait for.
    memory.write16(DRIVER + 2, EVENT);
    expect(complete()).toBe(true);
  });

  it("when a place is passed, in its lap", () => {
    const { memory, queue, add } = setUp(ALL);
    const complete = (length = 1): boolean => {
      const next = { gpa: DATA, sizeBytes: 1, flags: NEXT };
      add(...new Array<Entry>(length - 1).fill(next), { gpa: DATA, sizeBytes: 1 });
      queue.push(queue.pop()!, 0);
      return queue.takeInterrupt();
    };
    memory.write16(DRIVER + 2, EVENT);
    memory.write16(DRIVER, 0x8000 | 2);
    expect([complete(), complete(), complete(), complete()]).toEqual([false, false, true, false]);
    memory.write16(DRIVER, 1); // In the second lap, within a chain.
    expect([complete(2), complete(3), complete(2)]).toEqual([false, true, false]);
    memory.write16(DRIVER, 0x8000 | 4);
    expect([complete(1), complete(4), complete(2)]).toEqual([false, false, true]);
  });

  it("asks for one where the ring is empty", () => {
    const { memory, queue, add } = setUp(ALL);
    const asked = (): (number | undefined)[] => {
      expect(queue.pop()).toBeUndefined();
      return [memory.read16(DEVICE), memory.read16(DEVICE + 2)];
    };
    expect(asked()).toEqual([0x8000, EVENT]);
    for (let i = 0; i < SIZE + 1; i++) {
      add({ gpa: DATA, sizeBytes: 1 });
      queue.push(queue.pop()!, 0);
    }
    expect(asked()).toEqual([1, EVENT]);
  });
});

describe("state", () => {
  const inFlight = () => {
    const rig = setUp();
    const { add, queue, descriptor } = rig;
    descriptor(TABLE, { gpa: DATA + 32, sizeBytes: 7, flags: WRITE });
    add({ gpa: DATA, sizeBytes: 1, flags: NEXT, id: 4 }, { gpa: DATA + 8, sizeBytes: 2, flags: WRITE, id: 4 });
    add({ gpa: DATA, sizeBytes: 1, id: 5 }, { gpa: TABLE, sizeBytes: 16, flags: INDIRECT, id: 6 });
    const chains = [queue.pop()!, queue.pop()!, queue.pop()!];
    queue.push(chains[1]!, 0); // Over the first one's descriptor.
    return rig;
  };

  it("keeps what is in flight, although the ring does not", () => {
    const { queue, create, slot } = inFlight();
    const copy = create();
    copy.restore(new StateReader(queue.save(), "queue"));
    expect(copy.save()).toEqual(queue.save());
    const chains = copy.reclaim();
    expect(chains.map(({ head, writableBytes }) => [head, writableBytes])).toEqual([
      [4, 2],
      [6, 7],
    ]);
    expect(copy.reclaim()).toEqual(chains);
    copy.push(chains[1]!, 7);
    expect(slot(1)).toEqual({ sizeBytes: 7, id: 6, flags: AVAIL | USED | WRITE });
    expect(copy.takeInterrupt()).toBe(true);
  });

  it.each([
    ["places that do not agree", { nextUsed: 2 }],
    ["a lap that does not agree", { usedWrap: false }],
    ["a buffer without descriptors", { inFlight: [{ id: 4, descriptors: [] }] }],
    ["a place outside the ring", { nextAvailable: SIZE }],
  ])("with %s is refused", (_what, change) => {
    const { queue, create } = inFlight();
    const state = queue.save() as { readonly [key: string]: StateValue };
    const packed = { ...(state["packed"] as { readonly [key: string]: StateValue }), ...change };
    expect(() => create().restore(new StateReader({ ...state, packed }, "queue"))).toThrow(StateError);
  });
});

it("random rings: no exception, bounded time", () => {
  let seed = 7;
  const random = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return (seed ^ (seed >>> 15)) >>> 0;
  };
  for (let round = 0; round < 100; round++) {
    const rig = setUp({ eventIndex: round % 2 === 0, indirect: round % 3 !== 0, packed: true });
    const { memory, queue, broken, descriptor } = rig;
    const near = (): number => (random() % 4 === 0 ? random() : random() % 0x1_0000);
    const entry = (): Entry => {
      const flags = (random() % 8) | (random() % 4 ? AVAIL : USED);
      const isTable = (flags & INDIRECT) !== 0;
      const sizeBytes = isTable ? 16 * (random() % 80) : near();
      return { gpa: isTable ? TABLE : near(), sizeBytes, flags, id: random() % SIZE };
    };
    for (let at = TABLE; at < TABLE + 0x500; at += 16) descriptor(at, entry());
    memory.write32(DRIVER, random());
    let pops = 0;
    for (let step = 0; step < 12; step++) {
      descriptor(RING + 16 * (random() % SIZE), entry());
      for (let chain = queue.pop(); chain; chain = queue.pop()) {
        if (++pops > 500) throw new Error("a ring that feeds itself");
        chain.read(0, new Uint8Array(Math.min(chain.readableBytes, 100)));
        chain.write(random() % 50, new Uint8Array(Math.min(chain.writableBytes, 100)));
        if (random() % 4) queue.push(chain, random());
        queue.takeInterrupt();
      }
    }
    const copy = rig.create();
    copy.restore(new StateReader(queue.save(), "queue"));
    expect(copy.save()).toEqual(queue.save());
    expect(broken.length).toBeLessThanOrEqual(1);
  }
});
