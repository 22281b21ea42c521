import { describe, expect, it } from "vitest";
import { StateError } from "../../state/errors.ts";
import { deviceContract } from "../contract.ts";
import type { StateValue } from "../device.ts";
import { FakeContext, type FakeDisk } from "../fake-context.ts";
import { ATA } from "./ata-disk.ts";
import { trayBytes } from "./cd-tray.ts";
import { type AhciController, createAhci } from "./controller.ts";
import { FakeAhciDriver } from "./fake-ahci-driver.ts";
import type { PortDrive } from "./port.ts";
import { ABAR_BYTES, PX } from "./registers.ts";

const DISC: PortDrive = { medium: "cd", name: "disk0", sizeBytes: 700 * 2048, isReadOnly: true };
const DATA = 0x8000;
const READ_10 = (block: number, count: number): number[] => [
  0x28,
  0,
  0,
  0,
  block >> 8,
  block & 0xff,
  0,
  count >> 8,
  count & 0xff,
];
const TEST_UNIT_READY = [0];
const EJECT = [0x1b, 0, 0, 0, 2];
const LOAD = [0x1b, 0, 0, 0, 3];
const lock = (isLocked: boolean): number[] => [0x1e, 0, 0, 0, isLocked ? 1 : 0];

interface Rig {
  readonly context: FakeContext;
  readonly device: AhciController;
  readonly driver: FakeAhciDriver;
  readonly disk: FakeDisk;
}

function setUp(drive: Partial<PortDrive> = {}): Rig {
  const context = new FakeContext();
  const device = createAhci(context, { name: "ahci", drives: [{ ...DISC, ...drive }] });
  const driver = new FakeAhciDriver(context, device);
  driver.start();
  return { context, device, driver, disk: context.disks.get("disk0")! };
}

/** What REQUEST SENSE tells: key, additional code and qualifier. */
function sense(driver: FakeAhciDriver): number[] {
  expect(driver.packet([0x03, 0, 0, 0, 18], [[DATA, 18]])).toBe(0);
  const bytes = driver.bytes(DATA, 18);
  return [bytes[2]!, bytes[12]!, bytes[13]!];
}

describe("a CD drive", () => {
  it("is a packet device", () => {
    const { driver } = setUp();
    expect(driver.read(PX.SIG)).toBe(0xeb14_0101);
    driver.issue(0, { command: ATA.IDENTIFY_DEVICE });
    expect(driver.read(PX.TFD)).toBe(0x0451);
    driver.restart();
    driver.issue(0, { command: ATA.IDENTIFY_PACKET_DEVICE, regions: [[DATA, 512]] });
    expect([...driver.bytes(DATA, 2)]).toEqual([0xc0, 0x85]);
    expect(driver.packet([0x12, 0, 0, 0, 36], [[DATA, 36]])).toBe(0);
    expect([...driver.bytes(DATA, 2)]).toEqual([5, 0x80]);
    expect(driver.transferred(0)).toBe(36);
  });

  it("tells its disc and reads blocks", () => {
    const { driver, disk } = setUp();
    driver.packet([0x25], [[DATA, 8]]);
    expect([...driver.bytes(DATA, 8)]).toEqual([0, 0, 2, 187, 0, 0, 8, 0]);
    driver.packet([0x43, 0, 0, 0, 0, 0, 0, 0, 20], [[DATA, 20]]);
    expect([...driver.bytes(DATA, 20)]).toEqual([0, 18, 1, 1, 0, 20, 1, 0, 0, 0, 0, 0, 0, 20, 0xaa, 0, 0, 0, 2, 188]);
    driver.issue(0, { command: ATA.PACKET, features: 1, packet: READ_10(16, 2), regions: [[DATA, 4096]] });
    expect(disk.history).toEqual(["read 32768+4096"]);
    disk.complete(0, { fill: 9 });
    expect([driver.read(PX.CI), driver.transferred(0), driver.bytes(DATA, 4096).every((byte) => byte === 9)]).toEqual([
      0,
      4096,
      true,
    ]);
  });

  it("tells an error by sense data, once", () => {
    const { driver, disk } = setUp();
    expect(driver.packet(READ_10(699, 2))).toBe(0x54);
    expect(sense(driver)).toEqual([5, 0x21, 0]);
    expect(sense(driver)).toEqual([0, 0, 0]);
    expect(driver.packet([0x2a])).toBe(0x54);
    expect(sense(driver)).toEqual([5, 0x20, 0]);
    driver.issue(0, { command: ATA.PACKET, packet: READ_10(0, 1), regions: [[DATA, 2048]] });
    disk.complete(0, { isOk: false });
    expect(driver.read(PX.TFD)).toBe(0x3051);
    driver.restart();
    expect(sense(driver)).toEqual([3, 0x11, 0]);
  });

  it("opens its tray unless it is locked, and says that the disc is another", () => {
    const { driver } = setUp();
    driver.packet(lock(true));
    expect(driver.packet(EJECT)).toBe(0x54);
    expect(sense(driver)).toEqual([5, 0x53, 2]);
    driver.packet(lock(false));
    expect(driver.packet(EJECT)).toBe(0);
    expect(driver.packet(TEST_UNIT_READY)).toBe(0x24);
    expect(sense(driver)).toEqual([2, 0x3a, 2]);
    driver.packet([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], [[DATA, 8]]);
    expect([...driver.bytes(DATA, 6)]).toEqual([0, 6, 4, 0x10, 3, 1]);
    driver.packet(LOAD);
    expect(driver.packet(TEST_UNIT_READY)).toBe(0x64);
    expect(sense(driver)).toEqual([6, 0x28, 0]);
    expect(driver.packet(TEST_UNIT_READY)).toBe(0);
  });
});

describe("its tray from outside", () => {
  const eventStatus = (driver: FakeAhciDriver): number[] => {
    expect(driver.packet([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], [[DATA, 8]])).toBe(0);
    return [...driver.bytes(DATA + 4, 2)];
  };

  it("opens, and closes with another disc, of which the guest hears", () => {
    const { context, driver } = setUp();
    context.input("disk0-tray", trayBytes({ kind: "eject", force: false }));
    expect(eventStatus(driver)).toEqual([3, 1]);
    expect(driver.packet(TEST_UNIT_READY)).toBe(0x24);
    expect(driver.packet(LOAD)).toBe(0);
    driver.packet(TEST_UNIT_READY);
    expect(sense(driver)).toEqual([2, 0x3a, 1]);
    context.input("disk0-tray", trayBytes({ kind: "insert", sizeBytes: 10 * 2048 }));
    expect(eventStatus(driver)).toEqual([2, 2]);
    driver.packet(TEST_UNIT_READY);
    expect(sense(driver)).toEqual([6, 0x28, 0]);
    expect(driver.packet([0x25], [[DATA, 8]])).toBe(0);
    expect([...driver.bytes(DATA, 4)]).toEqual([0, 0, 0, 9]);
    expect(driver.packet(READ_10(10, 1), [[DATA, 2048]])).toBe(0x54);
  });

  it("stays closed while the guest has locked it, unless it is forced", () => {
    const { context, driver } = setUp();
    driver.packet(lock(true));
    context.input("disk0-tray", trayBytes({ kind: "eject", force: false }));
    expect(eventStatus(driver)).toEqual([1, 2]);
    expect(driver.packet(TEST_UNIT_READY)).toBe(0);
    context.input("disk0-tray", trayBytes({ kind: "eject", force: true }));
    expect(driver.packet(TEST_UNIT_READY)).toBe(0x24);
  });

  it("takes nothing else", () => {
    const { context, driver } = setUp();
    for (const bytes of [[], [7], [2, 1], [2, 1, 0, 0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0, 0xff]])
      context.input("disk0-tray", Uint8Array.from(bytes));
    expect(driver.packet(TEST_UNIT_READY)).toBe(0);
  });
});

describe("a state that is refused", () => {
  type State = Record<string, StateValue>;
  type PortState = State & { readonly drive: State };

  it.each<[string, (port: PortState) => State]>([
    ["the size", (port) => ({ ...port, drive: { ...port.drive, sizeBytes: 1000 } })],
    ["the rest of the drive", (port) => ({ ...port, drive: { ...port.drive, sense: null } })],
    ["what is under way", (port) => ({ ...port, requests: null })],
    ["what comes behind the port", (port) => ({ ...port, ie: 0xffff_ffff, is: 1 })],
  ])("leaves the disc that is in the drive: wrong is %s", (_what, spoil) => {
    const other = setUp();
    other.context.input("disk0-tray", trayBytes({ kind: "insert", sizeBytes: 10 * 2048 }));
    const state = other.device.save() as State & { readonly ports: PortState[] };
    const [port, ...others] = state.ports;
    const { context, device, driver } = setUp();
    context.input("disk0-tray", trayBytes({ kind: "insert", sizeBytes: 20 * 2048 }));
    expect(() => device.restore({ ...state, is: 0, ports: [spoil(port!), ...others] })).toThrow(StateError);
    driver.start();
    expect(driver.packet([0x25], [[DATA, 8]])).toBe(0);
    expect([...driver.bytes(DATA, 4)]).toEqual([0, 0, 0, 19]);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createAhci(context, { name: "ahci", drives: [DISC] });
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    const disk = context.disks.get("disk0")!;
    const driver = new FakeAhciDriver(context, device);
    const packets = [READ_10(3, 2), EJECT, LOAD, lock(true), lock(false), TEST_UNIT_READY, [0x03, 0, 0, 0, 18]];
    return {
      device,
      // The disc is nobody's to reset.
      survivesReset: true,
      ranges: [{ handler: device, length: ABAR_BYTES }],
      // What is nobody's any more goes out as a flush after a restore, so only the numbers are equal.
      observe: () => disk.requests.map(({ id }) => id).join(),
      setUp: () => driver.start(),
      events: [
        () => driver.restart(),
        (random) => {
          driver.start();
          const packet = packets[random % packets.length]!;
          driver.issue(random % 32, { command: ATA.PACKET, packet, regions: [[DATA, 4096]] });
        },
        (random) => {
          if (disk.requests.length > 0) disk.complete(0, { isOk: random % 8 !== 0, fill: random >>> 24 });
        },
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
