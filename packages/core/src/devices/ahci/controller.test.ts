import { describe, expect, it } from "vitest";
import { CONFIG } from "../../bus/pci/config-space.ts";
import { StateError } from "../../state/errors.ts";
import { deviceContract } from "../contract.ts";
import type { StateValue } from "../device.ts";
import { FakeContext, type FakeDisk } from "../fake-context.ts";
import { ATA } from "./ata-disk.ts";
import { type AhciController, createAhci } from "./controller.ts";
import { FakeAhciDriver, RECEIVED } from "./fake-ahci-driver.ts";
import type { PortDrive } from "./port.ts";
import { ABAR_BYTES, ATA_ERROR, FIS_TYPE, GHC, HBA, PX, PXCMD, PXIS, RX_FIS } from "./registers.ts";

const MIB = 2 ** 20;
const DISK: PortDrive = { medium: "disk", name: "disk0", sizeBytes: 64 * MIB, isReadOnly: false };
const DATA = 0x8000;

interface Rig {
  readonly context: FakeContext;
  readonly device: AhciController;
  readonly driver: FakeAhciDriver;
  readonly disk: FakeDisk;
}

function setUp(drive: Partial<PortDrive> = {}): Rig {
  const context = new FakeContext({ memoryBytes: 4 * MIB });
  const device = createAhci(context, { name: "ahci", drives: [{ ...DISK, ...drive }] });
  device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
  const driver = new FakeAhciDriver(context, device);
  driver.start();
  return { context, device, driver, disk: context.disks.get("disk0")! };
}

const words = (bytes: Uint8Array): DataView => new DataView(bytes.buffer);

describe("registers", () => {
  it("tell the ports, the drive and an empty port", () => {
    const { device, driver } = setUp();
    expect(device.read(HBA.CAP, 4) & 0x1f).toBe(5);
    expect(device.read(HBA.PI, 1)).toBe(0x3f);
    expect(device.read(HBA.GHC, 4)).toBe((GHC.AE | GHC.IE) >>> 0);
    expect(driver.read(PX.SSTS)).toBe(0x123);
    expect(driver.read(PX.SIG)).toBe(0x101);
    const empty = new FakeAhciDriver(new FakeContext(), device, 1);
    expect(empty.read(PX.SSTS)).toBe(0);
    empty.write(PX.CMD, PXCMD.ST | PXCMD.FRE);
    empty.write(PX.CI, 1);
    expect(empty.read(PX.CI)).toBe(1);
  });

  it("end a COMRESET with the drive's signature and an interrupt", () => {
    const { context, driver } = setUp();
    driver.write(PX.CMD, PXCMD.FRE);
    driver.write(PX.SCTL, 1);
    expect(driver.read(PX.SSTS)).toBe(0);
    expect(context.line("intx").level).toBe(false);
    driver.write(PX.SCTL, 0);
    expect(driver.read(PX.SSTS)).toBe(0x123);
    expect(driver.read(PX.TFD)).toBe(0x150);
    expect(driver.read(PX.IS)).toBe(PXIS.PCS | PXIS.DHRS);
    expect(context.line("intx").level).toBe(true);
    expect([...driver.bytes(RECEIVED + RX_FIS.REGISTER, 5)]).toEqual([FIS_TYPE.D2H, 0x40, 0x50, 1, 1]);
  });
});

describe("commands", () => {
  it("IDENTIFY DEVICE comes by PIO, into several regions", () => {
    const { context, device, driver } = setUp();
    driver.issue(3, {
      command: ATA.IDENTIFY_DEVICE,
      regions: [
        [DATA, 100],
        [DATA + 0x1000, 412],
      ],
    });
    const bytes = Uint8Array.of(...driver.bytes(DATA, 100), ...driver.bytes(DATA + 0x1000, 412));
    expect(words(bytes).getBigUint64(200, true)).toBe(131_072n);
    expect(bytes.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
    expect(driver.read(PX.CI)).toBe(0);
    expect(driver.transferred(3)).toBe(512);
    expect(driver.read(PX.IS)).toBe(PXIS.PSS);
    expect(context.line("intx").level).toBe(true);
    driver.write(PX.IS, PXIS.PSS);
    device.write(HBA.IS, 4, 1);
    expect(context.line("intx").level).toBe(false);
  });

  it("a read waits for the disk, and goes to its regions", () => {
    const { driver, disk } = setUp();
    driver.issue(0, {
      command: ATA.READ_DMA_EXT,
      lba: 1000,
      count: 2,
      regions: [
        [DATA, 512],
        [DATA + 0x800, 512],
      ],
    });
    expect(disk.history).toEqual(["read 512000+1024"]);
    expect(driver.read(PX.TFD) & 0x80).toBe(0x80);
    expect(driver.read(PX.CI)).toBe(1);
    disk.complete(0, { bytes: Uint8Array.from({ length: 1024 }, (_, i) => i >> 3) });
    expect([...driver.bytes(DATA + 0x800, 1)]).toEqual([64]);
    expect(driver.read(PX.CI)).toBe(0);
    expect(driver.read(PX.IS)).toBe(PXIS.DHRS);
    expect(driver.transferred(0)).toBe(1024);
  });

  it("a large write is cut up; with the cache off it ends with a flush", () => {
    const { context, driver, disk } = setUp();
    driver.issue(0, { command: ATA.SET_FEATURES, features: 0x82 });
    disk.complete();
    context.memory.write(DATA, new Uint8Array(0x40000).fill(7));
    driver.issue(1, { command: ATA.WRITE_DMA_EXT, lba: 0, count: 512, regions: [[DATA, 0x40000]], isWrite: true });
    expect(disk.history.slice(1)).toEqual(["write 0+131072", "write 131072+131072"]);
    expect(disk.requests[1]!.bytes.every((byte) => byte === 7)).toBe(true);
    disk.complete(1);
    disk.complete(0);
    expect(disk.history.at(-1)).toBe("flush 0+0");
    expect(driver.read(PX.CI)).toBe(2);
    disk.complete();
    expect(driver.read(PX.CI)).toBe(0);
  });

  it("queued ones end in any order", () => {
    const { driver, disk } = setUp();
    driver.issueQueued(4, { command: ATA.READ_FPDMA_QUEUED, lba: 8, count: 1, regions: [[DATA, 512]] });
    driver.issueQueued(9, { command: ATA.WRITE_FPDMA_QUEUED, lba: 9, count: 1, regions: [[DATA, 512]], isWrite: true });
    expect([driver.read(PX.CI), driver.read(PX.SACT)]).toEqual([0, (1 << 4) | (1 << 9)]);
    driver.issue(10, { command: ATA.FLUSH_CACHE_EXT });
    disk.complete(1);
    expect(driver.read(PX.SACT)).toBe(1 << 4);
    expect(words(driver.bytes(RECEIVED + RX_FIS.SET_DEVICE_BITS, 8)).getUint32(4, true)).toBe(1 << 9);
    expect(disk.requests).toHaveLength(1);
    disk.complete(0);
    expect([driver.read(PX.SACT), disk.history.at(-1)]).toEqual([0, "flush 0+0"]);
    disk.complete();
    expect(driver.read(PX.CI)).toBe(0);
  });

  it("a queued one that fails stops the port, and the log tells which", () => {
    const { driver, disk } = setUp();
    for (const slot of [1, 2]) {
      driver.issueQueued(slot, { command: ATA.READ_FPDMA_QUEUED, lba: slot, count: 1, regions: [[DATA, 512]] });
    }
    disk.complete(1, { isOk: false });
    expect(driver.read(PX.IS) & PXIS.TFES).toBe(PXIS.TFES);
    expect(driver.read(PX.SACT)).toBe(6);
    driver.restart();
    driver.issue(0, { command: ATA.READ_LOG_EXT, lba: 0x10, count: 1, regions: [[DATA, 512]] });
    expect([...driver.bytes(DATA, 4)]).toEqual([2, 0, 0x51, ATA_ERROR.UNC]);
    // What the drive dropped is still under way, and goes first.
    driver.issue(3, { command: ATA.READ_DMA_EXT, lba: 7, count: 1, regions: [[DATA, 512]] });
    expect(disk.requests).toHaveLength(1);
    disk.complete();
    expect(disk.history.at(-1)).toBe("read 3584+512");
  });

  it("TRIM discards the ranges that it names", () => {
    const { context, driver, disk } = setUp();
    context.memory.write64(DATA, (8n << 48n) | 100n);
    context.memory.write64(DATA + 8, (1n << 48n) | 5n);
    const trim = {
      command: ATA.DATA_SET_MANAGEMENT,
      features: 1,
      count: 1,
      regions: [[DATA, 512]],
      isWrite: true,
    } as const;
    driver.issue(0, trim);
    expect(disk.history).toEqual(["discard 51200+4096", "discard 2560+512"]);
    disk.complete();
    disk.complete();
    expect(driver.read(PX.CI)).toBe(0);
    context.memory.write64(DATA, (8n << 48n) | 131_070n);
    driver.issue(0, trim);
    expect(driver.read(PX.TFD)).toBe((ATA_ERROR.IDNF << 8) | 0x51);
  });

  it.each([
    ["beyond the end", { command: ATA.READ_DMA_EXT, lba: 131_071, count: 2, regions: [[DATA, 1024]] }, ATA_ERROR.IDNF],
    ["unknown", { command: 0xb0 }, ATA_ERROR.ABRT],
    ["of another kind of drive", { command: ATA.IDENTIFY_PACKET_DEVICE }, ATA_ERROR.ABRT],
    ["with too few regions", { command: ATA.READ_DMA_EXT, lba: 0, count: 2, regions: [[DATA, 512]] }, ATA_ERROR.UNC],
    ["from no memory", { command: ATA.WRITE_DMA_EXT, lba: 0, count: 1, regions: [[0x7f00_0000, 512]] }, ATA_ERROR.ABRT],
  ] as const)("%s is an error that stops the port", (_name, command, error) => {
    const { driver, disk } = setUp();
    driver.issue(0, command);
    expect(driver.read(PX.TFD)).toBe((error << 8) | 0x51);
    expect(driver.read(PX.IS) & PXIS.TFES).toBe(PXIS.TFES);
    driver.issue(1, { command: ATA.FLUSH_CACHE });
    expect(disk.requests).toHaveLength(0);
    driver.restart();
    driver.issue(1, { command: ATA.FLUSH_CACHE });
    expect(disk.requests).toHaveLength(1);
  });

  it("a read-only disk refuses writes", () => {
    const { driver, disk } = setUp({ isReadOnly: true });
    driver.issue(0, { command: ATA.WRITE_DMA, lba: 0, count: 1, regions: [[DATA, 512]], isWrite: true });
    expect(driver.read(PX.TFD)).toBe((ATA_ERROR.ABRT << 8) | 0x51);
    expect(disk.history).toEqual([]);
  });

  it.each([
    [
      "a discard of more than a command can ask for",
      { operation: "discard", ranges: [{ offset: 0, length: 2 ** 31 }] },
    ],
    ["a flush of something", { operation: "flush", ranges: [{ offset: 512, length: 0 }] }],
  ])("a state with %s is refused", (_what, change) => {
    const sizeBytes = 2 ** 32;
    const { device, driver } = setUp({ sizeBytes });
    driver.issue(0, { command: ATA.READ_DMA, lba: 0, count: 1, regions: [[DATA, 512]] });
    type State = Record<string, StateValue>;
    const state = device.save() as State & { ports: (State & { requests: State & { work: State[] } })[] };
    const [port, ...others] = state.ports;
    const requests = { ...port!.requests, pieces: [], work: [{ ...port!.requests.work[0], range: 0, ...change }] };
    const other = setUp({ sizeBytes }).device;
    expect(() => other.restore({ ...state, ports: [{ ...port!, requests }, ...others] })).toThrow(StateError);
  });

  it("a list outside memory is a fatal error", () => {
    const { driver } = setUp();
    driver.write(PX.CLBU, 0xffff_ffff);
    driver.write(PX.CI, 1);
    expect(driver.read(PX.IS)).toBe(PXIS.HBFS);
    driver.restart();
    driver.write(PX.CLBU, 0);
    driver.issue(0, { command: ATA.CHECK_POWER_MODE });
    expect(driver.read(PX.CI)).toBe(0);
  });
});

it("MSI takes the pin's place", () => {
  const context = new FakeContext({ memoryBytes: 4 * MIB });
  const device = createAhci(context, { name: "ahci", drives: [DISK] });
  const messages: unknown[] = [];
  device.pci.connect({ intx: context.line("intx"), msi: (message) => messages.push(message), decodeChanged: () => {} });
  const msi = device.pci.readConfig(CONFIG.CAPABILITIES_POINTER, 1);
  expect(device.pci.readConfig(msi, 1)).toBe(5);
  device.pci.writeConfig(CONFIG.COMMAND, 2, 6);
  device.pci.writeConfig(msi + 4, 4, 0xfee0_0000);
  device.pci.writeConfig(msi + 12, 2, 0x41);
  device.pci.writeConfig(msi + 2, 2, 1);
  const driver = new FakeAhciDriver(context, device);
  driver.start();
  driver.issue(0, { command: ATA.IDENTIFY_DEVICE, regions: [[DATA, 512]] });
  expect(messages).toEqual([{ address: 0xfee0_0000, addressHigh: 0, data: 0x41 }]);
  expect(context.line("intx").level).toBe(false);
  // Acknowledged while the port still asks: another message.
  device.write(HBA.IS, 4, 1);
  expect(messages).toHaveLength(2);
});

it("a restored controller submits what was under way again", () => {
  const { context, device, driver, disk } = setUp();
  driver.issueQueued(0, { command: ATA.READ_FPDMA_QUEUED, lba: 8, count: 1, regions: [[DATA, 512]] });
  driver.issueQueued(1, { command: ATA.WRITE_FPDMA_QUEUED, lba: 9, count: 1, regions: [[DATA, 512]], isWrite: true });
  const state = device.save();
  const later = new FakeContext({ memoryBytes: 4 * MIB });
  later.copyFrom(context);
  const copy = createAhci(later, { name: "ahci", drives: [DISK] });
  copy.restore(state);
  expect(later.disks.get("disk0")!.requests).toEqual([]);
  copy.resume();
  expect(later.disks.get("disk0")!.requests).toEqual(disk.requests);
  expect(copy.save()).toEqual(state);
  later.disks.get("disk0")!.complete(0, { fill: 5 });
  expect(later.memory.read8(DATA)).toBe(5);
  expect(new FakeAhciDriver(later, copy).read(PX.SACT)).toBe(2);
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createAhci(context, { name: "ahci", drives: [DISK] });
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    const disk = context.disks.get("disk0")!;
    const driver = new FakeAhciDriver(context, device);
    const commands = [
      ATA.READ_FPDMA_QUEUED,
      ATA.WRITE_FPDMA_QUEUED,
      ATA.READ_DMA_EXT,
      ATA.FLUSH_CACHE,
      ATA.READ_SECTORS,
    ];
    return {
      device,
      ranges: [{ handler: device, length: ABAR_BYTES }],
      observe: () => disk.requests.map(({ id, operation, offset }) => `${id} ${operation} ${offset}`).join(),
      setUp: () => {
        driver.start();
      },
      events: [
        () => driver.restart(),
        (random) => {
          const command = commands[random % commands.length]!;
          const slot = (random >>> 8) % 32;
          const isQueued = command < 0x80 && command >= 0x60;
          driver.start();
          driver[isQueued ? "issueQueued" : "issue"](slot, {
            command,
            lba: (random >>> 16) & 0xff,
            count: 1 + ((random >>> 4) & 3),
            regions: [[DATA, 2048]],
          });
        },
        (random) => {
          if (disk.requests.length === 0) return;
          disk.complete(random % disk.requests.length, { isOk: random % 8 !== 0, fill: random >>> 24 });
        },
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
