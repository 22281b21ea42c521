/**
 * What firmware starts from, and in which order (fw_cfg's "bootorder" is written from it): the devices that the spec names
 * first, then all others that one can start from, in the order of the spec.
 */
import type { DeviceKind, DeviceSpec } from "./device-spec.ts";
import type { MachineSpec } from "./spec.ts";
import { SpecError } from "./spec-error.ts";

/** As a user speaks of them. */
export const BOOT_CLASSES = ["disk", "cdrom", "net", "floppy"] as const;
export type BootClass = (typeof BOOT_CLASSES)[number];

const CLASS_OF: Readonly<Partial<Record<DeviceKind, BootClass>>> = {
  "virtio-block": "disk",
  "sata-disk": "disk",
  "nvme-disk": "disk",
  "ide-disk": "disk",
  "sata-cd": "cdrom",
  "ide-cd": "cdrom",
  "virtio-net": "net",
  e1000: "net",
  floppy: "floppy",
};

/** Undefined: nothing starts from it. */
export function bootClassOf({ kind }: Pick<DeviceSpec, "kind">): BootClass | undefined {
  return CLASS_OF[kind];
}

export function bootDevicesOf({ devices, bootOrder = [] }: Pick<MachineSpec, "devices" | "bootOrder">): DeviceSpec[] {
  const bootable = devices.filter((device) => bootClassOf(device) !== undefined);
  const place = ({ name }: DeviceSpec): number => {
    const at = bootOrder.indexOf(name);
    return at < 0 ? bootOrder.length : at;
  };
  return bootable.sort((a, b) => place(a) - place(b));
}

/** Throws SpecError. */
export function checkBootOrder(names: readonly string[], devices: readonly DeviceSpec[]): void {
  for (const [i, name] of names.entries()) {
    const device = devices.find((candidate) => candidate.name === name);
    if (!device || bootClassOf(device) === undefined)
      throw new SpecError(
        "boot",
        `Firmware cannot start from ${JSON.stringify(name)}: that is none of the VM's disks, discs, floppy drives and network cards.`,
      );
    if (names.indexOf(name) !== i)
      throw new SpecError("boot", `${name} is twice in the boot order: name each device once.`);
  }
}
