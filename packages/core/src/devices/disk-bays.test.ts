import { describe, expect, it } from "vitest";
import { StateError } from "../state/errors.ts";
import { trayBytes, trayChannel } from "./ahci/cd-tray.ts";
import { deviceContract } from "./contract.ts";
import { DiskBays } from "./disk-bays.ts";
import { FakeContext } from "./fake-context.ts";
import { HOTPLUG } from "./hotplug-registers.ts";

const GIB = 2 ** 30;

function setUp(context = new FakeContext()) {
  const disks = ["disk1", "disk2"].map((name) => ({ name, sizeBytes: 512 }));
  const seen = { events: 0, isThere: [true, true] };
  const device = new DiskBays(context, {
    disks,
    onChange: () => void seen.events++,
    onPlug: (index, isThere) => {
      seen.isThere[index] = isThere;
    },
  });
  return {
    device,
    disks,
    seen,
    insert: (disk: string, sizeBytes: number) =>
      context.input(trayChannel(disk), trayBytes({ kind: "insert", sizeBytes })),
    eject: (disk: string) => context.input(trayChannel(disk), trayBytes({ kind: "eject", force: false })),
    registers: () => [0, 1, 2, 3].map((offset) => device.registers.read(offset, 1)),
    write: (offset: number, value: number) => device.registers.write(offset, 1, value),
  };
}

describe("bays for disks", () => {
  it("tell the guest of a disk that has come, which leaves when the guest lets it go", () => {
    const { device, disks, seen, insert, eject, registers, write } = setUp();
    expect([seen.isThere, registers()]).toEqual([
      [false, false],
      [0, 0, 0, 0],
    ]);
    insert("disk2", GIB);
    expect([seen.isThere, registers(), seen.events]).toEqual([[false, true], [0b10, 0b10, 0, 0], 1]);
    expect([disks[1]!.sizeBytes, device.trayOf("disk2"), device.trayOf("disk3")]).toEqual([
      GIB,
      { isOpen: false, isLocked: false, hasDisc: true, sizeBytes: GIB },
      undefined,
    ]);
    write(HOTPLUG.ARRIVED, 0b10);
    eject("disk2");
    expect([seen.isThere, registers(), seen.events]).toEqual([[false, true], [0b10, 0, 0b10, 0], 2]);
    write(HOTPLUG.LEAVING, 0b10);
    write(HOTPLUG.EJECT, 0b11);
    expect([seen.isThere, registers(), device.trayOf("disk2")?.isOpen]).toEqual([[false, false], [0, 0, 0, 0], true]);
  });

  it("take nothing twice, and let nothing go that is not there", () => {
    const { disks, seen, insert, eject } = setUp();
    eject("disk1");
    insert("disk1", GIB);
    insert("disk1", 2 * GIB);
    expect([disks[0]!.sizeBytes, seen.events]).toEqual([GIB, 1]);
  });

  it("keep their disks through a reset and a saved state", () => {
    const { device, insert } = setUp();
    insert("disk1", GIB);
    device.reset();
    const other = setUp();
    other.device.restore(device.save());
    expect([other.disks[0]!.sizeBytes, other.seen.isThere, other.registers()]).toEqual([
      GIB,
      [true, false],
      [1, 0, 0, 0],
    ]);
  });

  it.each([
    { present: 0b100, arrived: 0, leaving: 0, sizes: [512, 512] },
    { present: 0b01, arrived: 0b10, leaving: 0, sizes: [512, 512] },
    { present: 0b01, arrived: 0, leaving: 0, sizes: [513, 512] },
    { present: 0b01, arrived: 0, leaving: 0, sizes: [512] },
  ])("refuse a state that no board has: %o", (state) => {
    expect(() => setUp().device.restore(state)).toThrow(StateError);
  });

  describe("contract", () =>
    it.each(
      deviceContract((context) => {
        const { device, insert, eject } = setUp(context);
        return {
          device,
          ranges: [{ handler: device.registers, length: 4 }],
          survivesReset: true,
          events: [(random) => insert("disk1", (1 + (random & 0xff)) * 512), () => eject("disk1")],
        };
      }),
    )("$name", ({ run }) => run()));
});
