import { describe, expect, it } from "vitest";
import { deviceContract } from "../contract.ts";
import { FakeContext, type FakeNetwork } from "../fake-context.ts";
import { finishChecksum, hasRightChecksum, sumWords } from "../network/checksum.ts";
import { tcpFrame, udpFrame } from "../network/test-frames.ts";
import { FakeDriver } from "./fake-driver.ts";
import { createVirtioNet, NET_QUEUE, VIRTIO_NET_F } from "./net.ts";
import { GSO, HDR_F, NET_HEADER } from "./net-frame.ts";
import { BAR_LAYOUT, DEVICE_STATUS, type VirtioPciDevice } from "./pci-transport.ts";

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 7);
const OTHER = Uint8Array.of(2, 0, 0, 0, 0, 8);
const bit = (number: number): bigint => 1n << BigInt(number);
const F = VIRTIO_NET_F;
const { RECEIVE, TRANSMIT, CONTROL } = NET_QUEUE;
const BASE = bit(F.MAC) | bit(F.STATUS) | bit(F.CTRL_VQ) | bit(F.CTRL_RX) | bit(F.CTRL_MAC_ADDR);
const OFFLOADS = bit(F.CSUM) | bit(F.GUEST_CSUM) | bit(F.HOST_TSO4) | bit(F.HOST_TSO6);

interface Rig {
  readonly context: FakeContext;
  readonly device: VirtioPciDevice;
  readonly driver: FakeDriver;
  readonly network: FakeNetwork;
}

function setUp(features = BASE | OFFLOADS, mtu = 1500): Rig {
  const context = new FakeContext({ memoryBytes: 2 ** 20 });
  const device = createVirtioNet(context, { name: "net0", mac: MAC, mtu });
  const driver = new FakeDriver(context, device);
  driver.negotiate(features);
  driver.start(3, 64);
  return { context, device, driver, network: context.networks.get("net0")! };
}

function header(fields: Partial<Record<keyof typeof NET_HEADER, number>> = {}): Uint8Array {
  const view = new DataView(new ArrayBuffer(NET_HEADER.sizeBytes));
  view.setUint8(NET_HEADER.flags, fields.flags ?? 0);
  view.setUint8(NET_HEADER.gso_type, fields.gso_type ?? 0);
  for (const name of ["gso_size", "csum_start", "csum_offset"] as const)
    view.setUint16(NET_HEADER[name], fields[name] ?? 0, true);
  return new Uint8Array(view.buffer);
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function command(rig: Rig, ...bytes: number[]): number {
  const { context, driver } = rig;
  const request = driver.allocate(bytes.length);
  const answer = driver.allocate(1);
  context.memory.write(request, Uint8Array.from(bytes));
  context.memory.write8(answer, 0xee);
  driver.add(CONTROL, [
    { gpa: request, sizeBytes: bytes.length, writable: false },
    { gpa: answer, sizeBytes: 1, writable: true },
  ]);
  driver.kick(CONTROL);
  return context.memory.read8(answer)!;
}

/** What a driver finds in a buffer of its. */
function received({ driver }: Rig, gpa: number): Uint8Array {
  const used = driver.used(RECEIVE);
  return used.length === 0 ? new Uint8Array(0) : driver.bytesAt(gpa, used[0]!.writtenBytes);
}

describe("configuration", () => {
  it("tells address, link, pairs of queues and MTU", () => {
    const { device } = setUp(BASE, 9000);
    const bytes = Array.from({ length: 12 }, (_, i) => device.read(BAR_LAYOUT.device + i, 1));
    expect(bytes).toEqual([...MAC, 1, 0, 1, 0, 9000 & 0xff, 9000 >> 8]);
  });

  it("tells that the cable was pulled, with an interrupt for it, and drops what is sent then", () => {
    const { device, driver, network } = setUp();
    network.port.linkChanged(false);
    expect(device.read(BAR_LAYOUT.device + 6, 2)).toBe(0);
    expect(device.read(BAR_LAYOUT.isr, 1) & 2).toBe(2);
    driver.send(TRANSMIT, joined(header(), udpFrame({ to: OTHER, from: MAC })));
    expect(network.sent).toEqual([]);
    expect(driver.used(TRANSMIT)).toHaveLength(1);
  });
});

describe("transmitting", () => {
  it("sends a frame as it is", () => {
    const { driver, network } = setUp();
    const frame = udpFrame({ to: OTHER, from: MAC, payload: Uint8Array.of(1, 2, 3) });
    driver.send(TRANSMIT, joined(header(), frame));
    expect(network.sent).toEqual([frame]);
    expect(driver.used(TRANSMIT)).toEqual([{ head: 0, writtenBytes: 0 }]);
  });

  it("fills in a checksum", () => {
    const { driver, network } = setUp();
    const right = tcpFrame({ to: OTHER, from: MAC, payload: new Uint8Array(101).fill(0x5c) });
    const frame = right.slice();
    // The driver leaves the pseudo-header's sum in the field.
    const pseudo = finishChecksum(sumWords(frame, 26, 34, 6 + 121)) ^ 0xffff;
    frame[50] = pseudo >> 8;
    frame[51] = pseudo & 0xff;
    driver.send(TRANSMIT, joined(header({ flags: HDR_F.NEEDS_CSUM, csum_start: 34, csum_offset: 16 }), frame));
    expect(network.sent).toEqual([right]);
  });

  it("cuts a large segment into frames that are right", () => {
    const { driver, network } = setUp();
    const payload = Uint8Array.from({ length: 5000 }, (_, i) => i * 7);
    const frame = tcpFrame({ to: OTHER, from: MAC, payload, sequence: 0xffff_ff00, flags: 0x19 });
    driver.send(TRANSMIT, joined(header({ flags: 1, gso_type: GSO.TCPV4, gso_size: 1448 }), frame));
    expect(network.sent.map(({ length }) => length - 54)).toEqual([1448, 1448, 1448, 656]);
    expect(joined(...network.sent.map((piece) => piece.subarray(54)))).toEqual(payload);
    expect(network.sent.every((frame) => hasRightChecksum(frame))).toBe(true);
    expect(network.sent.map((piece) => piece[47])).toEqual([0x10, 0x10, 0x10, 0x19]);
    expect(network.sent.map((piece) => new DataView(piece.buffer).getUint32(38))).toEqual(
      [0, 1448, 2896, 4344].map((at) => (0xffff_ff00 + at) >>> 0),
    );
  });

  it.each([
    ["an unknown kind of segmentation", { gso_type: 3, gso_size: 1448 }],
    ["pieces of no size", { gso_type: GSO.TCPV4, gso_size: 0 }],
    ["a checksum behind the frame", { flags: 1, csum_start: 60_000, csum_offset: 16 }],
  ])("drops a frame with %s", (_what, fields) => {
    const { driver, network } = setUp();
    driver.send(TRANSMIT, joined(header(fields), tcpFrame({ to: OTHER, from: MAC })));
    expect(network.sent).toEqual([]);
    expect(driver.used(TRANSMIT)).toHaveLength(1);
  });

  it("does nothing that was not negotiated", () => {
    const { driver, network } = setUp(BASE);
    driver.send(TRANSMIT, joined(header({ gso_type: GSO.TCPV4, gso_size: 100 }), tcpFrame({ to: OTHER, from: MAC })));
    expect(network.sent).toEqual([]);
  });

  it("leaves checksums and large segments as they are to a network that takes them, and says so", () => {
    const { driver, network } = setUp();
    network.takesOffloads = true;
    const large = tcpFrame({ to: OTHER, from: MAC, payload: new Uint8Array(20_000) });
    const partial = tcpFrame({ to: OTHER, from: MAC, payload: Uint8Array.of(1) });
    driver.send(TRANSMIT, joined(header({ flags: 1, gso_type: GSO.TCPV4, gso_size: 1448 }), large));
    driver.send(TRANSMIT, joined(header({ flags: 1, csum_start: 34, csum_offset: 16 }), partial));
    driver.send(TRANSMIT, joined(header(), partial));
    expect(network.sent).toEqual([large, partial, partial]);
    expect(network.offloaded).toEqual([large, partial]);
  });

  it("fails where a buffer holds no frame", () => {
    const { driver } = setUp();
    driver.send(TRANSMIT, new Uint8Array(20));
    expect(driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).not.toBe(0);
  });
});

describe("receiving", () => {
  it("puts a frame behind its header, and says that its checksum is right", () => {
    const rig = setUp();
    const gpa = rig.driver.offer(RECEIVE, 2048);
    const frame = tcpFrame({ to: MAC, from: OTHER, payload: Uint8Array.of(1, 2, 3) });
    expect(rig.network.deliver(frame)).toBe(true);
    const expected = header({ flags: HDR_F.DATA_VALID });
    expected[NET_HEADER.num_buffers] = 1;
    expect(received(rig, gpa)).toEqual(joined(expected, frame));
  });

  it("says nothing of one whose checksum is wrong", () => {
    const rig = setUp();
    const gpa = rig.driver.offer(RECEIVE, 2048);
    const frame = tcpFrame({ to: MAC, from: OTHER, payload: Uint8Array.of(1, 2, 3) });
    frame[54]! ^= 1;
    rig.network.deliver(frame);
    expect(received(rig, gpa)[NET_HEADER.flags]).toBe(0);
  });

  it("takes a large segment where the driver does, with how it is to be cut; else drops it", () => {
    const large = tcpFrame({ to: MAC, from: OTHER, payload: new Uint8Array(20_000).fill(3) });
    const rig = setUp(BASE | OFFLOADS | bit(F.GUEST_TSO4) | bit(F.GUEST_TSO6));
    expect(rig.network.takesLarge).toBe(true);
    const gpa = rig.driver.offer(RECEIVE, 65_562);
    rig.network.deliver(large, 1448);
    const fields = { flags: HDR_F.NEEDS_CSUM, gso_type: GSO.TCPV4, gso_size: 1448, csum_start: 34, csum_offset: 16 };
    const expected = header(fields);
    expected[NET_HEADER.hdr_len] = 54;
    expected[NET_HEADER.num_buffers] = 1;
    expect(received(rig, gpa)).toEqual(joined(expected, large));
    rig.driver.status = 0;
    expect(rig.network.takesLarge).toBe(false);
    const without = setUp();
    without.driver.offer(RECEIVE, 65_562);
    without.network.deliver(large, 1448);
    expect([without.network.takesLarge, without.driver.used(RECEIVE)]).toEqual([false, []]);
  });

  it("spreads a frame over several buffers, where it may", () => {
    const rig = setUp(BASE | bit(F.MRG_RXBUF));
    const frame = udpFrame({ to: MAC, from: OTHER, payload: new Uint8Array(500).fill(9) });
    const buffers = [rig.driver.offer(RECEIVE, 256), rig.driver.offer(RECEIVE, 256)];
    expect(rig.network.deliver(frame)).toBe(true);
    expect(rig.driver.used(RECEIVE)).toEqual([]);
    expect(rig.network.deliver(frame)).toBe(false);
    buffers.push(rig.driver.offer(RECEIVE, 256));
    const used = rig.driver.used(RECEIVE);
    const bytes = joined(...used.map(({ writtenBytes }, i) => rig.driver.bytesAt(buffers[i]!, writtenBytes)));
    expect(bytes[NET_HEADER.num_buffers]).toBe(3);
    expect(bytes.subarray(NET_HEADER.sizeBytes)).toEqual(frame);
    expect(rig.network.port.isReady).toBe(true);
  });

  it("keeps one frame until there is a buffer, through a saved state, too", () => {
    const rig = setUp(BASE | bit(F.MRG_RXBUF));
    const frame = udpFrame({ to: MAC, from: OTHER, payload: new Uint8Array(300).fill(9) });
    const first = rig.driver.offer(RECEIVE, 256);
    rig.network.deliver(frame);
    const copy = setUp();
    copy.context.copyFrom(rig.context);
    copy.device.restore(rig.device.save());
    copy.device.resume?.();
    expect(copy.device.save()).toEqual(rig.device.save());
    const again = new FakeDriver(rig.context, copy.device);
    expect(again.status).toBe(rig.driver.status);
    copy.context.memory.bytes.set(rig.context.memory.bytes);
    const second = rig.driver.allocate(256);
    rig.driver.add(RECEIVE, [{ gpa: second, sizeBytes: 256, writable: true }]);
    copy.context.memory.bytes.set(rig.context.memory.bytes);
    copy.driver.kick(RECEIVE);
    const bytes = joined(copy.driver.bytesAt(first, 256), copy.driver.bytesAt(second, 256));
    expect(bytes.subarray(NET_HEADER.sizeBytes, NET_HEADER.sizeBytes + frame.length)).toEqual(frame);
  });

  it("drops what is larger than the MTU, and what comes before a driver", () => {
    const rig = setUp();
    rig.driver.offer(RECEIVE, 4096);
    rig.network.deliver(udpFrame({ to: MAC, from: OTHER, payload: new Uint8Array(1500) }));
    rig.driver.status = 0;
    rig.network.deliver(udpFrame({ to: MAC, from: OTHER }));
    expect(rig.network.port.isReady).toBe(true);
    expect(rig.driver.used(RECEIVE)).toEqual([]);
  });

  it("fails where a buffer is smaller than a frame and must not be", () => {
    const rig = setUp();
    rig.driver.offer(RECEIVE, 40);
    rig.network.deliver(udpFrame({ to: MAC, from: OTHER }));
    expect(rig.driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).not.toBe(0);
  });
});

describe("control", () => {
  const GROUP = Uint8Array.of(1, 0, 0x5e, 0, 0, 1);
  const arrives = (rig: Rig, to: Uint8Array): boolean => {
    rig.driver.offer(RECEIVE, 2048);
    rig.network.deliver(udpFrame({ to, from: OTHER }));
    return rig.driver.used(RECEIVE).length > 0;
  };

  it("lets all through at first, then what the driver says", () => {
    const rig = setUp();
    expect(arrives(rig, OTHER)).toBe(true);
    expect(command(rig, 0, 0, 0)).toBe(0);
    expect(arrives(rig, OTHER)).toBe(false);
    expect(arrives(rig, MAC)).toBe(true);
    expect(arrives(rig, GROUP)).toBe(false);
    expect(arrives(rig, new Uint8Array(6).fill(0xff))).toBe(true);
    expect(command(rig, 1, 0, 1, 0, 0, 0, ...OTHER, 1, 0, 0, 0, ...GROUP)).toBe(0);
    expect(arrives(rig, OTHER)).toBe(true);
    expect(arrives(rig, GROUP)).toBe(true);
  });

  it("takes another address", () => {
    const rig = setUp();
    command(rig, 0, 0, 0);
    expect(command(rig, 1, 1, ...OTHER)).toBe(0);
    expect(arrives(rig, OTHER)).toBe(true);
    expect(arrives(rig, MAC)).toBe(false);
  });

  it.each([
    ["an unknown class", [9, 0, 0]],
    ["a table that is shorter than it says", [1, 0, 255, 255, 255, 255, 0, 0]],
    ["a group's address", [1, 1, 1, 2, 3, 4, 5, 6]],
  ])("refuses %s", (_what, bytes) => {
    expect(command(setUp(), ...bytes)).toBe(1);
  });
});

describe("contract", () => {
  const create = (context: FakeContext) => {
    const device = createVirtioNet(context, { name: "net0", mac: MAC, mtu: 1500 });
    const network = context.networks.get("net0")!;
    return {
      device,
      ranges: [{ handler: device, length: BAR_LAYOUT.sizeBytes }],
      events: [
        (random: number) =>
          void network.deliver(udpFrame({ to: MAC, from: OTHER, payload: new Uint8Array(random % 400) })),
        (random: number) => network.port.linkChanged(random % 2 === 0),
        (random: number) =>
          void network.deliver(
            tcpFrame({ to: MAC, from: OTHER, payload: new Uint8Array(random % 900) }),
            1 + (random % 300),
          ),
      ],
      setUp: () => {
        const driver = new FakeDriver(context, device);
        driver.negotiate(BASE | OFFLOADS | bit(F.MRG_RXBUF) | bit(F.GUEST_TSO4) | bit(F.GUEST_TSO6));
        driver.start(3, 16);
        for (let i = 0; i < 5; i++) driver.offer(RECEIVE, 200);
      },
    };
  };
  it.each(deviceContract(create))("$name", ({ run }) => run());
});
