/** What a guest does with the PCI bus and with local APICs. */
import type { AccessSize } from "../../packages/core/src/bus/io.ts";
import { MmioBus, PortBus } from "../../packages/core/src/bus/io-bus.ts";
import { PciBus } from "../../packages/core/src/bus/pci/bus.ts";
import { PciFunction } from "../../packages/core/src/bus/pci/function.ts";
import { createHostBridge } from "../../packages/core/src/bus/pci/host-bridge.ts";
import { ApicSystemBus } from "../../packages/core/src/devices/apic/apic-bus.ts";
import { createApic } from "../../packages/core/src/devices/apic/test-apics.ts";
import { StateReader } from "../../packages/core/src/state/reader.ts";
import type { FuzzedDevice } from "./device-fuzz.ts";
import { event, pick, read, time, write } from "./operations.ts";

/** The bus with three cards, whose windows move about. */
export const PCI_BUS: FuzzedDevice = {
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
    const routed = [0, 0];
    const parts = [
      createHostBridge({ ecam: bus.ecam, routeShadow: (...parts) => void routed.splice(0, 2, ...parts) }),
      ...cards,
    ];
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
      check: () => {
        const registers = parts[0]!.config.bytes;
        const expected = [0x01, 0x02].map((bit) => {
          const halves = [...registers.subarray(0x91, 0x97)].flatMap((pam) => [pam & bit, pam & (bit << 4)]);
          const top = registers[0x90]! & (bit << 4);
          return [...halves, top, top, top, top].reduce((all, isRam, i) => (isRam ? all | (1 << i) : all), 0);
        });
        if (routed.join() !== expected.join()) throw new Error("what the PAM registers say has not come to the memory");
      },
      events: [
        (value) => void mmio.read(0xd000_0000 + (value % 2 ** 24), 4),
        (value) => cards[value % 3]!.intx.set((value & 4) !== 0),
        (value) => cards[value % 3]!.msix!.notify((value >> 2) & 3),
        (value) => mmio.write(0xd000_0000 + (value % 2 ** 24), 4, value),
      ],
      sequence: (random) => {
        const device = random(5);
        const register = pick(random, [0x04, 0x10, 0x14, 0x18, 0x1c, 0x30, 0x3c, 0x40, 0x42, 0x60, 0x64, 0x90, 0x94]);
        const value = pick(
          random,
          [7, 6, 3, 0xffff_ffff, 0xc001, 0xc021, 0xd000_0000, 0xd000_1000, 0xe000_0001, 0x8000, 0x1311_3110],
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

export const APICS: FuzzedDevice = {
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
