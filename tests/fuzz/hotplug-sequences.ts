/** What the DSDT's methods do with the registers of processors that come and go; memory's are virtio-sequences.ts. */
import type { IoHandler } from "../../packages/core/src/bus/io.ts";
import { CPU_HOTPLUG, CPUS_CHANNEL, createCpuHotplug } from "../../packages/core/src/devices/cpu-hotplug.ts";
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
      read: device.registers.read,
      write: (offset, size, value) => {
        before = register(CPU_HOTPLUG.PRESENT);
        device.registers.write(offset, size, value);
      },
    };
    return {
      device,
      ranges: [{ handler, length: CPU_HOTPLUG.sizeBytes }],
      events: [
        (value) => {
          isGuestTold = false;
          context.input(CPUS_CHANNEL, Uint8Array.of(value));
          const news = register(CPU_HOTPLUG.ARRIVED) | register(CPU_HOTPLUG.LEAVING);
          if (news !== 0 && !isGuestTold) throw new Error("nobody tells the guest");
        },
        () => context.input(CPUS_CHANNEL, new Uint8Array()),
      ],
      sequence: (random) => {
        const bits = random(ALL + 1);
        return [
          event(0, random(COUNT + 2)),
          read(0, CPU_HOTPLUG.ARRIVED),
          write(0, CPU_HOTPLUG.ARRIVED, random(2) ? bits : ALL),
          read(0, CPU_HOTPLUG.LEAVING),
          write(0, CPU_HOTPLUG.LEAVING, random(2) ? bits : ALL),
          ...(random(2) ? [write(0, CPU_HOTPLUG.EJECT, 1 << random(COUNT))] : []),
          read(0, CPU_HOTPLUG.PRESENT, 4),
        ];
      },
      check: () => {
        const present = register(CPU_HOTPLUG.PRESENT);
        const [arrived, leaving] = [register(CPU_HOTPLUG.ARRIVED), register(CPU_HOTPLUG.LEAVING)];
        const count = present.toString(2).replaceAll("0", "").length;
        if ((present & 1) === 0 || present > ALL) throw new Error(`processors 0x${present.toString(16)} are there`);
        if ((arrived | leaving) & ~present) throw new Error("the guest is told of a processor that is not there");
        if (told !== count) throw new Error(`${count} processors are there, and ${told} are told`);
      },
    };
  },
};
