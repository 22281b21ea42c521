import { describe, expect, it } from "vitest";
import { StateError } from "../../state/errors.ts";
import { BLOCK_LIMITS } from "../block-channel.ts";
import { deviceContract } from "../contract.ts";
import type { StateValue } from "../device.ts";
import { FakeContext, type FakeDisk } from "../fake-context.ts";
import { createVirtioBlock, type VirtioBlockOptions } from "./block.ts";
import { SECTOR_BYTES, VIRTIO_BLK_F, VIRTIO_BLK_S, VIRTIO_BLK_T } from "./block-config.ts";
import { type FakeBuffer, FakeDriver } from "./fake-driver.ts";
import { VIRTIO_F } from "./model.ts";
import { BAR_LAYOUT, COMMON_CFG, DEVICE_STATUS, type VirtioPciDevice } from "./pci-transport.ts";

const MIB = 2 ** 20;
const DISK: VirtioBlockOptions = { name: "disk0", sizeBytes: 64 * MIB, isReadOnly: false, queues: 1 };
const bit = (number: number): bigint => 1n << BigInt(number);
const FLUSH = bit(VIRTIO_BLK_F.FLUSH);
const WCE = bit(VIRTIO_BLK_F.CONFIG_WCE);
const { OK, IOERR, UNSUPP } = VIRTIO_BLK_S;

interface Rig {
  readonly context: FakeContext;
  readonly device: VirtioPciDevice;
  readonly driver: FakeDriver;
  readonly disk: FakeDisk;
}

interface Sent {
  readonly head: number;
  readonly data: number;
  readonly status: number;
}

function setUp(options: Partial<VirtioBlockOptions> = {}, features = FLUSH | WCE): Rig {
  const context = new FakeContext({ memoryBytes: 4 * MIB });
  const device = createVirtioBlock(context, { ...DISK, ...options });
  const driver = new FakeDriver(context, device);
  driver.negotiate(features);
  driver.start(options.queues ?? 1, 64);
  return { context, device, driver, disk: context.disks.get("disk0")! };
}

/** Makes a request available and kicks. `reads`: bytes that the device writes; `data`: bytes that it reads. */
function send(
  { context, driver }: Rig,
  type: number,
  sector: number | bigint,
  { reads = 0, data = new Uint8Array(0) as Uint8Array, queue = 0, kick = true } = {},
): Sent {
  const header = driver.allocate(16);
  const body = driver.allocate(Math.max(reads, data.length, 1));
  const status = driver.allocate(1);
  context.memory.write32(header, type);
  context.memory.write64(header + 8, BigInt(sector));
  context.memory.write(body, data);
  context.memory.write8(status, 0xee);
  const buffers: FakeBuffer[] = [{ gpa: header, sizeBytes: 16, writable: false }];
  if (data.length > 0) buffers.push({ gpa: body, sizeBytes: data.length, writable: false });
  if (reads > 0) buffers.push({ gpa: body, sizeBytes: reads, writable: true });
  buffers.push({ gpa: status, sizeBytes: 1, writable: true });
  const head = driver.add(queue, buffers);
  if (kick) driver.kick(queue);
  return { head, data: body, status };
}

const statusOf = ({ context }: Rig, { status }: Sent): number => context.memory.read8(status)!;

function ranges(...list: readonly [sector: number, sectors: number, flags: number][]): Uint8Array {
  const bytes = new Uint8Array(16 * list.length);
  const view = new DataView(bytes.buffer);
  for (const [i, [sector, sectors, flags]] of list.entries()) {
    view.setBigUint64(16 * i, BigInt(sector), true);
    view.setUint32(16 * i + 8, sectors, true);
    view.setUint32(16 * i + 12, flags, true);
  }
  return bytes;
}

describe("configuration", () => {
  it("tells size, limits and features", () => {
    const { device, driver } = setUp({ queues: 4 });
    expect(device.read(BAR_LAYOUT.device, 4)).toBe((64 * MIB) / SECTOR_BYTES);
    expect(device.read(BAR_LAYOUT.device + 20, 4)).toBe(512);
    expect(device.read(BAR_LAYOUT.device + 34, 2)).toBe(4);
    expect(device.read(COMMON_CFG.num_queues, 2)).toBe(4);
    const { FLUSH: flush, MQ, DISCARD, WRITE_ZEROES, RO, CONFIG_WCE } = VIRTIO_BLK_F;
    for (const wanted of [flush, MQ, DISCARD, WRITE_ZEROES, CONFIG_WCE]) {
      expect(driver.offeredFeatures() & bit(wanted)).not.toBe(0n);
    }
    expect(driver.offeredFeatures() & bit(RO)).toBe(0n);
  });

  it("of a read-only disk has RO, and nothing that writes", () => {
    const { driver } = setUp({ isReadOnly: true }, FLUSH);
    expect(driver.offeredFeatures() & bit(VIRTIO_BLK_F.RO)).not.toBe(0n);
    const writing = bit(VIRTIO_BLK_F.DISCARD) | bit(VIRTIO_BLK_F.WRITE_ZEROES) | WCE;
    expect(driver.offeredFeatures() & writing).toBe(0n);
  });
});

describe("requests", () => {
  it("reads what the disk has", () => {
    const rig = setUp();
    const request = send(rig, VIRTIO_BLK_T.IN, 8, { reads: 1024 });
    expect(rig.disk.history).toEqual(["read 4096+1024"]);
    expect(rig.driver.used(0)).toEqual([]);
    rig.disk.complete(0, { fill: 7 });
    expect(rig.driver.bytesAt(request.data, 1024)).toEqual(new Uint8Array(1024).fill(7));
    expect(statusOf(rig, request)).toBe(OK);
    expect(rig.driver.used(0)).toEqual([{ head: request.head, writtenBytes: 1025 }]);
  });

  it("writes, and tells it before it is durable", () => {
    const rig = setUp();
    const request = send(rig, VIRTIO_BLK_T.OUT, 2, { data: new Uint8Array(512).fill(9) });
    expect(rig.disk.requests[0]!.bytes).toEqual(new Uint8Array(512).fill(9));
    rig.disk.complete();
    expect(statusOf(rig, request)).toBe(OK);
    expect(rig.disk.history).toEqual(["write 1024+512"]);
  });

  it.each([
    ["a driver without FLUSH", 0n, false],
    ["a cache that writes through", FLUSH | WCE, true],
  ])("of %s: a write is flushed before it is told", (_name, features, turnsOff) => {
    const rig = setUp({}, features);
    if (turnsOff) rig.device.write(BAR_LAYOUT.device + 32, 1, 0);
    const request = send(rig, VIRTIO_BLK_T.OUT, 0, { data: new Uint8Array(512) });
    rig.disk.complete();
    expect(statusOf(rig, request)).toBe(0xee);
    expect(rig.disk.history).toEqual(["write 0+512", "flush 0+0"]);
    rig.disk.complete();
    expect(statusOf(rig, request)).toBe(OK);
  });

  it("flushes", () => {
    const rig = setUp();
    const request = send(rig, VIRTIO_BLK_T.FLUSH, 0);
    expect(rig.disk.history).toEqual(["flush 0+0"]);
    rig.disk.complete();
    expect(statusOf(rig, request)).toBe(OK);
  });

  it("tells the disk's name, at most 20 bytes", () => {
    const rig = setUp();
    const request = send(rig, VIRTIO_BLK_T.GET_ID, 0, { reads: 20 });
    expect(new TextDecoder().decode(rig.driver.bytesAt(request.data, 20))).toBe("disk0".padEnd(20, "\0"));
    expect(statusOf(rig, request)).toBe(OK);
  });

  it("discards and writes zeroes, range by range", () => {
    const rig = setUp();
    const discard = send(rig, VIRTIO_BLK_T.DISCARD, 0, { data: ranges([8, 8, 0], [64, 16, 0]) });
    const zeroes = send(rig, VIRTIO_BLK_T.WRITE_ZEROES, 0, { data: ranges([0, 4, 1]) });
    expect(rig.disk.history).toEqual(["discard 4096+4096", "discard 32768+8192", "write-zeroes 0+2048"]);
    expect(rig.disk.requests[2]!.mayUnmap).toBe(true);
    while (rig.disk.requests.length > 0) rig.disk.complete();
    expect([statusOf(rig, discard), statusOf(rig, zeroes)]).toEqual([OK, OK]);
  });

  it("of all queues go to the same disk and come back where they came from", () => {
    const rig = setUp({ queues: 2 }, FLUSH | bit(VIRTIO_BLK_F.MQ));
    const first = send(rig, VIRTIO_BLK_T.IN, 0, { reads: 512 });
    const second = send(rig, VIRTIO_BLK_T.IN, 1, { reads: 512, queue: 1 });
    rig.disk.complete(1);
    expect(rig.driver.used(0)).toEqual([]);
    expect(rig.driver.used(1)).toEqual([{ head: second.head, writtenBytes: 513 }]);
    rig.disk.complete();
    expect(rig.driver.used(0)).toEqual([{ head: first.head, writtenBytes: 513 }]);
  });

  it("larger than the channel takes are cut up, with bounded pieces under way", () => {
    const rig = setUp();
    const length = 2 * MIB;
    const request = send(rig, VIRTIO_BLK_T.IN, 0, { reads: length });
    const more = send(rig, VIRTIO_BLK_T.IN, 0, { reads: MIB });
    for (let at = 0; at < length; at += BLOCK_LIMITS.copiedBytes) {
      expect(rig.disk.requests.length).toBeLessThanOrEqual(BLOCK_LIMITS.requests);
      rig.disk.complete(0, { fill: 1 + at / BLOCK_LIMITS.copiedBytes });
    }
    expect(statusOf(rig, request)).toBe(OK);
    expect(rig.driver.bytesAt(request.data + length - 1, 1)[0]).toBe(length / BLOCK_LIMITS.copiedBytes);
    while (rig.disk.requests.length > 0) rig.disk.complete();
    expect(statusOf(rig, more)).toBe(OK);
  });

  it("wait in the ring while the channel is full", () => {
    const rig = setUp();
    const sent = Array.from({ length: 21 }, (_, i) => send(rig, VIRTIO_BLK_T.IN, i, { reads: 512, kick: false }));
    rig.driver.kick(0);
    const large = send(rig, VIRTIO_BLK_T.IN, 0, { reads: 64 * 1024 });
    expect(rig.disk.requests.length).toBe(22);
    while (rig.disk.requests.length > 0) rig.disk.complete();
    expect([...sent, large].map((request) => statusOf(rig, request))).toEqual(new Array(22).fill(OK));
  });
});

describe("a disk whose back-end reaches the guest's memory", () => {
  const reaching = (): Rig => {
    const rig = setUp();
    rig.disk.reachesMemory = true;
    return rig;
  };

  it("is told where the bytes are, what lies together in one, and copies nothing", () => {
    const rig = reaching();
    const read = send(rig, VIRTIO_BLK_T.IN, 8, { reads: MIB });
    expect(rig.disk.requests).toMatchObject([{ operation: "read", length: MIB, spans: [read.data, MIB] }]);
    rig.context.memory.bytes.fill(9, read.data, read.data + MIB);
    rig.disk.complete();
    expect([statusOf(rig, read), rig.context.memory.bytes[read.data]]).toEqual([OK, 9]);
    expect(rig.context.memory.writes).toEqual([[read.data, MIB]]);
    const write = send(rig, VIRTIO_BLK_T.OUT, 8, { data: new Uint8Array(1024) });
    expect(rig.disk.requests).toMatchObject([{ operation: "write", spans: [write.data, 1024] }]);
    rig.disk.complete();
    expect(statusOf(rig, write)).toBe(OK);
  });

  it("what an error has left in memory is noted, too", () => {
    const rig = reaching();
    const read = send(rig, VIRTIO_BLK_T.IN, 0, { reads: 512 });
    rig.disk.complete(0, { isOk: false });
    expect(statusOf(rig, read)).toBe(IOERR);
    expect(rig.context.memory.writes).toEqual([[read.data, 512]]);
  });

  it("is asked to end what it does there before a reset is over", () => {
    const rig = reaching();
    const read = send(rig, VIRTIO_BLK_T.IN, 0, { reads: 512 });
    rig.driver.negotiate(FLUSH);
    expect(rig.disk.withdrawals).toBe(1);
    expect(rig.context.memory.writes).toEqual([[read.data, 512]]);
    rig.driver.negotiate(FLUSH);
    expect(rig.disk.withdrawals).toBe(1);
  });

  it("gets bytes that are not all in RAM as before", () => {
    const rig = reaching();
    const header = rig.driver.allocate(16);
    rig.context.memory.write32(header, VIRTIO_BLK_T.IN);
    rig.driver.add(0, [
      { gpa: header, sizeBytes: 16, writable: false },
      { gpa: 0x7fff_0000, sizeBytes: 512, writable: true },
      { gpa: rig.driver.allocate(1), sizeBytes: 1, writable: true },
    ]);
    rig.driver.kick(0);
    expect(rig.disk.requests).toMatchObject([{ operation: "read", length: 512 }]);
    expect(rig.disk.requests[0]!.spans).toBeUndefined();
  });

  it("a state goes on where bytes are copied", () => {
    const rig = reaching();
    const read = send(rig, VIRTIO_BLK_T.IN, 9, { reads: MIB });
    const context = new FakeContext({ memoryBytes: 4 * MIB });
    context.copyFrom(rig.context);
    const device = createVirtioBlock(context, DISK);
    device.restore(rig.device.save());
    device.resume();
    const disk = context.disks.get("disk0")!;
    expect(disk.requests).toMatchObject([{ operation: "read", length: MIB }]);
    disk.complete(0, { fill: 5 });
    expect([context.memory.read8(read.status), context.memory.read8(read.data)]).toEqual([OK, 5]);
  });
});

describe("mistakes and malice become a status", () => {
  const end = (64 * MIB) / SECTOR_BYTES;
  it.each<[string, number, number | bigint, { reads?: number; data?: Uint8Array }, number]>([
    ["a read beyond the end", VIRTIO_BLK_T.IN, end - 1, { reads: 1024 }, IOERR],
    ["a sector of 64 bits", VIRTIO_BLK_T.IN, 0xffff_ffff_ffff_ffffn, { reads: 512 }, IOERR],
    ["a read of no whole sectors", VIRTIO_BLK_T.IN, 0, { reads: 511 }, IOERR],
    ["a read of nothing", VIRTIO_BLK_T.IN, 0, {}, IOERR],
    ["a write of no whole sectors", VIRTIO_BLK_T.OUT, 0, { data: new Uint8Array(513) }, IOERR],
    ["a write beyond the end", VIRTIO_BLK_T.OUT, end, { data: new Uint8Array(512) }, IOERR],
    ["an unknown type", 99, 0, { reads: 512 }, UNSUPP],
    ["a discard with a flag", VIRTIO_BLK_T.DISCARD, 0, { data: ranges([0, 8, 1]) }, UNSUPP],
    ["zeroes with an unknown flag", VIRTIO_BLK_T.WRITE_ZEROES, 0, { data: ranges([0, 8, 2]) }, UNSUPP],
    ["a discard beyond the end", VIRTIO_BLK_T.DISCARD, 0, { data: ranges([end - 1, 8, 0]) }, IOERR],
    ["a discard of half a range", VIRTIO_BLK_T.DISCARD, 0, { data: new Uint8Array(24) }, IOERR],
    ["too many ranges", VIRTIO_BLK_T.DISCARD, 0, { data: new Uint8Array(16 * 33) }, IOERR],
    ["too little room for the name", VIRTIO_BLK_T.GET_ID, 0, { reads: 5 }, IOERR],
  ])("%s", (_name, type, sector, options, expected) => {
    const rig = setUp();
    const request = send(rig, type, sector, options);
    expect(rig.disk.history).toEqual([]);
    expect(statusOf(rig, request)).toBe(expected);
    expect(rig.driver.used(0)).toHaveLength(1);
    expect(rig.driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).toBe(0);
  });

  it("writes to a read-only disk fail", () => {
    const rig = setUp({ isReadOnly: true }, FLUSH);
    const write = send(rig, VIRTIO_BLK_T.OUT, 0, { data: new Uint8Array(512) });
    const zeroes = send(rig, VIRTIO_BLK_T.WRITE_ZEROES, 0, { data: ranges([0, 8, 0]) });
    expect([statusOf(rig, write), statusOf(rig, zeroes)]).toEqual([IOERR, IOERR]);
    expect(rig.disk.history).toEqual([]);
  });

  it("an error of the disk is the request's, and the next one works", () => {
    const rig = setUp();
    const bad = send(rig, VIRTIO_BLK_T.IN, 0, { reads: 300 * 1024 });
    rig.disk.complete(1, { isOk: false });
    while (rig.disk.requests.length > 0) rig.disk.complete();
    expect(statusOf(rig, bad)).toBe(IOERR);
    const good = send(rig, VIRTIO_BLK_T.IN, 0, { reads: 512 });
    rig.disk.complete();
    expect(statusOf(rig, good)).toBe(OK);
  });

  it("buffers outside of RAM are errors", () => {
    const rig = setUp();
    const { driver, context } = rig;
    const header = driver.allocate(16);
    const status = driver.allocate(1);
    context.memory.write32(header, VIRTIO_BLK_T.IN);
    driver.add(0, [
      { gpa: header, sizeBytes: 16, writable: false },
      { gpa: 0x7fff_0000, sizeBytes: 512, writable: true },
      { gpa: status, sizeBytes: 1, writable: true },
    ]);
    driver.kick(0);
    rig.disk.complete();
    expect(context.memory.read8(status)).toBe(IOERR);
    context.memory.write32(header, VIRTIO_BLK_T.OUT);
    driver.add(0, [
      { gpa: header, sizeBytes: 16, writable: false },
      { gpa: 0x7fff_0000, sizeBytes: 512, writable: false },
      { gpa: status, sizeBytes: 1, writable: true },
    ]);
    context.memory.write8(status, 0xee);
    driver.kick(0);
    expect(context.memory.read8(status)).toBe(IOERR);
  });

  it("a request without a status byte stops the device", () => {
    const rig = setUp();
    const gpa = rig.driver.allocate(16);
    rig.driver.add(0, [{ gpa, sizeBytes: 16, writable: false }]);
    rig.driver.kick(0);
    expect(rig.driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).not.toBe(0);
  });

  it("completions that nobody waits for, or of another length, do no harm", () => {
    const rig = setUp();
    rig.disk.deliver({ id: 77, isOk: true, bytes: new Uint8Array(512) });
    const request = send(rig, VIRTIO_BLK_T.IN, 0, { reads: 512 });
    rig.disk.complete(0, { bytes: new Uint8Array(100) });
    expect(statusOf(rig, request)).toBe(IOERR);
  });
});

describe("reset with requests under way", () => {
  it("holds new ones back until the old ones have come back, and forgets those", () => {
    const rig = setUp();
    const old = send(rig, VIRTIO_BLK_T.OUT, 0, { data: new Uint8Array(512).fill(1) });
    rig.driver.negotiate(FLUSH);
    rig.driver.start(1, 64);
    const next = send(rig, VIRTIO_BLK_T.OUT, 0, { data: new Uint8Array(512).fill(2) });
    expect(rig.disk.history).toEqual(["write 0+512"]);
    rig.disk.complete();
    expect(statusOf(rig, old)).toBe(0xee);
    expect(rig.disk.history).toEqual(["write 0+512", "write 0+512"]);
    rig.disk.complete();
    expect(statusOf(rig, next)).toBe(OK);
  });
});

describe("save and restore", () => {
  it("issues what was under way again, under the same numbers, and goes on", () => {
    const rig = setUp();
    const write = send(rig, VIRTIO_BLK_T.OUT, 4, { data: new Uint8Array(300 * 1024).fill(3) });
    const read = send(rig, VIRTIO_BLK_T.IN, 9, { reads: 512 });
    rig.disk.complete(1);
    const state = rig.device.save();

    const context = new FakeContext({ memoryBytes: 4 * MIB });
    context.copyFrom(rig.context);
    const device = createVirtioBlock(context, DISK);
    device.restore(state);
    const disk = context.disks.get("disk0")!;
    expect(disk.requests).toEqual([]);
    expect(device.save()).toEqual(state);
    device.resume();
    expect(disk.requests).toEqual(rig.disk.requests);
    expect(device.save()).toEqual(state);
    while (disk.requests.length > 0) disk.complete(0, { fill: 5 });
    expect(context.memory.read8(write.status)).toBe(OK);
    expect(context.memory.read8(read.status)).toBe(OK);
    expect(context.memory.read8(read.data)).toBe(5);
  });

  it.each([
    ["a place within a sector", { at: 1 }],
    ["a transfer of nothing", { ranges: [{ offset: 0, length: 0 }] }],
    ["a discard of more than a channel takes", { operation: "discard", ranges: [{ offset: 0, length: 2 ** 31 }] }],
    ["a flush of something", { operation: "flush", ranges: [{ offset: 0, length: 512 }] }],
  ])("refuses a state whose request has %s", (_what, change) => {
    const sizeBytes = 2 ** 32;
    const rig = setUp({ sizeBytes });
    send(rig, VIRTIO_BLK_T.IN, 4, { reads: 512 });
    const state = rig.device.save() as Record<string, StateValue>;
    const { work, ...rest } = state.device as Record<string, StateValue> & { work: Record<string, StateValue>[] };
    const damaged = { ...state, device: { ...rest, pieces: [], work: [{ ...work[0], range: 0, ...change }] } };
    const device = createVirtioBlock(new FakeContext({ memoryBytes: 4 * MIB }), { ...DISK, sizeBytes });
    expect(() => device.restore(damaged)).toThrow(StateError);
  });
});

const RINGS = { desc: 0, driver: 0, device: 0 };

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createVirtioBlock(context, { ...DISK, queues: 2 });
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    const disk = context.disks.get("disk0")!;
    const { memory } = context;
    /** All chains are available again once all have come back. */
    const offerAgain = (): void => {
      const available = memory.read16(RINGS.driver + 2)!;
      if (available !== memory.read16(RINGS.device + 2)) return;
      memory.write16(RINGS.driver + 2, (available + 5) & 0xffff);
    };
    return {
      device,
      ranges: [
        { handler: device, length: 0x14 },
        { handler: device, length: BAR_LAYOUT.sizeBytes },
      ],
      observe: () => {
        const underWay = disk.requests.map(({ id, operation, offset }) => `${id} ${operation} ${offset}`);
        return `${underWay.join()} ${memory.read16(RINGS.device + 2)}`;
      },
      setUp: () => {
        const driver = new FakeDriver(context, device);
        driver.negotiate(FLUSH | WCE | bit(VIRTIO_F.EVENT_IDX));
        driver.start(2, 32);
        const rig = { context, device, driver, disk };
        send(rig, VIRTIO_BLK_T.IN, 3, { reads: 4096, kick: false });
        send(rig, VIRTIO_BLK_T.OUT, 900, { data: new Uint8Array(1024).fill(6), kick: false });
        send(rig, VIRTIO_BLK_T.FLUSH, 0, { kick: false });
        send(rig, VIRTIO_BLK_T.WRITE_ZEROES, 0, { data: ranges([5, 8, 1], [88, 99, 0]), kick: false });
        send(rig, VIRTIO_BLK_T.GET_ID, 0, { reads: 20, kick: false });
        Object.assign(RINGS, driver.ring(0));
        const heads = Array.from({ length: 5 }, (_, i) => memory.read16(RINGS.driver + 4 + 2 * i)!);
        for (let i = 0; i < 32; i++) memory.write16(RINGS.driver + 4 + 2 * i, heads[i % 5]!);
      },
      events: [
        offerAgain,
        () => device.write(BAR_LAYOUT.notify, 2, 0),
        (random) => device.write(BAR_LAYOUT.device + 32, 1, random % 3),
        (random) => {
          if (disk.requests.length > 0) {
            disk.complete(random % disk.requests.length, { isOk: random % 8 !== 0, fill: random >>> 24 });
          }
        },
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});

it("requests in a packed ring come back in the disk's order, also through a saved state", () => {
  const rig = setUp({}, FLUSH | bit(VIRTIO_F.RING_PACKED) | bit(VIRTIO_F.EVENT_IDX));
  const { context, driver, device, disk } = rig;
  const sent = [1, 2, 3].map((sector) => send(rig, VIRTIO_BLK_T.IN, sector, { reads: 512 }));
  disk.complete(2, { fill: 3 });
  disk.complete(1, { fill: 2 });
  expect(driver.used(0)).toEqual([
    { head: sent[2]!.head, writtenBytes: 513 },
    { head: sent[1]!.head, writtenBytes: 513 },
  ]);
  const other = new FakeContext({ memoryBytes: 4 * MIB });
  other.copyFrom(context);
  const copy = createVirtioBlock(other, DISK);
  copy.restore(device.save());
  copy.resume();
  other.disks.get("disk0")!.complete(0, { fill: 1 });
  expect(copy.save()).toMatchObject({ queues: [{ packed: { inFlight: [] } }] });
  expect(sent.map(({ data, status }) => [other.memory.read8(data), other.memory.read8(status)])).toEqual([
    [1, OK],
    [2, OK],
    [3, OK],
  ]);
});
