import { describe, expect, it } from "vitest";
import { StateError } from "../../state/errors.ts";
import { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { FakeContext } from "../fake-context.ts";
import { AREA, Virtqueue } from "./queue.ts";

const SIZE = 8;
const [DESC, DRIVER, DEVICE, DATA] = [0x1000, 0x2000, 0x3000, 0x4000];
const [NEXT, WRITE, INDIRECT] = [1, 2, 4];

function setUp(features = { eventIndex: false, indirect: true, packed: false }) {
  const { memory } = new FakeContext();
  const broken: string[] = [];
  const create = (): Virtqueue => new Virtqueue(memory, SIZE, (reason) => broken.push(reason));
  const queue = create();
  queue.setAddressHalf(AREA.DESCRIPTOR, false, DESC);
  queue.setAddressHalf(AREA.DRIVER, false, DRIVER);
  queue.setAddressHalf(AREA.DEVICE, false, DEVICE);
  queue.enable(features);
  let added = 0;
  const descriptor = (at: number, gpa: number | bigint, sizeBytes: number, flags = 0, next = 0): void => {
    memory.write64(at, BigInt(gpa));
    memory.write32(at + 8, sizeBytes);
    memory.write16(at + 12, flags);
    memory.write16(at + 14, next);
  };
  return {
    memory,
    queue,
    broken,
    create,
    desc: (slot: number, gpa: number | bigint, sizeBytes: number, flags = 0, next = 0) =>
      descriptor(DESC + 16 * slot, gpa, sizeBytes, flags, next),
    descriptor,
    available: (head: number) => {
      memory.write16(DRIVER + 4 + 2 * (added % SIZE), head);
      memory.write16(DRIVER + 2, ++added & 0xffff);
    },
  };
}

describe("chains", () => {
  it("gathers the readable part, scatters into the writable part and returns the chain", () => {
    const { memory, queue, desc, available } = setUp();
    memory.write(DATA, Uint8Array.of(1, 2, 3));
    memory.write(DATA + 16, Uint8Array.of(4, 5));
    desc(3, DATA, 3, NEXT, 5);
    desc(5, DATA + 16, 2, NEXT, 0);
    desc(0, DATA + 32, 2, NEXT | WRITE, 1);
    desc(1, DATA + 64, 4, WRITE);
    available(3);
    const chain = queue.pop()!;
    expect([chain.readableBytes, chain.writableBytes]).toEqual([5, 6]);
    const into = new Uint8Array(4);
    expect(chain.read(1, into)).toBe(true);
    expect([...into]).toEqual([2, 3, 4, 5]);
    expect(chain.read(2, into)).toBe(false);
    expect(chain.write(1, Uint8Array.of(7, 8, 9))).toBe(true);
    expect([memory.read8(DATA + 33), memory.read8(DATA + 64), memory.read8(DATA + 65)]).toEqual([7, 8, 9]);
    expect(queue.pop()).toBeUndefined();
    queue.push(chain, 4);
    expect([memory.read16(DEVICE + 2), memory.read32(DEVICE + 4), memory.read32(DEVICE + 8)]).toEqual([1, 3, 4]);
    queue.push(chain, 4);
    expect(memory.read16(DEVICE + 2)).toBe(1);
  });

  it("follows an indirect table, also after direct descriptors, whatever its write flag says", () => {
    const { queue, desc, descriptor, available } = setUp();
    desc(0, DATA, 1, NEXT, 1);
    desc(1, 0x6000, 32, INDIRECT | WRITE);
    descriptor(0x6000, DATA + 8, 10, NEXT, 1);
    descriptor(0x6010, DATA + 32, 20, WRITE);
    available(0);
    const chain = queue.pop()!;
    expect([chain.readableBytes, chain.writableBytes]).toEqual([11, 20]);
  });

  it("goes around the 16-bit indices", () => {
    const { memory, queue, desc, available } = setUp();
    desc(2, DATA, 1);
    for (let i = 0; i < 65_540; i++) {
      available(2);
      queue.push(queue.pop()!, 0);
    }
    expect(memory.read16(DEVICE + 2)).toBe(4);
  });
});

describe("what a driver must not do breaks the queue, once", () => {
  type Rig = ReturnType<typeof setUp>;
  const cases: [string, RegExp, (rig: Rig) => void][] = [
    ["a loop", /loop/, ({ desc }) => [desc(0, DATA, 1, NEXT, 1), desc(1, DATA, 1, NEXT, 0)]],
    ["a next index outside the table", /leaves/, ({ desc }) => desc(0, DATA, 1, NEXT, SIZE)],
    ["readable after writable", /readable/, ({ desc }) => [desc(0, DATA, 1, NEXT | WRITE, 1), desc(1, DATA, 1)]],
    ["an address beyond 52 bits", /address space/, ({ desc }) => desc(0, 1n << 52n, 1)],
    ["an indirect table with a next", /indirect/, ({ desc }) => desc(0, DATA, 16, INDIRECT | NEXT, 1)],
    ["an empty indirect table", /indirect/, ({ desc }) => desc(0, DATA, 0, INDIRECT)],
    ["an uneven indirect table", /indirect/, ({ desc }) => desc(0, DATA, 17, INDIRECT)],
    ["a huge indirect table", /indirect/, ({ desc }) => desc(0, DATA, 0xffff_fff0, INDIRECT)],
    ["an indirect table outside RAM", /RAM/, ({ desc }) => desc(0, 0xffff_0000, 16, INDIRECT)],
    [
      "nested indirect tables",
      /indirect/,
      ({ desc, descriptor }) => [desc(0, 0x6000, 16, INDIRECT), descriptor(0x6000, 0x6000, 16, INDIRECT)],
    ],
    [
      "a loop in an indirect table",
      /loop/,
      ({ desc, descriptor }) => [desc(0, 0x6000, 16, INDIRECT), descriptor(0x6000, DATA, 1, NEXT, 0)],
    ],
    ["an index that jumps", /ahead/, ({ memory }) => memory.write16(DRIVER + 2, 5000)],
    ["a head outside the table", /no descriptor/, ({ memory }) => memory.write16(DRIVER + 4, SIZE)],
  ];
  it.each(cases)("%s", (_name, reason, arrange) => {
    const rig = setUp();
    rig.desc(0, DATA, 1);
    rig.available(0);
    arrange(rig);
    expect(rig.queue.pop()).toBeUndefined();
    expect(rig.queue.pop()).toBeUndefined();
    expect(rig.broken).toHaveLength(1);
    expect(rig.broken[0]).toMatch(reason);
  });

  it("the same chain twice, while the device has it", () => {
    const { queue, desc, available, broken } = setUp();
    desc(0, DATA, 1);
    available(0);
    available(0);
    expect(queue.pop()).toBeDefined();
    expect(queue.pop()).toBeUndefined();
    expect(broken).toEqual(["a chain is available twice"]);
  });

  it("rings outside RAM, or misaligned", () => {
    const { memory } = setUp();
    for (const [area, address] of [
      [AREA.DRIVER, 0xf000_0000],
      [AREA.DESCRIPTOR, DESC + 8],
      [AREA.DEVICE, DEVICE + 2],
    ] as const) {
      const reasons: string[] = [];
      const queue = new Virtqueue(memory, SIZE, (reason) => reasons.push(reason));
      queue.setAddressHalf(area, false, address);
      queue.enable({ eventIndex: false, indirect: false, packed: false });
      expect(queue.pop()).toBeUndefined();
      expect(reasons).toHaveLength(1);
    }
  });

  it("an indirect descriptor without the feature", () => {
    const { queue, desc, available, broken } = setUp({ eventIndex: false, indirect: false, packed: false });
    desc(0, DATA, 16, INDIRECT);
    available(0);
    expect(queue.pop()).toBeUndefined();
    expect(broken[0]).toMatch(/indirect/);
  });

  it("a reset makes it usable again, and forgets what the device still had", () => {
    const { memory, queue, desc, available, broken } = setUp();
    desc(0, DATA, 1);
    available(0);
    const old = queue.pop()!;
    queue.reset();
    memory.bytes.fill(0);
    queue.setAddressHalf(AREA.DESCRIPTOR, false, DESC);
    queue.setAddressHalf(AREA.DRIVER, false, DRIVER);
    queue.setAddressHalf(AREA.DEVICE, false, DEVICE);
    queue.enable({ eventIndex: false, indirect: true, packed: false });
    desc(0, DATA, 1);
    memory.write16(DRIVER + 2, 1);
    const fresh = queue.pop()!;
    queue.push(old, 0);
    expect(memory.read16(DEVICE + 2)).toBe(0);
    queue.push(fresh, 0);
    expect(memory.read16(DEVICE + 2)).toBe(1);
    expect(broken).toEqual([]);
  });
});

describe("interrupts", () => {
  it("by flag", () => {
    const { memory, queue, desc, available } = setUp();
    desc(0, DATA, 1);
    available(0);
    expect(queue.takeInterrupt()).toBe(false);
    queue.push(queue.pop()!, 0);
    expect(queue.takeInterrupt()).toBe(true);
    expect(queue.takeInterrupt()).toBe(false);
    memory.write16(DRIVER, 1);
    available(0);
    queue.push(queue.pop()!, 0);
    expect(queue.takeInterrupt()).toBe(false);
  });

  it("by event index: only when the used index passes the driver's, and notifications are asked for", () => {
    const { memory, queue, desc, available } = setUp({ eventIndex: true, indirect: true, packed: false });
    const complete = (): boolean => {
      desc(0, DATA, 1);
      available(0);
      queue.push(queue.pop()!, 0);
      return queue.takeInterrupt();
    };
    memory.write16(DRIVER + 4 + 2 * SIZE, 1); // used_event
    expect([complete(), complete(), complete()]).toEqual([false, true, false]);
    expect(queue.pop()).toBeUndefined();
    expect(memory.read16(DEVICE + 4 + 8 * SIZE)).toBe(3); // avail_event
  });
});

describe("state", () => {
  it("keeps positions and what is in flight", () => {
    const rig = setUp();
    rig.desc(0, DATA, 1, WRITE);
    rig.desc(1, DATA + 8, 2, WRITE);
    for (const head of [1, 0]) rig.available(head);
    rig.queue.pop();
    rig.queue.pop();
    const copy = rig.create();
    copy.restore(new StateReader(rig.queue.save(), "queue"));
    expect(copy.save()).toEqual(rig.queue.save());
    const chains = copy.reclaim();
    expect(chains.map((chain) => chain.head)).toEqual([1, 0]);
    expect(copy.reclaim()).toEqual(chains);
    copy.push(chains[1]!, 1);
    copy.push(chains[0]!, 2);
    expect([rig.memory.read16(DEVICE + 2), rig.memory.read32(DEVICE + 4)]).toEqual([2, 0]);
    expect(copy.inFlightCount).toBe(0);
    expect(copy.takeInterrupt()).toBe(true);
  });

  it("with a used ring ahead of the available one is refused: rings in one place would feed themselves", () => {
    const rig = setUp();
    const state = rig.queue.save() as Record<string, StateValue>;
    const ahead = { ...state, addresses: [DESC, 0, DRIVER, 0, DRIVER, 0], nextUsed: 1 };
    expect(() => rig.create().restore(new StateReader(ahead, "queue"))).toThrow(StateError);
  });
});

it("random rings: no exception, bounded time", () => {
  let seed = 7;
  const random = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return (seed ^ (seed >>> 15)) >>> 0;
  };
  for (let round = 0; round < 400; round++) {
    const { memory, queue, desc, broken } = setUp({
      eventIndex: round % 2 === 0,
      indirect: round % 3 !== 0,
      packed: false,
    });
    const near = (): number => (random() % 4 === 0 ? random() : random() % 0x1_0000);
    for (let at = 0x6000; at < 0x7000; at += 4) memory.write32(at, near() & (random() % 3 ? 0x3_ffff : ~0));
    for (let slot = 0; slot < SIZE; slot++) {
      const flags = random() % 8;
      desc(
        slot,
        flags & INDIRECT ? 0x6000 : near(),
        flags & INDIRECT ? 16 * (random() % 80) : near(),
        flags,
        random() % (SIZE + 1),
      );
    }
    for (let i = 0; i < SIZE; i++) memory.write16(DRIVER + 4 + 2 * i, random() % (SIZE + 1));
    memory.write16(DRIVER + 2, random() % (SIZE + 2));
    for (let pops = 0; ; pops++) {
      const chain = queue.pop();
      if (!chain) break;
      expect(pops).toBeLessThan(SIZE);
      chain.read(0, new Uint8Array(Math.min(chain.readableBytes, 100)));
      chain.write(random() % 50, new Uint8Array(Math.min(chain.writableBytes, 100)));
      if (random() % 4) queue.push(chain, random());
      queue.takeInterrupt();
    }
    expect(broken.length).toBeLessThanOrEqual(1);
  }
});
