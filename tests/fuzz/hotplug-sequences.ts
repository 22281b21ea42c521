/** What the DSDT's methods do with the registers of processors and disks that come and go; memory's are virtio-sequences.ts. */
import type { IoHandler } from "../../packages/core/src/bus/io.ts";
import { trayBytes, trayChannel } from "../../packages/core/src/devices/ahci/cd-tray.ts";
import { CPUS_CHANNEL, createCpuHotplug } from "../../packages/core/src/devices/cpu-hotplug.ts";
import { DiskBays } from "../../packages/core/src/devices/disk-bays.ts";
import { HOTPLUG } from "../../packages/core/src/devices/hotplug-registers.ts";
import type { FuzzedDevice, FuzzTarget } from "./device-fuzz.ts";
import { event, read, write } from "./operations.ts";

const COUNT = 6;
const ALL = 2 ** COUNT - 1;

export const CPU_HOTPLUG_DEVICE: FuzzedDevice = {
  name: "cpu-hotplug",
  build: (context): FuzzTarget => {
    let told = 0;
    /** Those that were there before a write. */
    let before = 0;
    let isGuestTold = false;
    const device = createCpuHotplug(context, {
      count: COUNT,
      atStart: 2,
      onChange: () => {
        isGuestTold = true;
      },
      onEject: (index) => {
        if (index === 0 || (before & (1 << index)) === 0) throw new Error(`processor ${index} is taken out`);
      },
      onCount: (count) => {
        told = count;
      },
    });
    const register = (offset: number): number => device.registers.read(offset, 1);
    const handler: IoHandler = {
      read: (offset, size) => device.registers.read(offset, size),
      write: (offset, size, value) => {
        before = register(HOTPLUG.PRESENT);
        device.registers.write(offset, size, value);
      },
    };
    return {
      device,
      ranges: [{ handler, length: HOTPLUG.sizeBytes }],
      events: [
        (value) => {
          isGuestTold = false;
          context.input(CPUS_CHANNEL, Uint8Array.of(value));
          const news = register(HOTPLUG.ARRIVED) | register(HOTPLUG.LEAVING);
          if (news !== 0 && !isGuestTold) throw new Error("nobody tells the guest");
        },
        () => context.input(CPUS_CHANNEL, new Uint8Array()),
      ],
      sequence: (random) => {
        const bits = random(ALL + 1);
        return [
          event(0, random(COUNT + 2)),
          read(0, HOTPLUG.ARRIVED),
          write(0, HOTPLUG.ARRIVED, random(2) ? bits : ALL),
          read(0, HOTPLUG.LEAVING),
          write(0, HOTPLUG.LEAVING, random(2) ? bits : ALL),
          ...(random(2) ? [write(0, HOTPLUG.EJECT, 1 << random(COUNT))] : []),
          read(0, HOTPLUG.PRESENT, 4),
        ];
      },
      check: () => {
        const present = register(HOTPLUG.PRESENT);
        const [arrived, leaving] = [register(HOTPLUG.ARRIVED), register(HOTPLUG.LEAVING)];
        const count = present.toString(2).replaceAll("0", "").length;
        if ((present & 1) === 0 || present > ALL) throw new Error(`processors 0x${present.toString(16)} are there`);
        if ((arrived | leaving) & ~present) throw new Error("the guest is told of a processor that is not there");
        if (told !== count) throw new Error(`${count} processors are there, and ${told} are told`);
      },
    };
  },
};

export const DISK_BAYS: FuzzedDevice = {
  name: "disk-bays",
  build: (context): FuzzTarget => {
    const disks = [0, 1, 2].map((index) => ({ name: `disk${index}`, sizeBytes: 512 }));
    const isPlugged = disks.map(() => false);
    let isGuestTold = false;
    const device = new DiskBays(context, {
      disks,
      onChange: () => {
        isGuestTold = true;
      },
      onPlug: (index, isThere) => {
        isPlugged[index] = isThere;
      },
    });
    const register = (offset: number): number => device.registers.read(offset, 1);
    const input = (index: number, bytes: Uint8Array): void => {
      isGuestTold = false;
      const before = register(HOTPLUG.ARRIVED) | register(HOTPLUG.LEAVING);
      context.input(trayChannel(disks[index % disks.length]!.name), bytes);
      const news = register(HOTPLUG.ARRIVED) | register(HOTPLUG.LEAVING);
      if (news !== before && !isGuestTold) throw new Error("nobody tells the guest");
    };
    return {
      device,
      ranges: [{ handler: device.registers, length: HOTPLUG.sizeBytes }],
      events: [
        (value) => input(value, trayBytes({ kind: "insert", sizeBytes: (1 + (value >>> 8)) * 512 })),
        (value) => input(value, trayBytes({ kind: "eject", force: (value & 256) !== 0 })),
        (value) => input(value, Uint8Array.of(value, value >> 8, value >> 16).subarray(value % 4)),
      ],
      sequence: (random) => [
        event(random(2), random(2 ** 20)),
        read(0, HOTPLUG.ARRIVED),
        write(0, HOTPLUG.ARRIVED, random(8)),
        read(0, HOTPLUG.LEAVING),
        write(0, HOTPLUG.LEAVING, random(8)),
        ...(random(2) ? [write(0, HOTPLUG.EJECT, 1 << random(3))] : []),
        read(0, HOTPLUG.PRESENT, 4),
      ],
      check: () => {
        const present = register(HOTPLUG.PRESENT);
        if ((register(HOTPLUG.ARRIVED) | register(HOTPLUG.LEAVING)) & ~present)
          throw new Error("the guest is told of a disk that is not there");
        for (const [index, isThere] of isPlugged.entries()) {
          if (isThere !== ((present & (1 << index)) !== 0)) throw new Error(`the slot of bay ${index} has not heard`);
          const { sizeBytes } = disks[index]!;
          if (!(sizeBytes >= 512 && sizeBytes % 512 === 0)) throw new Error(`a disk of ${sizeBytes} bytes`);
        }
      },
    };
  },
};
