/** A driver of the floppy controller and its DMA channel for device-fuzz.ts. The oracle of writes: what the channel was given. */
import { trayBytes, trayChannel } from "../../packages/core/src/devices/ahci/cd-tray.ts";
import { createDma } from "../../packages/core/src/devices/dma-8237.ts";
import { createFloppy } from "../../packages/core/src/devices/floppy/controller.ts";
import { FLOPPY_BYTES } from "../../packages/core/src/devices/floppy/medium.ts";
import { COMMAND, FLAG, REGISTER } from "../../packages/core/src/devices/floppy/registers.ts";
import { StateReader } from "../../packages/core/src/state/reader.ts";
import type { FuzzedDevice, Operation, Random } from "./device-fuzz.ts";
import { byteRange, diskEvents, event, pick, read, time, write } from "./operations.ts";

const DISK_BYTES = FLOPPY_BYTES[0]!;
const RANGE = { floppy: 0, input: 1, dma: 2 } as const;
const DATA = 0x2000;
/** That of small disks is half of it. */
const TRACK = 18 * 512;

const command = (...bytes: number[]): Operation[] =>
  bytes.map((byte) => write(RANGE.floppy, REGISTER.FIFO, byte & 0xff));
const results = (count: number): Operation[] => Array.from({ length: count }, () => read(RANGE.floppy, REGISTER.FIFO));

function channel(random: Random, mode: number, bytes: number): Operation[] {
  const at = DATA + random(0x4000);
  return [
    [10, 6],
    [12, 0],
    [11, mode | 2],
    [4, at & 0xff],
    [4, at >> 8],
    [5, (bytes - 1) & 0xff],
    [5, (bytes - 1) >> 8],
    [10, 2],
  ].map(([register, value]) => write(RANGE.dma, register!, value!));
}

function start(): Operation[] {
  return [
    write(RANGE.floppy, REGISTER.DOR, 0),
    write(RANGE.floppy, REGISTER.DOR, 0x1c),
    ...[0, 1, 2, 3].flatMap(() => [...command(COMMAND.SENSE_INTERRUPT_STATUS), ...results(2)]),
    write(RANGE.input, 0, 0),
    ...command(COMMAND.SPECIFY, 0xdf, 2),
  ];
}

function transfer(random: Random, cylinder: number, unit: number): Operation[] {
  const isWrite = random(2) === 0;
  const code = isWrite ? COMMAND.WRITE_DATA : pick(random, [COMMAND.READ_DATA, COMMAND.READ_DATA, COMMAND.READ_TRACK]);
  const head = random(2);
  const flags = FLAG.MFM | (random(2) && code !== COMMAND.READ_TRACK ? FLAG.MT : 0);
  return [
    ...channel(random, isWrite ? 0x48 : 0x44, 512 * (1 + random(36)) - random(2)),
    ...command(
      code | flags,
      (head << 2) | unit,
      cylinder,
      head,
      1 + random(18),
      2,
      random(8) ? 18 : random(20),
      0x1b,
      0xff,
    ),
  ];
}

function format(random: Random, cylinder: number, unit: number): Operation[] {
  const at = DATA;
  const ids = Array.from({ length: 18 }, (_, i) => [cylinder, 0, i + 1, 2]).flat();
  return [
    { kind: "memory", gpa: at, bytes: Uint8Array.from(ids) },
    ...channel(() => 0, 0x48, 72),
    ...command(COMMAND.FORMAT_TRACK | FLAG.MFM, unit, 2, 18, 0x54, random(256)),
  ];
}

export const FLOPPY: FuzzedDevice = {
  name: "floppy",
  build: (context) => {
    const dma = createDma({ memory: context.memory, page: () => 0 });
    const drive = (name: string, isReadOnly: boolean) => ({ name, sizeBytes: DISK_BYTES, isReadOnly });
    const device = createFloppy(context, {
      name: "floppy",
      drives: [drive("disk0", false), drive("disk1", true)],
      irq: context.line("irq6"),
      dma: dma.channel(2),
    });
    const disks = ["disk0", "disk1"].map((name) => context.disks.get(name)!);
    let before = dma.save();
    const given = (): { address: number; count: number } | undefined => {
      interface Saved {
        readonly chips: readonly {
          command: number;
          mask: number;
          counters: readonly { address: number; count: number; mode: number }[];
        }[];
      }
      const { command, mask, counters } = (before as unknown as Saved).chips[0]!;
      const isOpen = (command & 4) === 0 && (mask & 4) === 0 && (counters[2]!.mode & 0x0c) === 4;
      return isOpen ? counters[2] : undefined;
    };
    return {
      device: {
        name: "floppy and dma",
        schema: { id: "test-floppy", version: 1 },
        reset: () => {
          device.reset();
          dma.reset();
        },
        resume: () => device.resume(),
        save: () => ({ floppy: device.save(), dma: dma.save() }),
        restore: (state) => {
          const reader = new StateReader(state, "floppy and dma");
          device.restore(reader.part("floppy"));
          try {
            dma.restore(reader.part("dma"));
          } catch (error) {
            device.reset();
            throw error;
          }
          before = dma.save();
        },
      },
      ranges: [byteRange(device.registers, 6), byteRange(device.inputRegister, 1), byteRange(dma.chips[0], 16)],
      events: [
        ...diskEvents(disks[0]!),
        (value) =>
          context.input(
            trayChannel("disk0"),
            trayBytes(
              value & 1
                ? { kind: "insert", sizeBytes: FLOPPY_BYTES[(value >> 1) & 1]! }
                : { kind: "eject", force: true },
            ),
          ),
        diskEvents(disks[1]!)[0]!,
      ],
      mayWrite: (gpa, length) => {
        const channel = given();
        if (!channel) return false;
        const { address, count } = channel;
        const end = address + count + 1;
        // What goes over the end of 64 KiB goes on at their start.
        return (gpa >= address && gpa + length <= end) || gpa + length <= end - 0x1_0000;
      },
      check: () => {
        before = dma.save();
        for (const [i, disk] of disks.entries()) {
          disk.history.length = 0;
          if (disk.requests.length > 2) throw new Error(`${disk.requests.length} requests under way`);
          for (const { operation, offset, length } of disk.requests) {
            if (operation === "flush") continue;
            const isOneTrack = Math.floor(offset / TRACK) === Math.floor((offset + length - 1) / TRACK);
            const isSound =
              isOneTrack && offset % 512 === 0 && length % 512 === 0 && length > 0 && offset + length <= DISK_BYTES;
            if (!isSound || (i === 1 && operation !== "read"))
              throw new Error(`the request ${operation} ${offset}+${length}`);
          }
        }
      },
      start,
      sequence: (random) => {
        const cylinder = random(16) ? random(80) : random(256);
        const unit = random(4) ? 0 : 1;
        const done = unit ? 5 : 0;
        switch (random(10)) {
          case 0:
            return random(4) ? [event(4, random(2 ** 32)), ...command(COMMAND.SEEK, 0, random(80))] : start();
          case 1:
            return [
              ...command(
                pick(random, [COMMAND.DUMPREG, COMMAND.VERSION, COMMAND.LOCK, 0x18, COMMAND.SENSE_INTERRUPT_STATUS]),
              ),
              ...results(random(11)),
            ];
          case 2:
            return [...command(COMMAND.READ_ID | FLAG.MFM, random(2) * 4), time(random(2 ** 28)), ...results(7)];
          case 3:
            return [
              ...command(COMMAND.SEEK, unit, cylinder),
              ...command(COMMAND.SENSE_INTERRUPT_STATUS),
              ...results(2),
              ...format(random, cylinder, unit),
              event(done, 0),
              ...results(7),
            ];
          case 4:
            return [
              ...command(COMMAND.CONFIGURE, 0, random(256), 0),
              ...command(COMMAND.RECALIBRATE, random(4)),
              ...command(COMMAND.SENSE_INTERRUPT_STATUS),
              ...results(2),
            ];
          default:
            return [
              ...command(COMMAND.SEEK, unit, cylinder),
              ...command(COMMAND.SENSE_INTERRUPT_STATUS),
              ...results(2),
              ...transfer(random, cylinder, unit),
              ...(random(8) ? [event(random(8) ? done : random(6), random(2 ** 32)), event(done, 0)] : []),
              ...results(7),
            ];
        }
      },
    };
  },
};
