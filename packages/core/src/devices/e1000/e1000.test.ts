import { describe, expect, it } from "vitest";
import { COMMAND, CONFIG } from "../../bus/pci/config-space.ts";
import { deviceContract } from "../contract.ts";
import { FakeContext, type FakeNetwork } from "../fake-context.ts";
import { finishChecksum, hasRightChecksum, sumWords } from "../network/checksum.ts";
import { frameCheckSequence } from "../network/frame-check.ts";
import { tcpFrame, udpFrame } from "../network/test-frames.ts";
import { createE1000, type E1000 } from "./e1000.ts";
import { CTRL, EECD, ICR, RCTL, REG, RXCSUM, STAT, TCTL } from "./registers.ts";

const MAC = Uint8Array.of(2, 0x11, 0x22, 0x33, 0x44, 0x55);
const OTHER = Uint8Array.of(2, 0, 0, 0, 0, 8);
const RX_RING = 0x1000;
const TX_RING = 0x2000;
const RX_BUFFERS = 0x1_0000;
const TX_DATA = 0x3_0000;
const COUNT = 8;
const EOP_RS = 0x09;
const IFCS = 0x02;

interface Rig {
  readonly context: FakeContext;
  readonly device: E1000;
  readonly network: FakeNetwork;
  readonly isAsserted: () => boolean;
}

function create(context: FakeContext): E1000 {
  const device = createE1000(context, { name: "net0", mac: MAC });
  device.pci.connect({ msi: () => {}, intx: context.line("intx"), decodeChanged: () => {} });
  return device;
}

/** As a driver leaves it. */
function program({ context, device }: Pick<Rig, "context" | "device">): void {
  device.pci.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY_SPACE | COMMAND.BUS_MASTER);
  const write = (offset: number, value: number): void => device.write(offset, 4, value);
  for (let i = 0; i < COUNT; i++) context.memory.write64(RX_RING + 16 * i, BigInt(RX_BUFFERS + 2048 * i));
  write(REG.RDBAL, RX_RING);
  write(REG.RDLEN, 16 * COUNT);
  write(REG.RDT, COUNT - 1);
  write(REG.TDBAL, TX_RING);
  write(REG.TDLEN, 16 * COUNT);
  write(REG.RCTL, RCTL.EN | RCTL.BAM | RCTL.SECRC);
  write(REG.TCTL, TCTL.EN | TCTL.PSP);
  write(REG.IMS, 0xffff);
}

function setUp(): Rig {
  const context = new FakeContext({ memoryBytes: 2 ** 19 });
  const device = create(context);
  program({ context, device });
  return { context, device, network: context.networks.get("net0")!, isAsserted: () => context.line("intx").level };
}

interface Descriptor {
  readonly low: bigint;
  readonly high: bigint;
}

/** Puts descriptors into the ring and moves the tail. */
function post({ context, device }: Rig, ...descriptors: readonly Descriptor[]): void {
  let tail = device.read(REG.TDT, 4);
  for (const { low, high } of descriptors) {
    context.memory.write64(TX_RING + 16 * tail, low);
    context.memory.write64(TX_RING + 16 * tail + 8, high);
    tail = (tail + 1) % COUNT;
  }
  device.write(REG.TDT, 4, tail);
}

function legacy(
  { context }: Rig,
  frame: Uint8Array,
  { command = EOP_RS | IFCS, cso = 0, css = 0, special = 0 } = {},
): Descriptor {
  context.memory.write(TX_DATA, frame);
  const fields = [frame.length, cso << 16, command * 2 ** 24];
  const high =
    BigInt(fields[0]!) |
    (BigInt(cso) << 16n) |
    (BigInt(command) << 24n) |
    (BigInt(css) << 40n) |
    (BigInt(special) << 48n);
  return { low: BigInt(TX_DATA), high };
}

const context0 = ({
  mss = 0,
  tse = false,
  ipcss = 14,
  ipcso = 24,
  ipcse = 33,
  tucss = 34,
  tucso = 50,
} = {}): Descriptor => ({
  low: BigInt(ipcss) | (BigInt(ipcso) << 8n) | (BigInt(ipcse) << 16n) | (BigInt(tucss) << 32n) | (BigInt(tucso) << 40n),
  high: (BigInt(0x20 | (tse ? 4 : 0)) << 24n) | (54n << 40n) | (BigInt(mss) << 48n),
});

const data = (gpa: number, length: number, { command = EOP_RS | IFCS, options = 0 } = {}): Descriptor => ({
  low: BigInt(gpa),
  high: BigInt(length) | (1n << 20n) | (BigInt(command | 0x20) << 24n) | (BigInt(options) << 40n),
});

const received = (
  { context }: Rig,
  index = 0,
): { bytes: Uint8Array; status: number; errors: number; special: number } => {
  const at = RX_RING + 16 * index;
  const length = context.memory.read16(at + 8)!;
  return {
    bytes: context.memory.bytes.slice(RX_BUFFERS + 2048 * index, RX_BUFFERS + 2048 * index + length),
    status: context.memory.read8(at + 12)!,
    errors: context.memory.read8(at + 13)!,
    special: context.memory.read16(at + 14)!,
  };
};

const padded = (frame: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(Math.max(60, frame.length));
  bytes.set(frame);
  return bytes;
};

describe("EEPROM and PHY", () => {
  it("gives the address and a right sum by EERD", () => {
    const { device } = setUp();
    const word = (index: number): number => {
      device.write(REG.EERD, 4, (index << 8) | 1);
      const answer = device.read(REG.EERD, 4);
      expect(answer & 0x10).toBe(0x10);
      return answer >>> 16;
    };
    expect([word(0), word(1), word(2)]).toEqual([0x1102, 0x3322, 0x5544]);
    expect(Array.from({ length: 64 }, (_, i) => word(i)).reduce((a, b) => a + b) & 0xffff).toBe(0xbaba);
  });

  it("gives the same words bit by bit", () => {
    const { device } = setUp();
    const set = (bits: number): void => device.write(REG.EECD, 4, bits | EECD.EE_REQ | EECD.CS);
    const clock = (bit: number): void => {
      const di = bit ? EECD.DI : 0;
      set(di);
      set(di | EECD.SK);
      set(di);
    };
    const read = (address: number): number => {
      device.write(REG.EECD, 4, EECD.EE_REQ);
      set(0);
      for (const bit of [1, 1, 0]) clock(bit);
      for (let i = 5; i >= 0; i--) clock((address >> i) & 1);
      let word = 0;
      for (let i = 0; i < 16; i++) {
        set(EECD.SK);
        word = (word << 1) | (device.read(REG.EECD, 4) & EECD.DO ? 1 : 0);
        set(0);
      }
      return word;
    };
    expect([read(0), read(1), read(2), read(13)]).toEqual([0x1102, 0x3322, 0x5544, 0x100e]);
    expect(device.read(REG.EECD, 4) & EECD.EE_GNT).toBe(EECD.EE_GNT);
  });

  it("has a PHY with a link", () => {
    const { device, network } = setUp();
    const phy = (register: number, address = 1): number => {
      device.write(REG.MDIC, 4, (2 << 26) | (address << 21) | (register << 16));
      return device.read(REG.MDIC, 4);
    };
    expect([phy(2), phy(3)].map((answer) => answer & 0xffff)).toEqual([0x0141, 0x0c20]);
    expect(phy(1) & 4).toBe(4);
    expect(phy(1, 2) & (1 << 30)).not.toBe(0);
    network.port.linkChanged(false);
    expect(phy(1) & 4).toBe(0);
    expect(device.read(REG.STATUS, 4) & 2).toBe(0);
    expect(device.read(REG.ICR, 4)).toBe(ICR.LSC);
  });
});

describe("transmitting", () => {
  it("sends a frame, pads it, and says that it is done", () => {
    const rig = setUp();
    const frame = udpFrame({ to: OTHER, from: MAC, payload: Uint8Array.of(1, 2) });
    post(rig, legacy(rig, frame));
    expect(rig.network.sent).toEqual([padded(frame)]);
    expect(rig.context.memory.read8(TX_RING + 12)! & 1).toBe(1);
    expect(rig.isAsserted()).toBe(true);
    expect(rig.device.read(REG.ICR, 4)).toBe(ICR.TXDW | ICR.TXQE);
    expect(rig.isAsserted()).toBe(false);
    expect(rig.device.read(STAT.GPTC, 4)).toBe(1);
    expect(rig.device.read(STAT.GPTC, 4)).toBe(0);
  });

  it("fills in checksums of a frame in several pieces", () => {
    const rig = setUp();
    const right = tcpFrame({ to: OTHER, from: MAC, payload: new Uint8Array(100).fill(3) });
    const frame = right.slice();
    frame[24] = 0;
    frame[25] = 0;
    const pseudo = finishChecksum(sumWords(frame, 26, 34, 6 + 120)) ^ 0xffff;
    frame[50] = pseudo >> 8;
    frame[51] = pseudo & 0xff;
    rig.context.memory.write(TX_DATA, frame);
    post(rig, context0(), data(TX_DATA, 54, { command: 0x02, options: 3 }), data(TX_DATA + 54, frame.length - 54));
    expect(rig.network.sent).toEqual([right]);
  });

  it("cuts a large segment", () => {
    const rig = setUp();
    const payload = Uint8Array.from({ length: 4000 }, (_, i) => i * 3);
    const frame = tcpFrame({ to: OTHER, from: MAC, payload });
    // Linux leaves the length to the card.
    frame[16] = 0;
    frame[17] = 0;
    rig.context.memory.write(TX_DATA, frame);
    post(rig, context0({ mss: 1460, tse: true }), data(TX_DATA, frame.length, { command: 0x0f, options: 3 }));
    expect(rig.network.sent.map(({ length }) => length - 54)).toEqual([1460, 1460, 1080]);
    expect(rig.network.sent.every((frame) => hasRightChecksum(frame))).toBe(true);
    expect(rig.device.read(STAT.TSCTC, 4)).toBe(3);
  });

  it("puts a VLAN tag in", () => {
    const rig = setUp();
    const frame = padded(udpFrame({ to: OTHER, from: MAC }));
    post(rig, legacy(rig, frame, { command: 0x49, special: 0x2005 }));
    expect([...rig.network.sent[0]!.subarray(12, 18)]).toEqual([0x81, 0, 0x20, 5, 8, 0]);
    expect(rig.network.sent[0]).toHaveLength(64);
  });

  it("does nothing with a ring that is none", () => {
    const rig = setUp();
    rig.device.write(REG.TDT, 4, 0xffff);
    rig.device.write(REG.TDLEN, 4, 0);
    rig.device.write(REG.TDT, 4, 3);
    expect(rig.network.sent).toEqual([]);
  });

  it("drops a frame that is larger than any, and sends the next", () => {
    const rig = setUp();
    const frame = padded(udpFrame({ to: OTHER, from: MAC }));
    post(rig, data(TX_DATA, 0x6_0000, { command: 2 }), data(TX_DATA, 60), legacy(rig, frame));
    expect(rig.network.sent).toEqual([frame]);
  });
});

describe("receiving", () => {
  it("writes a frame to a descriptor's buffer", () => {
    const rig = setUp();
    const frame = udpFrame({ to: MAC, from: OTHER, payload: new Uint8Array(100).fill(7) });
    rig.network.deliver(frame);
    const { bytes, status, errors } = received(rig);
    expect(bytes).toEqual(frame);
    expect([status, errors]).toEqual([7, 0]);
    expect(rig.device.read(REG.RDH, 4)).toBe(1);
    expect(rig.device.read(REG.ICR, 4) & ICR.RXT0).toBe(ICR.RXT0);
    expect(rig.device.read(STAT.GPRC, 4)).toBe(1);
    expect(rig.device.read(STAT.GORCL, 4)).toBe(frame.length + 4);
  });

  it("says which checksums are right", () => {
    const rig = setUp();
    rig.device.write(REG.RXCSUM, 4, RXCSUM.IPOFLD | RXCSUM.TUOFLD);
    const frame = tcpFrame({ to: MAC, from: OTHER, payload: new Uint8Array(100).fill(7) });
    rig.network.deliver(frame);
    expect([received(rig).status & 0x64, received(rig).errors]).toEqual([0x60, 0]);
    frame[60]! ^= 1;
    rig.network.deliver(frame);
    expect(received(rig, 1).errors).toBe(0x20);
    frame[22]! ^= 1;
    rig.network.deliver(frame);
    expect(received(rig, 2).errors).toBe(0x60);
  });

  it("leaves the check sequence in, unless it is stripped", () => {
    const rig = setUp();
    rig.device.write(REG.RCTL, 4, RCTL.EN | RCTL.BAM);
    const frame = padded(udpFrame({ to: MAC, from: OTHER }));
    rig.network.deliver(frame);
    const { bytes } = received(rig);
    expect(bytes.subarray(0, 60)).toEqual(frame);
    expect(new DataView(bytes.buffer).getUint32(60, true)).toBe(frameCheckSequence(frame));
    // The CRC's check value (of "123456789").
    expect(frameCheckSequence(new TextEncoder().encode("123456789"))).toBe(0xcbf4_3926);
  });

  it("takes a tag out", () => {
    const rig = setUp();
    rig.device.write(REG.CTRL, 4, CTRL.SLU | CTRL.VME);
    const frame = padded(udpFrame({ to: MAC, from: OTHER, payload: new Uint8Array(50).fill(1) }));
    const tagged = Uint8Array.from([...frame.subarray(0, 12), 0x81, 0, 0x30, 9, ...frame.subarray(12)]);
    rig.network.deliver(tagged);
    expect(received(rig).bytes).toEqual(frame);
    expect([received(rig).special, received(rig).status & 8]).toEqual([0x3009, 8]);
  });

  it("takes what its filters let through", () => {
    const rig = setUp();
    const arrives = (to: readonly number[]): boolean => {
      const before = rig.device.read(REG.RDH, 4);
      rig.device.write(REG.RDT, 4, (before + COUNT - 1) % COUNT);
      rig.network.deliver(udpFrame({ to: Uint8Array.from(to), from: OTHER }));
      return rig.device.read(REG.RDH, 4) !== before;
    };
    const group = [1, 0, 0x5e, 0, 0, 0xfb];
    expect([arrives([...MAC]), arrives([...OTHER]), arrives([255, 255, 255, 255, 255, 255]), arrives(group)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
    const hash = ((0xfb << 8) | 0) >> 4;
    rig.device.write(REG.MTA + 4 * (hash >> 5), 4, (1 << (hash & 31)) >>> 0);
    expect(arrives(group)).toBe(true);
    rig.device.write(REG.RA + 8, 4, 0x0000_0002);
    rig.device.write(REG.RA + 12, 4, 0x8000_0800);
    expect(arrives([...OTHER])).toBe(true);
  });

  it("lets frames wait outside while its ring is empty, and drops them while it is off", () => {
    const rig = setUp();
    rig.device.write(REG.RDT, 4, 0);
    expect(rig.network.port.isReady).toBe(false);
    rig.device.write(REG.RDT, 4, 1);
    expect(rig.network.port.isReady).toBe(true);
    rig.device.write(REG.RCTL, 4, 0);
    rig.network.deliver(udpFrame({ to: MAC, from: OTHER }));
    expect(rig.device.read(REG.RDH, 4)).toBe(0);
  });
});

describe("interrupts", () => {
  it("are not more frequent than ITR allows", () => {
    const rig = setUp();
    rig.device.write(REG.ITR, 4, 1000);
    const raise = (): void => rig.device.write(REG.ICS, 4, ICR.RXT0);
    raise();
    expect(rig.isAsserted()).toBe(true);
    rig.device.read(REG.ICR, 4);
    raise();
    expect(rig.isAsserted()).toBe(false);
    rig.context.clock.advance(255_999);
    expect(rig.isAsserted()).toBe(false);
    rig.context.clock.advance(1);
    expect(rig.isAsserted()).toBe(true);
  });

  it("end when they are masked", () => {
    const rig = setUp();
    rig.device.write(REG.ICS, 4, ICR.RXT0);
    rig.device.write(REG.IMC, 4, 0xffff_ffff);
    expect(rig.isAsserted()).toBe(false);
    rig.device.write(REG.IMS, 4, ICR.RXT0);
    expect(rig.isAsserted()).toBe(true);
  });
});

it("is reset by the I/O window", () => {
  const { device } = setUp();
  device.ioWindow.write(0, 4, REG.CTRL);
  device.ioWindow.write(4, 4, CTRL.RST);
  expect(device.read(REG.RCTL, 4)).toBe(0);
  expect(device.read(REG.RA, 4)).toBe(0x3322_1102);
  expect(device.read(REG.RA + 4, 4)).toBe(0x8000_5544);
});

describe("contract", () => {
  const factory = (context: FakeContext) => {
    const device = create(context);
    const network = context.networks.get("net0")!;
    return {
      device,
      ranges: [
        { handler: device, length: 0x120 },
        { handler: device, length: 0x6000 },
        { handler: device.ioWindow, length: 64 },
      ],
      events: [
        (random: number) =>
          void network.deliver(udpFrame({ to: MAC, from: OTHER, payload: new Uint8Array(random % 400) })),
        (random: number) => network.port.linkChanged(random % 2 === 0),
      ],
      setUp: () => program({ context, device }),
    };
  };
  it.each(deviceContract(factory))("$name", ({ run }) => run());
});
