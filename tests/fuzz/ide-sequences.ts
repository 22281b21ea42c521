/**
 * A driver of an IDE channel with a disk and a CD for device-fuzz.ts. The oracle of writes: the regions of the bus master's table.
 * The copy of a controller has to have a bounded buffer, and never more than one request under way at each drive.
 */
import type { AccessSize } from "../../packages/core/src/bus/io.ts";
import { ATA } from "../../packages/core/src/devices/ahci/ata-disk.ts";
import { trayBytes, trayChannel } from "../../packages/core/src/devices/ahci/cd-tray.ts";
import { BLOCK_LIMITS } from "../../packages/core/src/devices/block-channel.ts";
import { createIde } from "../../packages/core/src/devices/ide/controller.ts";
import { CONTROL, STATUS, TASK } from "../../packages/core/src/devices/ide/registers.ts";
import type { FuzzedDevice, Operation, Random } from "./device-fuzz.ts";

const TABLE = 0x1000;
const DATA = 0x4000;
const DISK_BYTES = 2 ** 20;
const RANGE = { task: 0, control: 1, busMaster: 2 } as const;
const CODES = Object.values(ATA);
const PACKETS = [0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x28, 0x28, 0x43, 0x46, 0x4a, 0x51, 0x5a, 0xa8];

const write = (range: keyof typeof RANGE, offset: number, value: number, size: AccessSize = 1): Operation => ({
  kind: "write",
  range: RANGE[range],
  offset,
  size,
  value: value >>> 0,
});
const task = (register: number, value: number): Operation => write("task", register, value & 0xff);

function dma(random: Random, isToMemory: boolean): Operation[] {
  const regions = 1 + random(4);
  const table = new DataView(new ArrayBuffer(8 * regions));
  for (let i = 0; i < regions; i++) {
    table.setUint32(8 * i, DATA + 2 * random(0x4000), true);
    table.setUint32(8 * i + 4, 2 * random(1200) + (i === regions - 1 ? 0x8000_0000 : 0), true);
  }
  return [
    { kind: "memory", gpa: TABLE, bytes: new Uint8Array(table.buffer) },
    ...[0, 1, 2, 3].map((i) => write("busMaster", 4 + i, (TABLE >>> (8 * i)) & 0xff)),
    write("busMaster", 2, 6),
    write("busMaster", 0, isToMemory ? 8 : 0),
    write("busMaster", 0, isToMemory ? 9 : 1),
  ];
}

function command(random: Random): Operation[] {
  const code = CODES[random(CODES.length)]!;
  const isCd = random(3) === 0;
  const sector = random(8) ? random(DISK_BYTES / 512 - 8) : DISK_BYTES / 512 - random(8);
  return [
    task(TASK.DEVICE, (random(8) ? 0xe0 : 0xa0) | (isCd ? 0x10 : 0)),
    task(TASK.FEATURES, random(4)),
    task(TASK.COUNT, 1 + random(6)),
    ...[0, 1, 2].map((i) => task(TASK.LBA_LOW + i, sector >>> (8 * i))),
    task(TASK.COMMAND, code),
    ...(random(2) ? dma(random, random(2) === 0) : []),
  ];
}

function packet(random: Random): Operation[] {
  const bytes = [
    PACKETS[random(PACKETS.length)]!,
    random(2),
    0,
    0,
    0,
    random(200),
    0,
    0,
    1 + random(3),
    random(40),
    0,
    0,
  ];
  if (bytes[0] === 0x12 || bytes[0] === 0x03) bytes[4] = random(64);
  const isDma = random(2);
  return [
    task(TASK.DEVICE, 0xb0),
    task(TASK.FEATURES, isDma),
    task(TASK.LBA_MID, random(256)),
    task(TASK.LBA_HIGH, random(16)),
    task(TASK.COMMAND, ATA.PACKET),
    ...[0, 2, 4, 6, 8, 10].map((i) => write("task", TASK.DATA, bytes[i]! | (bytes[i + 1]! << 8), 2)),
    ...(isDma ? dma(random, true) : []),
  ];
}

export const IDE: FuzzedDevice = {
  name: "ide",
  build: (context) => {
    const device = createIde(context, {
      name: "ide",
      drives: [
        { medium: "disk", name: "disk0", sizeBytes: DISK_BYTES, isReadOnly: false },
        { medium: "cd", name: "disk1", sizeBytes: DISK_BYTES, isReadOnly: true },
      ],
      irqs: [context.line("irq14"), context.line("irq15")],
    });
    const disks = [context.disks.get("disk0")!, context.disks.get("disk1")!];
    const { memory } = context;
    const waiting = (value: number): (typeof disks)[number] | undefined =>
      [disks[value & 1]!, disks[~value & 1]!].find(({ requests }) => requests.length > 0);
    return {
      device,
      ranges: [
        { handler: device.taskPorts[0]!, length: 8 },
        { handler: device.controlPorts[0]!, length: 1, sizes: [1] },
        { handler: device.busMasterPorts, length: 16, sizes: [1] },
      ],
      events: [
        (value) => waiting(value)?.complete(0, { fill: 0x5a }),
        (value) => waiting(value)?.complete(0, { isOk: value % 4 !== 0 }),
        (value) => {
          for (let i = 0; i < 256; i++) device.taskPorts[0]!.read(TASK.DATA, value & 1 ? 2 : 4);
        },
        (value) => {
          for (let i = 0; i < 128; i++) device.taskPorts[0]!.write(TASK.DATA, 4, value);
        },
        (value) => {
          const sizeBytes = 512 * (1 + (value % (DISK_BYTES / 512)));
          const action =
            value & 0x1000
              ? ({ kind: "insert", sizeBytes } as const)
              : ({ kind: "eject", force: value > 2 ** 31 } as const);
          context.input(trayChannel("disk1"), trayBytes(action));
        },
        (value) => waiting(value)?.deliver({ id: value % 64, isOk: true, bytes: new Uint8Array((value >>> 8) % 700) }),
      ],
      mayWrite: (gpa, length) => {
        const { table } = (device.save() as { busMasters: readonly { table: number }[] }).busMasters[0]!;
        for (let at = table; at + 8 <= memory.bytes.length; at += 8) {
          const view = new DataView(memory.bytes.buffer, at, 8);
          const start = (view.getUint32(0, true) & ~1) >>> 0;
          if (gpa >= start && gpa + length <= start + (view.getUint32(4, true) & 0xfffe || 0x1_0000)) return true;
        }
        return false;
      },
      check: () => {
        for (const disk of disks) {
          disk.history.length = 0;
          if (disk.requests.length > BLOCK_LIMITS.requests) throw new Error(`${disk.requests.length} under way`);
          for (const { operation, offset, length } of disk.requests) {
            const isSound = offset % 512 === 0 && length % 512 === 0 && offset + length <= DISK_BYTES;
            if (!isSound || length > BLOCK_LIMITS.copiedBytes || (operation === "flush") !== (length === 0))
              throw new Error(`the request ${operation} ${offset}+${length}`);
          }
        }
      },
      sequence: (random) => {
        const status = device.controlPorts[0]!.read(0, 1);
        if (status & STATUS.DRQ && random(4) !== 0)
          return [{ kind: "event", event: 2 + random(2), value: random(2 ** 32) }];
        if (status & STATUS.BSY && random(3) !== 0)
          return random(4)
            ? [{ kind: "event", event: random(2), value: random(2 ** 32) }]
            : dma(random, random(2) === 0);
        switch (random(8)) {
          case 0:
            return [{ kind: "event", event: random(6), value: random(2 ** 32) }];
          case 1:
            if (random(4)) return packet(random);
            return [write("control", 0, CONTROL.SRST), write("control", 0, random(4) === 0 ? CONTROL.NIEN : 0)];
          case 2:
            return [{ kind: "read", range: RANGE.task, offset: random(8), size: 1 }];
          case 3:
          case 4:
            return packet(random);
          default:
            return command(random);
        }
      },
    };
  },
};
