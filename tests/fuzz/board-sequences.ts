/** What drivers do with the devices that are soldered to the board, and the watchdog. */
import { createAcpiPm } from "../../packages/core/src/devices/acpi-pm.ts";
import { createDebugExit } from "../../packages/core/src/devices/debug-exit.ts";
import type { FakeContext } from "../../packages/core/src/devices/fake-context.ts";
import { createHpet } from "../../packages/core/src/devices/hpet.ts";
import { createI8042 } from "../../packages/core/src/devices/i8042/controller.ts";
import { pressedKeys, typedText } from "../../packages/core/src/devices/i8042/typing.ts";
import { createPic } from "../../packages/core/src/devices/pic.ts";
import { createPit } from "../../packages/core/src/devices/pit.ts";
import { createPvpanic } from "../../packages/core/src/devices/pvpanic.ts";
import { createRtc } from "../../packages/core/src/devices/rtc.ts";
import { createUart16550 } from "../../packages/core/src/devices/uart-16550.ts";
import { createWatchdog } from "../../packages/core/src/devices/watchdog.ts";
import type { FuzzedDevice, Operation, Random } from "./device-fuzz.ts";
import { byteRange, event, pick, read, time, write } from "./operations.ts";

export const I8042: FuzzedDevice = {
  name: "i8042",
  build: (context) => {
    const device = createI8042(context, {
      name: "i8042",
      channel: "keyboard0",
      keyboardIrq: context.line("irq1"),
      auxIrq: context.line("irq12"),
    });
    return {
      device,
      ranges: [byteRange(device.data, 1), byteRange(device.command, 1)],
      events: [
        (value) => context.input("keyboard0", typedText("Abc".slice(value % 3))),
        () => context.input("keyboard0", pressedKeys("ctrl-alt-delete")),
        (value) => context.input("keyboard0", Uint8Array.of(value, value >> 8, value >> 16)),
      ],
      sequence: (random) => {
        const commands = [
          0x20, 0x60, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xad, 0xae, 0xc0, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xfe,
        ];
        switch (random(4)) {
          case 0:
            return [write(1, 0, pick(random, commands)), write(0, 0, random(256)), read(1, 0), read(0, 0)];
          case 1:
            return [write(0, 0, pick(random, [0xed, 0xf0, 0xf3])), read(0, 0), write(0, 0, random(4)), read(0, 0)];
          case 2:
            return [write(0, 0, 0xee + random(18)), read(0, 0), read(0, 0), read(0, 0)];
          default:
            return [
              event(random(3), random(2 ** 24)),
              time(4_000_000),
              read(1, 0),
              read(0, 0),
              time(random(9_000_000)),
            ];
        }
      },
    };
  },
};

export const WATCHDOG: FuzzedDevice = {
  name: "watchdog",
  build: (context) => {
    const device = createWatchdog(context, { name: "watchdog0", action: "none" });
    const enable = 0x68;
    return {
      device,
      ranges: [
        { handler: device.registers, length: 16 },
        {
          handler: {
            read: (offset, size) => device.pci.readConfig(0x60 + offset, size),
            write: (offset, size, value) => device.pci.writeConfig(0x60 + offset, size, value),
          },
          length: 16,
        },
      ],
      sequence: (random) => {
        const unlocked = (offset: number, value: number): Operation[] => [
          write(0, 12, 0x80, 2),
          write(0, 12, 0x86, 2),
          write(0, offset, value, 4),
        ];
        return [
          ...unlocked(pick(random, [0, 4]), random(2 ** 20)),
          write(1, 0, random(0x40), 2),
          write(1, enable - 0x60, pick(random, [2, 2, 2, 6, 0])),
          time(random(3_000_000_000)),
          read(0, 8, 4),
          ...unlocked(12, pick(random, [0x100, 0x200, 0x300])),
          read(0, 12, 2),
        ];
      },
    };
  },
};

/** Devices of a few byte registers: any order of writes is a driver's. */
const simple = (
  name: string,
  build: (context: FakeContext) => Omit<ReturnType<FuzzedDevice["build"]>, "sequence">,
  sequence: (random: Random) => Operation[],
): FuzzedDevice => ({ name, build: (context) => ({ ...build(context), sequence }) });

export const BOARD_DEVICES: readonly FuzzedDevice[] = [
  simple(
    "pit",
    (context) => {
      const pit = createPit(context, { irq: context.line("irq0") });
      return { device: pit, ranges: [byteRange(pit.counters, 4), byteRange(pit.systemControlB, 1)] };
    },
    (random) => {
      const counter = random(3);
      const bytes = [write(0, counter, random(256)), write(0, counter, random(256))];
      const latch = [write(0, 3, random(2) ? counter << 6 : 0xc0 | random(64)), read(0, counter), read(0, counter)];
      return [
        write(0, 3, (counter << 6) | ((1 + random(3)) << 4) | (random(6) << 1) | random(2)),
        ...bytes,
        time(random(2 ** 20)),
        ...latch,
        write(1, 0, random(4)),
      ];
    },
  ),
  simple(
    "rtc",
    (context) => {
      const rtc = createRtc(context, { irq: context.line("irq8") });
      return { device: rtc, ranges: [byteRange(rtc, 2)] };
    },
    (random) => [
      write(0, 0, random(3) ? random(14) : random(256)),
      write(0, 1, pick(random, [random(256), 0x26, 0x02, 0x72, 0x12, 0x59, 0x80])),
      write(0, 0, random(14)),
      read(0, 1),
      time(random(2 ** 31)),
    ],
  ),
  simple(
    "hpet",
    (context) => {
      const routes = [20, 21, 22, 23].map((input) => context.line(`gsi${input}`));
      const hpet = createHpet(context, { irq0: context.line("irq0"), irq8: context.line("irq8"), routes });
      return { device: hpet, ranges: [{ handler: hpet.registers, length: 0x400 }] };
    },
    (random) => {
      const timer = 0x100 + 0x20 * random(3);
      return [
        write(0, 0x10, random(4), 4),
        write(0, timer, random(0x8000), 4),
        write(0, timer + 8, random(2 ** (1 + random(32))), 4),
        write(0, timer + 12, random(2), 4),
        time(random(2 ** 22)),
        read(0, 0xf0, 4),
        write(0, 0x20, random(8), 4),
      ];
    },
  ),
  simple(
    "pic",
    (context) => {
      const pic = createPic({ intr: context.line("intr") });
      return {
        device: pic,
        ranges: [byteRange(pic.chips[0], 2), byteRange(pic.chips[1], 2), byteRange(pic.elcr, 2)],
        events: [(value) => pic.inputs[value & 15]!.set((value & 16) !== 0), () => void pic.acknowledge()],
      };
    },
    (random) => {
      const chip = random(2);
      const start = [
        write(chip, 0, 0x11),
        write(chip, 1, 8 * random(32)),
        write(chip, 1, chip ? 2 : 4),
        write(chip, 1, random(32)),
      ];
      const inputs = [event(0, random(32)), event(0, random(32)), event(1, 0)];
      return random(4) === 0
        ? start
        : [
            ...inputs,
            write(chip, 1, random(256)),
            write(
              chip,
              0,
              pick(random, [0x20, 0xa0, 0x0a, 0x0b, 0x0c, 0x68, 0x48, 0x60 + random(8), 0xc0 + random(8)]),
            ),
            read(chip, 0),
            write(2, chip, random(256)),
          ];
    },
  ),
  simple(
    "uart-16550",
    (context) => {
      const uart = createUart16550(context, { name: "uart0", channel: "com1", irq: context.line("irq4") });
      return {
        device: uart,
        ranges: [byteRange(uart, 8)],
        events: [(value) => context.input("com1", new Uint8Array(value % 40).fill(value))],
      };
    },
    (random) => [
      write(0, 3, random(2) ? 0x83 : 0x03),
      write(0, random(2), random(256)),
      write(0, 3, random(256)),
      write(0, 1 + random(4), random(256)),
      event(0, random(2 ** 16)),
      read(0, random(8)),
      read(0, 0),
      time(random(2 ** 24)),
    ],
  ),
  simple(
    "acpi-pm",
    (context) => {
      const pm = createAcpiPm(context, { sci: context.line("sci") });
      return {
        device: pm,
        ranges: [{ handler: pm.registers, length: 0x80 }, byteRange(pm.apm, 2)],
        events: [(value) => pm.raiseGpe(value & 63), () => pm.pressPowerButton()],
      };
    },
    (random) => [
      write(0, pick(random, [0, 2, 4, 0x20, 0x28]), random(2 ** 16), 2),
      read(0, 8, 4),
      event(random(2), random(64)),
      write(1, 0, random(256)),
      time(random(2 ** 31)),
    ],
  ),
  simple(
    "pvpanic",
    (context) => {
      const device = createPvpanic(context);
      return { device, ranges: [byteRange(device.registers, 1)] };
    },
    (random) => [read(0, 0), write(0, 0, random(4))],
  ),
  simple(
    "debug-exit",
    (context) => {
      const device = createDebugExit(context);
      return { device, ranges: [{ handler: device.registers, length: 4 }] };
    },
    (random) => [read(0, 0), write(0, 0, random(256))],
  ),
];
