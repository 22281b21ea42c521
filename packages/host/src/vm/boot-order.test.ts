import type { DeviceSpec } from "@twinmetal/core";
import { describe, expect, it } from "vitest";
import { bootOrderOf, checkBootOrder } from "./boot-order.ts";

const disk = (name: string): DeviceSpec => ({ kind: "sata-disk", name, sizeBytes: 512, isReadOnly: false });
const disc = (name: string): DeviceSpec => ({ kind: "sata-cd", name, sizeBytes: 2048, isReadOnly: true });
const DEVICES: readonly DeviceSpec[] = [
  { kind: "virtio-rng", name: "rng0" },
  disk("disk0"),
  disc("disk1"),
  disk("disk2"),
];
const at = (...indices: (number | undefined)[]) =>
  indices.map((bootIndex) => ({ path: "x", ...(bootIndex === undefined ? {} : { bootIndex }) }));

describe("the boot order", () => {
  it("is nothing where nothing is said", () => {
    expect(bootOrderOf({ disks: at(undefined, undefined, undefined) }, DEVICES)).toEqual({});
  });

  it("has classes in their order, each in the order of the disks", () => {
    const disks = at(undefined, undefined, undefined);
    expect(bootOrderOf({ bootOrder: ["cdrom"], disks }, DEVICES)).toEqual({ bootOrder: ["disk1"] });
    expect(bootOrderOf({ bootOrder: ["cdrom", "disk"], disks }, DEVICES)).toEqual({
      bootOrder: ["disk1", "disk0", "disk2"],
    });
  });

  it("has indices first", () => {
    expect(bootOrderOf({ bootOrder: ["cdrom"], disks: at(7, undefined, 3) }, DEVICES)).toEqual({
      bootOrder: ["disk2", "disk0", "disk1"],
    });
  });

  it("needs something to start from", () => {
    expect(() => bootOrderOf({ bootOrder: ["net"], disks: at(undefined) }, DEVICES)).toThrow(/no net/);
    const card = { kind: "virtio-net", name: "net0" } as DeviceSpec;
    expect(bootOrderOf({ bootOrder: ["net", "cdrom"] }, [...DEVICES, card])).toEqual({ bootOrder: ["net0", "disk1"] });
  });

  it.each([
    [{ bootOrder: ["disk"] as const }, /firmware's/],
    [{ disks: at(1) }, /firmware's/],
    [{ firmware: "bios", bootOrder: ["tape" as "disk"] }, /"tape". Possible: disk, cdrom, net/],
    [{ firmware: "bios", bootOrder: ["disk", "disk"] as const }, /twice/],
    [{ firmware: "bios", disks: at(-1) }, /-1/],
    [{ firmware: "bios", disks: at(2, 2) }, /Two disks/],
  ])("%j is refused", (options, message) => {
    expect(() => checkBootOrder(options)).toThrow(message);
  });
});
