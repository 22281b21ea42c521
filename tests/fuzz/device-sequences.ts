/** For each front-end, what a driver does: the valid sequences that device-fuzz.ts mutates, and what may never come of them. */
import type { AccessSize } from "../../packages/core/src/bus/io.ts";
import { MmioBus, PortBus } from "../../packages/core/src/bus/io-bus.ts";
import { PciBus } from "../../packages/core/src/bus/pci/bus.ts";
import { PciFunction } from "../../packages/core/src/bus/pci/function.ts";
import { createHostBridge } from "../../packages/core/src/bus/pci/host-bridge.ts";
import { createAcpiPm } from "../../packages/core/src/devices/acpi-pm.ts";
import { ApicSystemBus } from "../../packages/core/src/devices/apic/apic-bus.ts";
import { createApic } from "../../packages/core/src/devices/apic/test-apics.ts";
import { createCfiFlash, FLASH_BLOCK_BYTES, FLASH_COMMAND } from "../../packages/core/src/devices/cfi-flash.ts";
import type { RegisterRange } from "../../packages/core/src/devices/contract.ts";
import { createDebugExit } from "../../packages/core/src/devices/debug-exit.ts";
import type { FakeContext } from "../../packages/core/src/devices/fake-context.ts";
import { createFwCfg } from "../../packages/core/src/devices/fw-cfg.ts";
import { createHpet } from "../../packages/core/src/devices/hpet.ts";
import { createI8042 } from "../../packages/core/src/devices/i8042/controller.ts";
import { pressedKeys, typedText } from "../../packages/core/src/devices/i8042/typing.ts";
import { createPic } from "../../packages/core/src/devices/pic.ts";
import { createPit } from "../../packages/core/src/devices/pit.ts";
import { createPvpanic } from "../../packages/core/src/devices/pvpanic.ts";
import { createRtc } from "../../packages/core/src/devices/rtc.ts";
import { createUart16550 } from "../../packages/core/src/devices/uart-16550.ts";
import { renderScreen } from "../../packages/core/src/devices/vga/render.ts";
import { screenText } from "../../packages/core/src/devices/vga/screen-text.ts";
import { createVga } from "../../packages/core/src/devices/vga/vga.ts";
import { createWatchdog } from "../../packages/core/src/devices/watchdog.ts";
import { StateReader } from "../../packages/core/src/state/reader.ts";
import { AHCI } from "./ahci-sequences.ts";
import type { FuzzedDevice, Operation, Random } from "./device-fuzz.ts";
import { IDE } from "./ide-sequences.ts";
import { NETWORK_CARDS } from "./network-sequences.ts";
import { NVME } from "./nvme-sequences.ts";
import { SHARE_DEVICES } from "./share-sequences.ts";
import { VIRTIO_DEVICES } from "./virtio-sequences.ts";

const write = (range: number, offset: number, value: number, size: AccessSize = 1): Operation => ({
  kind: "write",
  range,
  offset,
  size,
  value,
});
const read = (range: number, offset: number, size: AccessSize = 1): Operation => ({
  kind: "read",
  range,
  offset,
  size,
});
const event = (number: number, value: number): Operation => ({ kind: "event", event: number, value });
const time = (ns: number): Operation => ({ kind: "time", ns });
const pick = <T>(random: Random, choices: readonly T[]): T => choices[random(choices.length)]!;
const byteRange = (handler: RegisterRange["handler"], length: number): RegisterRange => ({
  handler,
  length,
  sizes: [1],
});

const fwCfg: FuzzedDevice = {
  name: "fw-cfg",
  build: (context) => {
    const device = createFwCfg(context, {
      numbered: new Map([[5, Uint8Array.of(7, 0)]]),
      files: [
        { name: "etc/one", bytes: new Uint8Array(300).fill(1) },
        { name: "etc/two", bytes: new Uint8Array(100).fill(2), isWritable: true },
      ],
    });
    let given: (readonly [number, number])[] = [];
    return {
      device,
      ranges: [
        { handler: device.registers, length: 2, sizes: [1, 2] },
        { handler: device.dmaAddress, length: 8 },
      ],
      sees: (gpa, bytes) => {
        if (bytes.length !== 16) return;
        const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
        const to = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
        const moved = view.getUint32(0) & 2 ? view.getUint32(4) : 0;
        // What is written to a file is read, too, and may look like a request.
        given = [[gpa, 4] as const, [to, moved] as const, ...given].slice(0, 8);
      },
      mayWrite: (gpa, length) => given.some(([start, size]) => gpa >= start && gpa + length <= start + size),
      sequence: (random) => {
        const key = pick(random, [0, 1, 5, 0x19, 0x20, 0x21, 0x22]);
        if (random(3) === 0) return [write(0, 0, key, 2), read(0, 1), read(0, 1)];
        const request = new DataView(new ArrayBuffer(16));
        const control = pick(random, [0x0a, 0x0c, 0x18, 0x02, 0x04, 0x10]);
        request.setUint32(0, (key << 16) | control);
        request.setUint32(4, random(120));
        request.setUint32(12, 0x4000 + random(0x4000));
        const at = 0x1000 + 16 * random(16);
        const swapped = new DataView(Uint8Array.of(0, 0, at >> 8, at & 0xff).buffer).getUint32(0, true);
        return [
          { kind: "memory", gpa: at, bytes: new Uint8Array(request.buffer) },
          write(1, 0, 0, 4),
          write(1, 4, swapped, 4),
        ];
      },
    };
  },
};

const flash: FuzzedDevice = {
  name: "cfi-flash",
  build: (context) => {
    const device = createCfiFlash(context, {
      name: "flash0",
      content: new Uint8Array(2 * FLASH_BLOCK_BYTES).fill(255),
    });
    return {
      device,
      ranges: [{ handler: device.registers, length: device.sizeBytes }],
      sequence: (random) => {
        const at = random(device.sizeBytes - 64);
        const C = FLASH_COMMAND;
        switch (random(4)) {
          case 0:
            return [write(0, at, C.PROGRAM), write(0, at, random(256)), read(0, at), write(0, 0, C.READ_ARRAY)];
          case 1:
            return [write(0, at, C.BLOCK_ERASE), write(0, at, C.CONFIRM), write(0, at, C.CLEAR_STATUS)];
          case 2: {
            const count = random(64);
            const bytes = Array.from({ length: count + 1 }, (_, i) => write(0, at + i, random(256)));
            return [write(0, at, C.WRITE_TO_BUFFER), write(0, at, count), ...bytes, write(0, at, C.CONFIRM)];
          }
          default:
            return [write(0, 0, pick(random, Object.values(C))), read(0, at, 4)];
        }
      },
    };
  },
};

const VGA_MEMORY_BYTES = 0x8_0000;
const vga: FuzzedDevice = {
  name: "vga",
  build: (context) => {
    const device = createVga(context, { name: "vga0", memoryBytes: VGA_MEMORY_BYTES, rom: new Uint8Array(3000) });
    const config = {
      read: (offset: number, size: AccessSize) => device.pci.readConfig(offset, size),
      write: (offset: number, size: AccessSize, value: number) => device.pci.writeConfig(offset, size, value),
    };
    let looks = 0;
    const look = (): void => {
      const { view } = device;
      const { width, height, rgba } = renderScreen(view);
      if (rgba.length !== width * height * 4 || width > 2560 || height > 2048) throw new Error(`${width} x ${height}`);
      screenText(view);
      for (const { first, end } of device.takeChanges())
        if (!(first >= 0 && first < end && end <= height)) throw new Error(`rows ${first} to ${end} of ${height}`);
    };
    return {
      device,
      ranges: [
        byteRange(device.ports, 0x30),
        { handler: device.dispiPorts, length: 3, sizes: [1, 2] },
        { handler: device.window, length: 0x2_0000 },
        { handler: device.linear, length: VGA_MEMORY_BYTES },
        { handler: device.registers, length: 0x1000 },
        { handler: config, length: 256 },
      ],
      events: [
        (value) => {
          if (value % 8 === 0) look();
        },
      ],
      check: () => {
        const { dispi } = device.view;
        const isOutside = dispi && dispi.startByte + dispi.strideBytes * (dispi.height - 1) > VGA_MEMORY_BYTES;
        if (isOutside) throw new Error("the screen reaches beyond video memory");
        if (++looks % 2048 === 0) look();
      },
      sequence: (random) => {
        const bank = (port: number, count: number): Operation[] => [
          write(0, port, random(count)),
          write(0, port + 1, random(256)),
        ];
        const dispi = (index: number, value: number): Operation[] => [write(1, 0, index, 2), write(1, 1, value, 2)];
        switch (random(8)) {
          case 0:
            return [write(0, 0x12, random(256)), ...bank(0x14, 5), ...bank(0x1e, 9), read(0, 0x1f)];
          case 1:
            return [...bank(random(2) ? 0x24 : 0x04, 0x19), ...bank(0x24, 0x19), read(0, 0x25)];
          case 2:
            return [read(0, 0x2a), write(0, 0x10, random(0x40)), write(0, 0x10, random(256))];
          case 3:
            return [
              ...dispi(4, 0),
              ...dispi(1, 8 * (1 + random(80))),
              ...dispi(2, 1 + random(400)),
              ...dispi(3, pick(random, [4, 8, 15, 16, 24, 32])),
              ...dispi(4, 0x41 | (random(2) << 7)),
              ...dispi(5 + random(5), random(1000)),
              ...dispi(9, random(400)),
            ];
          case 4:
            return [write(2, random(0x1_fffc), random(2 ** 32), 4), read(2, random(0x1_fffc), 4)];
          case 5:
            return [
              write(3, random(VGA_MEMORY_BYTES - 4), random(2 ** 32), 4),
              read(4, random(0xffc), 4),
              event(0, random(64)),
            ];
          case 6:
            return [write(0, 0x18, random(256)), write(0, 0x19, random(256)), read(0, 0x19), time(random(20_000_000))];
          default:
            return [write(5, 0x30, 0xe000_0001, 4), write(5, 0x10, 0xd000_0000, 4), write(5, 4, random(8), 2)];
        }
      },
    };
  },
};

const i8042: FuzzedDevice = {
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

const watchdog: FuzzedDevice = {
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

/** The bus with three cards, whose windows move about. */
const pciBus: FuzzedDevice = {
  name: "pci",
  build: (context) => {
    const [ports, mmio] = [new PortBus(), new MmioBus()];
    const bus: PciBus = new PciBus({ ports, mmio, msi: () => {}, intx: (device) => context.line(`intx${device}`) });
    const memory = new Uint32Array(64);
    const handler = {
      read: (offset: number) => memory[(offset >> 2) & 63]!,
      write: (offset: number, _size: AccessSize, value: number) => {
        memory[(offset >> 2) & 63] = value;
      },
    };
    const cards = [0, 1, 2].map((index) => {
      const pci = new PciFunction({ name: `card${index}`, vendorId: 1, deviceId: 2, classCode: 0, interruptPin: 1 });
      pci.addIoBar(0, 0x20, handler);
      pci.addMsix(1, 3);
      pci.addMemoryBar(2, 2 ** (12 + 10 * index), handler, { wide: true });
      pci.addRom(new Uint8Array(5000));
      return pci;
    });
    const parts = [createHostBridge(bus.ecam), ...cards];
    for (const [device, pci] of parts.entries()) bus.plug(device, 0, pci);
    const port = (at: number) => ({
      read: (offset: number, size: AccessSize) => ports.read(at + offset, size),
      write: (offset: number, size: AccessSize, value: number) => ports.write(at + offset, size, value),
    });
    ports.claim(0xcf8, 4, bus.addressPort, { name: "address" });
    ports.claim(0xcfc, 4, bus.dataPort, { name: "data" });
    const reset = (): void => {
      for (const pci of parts) pci.reset();
      bus.reset();
    };
    return {
      device: {
        name: "chipset",
        schema: { id: "test-chipset", version: 1 },
        reset,
        save: () => ({ bus: bus.save(), parts: parts.map((pci) => pci.save()), memory: [...memory] }),
        restore: (state) => {
          const reader = new StateReader(state, "chipset");
          try {
            memory.set(reader.ints("memory", memory.length, 0, 0xffff_ffff));
            bus.restore(reader.part("bus"));
            const saved = reader.values("parts", parts.length);
            for (const [i, pci] of parts.entries()) pci.restore(saved[i] ?? null, `part${i}`);
          } catch (error) {
            reset();
            throw error;
          }
        },
      },
      ranges: [
        { handler: port(0xcf8), length: 8 },
        { handler: bus.ecam, length: 0x4_0000 },
        { handler: port(0xc000), length: 0x100 },
      ],
      events: [
        (value) => void mmio.read(0xd000_0000 + (value % 2 ** 24), 4),
        (value) => cards[value % 3]!.intx.set((value & 4) !== 0),
        (value) => cards[value % 3]!.msix!.notify((value >> 2) & 3),
        (value) => mmio.write(0xd000_0000 + (value % 2 ** 24), 4, value),
      ],
      sequence: (random) => {
        const device = random(5);
        const register = pick(random, [0x04, 0x10, 0x14, 0x18, 0x1c, 0x30, 0x3c, 0x40, 0x42, 0x60, 0x64, 0x90]);
        const value = pick(
          random,
          [7, 6, 3, 0xffff_ffff, 0xc001, 0xc021, 0xd000_0000, 0xd000_1000, 0xe000_0001, 0x8000],
        );
        if (random(2) === 0)
          return [write(1, device * 0x8000 + register, value, 4), read(1, device * 0x8000 + register, 4)];
        return [
          write(0, 0, (0x8000_0000 | (device << 11) | (register & 0xfc)) >>> 0, 4),
          write(0, 4, value, 4),
          read(0, 4, 4),
          read(2, random(0xfc), 4),
          event(random(4), random(2 ** 32)),
        ];
      },
    };
  },
};

const apics: FuzzedDevice = {
  name: "local-apic",
  build: (context) => {
    const bus = new ApicSystemBus();
    const pair = [0, 1].map((id) => createApic(context, bus, id).apic);
    return {
      device: {
        name: "apics",
        schema: { id: "test-apics", version: 1 },
        reset: () => {
          for (const apic of pair) apic.reset();
        },
        save: () => pair.map((apic) => apic.save()),
        restore: (state) => {
          const saved = new StateReader({ apics: state }, "apics").values("apics", 2);
          for (const [i, apic] of pair.entries()) apic.restore(saved[i] ?? null);
        },
      },
      ranges: pair.map((apic) => ({ handler: apic.registers, length: 0x400 })),
      events: [
        (value) => void pair[value & 1]!.readMsr(0x800 + ((value >> 1) & 0x3f)),
        (value) => void pair[value & 1]!.writeMsr(0x800 + ((value >> 1) & 0x3f), BigInt(value >>> 7)),
        (value) => void pair[value & 1]!.writeMsr(0x1b, BigInt(0xfee0_0000 + (value & 0xf00))),
        (value) => void pair[value & 1]!.writeMsr(0x6e0, BigInt(value)),
        (value) => void (pair[value & 1]!.isPending && pair[value & 1]!.acknowledge()),
        (value) => bus.msi({ address: 0xfee0_0000 + (value & 0x1_f00c), addressHigh: 0, data: value >>> 16 }),
      ],
      sequence: (random) => {
        const one = random(2);
        switch (random(4)) {
          case 0:
            return [
              write(one, 0x310, random(3) << 24, 4),
              write(one, 0x300, pick(random, [0x4500, 0x4608, 0x0040, 0x4_0050, 0xc_4500, 0x8_0060, 0x400]), 4),
            ];
          case 1:
            return [
              write(one, 0x320, pick(random, [0x40, 0x2_0040, 0x4_0040, 0x1_0040]), 4),
              write(one, 0x3e0, random(16), 4),
              write(one, 0x380, random(2 ** 20), 4),
              time(random(2 ** 22)),
              read(one, 0x390, 4),
            ];
          case 2:
            return [
              write(one, 0xf0, 0x1ff, 4),
              event(random(6), random(2 ** 32)),
              event(4, one),
              write(one, 0xb0, 0, 4),
            ];
          default:
            return [write(one, 16 * random(64), random(2 ** 32), 4), read(one, 16 * random(64), 4)];
        }
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

const SIMPLE: readonly FuzzedDevice[] = [
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

export const FUZZED_DEVICES: readonly FuzzedDevice[] = [
  ...VIRTIO_DEVICES,
  ...SHARE_DEVICES,
  AHCI,
  NVME,
  IDE,
  watchdog,
  ...NETWORK_CARDS,
  fwCfg,
  flash,
  vga,
  i8042,
  pciBus,
  apics,
  ...SIMPLE,
];
