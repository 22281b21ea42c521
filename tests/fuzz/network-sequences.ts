/**
 * Frames from outside and the driver of an 82540EM for device-fuzz.ts. The oracle of writes: receive buffers and descriptors
 * that the card has read, and the status byte of the transmit ring's. What leaves has to be a frame that its wire takes.
 */
import type { AccessSize } from "../../packages/core/src/bus/io.ts";
import { createE1000 } from "../../packages/core/src/devices/e1000/e1000.ts";
import { bufferBytes } from "../../packages/core/src/devices/e1000/receive.ts";
import { CTRL, EECD, MDIC, RCTL, REG, TCTL } from "../../packages/core/src/devices/e1000/registers.ts";
import type { FakeContext, FakeNetwork } from "../../packages/core/src/devices/fake-context.ts";
import { tcpFrame, udpFrame } from "../../packages/core/src/devices/network/test-frames.ts";
import { NETWORK_LIMITS } from "../../packages/core/src/devices/network-channel.ts";
import type { FuzzedDevice, Operation, Random } from "./device-fuzz.ts";

export const CARD_MAC: Uint8Array = Uint8Array.of(2, 0, 0, 0, 0, 7);
const OTHER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 8);
const RX_RING = 0x1000;
const TX_RING = 0x1400;
const COUNT = 16;
const DATA = 0x4000;
const BUFFERS = 0x8000;
const BUFFER_BYTES = 512;

/** Of any kind, some of them damaged. */
export function someFrame(value: number): Uint8Array {
  const payload = new Uint8Array((value >>> 4) % 1600).fill(value);
  const to = [CARD_MAC, OTHER_MAC, new Uint8Array(6).fill(0xff), Uint8Array.of(1, 0, 0x5e, 0, 0, value)][value & 3]!;
  const make = value & 4 ? tcpFrame : udpFrame;
  const frame = make({ to, from: OTHER_MAC, payload });
  if (value & 8) frame[(value >>> 16) % frame.length]! ^= 1 << ((value >>> 8) & 7);
  return value % 61 === 0 ? frame.subarray(0, value % 20) : frame;
}

export function networkEvents(network: FakeNetwork): ((value: number) => void)[] {
  return [
    (value) => void network.deliver(someFrame(value)),
    (value) => void network.deliver(someFrame(value)),
    (value) => network.port.linkChanged(value % 4 !== 0),
    (value) => void network.deliver(someFrame(value), 1 + (value % 1500)),
    (value) => {
      network.takesOffloads = value % 2 === 0;
    },
  ];
}

/** Throws what is no frame of this card. */
export function checkSent(network: FakeNetwork, maxBytes: number): void {
  const offloaded = new Set(network.offloaded);
  for (const frame of network.sent) {
    const { length } = frame;
    const most = offloaded.has(frame) ? NETWORK_LIMITS.frameBytes : maxBytes;
    if (length < 14 || length > most) throw new Error(`the card sends a frame of ${length} bytes`);
  }
  network.sent.length = 0;
  network.offloaded.length = 0;
}

const write = (offset: number, value: number, range = 0, size: AccessSize = 4): Operation => ({
  kind: "write",
  range,
  offset,
  size,
  value: value >>> 0,
});
const read = (offset: number): Operation => ({ kind: "read", range: 0, offset, size: 4 });
const memory = (gpa: number, bytes: Uint8Array): Operation => ({ kind: "memory", gpa, bytes });

const START: readonly Operation[] = [
  write(4, 6, 2, 2),
  write(REG.CTRL, CTRL.SLU),
  write(REG.RDBAL, RX_RING),
  write(REG.RDLEN, 16 * COUNT),
  write(REG.RDH, 0),
  write(REG.TDBAL, TX_RING),
  write(REG.TDLEN, 16 * COUNT),
  write(REG.TDH, 0),
  write(REG.RCTL, RCTL.EN | RCTL.BAM | RCTL.UPE | (2 << 16)),
  write(REG.TCTL, TCTL.EN | TCTL.PSP),
  write(REG.IMS, 0x9d),
];

function descriptor(gpa: number, third: number, fourth: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint32(0, gpa, true);
  view.setUint32(8, third, true);
  view.setUint32(12, fourth, true);
  return new Uint8Array(view.buffer);
}

/** One frame, by descriptors of any kind, from where the card's tail is. */
function transmission(random: Random, tail: number): Operation[] {
  const operations: Operation[] = [];
  let at = tail;
  const add = (bytes: Uint8Array): void => {
    operations.push(memory(TX_RING + 16 * at, bytes));
    at = (at + 1) % COUNT;
  };
  const frame = tcpFrame({ to: OTHER_MAC, from: CARD_MAC, payload: new Uint8Array(random(3000)).fill(random(256)) });
  operations.push(memory(DATA, frame));
  const isCut = random(2) === 0;
  if (random(3) === 0) {
    const cut = random(frame.length);
    const options = [0, 1, 2, 3][random(4)]! << 8;
    const command = (0x20 | (isCut ? 4 : 0) | (random(2) << 6)) * 2 ** 24 + (1 << 20);
    const context = descriptor(
      14 | (24 << 8) | (33 << 16),
      (0x20 | (isCut ? 4 : 0)) * 2 ** 24,
      (64 + random(1500)) << 16,
    );
    new DataView(context.buffer).setUint32(4, 34 | (50 << 8), true);
    add(context);
    add(descriptor(DATA, command + cut, options));
    add(descriptor(DATA + cut, command + frame.length - cut + 9 * 2 ** 24, options));
  } else add(descriptor(DATA, frame.length | (random(64) << 16) | ((9 | (random(2) << 2)) << 24), random(64) << 8));
  return [...operations, write(REG.TDT, at)];
}

function provision(random: Random, tail: number): Operation[] {
  const count = 1 + random(COUNT - 1);
  const operations: Operation[] = [];
  for (let i = 0; i < count; i++) {
    const index = (tail + i) % COUNT;
    operations.push(memory(RX_RING + 16 * index, descriptor(BUFFERS + BUFFER_BYTES * random(32), 0, 0)));
  }
  return [...operations, write(REG.RDT, (tail + count) % COUNT)];
}

const e1000: FuzzedDevice = {
  name: "e1000",
  build: (context: FakeContext) => {
    const device = createE1000(context, { name: "net0", mac: CARD_MAC });
    const network = context.networks.get("net0")!;
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    const config = {
      read: (offset: number, size: AccessSize) => device.pci.readConfig(offset, size),
      write: (offset: number, size: AccessSize, value: number) => device.pci.writeConfig(offset, size, value),
    };
    let given = new Set<number>();
    const base = (low: number, high: number): number => device.read(high, 4) * 2 ** 32 + device.read(low, 4);
    return {
      device,
      ranges: [
        { handler: device, length: 0x6000, sizes: [4] },
        { handler: device.ioWindow, length: 64 },
        { handler: config, length: 256 },
      ],
      events: networkEvents(network),
      start: () => [...START],
      sees: (_gpa, bytes) => {
        if (bytes.length === 16) given.add(new DataView(bytes.buffer, bytes.byteOffset, 16).getUint32(0, true));
        if (given.size > 10_000) given = new Set();
      },
      mayWrite: (gpa, length) => {
        const transmitAt = base(REG.TDBAL, REG.TDBAH);
        const receiveAt = base(REG.RDBAL, REG.RDBAH);
        const isStatus =
          length === 1 && gpa >= transmitAt && gpa < transmitAt + device.read(REG.TDLEN, 4) && gpa % 16 === 12;
        const isReceived =
          length === 8 && gpa >= receiveAt && gpa < receiveAt + device.read(REG.RDLEN, 4) && gpa % 16 === 8;
        return isStatus || isReceived || (length <= bufferBytes(device.read(REG.RCTL, 4)) && given.has(gpa));
      },
      check: () => checkSent(network, 16_384),
      sequence: (random) => {
        const kind = random(16);
        if ((device.read(REG.RCTL, 4) & RCTL.EN) === 0 && random(3) !== 0) return [...START];
        if (kind < 4) return provision(random, device.read(REG.RDT, 4) % COUNT);
        if (kind < 8 && kind !== 5) return transmission(random, device.read(REG.TDT, 4) % COUNT);
        if (kind < 13) return [{ kind: "event", event: random(8), value: random(2 ** 32) }, read(REG.ICR)];
        if (kind === 13) return [{ kind: "time", ns: random(1_000_000) }, write(REG.ITR, random(2000))];
        // A ring that begins in its middle, and now and then behind its end.
        if (kind === 5 && random(2)) return [write(random(2) ? REG.RDH : REG.TDH, random(2 * COUNT))];
        if (kind === 14) {
          const bits = EECD.EE_REQ | EECD.CS | random(8);
          return [
            write(REG.EECD, bits),
            write(REG.EECD, bits | EECD.SK),
            read(REG.EECD),
            write(REG.EERD, (random(64) << 8) | 1),
          ];
        }
        return [
          write(
            REG.MDIC,
            ((1 + random(2)) << 26) | (1 << 21) | (random(32) << 16) | random(0x1_0000) | (random(2) ? MDIC.I : 0),
          ),
          write(0, 4 * random(0x1800), 1),
          write(4, random(2 ** 32), 1),
          read(0x4000 + 4 * random(64)),
        ];
      },
    };
  },
};

export const NETWORK_CARDS: readonly FuzzedDevice[] = [e1000];
