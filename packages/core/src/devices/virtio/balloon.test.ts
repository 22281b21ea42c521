import { describe, expect, it } from "vitest";
import { StateError } from "../../state/errors.ts";
import { deviceContract } from "../contract.ts";
import { FakeContext } from "../fake-context.ts";
import { BALLOON_CONFIG, createVirtioBalloon, VIRTIO_BALLOON_F } from "./balloon.ts";
import { type BalloonRequest, decodeBalloonReports, encodeBalloonRequest } from "./balloon-messages.ts";
import { FakeDriver } from "./fake-driver.ts";
import { VIRTIO_F } from "./model.ts";
import { BAR_LAYOUT, DEVICE_STATUS } from "./pci-transport.ts";

const bit = (number: number): bigint => 1n << BigInt(number);
const STATS = bit(VIRTIO_BALLOON_F.STATS_VQ);
const REPORTING = bit(VIRTIO_BALLOON_F.REPORTING);
const POISON = bit(VIRTIO_BALLOON_F.PAGE_POISON);
const PAGE = 4096;
const PAGES = 64;

function setUp(features = STATS | REPORTING, queues = 4) {
  const context = new FakeContext({ memoryBytes: PAGES * PAGE });
  const device = createVirtioBalloon(context, { name: "balloon0" });
  device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
  const driver = new FakeDriver(context, device);
  driver.negotiate(features);
  driver.start(queues);
  return {
    context,
    device,
    driver,
    ask: (request: BalloonRequest) => context.input("balloon0", encodeBalloonRequest(request)),
    reports: () => decodeBalloonReports(context.sent("balloon0")),
    config: (offset: number) => device.read(BAR_LAYOUT.device + offset, 4),
    setConfig: (offset: number, value: number) => device.write(BAR_LAYOUT.device + offset, 4, value),
    numbers: (queue: number, ...pages: number[]) => driver.send(queue, new Uint8Array(Uint32Array.from(pages).buffer)),
    /** Which pages hold something. */
    held: (first: number, end: number): number[] =>
      Array.from({ length: end - first }, (_, i) => first + i).filter(
        (page) => context.memory.read8(page * PAGE) !== 0,
      ),
    fill: (first: number, end: number) => context.memory.bytes.fill(0xaa, first * PAGE, end * PAGE),
  };
}

const statistics = (...entries: [number, bigint][]): Uint8Array => {
  const view = new DataView(new ArrayBuffer(10 * entries.length));
  for (const [i, [tag, value]] of entries.entries()) {
    view.setUint16(10 * i, tag, true);
    view.setBigUint64(10 * i + 2, value, true);
  }
  return new Uint8Array(view.buffer);
};

describe("inflating", () => {
  it("aims at the target, no more than all memory, and tells what the driver reached", () => {
    const { ask, config, setConfig, reports, device, context } = setUp();
    context.line("intx").rises = 0;
    ask({ kind: "target", pages: 20 });
    expect([config(BALLOON_CONFIG.num_pages), context.line("intx").rises]).toEqual([20, 1]);
    ask({ kind: "target", pages: 20 });
    expect(context.line("intx").rises).toBe(1);
    ask({ kind: "target", pages: 1000 });
    expect(config(BALLOON_CONFIG.num_pages)).toBe(PAGES);
    setConfig(BALLOON_CONFIG.actual, 12);
    expect(config(BALLOON_CONFIG.actual)).toBe(12);
    device.reset();
    expect([config(BALLOON_CONFIG.num_pages), config(BALLOON_CONFIG.actual)]).toEqual([PAGES, 0]);
    ask({ kind: "target", pages: 5 });
    const told = reports().map((report) => (report.kind === "actual" ? report.pages : undefined));
    expect(told).toEqual([0, 0, 0, 12, 0, 0]);
  });

  it("gives pages back, in whatever order and however often they are named, and nothing else", () => {
    const { numbers, held, fill, driver } = setUp();
    fill(40, 50);
    numbers(0, 47, 42, 41, 41, 0xffff_ffff, PAGES, 43);
    expect(held(40, 50)).toEqual([40, 44, 45, 46, 48, 49]);
    fill(42, 43);
    numbers(1, 42);
    expect(held(40, 44)).toEqual([40, 42]);
    expect([driver.used(0), driver.used(1)].map((used) => used.length)).toEqual([1, 1]);
    expect(driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).toBe(0);
  });

  it("a list longer than any driver's needs a reset", () => {
    const { driver } = setUp();
    driver.add(0, [{ gpa: 0x1000, sizeBytes: 0xffff_ffff, writable: false }]);
    driver.kick(0);
    expect(driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).not.toBe(0);
  });
});

describe("statistics", () => {
  it("are asked for by giving the driver's buffer back, and told when it comes again", () => {
    const { driver, ask, reports, device } = setUp();
    driver.send(2, statistics([4, 1n]));
    expect([driver.used(2).length, reports()]).toEqual([0, []]);
    ask({ kind: "ask" });
    expect([driver.used(2).length, reports()]).toEqual([1, []]);
    driver.send(2, statistics([4, 5_000_000_000n], [5, 7n], [999, 1n], [3, 2n]));
    const told = { freeBytes: 5_000_000_000, totalBytes: 7, minorFaults: 2 };
    expect(reports()).toEqual([{ kind: "statistics", statistics: told }]);
    // Through a saved state, too.
    const { context } = setUp();
    const copy = createVirtioBalloon(context, { name: "copy" });
    context.memory.bytes.set(driver.context.memory.bytes);
    copy.restore(device.save());
    copy.resume();
    context.input("copy", encodeBalloonRequest({ kind: "ask" }));
    expect((copy.save() as { queues: { inFlight: number[] }[] }).queues[2]!.inFlight).toEqual([]);
  });

  it("are found where the driver gives its buffer before it is ready", () => {
    const { driver, ask, reports } = setUp();
    driver.negotiate(STATS);
    for (let queue = 0; queue < 3; queue++) driver.setUpQueue(queue);
    driver.send(2, statistics([4, 1n]));
    driver.status = driver.status | DEVICE_STATUS.DRIVER_OK;
    ask({ kind: "ask" });
    expect(driver.used(2)).toHaveLength(1);
    driver.send(2, statistics([4, 2n]));
    expect(reports()).toEqual([{ kind: "statistics", statistics: { freeBytes: 2 } }]);
  });

  it("who asks before there is a driver is answered by its first buffer", () => {
    const { driver, ask, reports } = setUp();
    ask({ kind: "ask" });
    driver.send(2, statistics([6, 9n]));
    expect(reports()).toEqual([{ kind: "statistics", statistics: { availableBytes: 9 } }]);
  });
});

describe("reporting", () => {
  const report = ({ driver }: ReturnType<typeof setUp>, queue: number, ...parts: [number, number][]): void => {
    driver.add(
      queue,
      parts.map(([gpa, sizeBytes]) => ({ gpa, sizeBytes, writable: true })),
    );
    driver.kick(queue);
  };

  it.each([
    ["after statistics", STATS | REPORTING, 3],
    ["without them", REPORTING, 2],
    ["in a packed ring", REPORTING | bit(VIRTIO_F.RING_PACKED), 2],
  ])("%s gives whole pages back", (_what, features, queue) => {
    const rig = setUp(features);
    rig.fill(40, 50);
    report(rig, queue, [40 * PAGE + 1, 3 * PAGE], [45 * PAGE, 2 * PAGE], [60 * PAGE, 0xffff_f000]);
    expect(rig.held(40, 50)).toEqual([40, 43, 44, 47, 48, 49]);
    expect(rig.driver.used(queue)).toHaveLength(1);
  });

  it("leaves poisoned pages as they are", () => {
    const rig = setUp(STATS | REPORTING | POISON);
    rig.setConfig(BALLOON_CONFIG.poison_val, 0xaaaa_aaaa);
    rig.fill(40, 50);
    report(rig, 3, [40 * PAGE, PAGE]);
    expect(rig.held(40, 41)).toEqual([40]);
    expect(rig.driver.used(3)).toHaveLength(1);
  });
});

it("what the outside wants is gone with a state that could not be restored", () => {
  const { device, ask, config } = setUp();
  ask({ kind: "target", pages: 3 });
  expect(() => device.restore({})).toThrow(StateError);
  expect(config(BALLOON_CONFIG.num_pages)).toBe(0);
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createVirtioBalloon(context, { name: "balloon0" });
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    return {
      device,
      ranges: [
        { handler: device, length: 0x40 },
        { handler: device, length: BAR_LAYOUT.sizeBytes },
      ],
      setUp: () => {
        const driver = new FakeDriver(context, device);
        driver.negotiate(STATS | REPORTING | bit(VIRTIO_F.EVENT_IDX));
        driver.start(4);
        driver.send(2, statistics([4, 1n], [5, 2n]));
      },
      events: [
        (random) => context.input("balloon0", encodeBalloonRequest({ kind: "target", pages: random % 100 })),
        () => context.input("balloon0", encodeBalloonRequest({ kind: "ask" })),
        (random) => device.write(BAR_LAYOUT.device + 4 * (random % 4), 4, random),
        (random) => device.write(BAR_LAYOUT.notify + 4 * (random % 4), 2, 0),
        (random) => {
          const index = 0x1000 + 128 + 2 + (random % 4) * 224;
          context.memory.write16(index, ((context.memory.read16(index) ?? 0) + 1) & 0xffff);
        },
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
