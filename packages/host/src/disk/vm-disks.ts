/**
 * A VM's disks as its options name them: the thread that opens the images, and what the machine's spec says of them. Disk
 * n is the device "diskN" of the spec; where its image is, is the host's business and in no saved state.
 */
import { type DeviceSpec, isDisk, isInBay, isRemovable, MAX_DISK_BAYS, type MachineSpec } from "@twinmetal/core";
import { VmError } from "../vm/vm-error.ts";
import { checkDiskLimits } from "./disk-limits.ts";
import type { DiskOptions, OpenedVmDisk } from "./disk-protocol.ts";
import { DiskThread } from "./disk-thread.ts";

const MAX_DISKS = 16;
/** Of a bay without a disk. */
const EMPTY_BYTES = 512;
const KINDS = { ahci: "sata-disk", nvme: "nvme-disk", ide: "ide-disk", floppy: "floppy" } as const;

export interface OpenedVmDisks {
  /** Undefined: no disks. */
  readonly thread: DiskThread | undefined;
  readonly devices: readonly DeviceSpec[];
}

/** Opens them. `bays`: room for so many more while the VM runs. Rejects with VmError; nothing is open then. Whoever gets them closes the thread. */
export async function openVmDisks(given: readonly DiskOptions[], bays = 0): Promise<OpenedVmDisks> {
  if (!Number.isInteger(bays) || bays < 0 || bays > MAX_DISK_BAYS)
    throw new VmError("bad-option", `A VM cannot have ${bays} bays for disks. Give 0 to ${MAX_DISK_BAYS}.`);
  const empty = Array.from({ length: bays }, () => undefined);
  const options = [...given.map((disk) => (disk.isCdrom ? asDisc(disk) : disk)), ...empty];
  if (options.length === 0) return { thread: undefined, devices: [] };
  const thread = startThread(
    options,
    options.map((_disk, index) => nameOf(index)),
  );
  try {
    return { thread, devices: devicesOf(await thread.open(), options) };
  } catch (error) {
    await thread.close().catch(() => {}); // It has nothing open.
    throw error;
  }
}

/**
 * For a machine that exists: the images are those of the spec's disks, in their order. Throws VmError if there are not as
 * many. Not opened yet: `open` compares them with the spec.
 */
export function disksOfSpec(
  spec: MachineSpec,
  options: readonly (DiskOptions | undefined)[] = [],
): SpecDisks | undefined {
  const wanted = spec.devices.filter(isDisk);
  const bays = wanted.filter(isInBay).length;
  if (options.length > wanted.length || options.length < wanted.length - bays) {
    const has = wanted.length === 1 ? "1 disk" : `${wanted.length} disks`;
    throw new VmError(
      "bad-option",
      `The VM has ${has}, and ${options.length} ${options.length === 1 ? "image was" : "images were"} named. Name the images of all its disks, in their order.`,
    );
  }
  if (wanted.length === 0) return undefined;
  const asSaved = wanted.map(({ isReadOnly }, index) => {
    const disk = options[index];
    return disk && { ...disk, isReadOnly: disk.isReadOnly ?? isReadOnly };
  });
  const thread = startThread(
    asSaved,
    wanted.map(({ name }) => name),
  );
  const open = async (): Promise<void> => {
    const opened = await thread.open();
    for (const [index, { sizeBytes, isReadOnly }] of opened.entries()) {
      const disk = wanted[index]!;
      if (options[index] === undefined) continue;
      // A disc may have been changed since; its drive's state knows its size.
      if ((isRemovable(disk) || disk.sizeBytes === sizeBytes) && disk.isReadOnly === isReadOnly) continue;
      await thread.suspend();
      const have = `${sizeBytes} bytes${isReadOnly ? ", read-only" : ""}`;
      const want = `${disk.sizeBytes} bytes${disk.isReadOnly ? ", read-only" : ""}`;
      throw new VmError(
        "bad-option",
        `${options[index].path} is not the VM's ${disk.name}: it has ${have}, not ${want}.`,
      );
    }
  };
  return { thread, open };
}

export interface SpecDisks {
  readonly thread: DiskThread;
  /** Rejects with VmError; nothing is open then. */
  open(): Promise<void>;
}

function startThread(options: readonly (DiskOptions | undefined)[], channels: readonly string[]): DiskThread {
  if (options.length > MAX_DISKS) {
    throw new VmError("bad-option", `A VM cannot have ${options.length} disks. Give at most ${MAX_DISKS}.`);
  }
  for (const disk of options) checkDiskLimits(disk?.limits ?? {});
  return DiskThread.start(options, channels);
}

function devicesOf(opened: readonly OpenedVmDisk[], options: readonly (DiskOptions | undefined)[]): DeviceSpec[] {
  return opened.map(({ sizeBytes, isReadOnly }, index): DeviceSpec => {
    const name = nameOf(index);
    if (options[index] === undefined)
      return { kind: "virtio-block", name, sizeBytes: EMPTY_BYTES, isReadOnly: false, queues: 1, isInBay: true };
    const disk = { name, sizeBytes, isReadOnly };
    const { bus = "virtio", isCdrom } = options[index];
    if (isCdrom) return { kind: bus === "ide" ? "ide-cd" : "sata-cd", ...disk };
    if (bus === "virtio") return { kind: "virtio-block", ...disk, queues: 1 };
    return { kind: KINDS[bus], ...disk };
  });
}

function asDisc(disk: DiskOptions): DiskOptions {
  if (
    disk.bus === "virtio" ||
    disk.bus === "nvme" ||
    disk.isReadOnly === false ||
    disk.isEphemeral ||
    disk.format === "qcow2"
  ) {
    throw new VmError(
      "bad-option",
      `${disk.path} cannot be a CD as it is asked for: a CD is raw, read-only and at the bus "ahci" or "ide". Leave the rest out.`,
    );
  }
  return { ...disk, format: "raw", isReadOnly: true };
}

const nameOf = (index: number): string => `disk${index}`;
