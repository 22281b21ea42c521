import { describe, expect, it } from "vitest";
import { diskText, FLOPPY, parseDisk } from "./disk-choice.ts";
import type { DiskOptions } from "./vm-library.ts";

describe("--disk", () => {
  it.each<[string, DiskOptions]>([
    ["a.img", { path: "a.img" }],
    ["/x/a,b.img", { path: "/x/a,b.img" }],
    ["/x/disk,old", { path: "/x/disk,old" }],
    ["a.img,readonly", { path: "a.img", isReadOnly: true }],
    ["a,b.img,format=raw,ephemeral", { path: "a,b.img", format: "raw", isEphemeral: true }],
    ["d.qcow2,bus=virtio,format=qcow2", { path: "d.qcow2", format: "qcow2", bus: "virtio" }],
    ["d.img,bootindex=0", { path: "d.img", bootIndex: 0 }],
    ["d.img,bus=ahci", { path: "d.img", bus: "ahci" }],
    ["d.img,bus=nvme", { path: "d.img", bus: "nvme" }],
    ["d.img,bus=ide", { path: "d.img", bus: "ide" }],
    ["a.img,bus=floppy", { path: "a.img", bus: "floppy" }],
  ])("%s", (text, expected) => {
    expect(parseDisk(text)).toEqual(expected);
    expect(parseDisk(diskText(expected))).toEqual(expected);
  });

  it.each([
    [",readonly", /which image/],
    ["", /which image/],
    ["a.img,format=vdi", /no format "vdi"/],
    ["a.img,cache=none", /nothing that a disk has/],
    ["a.img,snapshot", /"snapshot" is nothing that a disk has/],
    ["a.img,ro,format=raw", /"ro" is nothing that a disk has/],
    ["a.img,bootindex=first", /no boot index/],
    ["a.img,bus=scsi", /no bus/],
    ["a.img,readonly,ephemeral", /exclude each other/],
  ])("%s is refused", (text, message) => {
    expect(() => parseDisk(text)).toThrow(message);
  });
});

it("--floppy names a disk, which may be protected", () => {
  expect(FLOPPY.parse?.("dos.img")).toEqual([{ path: "dos.img", format: "raw", bus: "floppy" }]);
  expect(FLOPPY.parse?.("a,b.img,readonly")).toMatchObject([{ path: "a,b.img", isReadOnly: true }]);
  expect(() => FLOPPY.parse?.(",readonly")).toThrow(/which image/);
});

it("takes limits, and says what is none", () => {
  const disk = parseDisk("a.img,iops=500,rate=20M,burst=64M,space=10G,readonly");
  expect(disk).toEqual({
    path: "a.img",
    isReadOnly: true,
    limits: { requestsPerSecond: 500, bytesPerSecond: 20 * 2 ** 20, burstBytes: 2 ** 26, spaceBytes: 10 * 2 ** 30 },
  });
  expect(parseDisk(diskText(disk))).toEqual(disk);
  expect(() => parseDisk("a.img,iops=0")).toThrow(/requests a second as 0: give 1 to/);
  expect(() => parseDisk("a.img,rate=quick")).toThrow(/not a size/);
});
