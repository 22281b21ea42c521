import { describe, expect, it } from "vitest";
import { StateError } from "../../state/errors.ts";
import { ATA } from "../ahci/ata-disk.ts";
import { trayBytes } from "../ahci/cd-tray.ts";
import { deviceContract } from "../contract.ts";
import type { StateValue } from "../device.ts";
import { FakeContext, type FakeDisk } from "../fake-context.ts";
import type { IdeDrive } from "./channel.ts";
import { createIde, type IdeController } from "./controller.ts";
import { BM_STATUS, CONTROL, READY, STATUS, TASK } from "./registers.ts";

const MIB = 2 ** 20;
const DISK: IdeDrive = { medium: "disk", name: "disk0", sizeBytes: 64 * MIB, isReadOnly: false };
const CD: IdeDrive = { medium: "cd", name: "disk1", sizeBytes: 2048 * 1000, isReadOnly: true };
const TABLE = 0x1000;
const DATA = 0x4000;

type State = Record<string, StateValue>;

class Rig {
  readonly context: FakeContext;
  readonly device: IdeController;
  readonly disk: FakeDisk;
  readonly cd: FakeDisk;

  constructor(context: FakeContext = new FakeContext({ memoryBytes: MIB }), disk: Partial<IdeDrive> = {}) {
    this.context = context;
    this.device = createIde(context, {
      name: "ide",
      drives: [{ ...DISK, ...disk }, CD],
      irqs: [context.line("irq14"), context.line("irq15")],
    });
    this.disk = context.disks.get("disk0")!;
    this.cd = context.disks.get("disk1")!;
  }

  get irq(): boolean {
    return this.context.line("irq14").level;
  }

  read(register: number, size: 1 | 2 | 4 = 1): number {
    return this.device.taskPorts[0]!.read(register, size);
  }

  write(register: number, value: number, size: 1 | 2 | 4 = 1): void {
    this.device.taskPorts[0]!.write(register, size, value);
  }

  command(code: number, lba = 0, count = 1, features = 0): void {
    this.write(TASK.DEVICE, 0xe0 | ((lba >>> 24) & 0xf));
    this.write(TASK.FEATURES, features);
    this.write(TASK.COUNT, count & 0xff);
    for (let i = 0; i < 3; i++) this.write(TASK.LBA_LOW + i, (lba >>> (8 * i)) & 0xff);
    this.write(TASK.COMMAND, code);
  }

  take(bytes: number): Uint8Array {
    const words = Uint16Array.from({ length: bytes / 2 }, () => this.read(TASK.DATA, 2));
    return new Uint8Array(words.buffer);
  }

  give(bytes: number, value: number): void {
    for (let i = 0; i < bytes; i += 4) this.write(TASK.DATA, value * 0x0101_0101, 4);
  }

  packet(packet: readonly number[], { limit = 0xfffe, dma = 0 } = {}): void {
    this.write(TASK.DEVICE, 0xb0);
    this.write(TASK.FEATURES, dma);
    this.write(TASK.LBA_MID, limit & 0xff);
    this.write(TASK.LBA_HIGH, limit >>> 8);
    this.write(TASK.COMMAND, ATA.PACKET);
    for (let i = 0; i < 12; i += 2) this.write(TASK.DATA, (packet[i] ?? 0) | ((packet[i + 1] ?? 0) << 8), 2);
  }

  /** Starts the bus master over regions: address and length. */
  dma(regions: readonly (readonly [number, number])[], isToMemory: boolean): void {
    for (const [i, [gpa, bytes]] of regions.entries()) {
      this.context.memory.write32(TABLE + 8 * i, gpa);
      const isLast = i === regions.length - 1;
      this.context.memory.write32(TABLE + 8 * i + 4, (bytes & 0xfffe) | (isLast ? 0x8000_0000 : 0));
    }
    const ports = this.device.busMasterPorts;
    for (let i = 0; i < 4; i++) ports.write(4 + i, 1, (TABLE >>> (8 * i)) & 0xff);
    ports.write(2, 1, 6);
    ports.write(0, 1, isToMemory ? 8 : 0);
    ports.write(0, 1, isToMemory ? 9 : 1);
  }

  get busMaster(): number {
    return this.device.busMasterPorts.read(2, 1);
  }
}

describe("registers", () => {
  it("are each drive's own, and tell what it is after a reset", () => {
    const rig = new Rig();
    rig.device.controlPorts[0]!.write(0, 1, CONTROL.SRST);
    expect(rig.read(TASK.COMMAND)).toBe(STATUS.BSY);
    rig.device.controlPorts[0]!.write(0, 1, 0);
    const signature = (): number[] => [TASK.COUNT, TASK.LBA_LOW, TASK.LBA_MID, TASK.LBA_HIGH].map((at) => rig.read(at));
    expect([rig.read(TASK.COMMAND), ...signature()]).toEqual([READY, 1, 1, 0, 0]);
    rig.write(TASK.DEVICE, 0x10);
    expect([rig.read(TASK.COMMAND), ...signature()]).toEqual([0, 1, 1, 0x14, 0xeb]);
    rig.write(TASK.COUNT, 0x55);
    rig.write(TASK.COUNT, 0xaa);
    expect(rig.read(TASK.COUNT)).toBe(0xaa);
    rig.device.controlPorts[0]!.write(0, 1, CONTROL.HOB);
    expect(rig.read(TASK.COUNT)).toBe(0x55);
  });

  it("of a channel without drives float, and are not decoded where the chipset says so", () => {
    const { device } = new Rig();
    expect(device.taskPorts[1]!.read(TASK.COMMAND, 1)).toBe(0xff);
    device.pci.writeConfig(0x41, 1, 0);
    expect(device.taskPorts[0]!.read(TASK.COMMAND, 1)).toBe(0xff);
  });
});

describe("a disk", () => {
  it("identifies itself by PIO, as a drive of a parallel interface", () => {
    const rig = new Rig();
    rig.command(ATA.IDENTIFY_DEVICE);
    expect(rig.irq).toBe(true);
    expect(rig.read(TASK.COMMAND)).toBe(READY | STATUS.DRQ);
    expect(rig.irq).toBe(false);
    const view = new DataView(rig.take(512).buffer);
    expect(view.getUint32(120, true)).toBe(131_072);
    expect(view.getUint16(152, true)).toBe(0);
    expect(rig.read(TASK.COMMAND)).toBe(READY);
  });

  it("reads by PIO, a sector for each interrupt", () => {
    const rig = new Rig();
    rig.command(ATA.READ_SECTORS, 1000, 2);
    expect(rig.read(TASK.COMMAND)).toBe(STATUS.BSY);
    expect(rig.disk.history).toEqual(["read 512000+1024"]);
    rig.disk.complete(0, { bytes: Uint8Array.from({ length: 1024 }, (_, i) => i >> 3) });
    expect(rig.irq).toBe(true);
    expect(rig.read(TASK.COMMAND)).toBe(READY | STATUS.DRQ);
    expect(rig.take(512)[511]).toBe(63);
    expect(rig.irq).toBe(true);
    expect(rig.read(TASK.COMMAND)).toBe(READY | STATUS.DRQ);
    expect(rig.take(512)[0]).toBe(64);
    expect([rig.irq, rig.read(TASK.COMMAND)]).toEqual([false, READY]);
    expect(rig.read(TASK.DATA, 2)).toBe(0xffff);
  });

  it("writes by PIO, and by blocks of several sectors", () => {
    const rig = new Rig();
    rig.command(ATA.SET_MULTIPLE_MODE, 0, 4);
    rig.command(ATA.WRITE_MULTIPLE, 8, 6);
    expect([rig.irq, rig.read(TASK.COMMAND)]).toEqual([false, READY | STATUS.DRQ]);
    rig.give(2048, 1);
    expect([rig.irq, rig.read(TASK.COMMAND)]).toEqual([true, READY | STATUS.DRQ]);
    rig.give(1024, 2);
    expect(rig.disk.history).toEqual(["write 4096+3072"]);
    expect([rig.disk.requests[0]!.bytes[0], rig.disk.requests[0]!.bytes[2048]]).toEqual([1, 2]);
    expect(rig.read(TASK.COMMAND)).toBe(STATUS.BSY);
    rig.disk.complete();
    expect([rig.irq, rig.read(TASK.COMMAND)]).toEqual([true, READY]);
  });

  it("reads and writes by the bus master, in parts of a block request each", () => {
    const rig = new Rig();
    rig.command(ATA.READ_DMA, 0, 2);
    rig.disk.complete(0, { fill: 7 });
    expect(rig.irq).toBe(false);
    rig.dma(
      [
        [DATA, 512],
        [DATA + 0x1000, 512],
      ],
      true,
    );
    expect([rig.irq, rig.busMaster & 7]).toEqual([true, BM_STATUS.INTERRUPT]);
    expect(rig.context.memory.read8(DATA + 0x11ff)).toBe(7);
    rig.context.memory.write(0x4_0000, new Uint8Array(0x4_0000).fill(9));
    rig.write(TASK.COUNT, 2);
    rig.write(TASK.COUNT, 0);
    for (let i = 0; i < 3; i++) for (let twice = 0; twice < 2; twice++) rig.write(TASK.LBA_LOW + i, 0);
    rig.write(TASK.COMMAND, ATA.WRITE_DMA_EXT);
    rig.dma(
      [0, 1, 2, 3].map((i) => [0x4_0000 + 0x1_0000 * i, 0x1_0000] as const),
      false,
    );
    expect(rig.disk.history.slice(1)).toEqual(["write 0+131072"]);
    rig.disk.complete();
    expect(rig.disk.requests.map(({ offset, bytes }) => [offset, bytes[5]])).toEqual([[131_072, 9]]);
    rig.disk.complete();
    expect([rig.read(TASK.COMMAND), rig.busMaster & 7]).toEqual([READY, BM_STATUS.INTERRUPT]);
  });

  it("keeps a write by the bus master that is under way in its state", () => {
    const rig = new Rig();
    rig.command(ATA.WRITE_DMA, 0, 1);
    rig.dma([[DATA, 512]], false);
    expect(rig.disk.history).toEqual(["write 0+512"]);
    const copy = new Rig();
    copy.device.restore(rig.device.save());
    expect(copy.device.save()).toEqual(rig.device.save());
  });

  it("aborts where the regions are too short, and what a parallel drive does not have", () => {
    const rig = new Rig();
    rig.dma([[DATA, 512]], true);
    rig.command(ATA.READ_DMA, 0, 2);
    rig.disk.complete();
    expect([rig.read(TASK.COMMAND), rig.read(TASK.FEATURES)]).toEqual([READY | STATUS.ERR, 4]);
    expect(rig.busMaster & BM_STATUS.ERROR).toBe(BM_STATUS.ERROR);
    for (const code of [ATA.READ_FPDMA_QUEUED, ATA.DATA_SET_MANAGEMENT, ATA.PACKET]) {
      rig.command(code, 0, 1, 1);
      expect(rig.read(TASK.COMMAND)).toBe(READY | STATUS.ERR);
    }
  });

  it("is reached by cylinder, head and sector", () => {
    const rig = new Rig();
    rig.write(TASK.DEVICE, 0xa0 | 3);
    rig.write(TASK.COUNT, 63);
    rig.write(TASK.COMMAND, ATA.INITIALIZE_DEVICE_PARAMETERS);
    rig.write(TASK.COUNT, 1);
    rig.write(TASK.LBA_LOW, 5);
    rig.write(TASK.LBA_MID, 2);
    rig.write(TASK.LBA_HIGH, 0);
    rig.write(TASK.DEVICE, 0xa0 | 1);
    rig.write(TASK.COMMAND, ATA.READ_SECTORS);
    expect(rig.disk.history).toEqual([`read ${512 * ((2 * 4 + 1) * 63 + 4)}+512`]);
  });

  it("that fails says so; what was under way at a reset comes back to nobody", () => {
    const rig = new Rig();
    rig.command(ATA.READ_SECTORS);
    rig.disk.complete(0, { isOk: false });
    expect([rig.read(TASK.COMMAND), rig.read(TASK.FEATURES)]).toEqual([READY | STATUS.ERR, 0x40]);
    rig.command(ATA.WRITE_SECTORS);
    rig.give(512, 3);
    rig.device.controlPorts[0]!.write(0, 1, CONTROL.SRST);
    rig.device.controlPorts[0]!.write(0, 1, 0);
    rig.command(ATA.READ_SECTORS);
    expect(rig.disk.requests.map(({ operation }) => operation)).toEqual(["write"]);
    rig.disk.complete();
    expect(rig.disk.requests.map(({ operation }) => operation)).toEqual(["read"]);
  });
});

describe("a CD", () => {
  it("answers packets by PIO in blocks of the driver's size", () => {
    const rig = new Rig();
    rig.packet([0x12, 0, 0, 0, 36], { limit: 24 });
    expect([rig.irq, rig.read(TASK.COUNT), rig.read(TASK.LBA_MID)]).toEqual([true, 2, 24]);
    expect(rig.take(24)[0]).toBe(5);
    expect(rig.read(TASK.LBA_MID)).toBe(12);
    rig.take(12);
    expect([rig.irq, rig.read(TASK.COUNT), rig.read(TASK.COMMAND)]).toEqual([true, 3, READY]);
  });

  it("reads blocks by PIO and by the bus master", () => {
    const rig = new Rig();
    rig.packet([0x28, 0, 0, 0, 0, 16, 0, 0, 1], { limit: 2048 });
    expect(rig.cd.history).toEqual(["read 32768+2048"]);
    rig.cd.complete(0, { fill: 4 });
    expect(rig.take(2048)[2047]).toBe(4);
    expect(rig.read(TASK.COUNT)).toBe(3);
    rig.packet([0x28, 0, 0, 0, 0, 17, 0, 0, 1], { dma: 1 });
    rig.dma([[DATA, 2048]], true);
    rig.cd.complete(0, { fill: 6 });
    expect([rig.context.memory.read8(DATA + 2047), rig.read(TASK.COUNT)]).toEqual([6, 3]);
  });

  it("refuses what is a disk's, and shows what it is", () => {
    const rig = new Rig();
    rig.write(TASK.DEVICE, 0xb0);
    rig.write(TASK.COMMAND, ATA.IDENTIFY_DEVICE);
    expect([rig.read(TASK.COMMAND) & 1, rig.read(TASK.LBA_MID), rig.read(TASK.LBA_HIGH)]).toEqual([1, 0x14, 0xeb]);
    rig.packet([0x28, 0, 0, 1, 0, 0, 0, 0, 1]);
    expect([rig.read(TASK.COMMAND) & 1, rig.read(TASK.FEATURES) >> 4]).toEqual([1, 5]);
    rig.write(TASK.COMMAND, ATA.IDENTIFY_PACKET_DEVICE);
    expect(rig.take(512)[1]).toBe(0x85);
  });
});

it.each<[string, (channel: State) => State]>([
  ["the drive's", (channel) => ({ ...channel, drives: { ...(channel["drives"] as State), 1: { sizeBytes: 2048 } } })],
  ["what comes behind it", (channel) => ({ ...channel, requests: { ...(channel["requests"] as State), 1: null } })],
  ["of the other channel", (channel) => channel],
])("a state that is refused leaves the disc that is in the drive: wrong is %s", (_what, spoil) => {
  const other = new Rig();
  other.context.input("disk1-tray", trayBytes({ kind: "insert", sizeBytes: 10 * 2048 }));
  const state = other.device.save() as State & { readonly channels: [State, State] };
  const rig = new Rig();
  rig.context.input("disk1-tray", trayBytes({ kind: "insert", sizeBytes: 20 * 2048 }));
  const channels = [spoil(state.channels[0]), { ...state.channels[1], owner: 2 }];
  expect(() => rig.device.restore({ ...state, channels })).toThrow(StateError);
  rig.packet([0x25]);
  expect([...rig.take(8)]).toEqual([0, 0, 0, 19, 0, 0, 8, 0]);
});

it("a restored controller goes on where it was", () => {
  const rig = new Rig();
  rig.command(ATA.WRITE_SECTORS, 5, 1);
  rig.give(512, 3);
  const state = rig.device.save();
  const later = new FakeContext({ memoryBytes: MIB });
  later.copyFrom(rig.context);
  const copy = new Rig(later);
  copy.device.restore(state);
  expect(copy.disk.requests).toEqual([]);
  copy.device.resume();
  expect(copy.disk.requests).toEqual(rig.disk.requests);
  expect(copy.device.save()).toEqual(state);
  copy.disk.complete();
  expect(copy.read(TASK.COMMAND)).toBe(READY);
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const rig = new Rig(context);
    const codes = [ATA.READ_SECTORS, ATA.WRITE_SECTORS, ATA.READ_DMA, ATA.WRITE_DMA, ATA.FLUSH_CACHE];
    return {
      device: rig.device,
      survivesReset: true,
      ranges: [
        { handler: rig.device.taskPorts[0]!, length: 8 },
        { handler: rig.device.controlPorts[0]!, length: 1, sizes: [1] },
        { handler: rig.device.busMasterPorts, length: 16, sizes: [1] },
      ],
      observe: () => [rig.disk, rig.cd].map(({ requests }) => requests.map(({ id }) => id).join()).join("/"),
      events: [
        (random) => rig.command(codes[random % codes.length]!, (random >>> 8) & 0xff, 1 + ((random >>> 16) & 3)),
        (random) => rig.packet([0x28, 0, 0, 0, 0, (random >>> 8) & 0xff, 0, 0, 1], { dma: random & 1 }),
        (random) => rig.dma([[DATA, 2048]], (random & 1) === 0),
        () => rig.take(512),
        (random) => rig.give(512, random & 0xff),
        (random) => {
          const disk = random & 1 ? rig.cd : rig.disk;
          if (disk.requests.length > 0) disk.complete(0, { isOk: random % 8 !== 3, fill: random >>> 24 });
        },
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
