import { describe, expect, it } from "vitest";
import { deviceContract } from "../../devices/contract.ts";
import { FakeContext } from "../../devices/fake-context.ts";
import { isaIrqOfIntx, MEMORY_MAP, PORT_MAP } from "../../machine/board-map.ts";
import { StateReader } from "../../state/reader.ts";
import type { AccessSize, IoHandler } from "../io.ts";
import { MmioBus, PortBus } from "../io-bus.ts";
import type { MsiMessage } from "../irq.ts";
import { assignPciResources, initialiseChipset } from "./assign.ts";
import { PciBus } from "./bus.ts";
import { PciFunction } from "./function.ts";
import { createHostBridge } from "./host-bridge.ts";
import { createLpcBridge } from "./lpc-bridge.ts";

const ram = (length: number): IoHandler => {
  const words = new Uint32Array(length / 4);
  return {
    read: (offset) => words[offset >> 2]!,
    write: (offset, _size, value) => {
      words[offset >> 2] = value;
    },
  };
};

function createFunction(name = "card"): PciFunction {
  const pci = new PciFunction({
    name,
    vendorId: 0x1af4,
    deviceId: 0x1044,
    classCode: 0xff_0000,
    subsystemVendorId: 0x1af4,
    subsystemId: 0x1100,
    interruptPin: 1,
  });
  pci.addIoBar(0, 0x20, ram(0x20));
  pci.addMsix(1, 3);
  pci.addMemoryBar(4, 0x4000, ram(0x4000), { wide: true, prefetchable: true });
  pci.addCapability(0x09, Uint8Array.of(6, 0xaa, 0xbb, 0xcc));
  return pci;
}

function setUp() {
  const context = new FakeContext();
  const ports = new PortBus();
  const mmio = new MmioBus();
  const messages: MsiMessage[] = [];
  const bus: PciBus = new PciBus({
    ports,
    mmio,
    msi: (message) => messages.push(message),
    intx: (device, pin) => lpc.pirq((device + pin) & 7),
    underAddressPort: ram(4),
  });
  const routes = { readable: -1, writable: -1 };
  const routeShadow = (readable: number, writable: number): void => void Object.assign(routes, { readable, writable });
  const host = createHostBridge({ ecam: bus.ecam, routeShadow });
  const lpc = createLpcBridge({
    powerManagement: ram(0x80),
    picInputs: Array.from({ length: 16 }, (_, i) => context.line(`pic${i}`)),
    pirqInputs: Array.from({ length: 8 }, (_, i) => context.line(`gsi${16 + i}`)),
  });
  bus.plug(0, 0, host);
  bus.plug(31, 0, lpc.pci);
  ports.claim(PORT_MAP.pciConfigAddress, 4, bus.addressPort);
  ports.claim(PORT_MAP.pciConfigData, 4, bus.dataPort);
  const select = (device: number, offset: number) =>
    ports.write(0xcf8, 4, (0x8000_0000 | (device << 11) | (offset & ~3)) >>> 0);
  return {
    context,
    routes,
    ports,
    mmio,
    bus,
    host,
    lpc,
    messages,
    read: (device: number, offset: number, size: AccessSize = 4) => {
      select(device, offset);
      return ports.read(0xcfc + (offset & 3), size);
    },
    write: (device: number, offset: number, value: number, size: AccessSize = 4) => {
      select(device, offset);
      ports.write(0xcfc + (offset & 3), size, value >>> 0);
    },
  };
}

describe("PCI configuration", () => {
  it("finds functions by mechanism #1 and by ECAM, and nothing elsewhere", () => {
    const { bus, host, lpc, read, mmio } = setUp();
    bus.plug(3, 0, createFunction());
    expect([read(0, 0), read(31, 0), read(3, 0), read(4, 0)]).toEqual([
      0x29c0_8086, 0x2918_8086, 0x1044_1af4, 0xffff_ffff,
    ]);
    expect(read(3, 0x2c)).toBe(0x1100_1af4);
    expect(read(3, 0x0b, 1)).toBe(0xff);
    expect(mmio.read(MEMORY_MAP.mmconfigStart, 4)).toBe(0xffff_ffff);
    initialiseChipset(host, lpc.pci);
    expect(mmio.read(MEMORY_MAP.mmconfigStart + (3 << 15), 4)).toBe(0x1044_1af4);
    expect(mmio.read(MEMORY_MAP.mmconfigStart + (1 << 20), 2)).toBe(0xffff);
    expect(mmio.read(MEMORY_MAP.mmconfigStart + (3 << 15) + 0x100, 4)).toBe(0xffff_ffff);
  });

  it("leaves byte accesses of the address port to what hangs under it", () => {
    const { ports } = setUp();
    ports.write(0xcf8, 4, 0x8000_1234);
    ports.write(0xcf9, 1, 6);
    expect(ports.read(0xcf8, 4)).toBe(0x8000_1234);
    ports.write(0xcf8, 4, 0x1234);
    expect(ports.read(0xcfc, 4)).toBe(0xffff_ffff);
  });

  it("sizes BARs, maps them where the guest says and when it says so", () => {
    const { bus, read, write, ports, mmio } = setUp();
    bus.plug(3, 0, createFunction());
    write(3, 0x10, 0xffff_ffff);
    write(3, 0x14, 0xffff_ffff);
    write(3, 0x20, 0xffff_ffff);
    write(3, 0x24, 0xffff_ffff);
    expect([0x10, 0x14, 0x18, 0x20, 0x24].map((offset) => read(3, offset))).toEqual([
      0xffff_ffe1, 0xffff_f000, 0, 0xffff_c00c, 0xffff_ffff,
    ]);
    write(3, 0x10, 0xc040);
    write(3, 0x20, 0x1000_0000);
    write(3, 0x24, 0x80);
    ports.write(0xc044, 4, 7);
    expect(ports.read(0xc044, 4)).toBe(0xffff_ffff);
    write(3, 0x04, 3, 2);
    ports.write(0xc044, 4, 7);
    expect(ports.read(0xc044, 4)).toBe(7);
    mmio.write(0x80_1000_0010, 4, 0x1234_5678);
    expect(mmio.read(0x80_1000_0010, 4)).toBe(0x1234_5678);
    write(3, 0x04, 0, 2);
    expect(ports.read(0xc044, 4)).toBe(0xffff_ffff);
    expect(read(3, 0x00)).toBe(0x1044_1af4);
  });

  it("resolves overlapping windows by place, not by history", () => {
    const { bus, mmio } = setUp();
    const functions = [5, 3].map((device) => {
      const pci = createFunction(`card${device}`);
      bus.plug(device, 0, pci);
      pci.writeConfig(0x20, 4, 0xd000_0000);
      pci.writeConfig(0x04, 2, 2);
      return pci;
    });
    mmio.write(0xd000_0000, 4, 33);
    functions[1]!.writeConfig(0x20, 4, 0xd100_0000);
    expect(mmio.read(0xd000_0000, 4)).toBe(0);
    expect(mmio.read(0xd100_0000, 4)).toBe(33);
  });

  it("places everything at direct boot, naturally aligned and apart", () => {
    const { bus, host, lpc, ports } = setUp();
    for (const device of [1, 2, 3, 30]) bus.plug(device, 0, createFunction(`card${device}`));
    const huge = new PciFunction({ name: "huge", vendorId: 1, deviceId: 2, classCode: 0 });
    huge.addMemoryBar(0, 2 ** 34, ram(16), { wide: true });
    bus.plug(4, 0, huge);
    initialiseChipset(host, lpc.pci);
    assignPciResources(bus);
    const bars = bus.functions().flatMap(({ pci }) => pci.bars);
    const ranges = bars.map((bar) => ({ space: bar.space, start: bar.base()!, end: bar.base()! + bar.sizeBytes }));
    expect(ranges.every(({ start }, i) => start % bars[i]!.sizeBytes === 0)).toBe(true);
    for (const space of ["io", "memory"]) {
      const sorted = ranges.filter((range) => range.space === space).sort((a, b) => a.start - b.start);
      expect(sorted.every((range, i) => i === 0 || sorted[i - 1]!.end <= range.start)).toBe(true);
    }
    expect(huge.bars[0]!.base()).toBe(MEMORY_MAP.pci64Start);
    expect(bus.readConfig(30 << 3, 0x3c, 1)).toBe(isaIrqOfIntx(30, 0));
    expect([0x60, 0x63, 0x68, 0x6b].map((rout) => bus.readConfig(31 << 3, rout, 1))).toEqual([10, 11, 10, 11]);
    ports.write(PORT_MAP.powerManagement + 4, 4, 5);
    expect(ports.read(PORT_MAP.powerManagement + 4, 4)).toBe(5);
  });
});

describe("PAM registers", () => {
  const setPam = (write: ReturnType<typeof setUp>["write"], bytes: readonly number[]): void => {
    for (const [i, value] of bytes.entries()) write(0, 0x90 + i, value, 1);
  };

  it("send what lies below 1 MiB to the ROM at first, and to RAM by halves, reads and stores apart", () => {
    const { routes, read, write } = setUp();
    expect(routes).toEqual({ readable: 0, writable: 0 });
    setPam(write, [0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]);
    expect(routes).toEqual({ readable: 0xffff, writable: 0xffff });
    // As SeaBIOS leaves them: reads alone, but for the upper memory that it keeps for itself.
    setPam(write, [0x10, 0x11, 0x11, 0x31, 0x33, 0x33, 0x33]);
    expect(routes).toEqual({ readable: 0xffff, writable: 0x0fe0 });
    expect(read(0, 0x90)).toBe(0x3111_1110);
    setPam(write, [0x20, 0x02, 0x10, 0x21]);
    expect(routes).toEqual({ readable: 0x0fd8, writable: 0xffe1 });
    write(0, 0x90, 0xffff_ffff);
    expect(read(0, 0x90)).toBe(0x3333_3330);
  });

  it("send it to the ROM again at reset, and come back with a state", () => {
    const { routes, host, write } = setUp();
    setPam(write, [0x30, 0x02, 0x20]);
    const state = host.save();
    host.reset();
    expect(routes).toEqual({ readable: 0, writable: 0 });
    host.restore(state, "host-bridge");
    expect(routes).toEqual({ readable: 0xf000, writable: 0xf009 });
  });

  it("leave all to RAM where no firmware is there to do it", () => {
    const { bus } = setUp();
    const told: number[][] = [];
    const routeShadow = (...parts: number[]): void => void told.push(parts);
    const host = createHostBridge({ ecam: bus.ecam, routeShadow, startsOpen: true });
    host.reset();
    expect([told, host.readConfig(0x90, 4)]).toEqual([
      [
        [0xffff, 0xffff],
        [0xffff, 0xffff],
      ],
      0x3333_3330,
    ]);
  });
});

describe("PCI interrupts", () => {
  it("wires INTx to the IO-APIC, and through the router to the 8259A", () => {
    const { bus, context, lpc, write } = setUp();
    const [a, b] = [createFunction("a"), createFunction("b")];
    bus.plug(3, 0, a);
    bus.plug(11, 0, b);
    a.intx.set(true);
    b.intx.set(true);
    expect(context.line("gsi19").level).toBe(true);
    a.intx.set(false);
    expect(context.line("gsi19").level).toBe(true);
    lpc.pci.writeConfig(0x63, 1, 0x0b);
    expect(context.line("pic11").level).toBe(true);
    write(11, 0x04, 0x400, 2);
    expect(context.line("gsi19").level).toBe(false);
    expect(context.line("pic11").level).toBe(false);
    expect(bus.readConfig(11 << 3, 0x06, 2) & 0x08).toBe(0x08);
  });

  it("sends MSI-X messages while enabled, unmasked and master of the bus; pending ones on unmasking", () => {
    const { bus, mmio, messages, context } = setUp();
    const pci = createFunction();
    bus.plug(3, 0, pci);
    const msix = pci.msix!;
    pci.writeConfig(0x14, 4, 0xd000_0000);
    pci.writeConfig(0x04, 2, 6);
    const entry = 0xd000_0010;
    mmio.write(entry, 4, 0xfee0_1000);
    mmio.write(entry + 8, 4, 0x4041);
    msix.notify(1);
    expect(messages).toEqual([]);
    pci.intx.set(true);
    expect(context.line("gsi19").level).toBe(true);
    pci.writeConfig(0x42, 2, 0x8000);
    expect(context.line("gsi19").level).toBe(false);
    msix.notify(1);
    msix.notify(0xffff);
    expect(messages).toEqual([]);
    expect(mmio.read(0xd000_0800, 4)).toBe(0b10);
    mmio.write(entry + 12, 4, 0);
    expect(messages).toEqual([{ address: 0xfee0_1000, addressHigh: 0, data: 0x4041 }]);
    expect(mmio.read(0xd000_0800, 4)).toBe(0);
    pci.writeConfig(0x42, 2, 0xc000);
    msix.notify(1);
    expect(messages.length).toBe(1);
    pci.writeConfig(0x42, 2, 0x8000);
    expect(messages.length).toBe(2);
    pci.writeConfig(0x04, 2, 2);
    msix.notify(1);
    expect(messages.length).toBe(2);
  });

  it("lists its capabilities", () => {
    const pci = createFunction();
    expect(pci.readConfig(0x06, 2) & 0x10).toBe(0x10);
    const first = pci.readConfig(0x34, 1);
    expect(pci.readConfig(first, 1)).toBe(0x11);
    expect(pci.readConfig(first + 2, 2)).toBe(2);
    const second = pci.readConfig(first + 1, 1);
    expect(pci.readConfig(second, 4)).toBe(0xaa06_0009);
  });
});

describe("contract, bus and chipset", () => {
  const checks = deviceContract(() => {
    const { bus, host, lpc, ports, mmio } = setUp();
    const parts = [host, lpc.pci];
    return {
      device: {
        name: "chipset",
        schema: { id: "test-chipset", version: 1 },
        reset: () => {
          for (const pci of parts) pci.reset();
          bus.reset();
        },
        save: () => ({ host: host.save(), lpc: lpc.pci.save(), bus: bus.save() }),
        restore: (state) => {
          const reader = new StateReader(state, "chipset");
          try {
            host.restore(reader.part("host"), "host");
            lpc.pci.restore(reader.part("lpc"), "lpc");
            bus.restore(reader.part("bus"));
            reader.end();
          } catch (error) {
            for (const pci of parts) pci.reset();
            bus.reset();
            throw error;
          }
        },
      },
      ranges: [],
      events: [
        (random) => ports.write(0xcf8, 4, (0x8000_0000 | (random & 1 ? 31 << 11 : 0) | (random & 0xfc)) >>> 0),
        (random) => ports.write(0xcfc, 4, random),
      ],
      observe: () => [ports.read(0xcfc, 4), mmio.read(MEMORY_MAP.mmconfigStart, 4)],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});

describe("contract, function", () => {
  const checks = deviceContract((context) => {
    const messages: number[] = [];
    const pci = createFunction();
    pci.connect({ msi: ({ data }) => messages.push(data), intx: context.line("intx"), decodeChanged: () => {} });
    return {
      device: {
        name: "card",
        schema: { id: "test-card", version: 1 },
        reset: () => pci.reset(),
        save: () => pci.save(),
        restore: (state) => pci.restore(state, "card"),
      },
      ranges: [
        {
          handler: {
            read: (offset, size) => pci.readConfig(offset, size),
            write: (offset, size, value) => pci.writeConfig(offset, size, value),
          },
          length: 0x60,
        },
        { handler: pci.msix!, length: 0x810 },
        { handler: pci.msix!, length: 0x30, sizes: [4] },
      ],
      setUp: () => {
        pci.writeConfig(0x04, 2, 7);
        pci.writeConfig(0x42, 2, 0x8000);
        for (let vector = 0; vector < 3; vector++) pci.msix!.write(vector * 16 + 12, 4, 0);
      },
      events: [(random) => pci.intx.set((random & 1) !== 0), (random) => pci.msix!.notify(random & 3)],
      observe: () => [messages.splice(0), pci.windows.map((window) => window.base())],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
