import { describe, expect, it } from "vitest";
import { StateError } from "../../state/errors.ts";
import { deviceContract } from "../contract.ts";
import { FakeContext } from "../fake-context.ts";
import { FakeDriver } from "./fake-driver.ts";
import { createVirtioMem, MEM_CONFIG, MEM_REQUEST, MEM_RESPONSE, MEM_STATE } from "./mem.ts";
import { decodeBlocks, encodeBlocks, MEM_BLOCK_BYTES } from "./mem-messages.ts";
import { VIRTIO_F } from "./model.ts";
import { BAR_LAYOUT, DEVICE_STATUS } from "./pci-transport.ts";

const { PLUG, UNPLUG, UNPLUG_ALL, STATE } = MEM_REQUEST;
const { ACK, NACK, ERROR } = MEM_RESPONSE;
const BLOCKS = 4;
const START = MEM_BLOCK_BYTES;
const REGION = { start: START, sizeBytes: BLOCKS * MEM_BLOCK_BYTES };

function setUp(features = 0n) {
  const context = new FakeContext({ memoryBytes: START + REGION.sizeBytes });
  const device = createVirtioMem(context, { name: "mem0", region: REGION });
  device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
  const driver = new FakeDriver(context, device);
  driver.negotiate(features);
  driver.start(1);
  const config = (offset: number): number => device.read(BAR_LAYOUT.device + offset, 4) / MEM_BLOCK_BYTES;
  return {
    context,
    device,
    driver,
    config,
    ask: (blocks: number) => context.input("mem0", encodeBlocks(blocks)),
    told: () => decodeBlocks(context.sent("mem0")),
    /** The answer's type, and of STATE what it says. */
    request: (type: number, first = 0, blocks = 1, addend = 0): number | [number, number] => {
      const bytes = new DataView(new ArrayBuffer(24));
      bytes.setUint16(0, type, true);
      bytes.setBigUint64(8, BigInt(START + first * MEM_BLOCK_BYTES + addend), true);
      bytes.setUint16(16, blocks, true);
      const gpa = driver.allocate(24);
      const answer = driver.allocate(10);
      context.memory.write(gpa, new Uint8Array(bytes.buffer));
      driver.add(0, [
        { gpa, sizeBytes: 24, writable: false },
        { gpa: answer, sizeBytes: 10, writable: true },
      ]);
      driver.kick(0);
      expect(driver.used(0).map(({ writtenBytes }) => writtenBytes)).toEqual([10]);
      const result = context.memory.read16(answer)!;
      return type === STATE && result === ACK ? [result, context.memory.read16(answer + 8)!] : result;
    },
  };
}

it("tells the region, and what the outside wants, no more than fits", () => {
  const { config, ask, context } = setUp();
  expect([config(MEM_CONFIG.block_size), config(MEM_CONFIG.addr), config(MEM_CONFIG.region_size)]).toEqual([1, 1, 4]);
  expect([config(MEM_CONFIG.usable_region_size), config(MEM_CONFIG.requested_size)]).toEqual([4, 0]);
  context.line("intx").rises = 0;
  ask(100);
  expect([config(MEM_CONFIG.requested_size), context.line("intx").rises]).toEqual([4, 1]);
});

it.each([
  ["split", 0n],
  ["packed", 1n << BigInt(VIRTIO_F.RING_PACKED)],
])("plugs up to what was asked for, and unplugs, in a %s ring", (_name, features) => {
  const { request, ask, config, told } = setUp(features);
  expect(request(PLUG, 0, 1)).toBe(NACK);
  ask(3);
  expect(request(PLUG, 1, 2)).toBe(ACK);
  expect(told()).toBe(2);
  expect(config(MEM_CONFIG.plugged_size)).toBe(2);
  expect([request(PLUG, 0, 2), request(PLUG, 2, 1), request(PLUG, 0, 1), request(PLUG, 3, 1)]).toEqual([
    ERROR,
    ERROR,
    ACK,
    NACK,
  ]);
  expect([request(UNPLUG, 3, 1), request(UNPLUG, 2, 2), request(UNPLUG, 1, 1)]).toEqual([ERROR, ERROR, ACK]);
  expect(config(MEM_CONFIG.plugged_size)).toBe(2);
  expect(request(UNPLUG_ALL)).toBe(ACK);
  expect([config(MEM_CONFIG.plugged_size), config(MEM_CONFIG.requested_size)]).toEqual([0, 3]);
});

it("says of blocks whether they are plugged", () => {
  const { request, ask } = setUp();
  ask(4);
  request(PLUG, 1, 2);
  const states = [request(STATE, 1, 2), request(STATE, 0, 1), request(STATE, 0, 4)];
  expect(states).toEqual([MEM_STATE.PLUGGED, MEM_STATE.UNPLUGGED, MEM_STATE.MIXED].map((state) => [ACK, state]));
});

it("what lies outside the region, or not at a block, is an error", () => {
  const { request, ask } = setUp();
  ask(4);
  const wrong = [
    request(PLUG, -1, 1),
    request(PLUG, 3, 2),
    request(PLUG, 0, 0),
    request(PLUG, 0, 0xffff),
    request(PLUG, 0, 1, 4096),
    request(STATE, 4, 1),
    request(77, 0, 1),
  ];
  expect(wrong).toEqual(wrong.map(() => ERROR));
});

it("what is unplugged is zeros, and nothing else is", () => {
  const { request, ask, context } = setUp();
  ask(4);
  request(PLUG, 0, 4);
  context.memory.bytes.fill(0xaa, START);
  request(UNPLUG, 1, 2);
  const held = [0, 1, 2, 3].map((block) => context.memory.read8(START + (block + 1) * MEM_BLOCK_BYTES - 1));
  expect(held).toEqual([0xaa, 0, 0, 0xaa]);
});

it("the driver's reset leaves blocks as they are, the system's unplugs all and keeps the wish", () => {
  const { request, ask, device, driver, config, context, told } = setUp();
  ask(2);
  request(PLUG, 0, 2);
  driver.status = 0;
  expect(config(MEM_CONFIG.plugged_size)).toBe(2);
  context.memory.bytes.fill(0xaa, START);
  device.reset();
  expect([config(MEM_CONFIG.plugged_size), config(MEM_CONFIG.requested_size), told()]).toEqual([0, 2, 0]);
  expect(context.memory.read8(START)).toBe(0);
});

it("a copy has the same blocks, tells them when asked, and touches no memory on its way", () => {
  const { request, ask, device } = setUp();
  ask(3);
  request(PLUG, 1, 2);
  const copy = setUp();
  copy.context.memory.bytes.fill(0xaa, START);
  copy.device.restore(device.save());
  expect(copy.context.memory.read8(START)).toBe(0xaa);
  copy.context.input("mem0", new Uint8Array());
  expect([copy.told(), copy.config(MEM_CONFIG.requested_size)]).toEqual([2, 3]);
  expect(() => copy.device.restore({})).toThrow(StateError);
  expect(copy.config(MEM_CONFIG.requested_size)).toBe(0);
});

it("a request that is too short needs a reset", () => {
  const { driver } = setUp();
  driver.send(0, new Uint8Array(24));
  expect(driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).not.toBe(0);
});

it("wants whole blocks", () => {
  const context = new FakeContext();
  const region = { start: 4096, sizeBytes: MEM_BLOCK_BYTES };
  expect(() => createVirtioMem(context, { name: "mem0", region })).toThrow(RangeError);
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const region = { start: 64 * MEM_BLOCK_BYTES, sizeBytes: 8 * MEM_BLOCK_BYTES };
    const device = createVirtioMem(context, { name: "mem0", region });
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    const plug = new DataView(new ArrayBuffer(24));
    plug.setBigUint64(8, BigInt(region.start), true);
    plug.setUint16(16, 3, true);
    return {
      device,
      ranges: [
        { handler: device, length: 0x40 },
        { handler: device, length: BAR_LAYOUT.sizeBytes },
      ],
      setUp: () => {
        const driver = new FakeDriver(context, device);
        driver.negotiate(1n << BigInt(VIRTIO_F.EVENT_IDX));
        driver.start(1);
        context.input("mem0", encodeBlocks(5));
        context.memory.write(0x8000, new Uint8Array(plug.buffer));
        for (let i = 0; i < 3; i++)
          driver.add(0, [
            { gpa: 0x8000, sizeBytes: 24, writable: false },
            { gpa: 0x9000, sizeBytes: 10, writable: true },
          ]);
      },
      events: [
        (random) => context.input("mem0", encodeBlocks(random % 10)),
        () => context.input("mem0", new Uint8Array()),
        (random) => context.memory.write16(0x8000, random % 4),
        (random) => context.memory.write16(0x8010, random % 4),
        () => device.write(BAR_LAYOUT.notify, 2, 0),
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
