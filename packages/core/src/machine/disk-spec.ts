/** Disks and CD drives in a machine's spec. Their bytes are handed over beside it; the channel has the device's name. */
import type { StateValue } from "../devices/device.ts";
import { MAX_DISK_BAYS } from "../devices/disk-bays.ts";
import { FLOPPY_DRIVES } from "../devices/floppy/controller.ts";
import { FLOPPY_BYTES } from "../devices/floppy/medium.ts";
import type { StateReader } from "../state/reader.ts";
import { isCardInBay } from "./network-card-spec.ts";
import { isWhole, SpecError } from "./spec-error.ts";

/** With a size, and read-only or not, and nothing else. */
const PLAIN_DISK_KINDS = ["sata-disk", "sata-cd", "nvme-disk", "ide-disk", "ide-cd", "floppy"] as const;
export const DISK_KINDS = ["virtio-block", ...PLAIN_DISK_KINDS] as const;
export type DiskKind = (typeof DISK_KINDS)[number];
/** Of the board's IDE controller. */
const MAX_IDE_DRIVES = 4;
/** Ports of the board's AHCI controller. */
const MAX_SATA_DRIVES = 6;
export const DISK_LIMITS = { minBytes: 512, maxBytes: 2 ** 50, stepBytes: 512 } as const;
const MAX_DISK_QUEUES = 8;

export interface DiskSpec {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
}

export interface BlockDiskSpec extends DiskSpec {
  readonly kind: "virtio-block";
  readonly name: string;
  readonly queues: number;
  /** It comes and goes while the machine runs (devices/disk-bays.ts): not there at power-on, and of any size. */
  readonly isInBay?: true;
}

/** Disks that come and go; cards: isCardInBay. */
export function isInBay(device: Kind): device is BlockDiskSpec & { readonly isInBay: true } {
  return device.kind === "virtio-block" && (device as BlockDiskSpec).isInBay === true;
}

/** A controller with a disk of its own. */
export interface NvmeDiskSpec extends DiskSpec {
  readonly kind: "nvme-disk";
  readonly name: string;
}

/** A drive at the next port of the board's AHCI controller, which is there with the first of them. */
export interface SataDriveSpec extends DiskSpec {
  /** A disk, or a CD drive with a disc in it, which is read-only. */
  readonly kind: "sata-disk" | "sata-cd";
  readonly name: string;
}

/** A drive at the board's IDE controller, which is there with the first of them: primary master, its slave, and so on. */
export interface IdeDriveSpec extends DiskSpec {
  readonly kind: "ide-disk" | "ide-cd";
  readonly name: string;
}

/** A drive at the board's floppy controller, which is there with the first of them, and the DMA controllers with it. */
export interface FloppySpec extends DiskSpec {
  readonly kind: "floppy";
  readonly name: string;
}

export type AnyDiskSpec = BlockDiskSpec | NvmeDiskSpec | SataDriveSpec | IdeDriveSpec | FloppySpec;

interface Kind {
  readonly kind: string;
}

/** Whether a device has a disk's bytes, through a channel of its name. */
export function isDisk(device: Kind): device is AnyDiskSpec {
  return isDiskKind(device.kind);
}

export function isDiskKind(kind: string): kind is DiskKind {
  return (DISK_KINDS as readonly string[]).includes(kind);
}

export function isSataDrive(device: Kind): device is SataDriveSpec {
  return device.kind === "sata-disk" || device.kind === "sata-cd";
}

export function isIdeDrive(device: Kind): device is IdeDriveSpec {
  return device.kind === "ide-disk" || device.kind === "ide-cd";
}

export function isFloppy(device: Kind): device is FloppySpec {
  return device.kind === "floppy";
}

/** Whether its disk may be changed while the machine runs. */
export function isRemovable(device: Kind): boolean {
  return isInBay(device) || isFloppy(device) || device.kind === "sata-cd" || device.kind === "ide-cd";
}

export function diskFields(disk: AnyDiskSpec): { readonly [key: string]: StateValue } {
  const { sizeBytes, isReadOnly } = disk;
  if (disk.kind !== "virtio-block") return { sizeBytes, isReadOnly };
  return { sizeBytes, isReadOnly, queues: disk.queues, ...(disk.isInBay && { isInBay: true }) };
}

export function diskFromState(kind: DiskKind, name: string, reader: StateReader): AnyDiskSpec {
  const sizeBytes = reader.int("sizeBytes", 0, Number.MAX_SAFE_INTEGER);
  const disk = { name, sizeBytes, isReadOnly: reader.bool("isReadOnly") };
  if (kind !== "virtio-block") {
    reader.end();
    return { kind, ...disk };
  }
  const queues = reader.u8("queues");
  const inBay = reader.has("isInBay") && reader.bool("isInBay");
  reader.end();
  return { kind, ...disk, queues, ...(inBay && ({ isInBay: true } as const)) };
}

/** Throws SpecError. */
export function checkDisks(devices: readonly Kind[]): void {
  for (const disk of devices.filter(isDisk)) checkDisk(disk);
  const ideDrives = devices.filter(isIdeDrive).length;
  if (ideDrives > MAX_IDE_DRIVES)
    throw new SpecError(
      "devices",
      `${ideDrives} IDE drives do not fit: the controller has room for ${MAX_IDE_DRIVES}.`,
    );
  const floppies = devices.filter(isFloppy).length;
  if (floppies > FLOPPY_DRIVES)
    throw new SpecError(
      "devices",
      `${floppies} floppy drives do not fit: the controller has room for ${FLOPPY_DRIVES}.`,
    );
  const bays = devices.filter((device) => isInBay(device) || isCardInBay(device)).length;
  if (bays > MAX_DISK_BAYS)
    throw new SpecError(
      "devices",
      `${bays} disks and network cards cannot come and go: there is room for ${MAX_DISK_BAYS} of them.`,
    );
  const drives = devices.filter(isSataDrive).length;
  if (drives > MAX_SATA_DRIVES) {
    throw new SpecError("devices", `${drives} SATA drives do not fit: the controller has ${MAX_SATA_DRIVES} ports.`);
  }
}

function checkDisk(disk: AnyDiskSpec): void {
  const { kind, name, sizeBytes, isReadOnly } = disk;
  if (!isWhole(sizeBytes, DISK_LIMITS.minBytes, DISK_LIMITS.maxBytes) || sizeBytes % DISK_LIMITS.stepBytes !== 0) {
    throw new SpecError(
      "devices",
      `The disk ${name} cannot have ${sizeBytes} bytes. Give whole sectors of ${DISK_LIMITS.stepBytes} bytes, from one to 1024 TiB.`,
    );
  }
  if (kind === "virtio-block" && !isWhole(disk.queues, 1, MAX_DISK_QUEUES)) {
    throw new SpecError("devices", `The disk ${name} cannot have ${disk.queues} queues. Give 1 to ${MAX_DISK_QUEUES}.`);
  }
  if (kind === "floppy") checkFloppyBytes(name, sizeBytes);
  if ((kind === "sata-cd" || kind === "ide-cd") && !isReadOnly) {
    throw new SpecError("devices", `The disc in ${name} is not read-only, and a CD drive cannot write.`);
  }
}

/** Of what lies in a floppy drive, or is put into it. Throws SpecError. */
export function checkFloppyBytes(name: string, sizeBytes: number): void {
  if (FLOPPY_BYTES.includes(sizeBytes)) return;
  const possible = FLOPPY_BYTES.map((bytes) => `${bytes / 1024} KiB`).join(" or ");
  throw new SpecError(
    "devices",
    `The floppy disk ${name} cannot have ${sizeBytes} bytes. Give an image of ${possible}.`,
  );
}
