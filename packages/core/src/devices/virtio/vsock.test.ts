import { describe, expect, it } from "vitest";
import { deviceContract } from "../contract.ts";
import { FakeContext } from "../fake-context.ts";
import { FakeDriver } from "./fake-driver.ts";
import { VIRTIO_F } from "./model.ts";
import { BAR_LAYOUT, DEVICE_STATUS } from "./pci-transport.ts";
import { createVirtioVsock } from "./vsock.ts";
import {
  decodeVsockHeader,
  decodeVsockMessages,
  encodePacketMessage,
  encodeTransportReset,
  encodeVsockPacket,
  VSOCK_HEADER_BYTES,
  VSOCK_OP,
  VSOCK_WINDOW_BYTES,
  type VsockHeader,
} from "./vsock-packet.ts";

const CID = 7;
const OPTIONS = { name: "vsock0", guestCid: CID };
const TO_GUEST = { srcCid: 2, dstCid: CID, srcPort: 1000, dstPort: 80, type: 1, op: VSOCK_OP.RW, flags: 0 };
const bytes = (length: number, value = 0x55): Uint8Array => new Uint8Array(length).fill(value);

function packet(changes: Partial<VsockHeader> = {}, data?: Uint8Array): Uint8Array {
  return encodeVsockPacket({ ...TO_GUEST, bufAlloc: 4096, fwdCnt: 0, ...changes }, data);
}

const fromGuest = (changes: Partial<VsockHeader> = {}, data?: Uint8Array): Uint8Array =>
  packet({ srcCid: CID, dstCid: 2, srcPort: 80, dstPort: 1000, ...changes }, data);

function setUp(features = 0n) {
  const context = new FakeContext({ memoryBytes: 2 ** 20 });
  const device = createVirtioVsock(context, OPTIONS);
  const driver = new FakeDriver(context, device);
  driver.negotiate(features);
  driver.start(3);
  return {
    context,
    device,
    driver,
    send: (data: Uint8Array) => context.input("vsock0", encodePacketMessage(data)),
    said: () => decodeVsockMessages(context.sent("vsock0")),
  };
}

describe("from the guest", () => {
  it("passes packets on that are its own, as long as they say", () => {
    const { driver, said } = setUp();
    driver.send(1, fromGuest({ op: VSOCK_OP.REQUEST }));
    driver.send(1, fromGuest({}, bytes(5)));
    expect(said()).toEqual([
      { kind: "packet", bytes: fromGuest({ op: VSOCK_OP.REQUEST }) },
      { kind: "packet", bytes: fromGuest({}, bytes(5)) },
    ]);
    expect(driver.used(1)).toHaveLength(2);
  });

  it.each([
    ["of another context", fromGuest({ srcCid: 8 })],
    ["to another guest", fromGuest({ dstCid: 9 })],
    ["shorter than it says", fromGuest({}, bytes(100)).subarray(0, 80)],
    ["shorter than a header", bytes(20)],
    ["with a context of 64 bits", fromGuest().map((byte, i) => (i === 6 ? 1 : byte))],
  ])("drops a packet %s", (_what, data) => {
    const { driver, said } = setUp();
    driver.send(1, data);
    expect(said()).toEqual([]);
    expect(driver.used(1)).toHaveLength(1);
    expect(driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).toBe(0);
  });
});

describe("to the guest", () => {
  it("waits for buffers, is cut where they are smaller, and its window comes back", () => {
    const { driver, send, said } = setUp();
    send(packet({}, bytes(100)));
    send(packet({ op: VSOCK_OP.RST }));
    expect(said()).toEqual([]);
    const got = [104, 104, 64].map((size) => driver.offer(0, size));
    const used = driver.used(0);
    expect(used.map(({ writtenBytes }) => writtenBytes)).toEqual([104, 84, 44]);
    const headers = got.map((gpa) => decodeVsockHeader(driver.bytesAt(gpa, VSOCK_HEADER_BYTES)));
    expect(headers.map(({ op, length }) => [op, length])).toEqual([
      [VSOCK_OP.RW, 60],
      [VSOCK_OP.RW, 40],
      [VSOCK_OP.RST, 0],
    ]);
    const freed = said().map((message) => (message.kind === "credit" ? message.bytes : 0));
    expect(freed.reduce((sum, more) => sum + more, 0)).toBe(100 + 2 * VSOCK_HEADER_BYTES);
  });

  it("is lost beyond the window, and where it is no packet", () => {
    const { device, send, context } = setUp();
    for (let i = 0; i < 10; i++) send(packet({}, bytes(60_000)));
    context.input("vsock0", Uint8Array.of(1, 2, 3));
    send(packet({}, bytes(10)).subarray(0, 50));
    const { device: state } = device.save() as { device: { waiting: Uint8Array[] } };
    expect(state.waiting).toHaveLength(Math.floor(VSOCK_WINDOW_BYTES / 60_044));
  });

  it("a buffer that holds no packet needs a reset", () => {
    const { driver, send } = setUp();
    send(packet({}, bytes(5)));
    driver.offer(0, VSOCK_HEADER_BYTES);
    expect(driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).not.toBe(0);
  });
});

describe("ends", () => {
  it("the guest hears that the host's end is another one, also when its buffer comes later", () => {
    const { driver, context, send, said } = setUp();
    send(packet({}, bytes(10)));
    context.input("vsock0", encodeTransportReset());
    const gpa = driver.offer(2, 4);
    expect(driver.used(2)).toEqual([{ head: 0, writtenBytes: 4 }]);
    expect(driver.bytesAt(gpa, 4)).toEqual(bytes(4, 0));
    driver.offer(0, 100);
    expect(driver.used(0)).toEqual([]);
    expect(said()).toEqual([{ kind: "credit", bytes: 10 + VSOCK_HEADER_BYTES }]);
  });

  it("the host hears of the driver's reset, if there was anything", () => {
    const { driver, said } = setUp();
    driver.status = 0;
    expect(said()).toEqual([]);
    driver.negotiate(0n);
    driver.start(3);
    driver.send(1, fromGuest());
    driver.status = 0;
    expect(said().at(-1)).toEqual({ kind: "reset" });
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createVirtioVsock(context, OPTIONS);
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    return {
      device,
      ranges: [
        { handler: device, length: 0x40 },
        { handler: device, length: BAR_LAYOUT.sizeBytes },
      ],
      setUp: () => {
        const driver = new FakeDriver(context, device);
        driver.negotiate(1n << BigInt(VIRTIO_F.EVENT_IDX));
        driver.start(3);
        for (let i = 0; i < 6; i++) driver.offer(0, 100);
        driver.offer(2, 4);
        driver.send(1, fromGuest({}, bytes(9)));
      },
      events: [
        (random) => context.input("vsock0", encodePacketMessage(packet({}, bytes(random % 300, random)))),
        (random) => random % 8 === 0 && context.input("vsock0", encodeTransportReset()),
        (random) => device.write(BAR_LAYOUT.notify + 4 * (random % 3), 2, 0),
        (random) => {
          const index = 0x1000 + 128 + 2 + (random % 3) * 224;
          context.memory.write16(index, ((context.memory.read16(index) ?? 0) + 1) & 0xffff);
        },
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
