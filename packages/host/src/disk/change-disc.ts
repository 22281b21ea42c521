/**
 * Another disc in a CD or floppy drive of a running VM, or a disk in a bay. The tray opens first, so that the guest reads nothing
 * meanwhile; then the image is exchanged in the disks' thread; then the tray closes. If the new image cannot be
 * opened, or none of its size fits the drive, that stays open and empty. A disk leaves its bay when the guest has let it go.
 */
import { checkFloppyBytes, DISK_LIMITS, isDisk, isInBay, isRemovable, type MachineSpec } from "@twinmetal/core";
import { asVmError, VmError } from "../vm/vm-error.ts";
import type { DiskOptions } from "./disk-protocol.ts";
import type { DiskThread } from "./disk-thread.ts";
import { type AtTray, letGo } from "./let-go.ts";

type Disc = Omit<DiskOptions, "path" | "format">;
const DRIVES: Readonly<Partial<Record<string, (isReadOnly: boolean) => Disc>>> = {
  "sata-cd": () => ({ isReadOnly: true, isCdrom: true, bus: "ahci" }),
  "ide-cd": () => ({ isReadOnly: true, isCdrom: true, bus: "ide" }),
  floppy: (isReadOnly) => ({ isReadOnly, bus: "floppy" }),
};

export interface DiscChanging {
  readonly spec: MachineSpec;
  readonly disks: DiskThread | undefined;
  readonly tray: AtTray;
}

/** Without a `path` the drive is empty afterwards. Rejects with VmError. */
export async function changeDisc(
  { spec, disks, tray }: DiscChanging,
  disk: string,
  { force, path }: { readonly force: boolean; readonly path?: string },
): Promise<void> {
  const all = spec.devices.filter(isDisk);
  const drives = all.filter(isRemovable);
  const index = all.findIndex(({ name }) => name === disk);
  const drive = drives.find(({ name }) => name === disk);
  if (!drive || !disks) {
    const known = drives.length > 0 ? `It has: ${drives.map(({ name }) => name).join(", ")}.` : "Start it with one.";
    throw new VmError("bad-option", `The VM has no drive or bay ${JSON.stringify(disk)} for that. ${known}`);
  }
  if (isInBay(drive)) {
    const bay = { disk, index, disks, tray };
    return await (path === undefined ? leaveBay(bay, force) : enterBay(bay, path));
  }
  const before = await tray(disk, { kind: "eject", force });
  if (before?.isLocked && !force) {
    throw new VmError(
      "tray-locked",
      `The guest holds the tray of ${disk} closed; it was told of the wish. Unmount the disc there and try again, or force it.`,
    );
  }
  await disks.change(index, undefined);
  if (path === undefined) return;
  const sizeBytes = await disks.change(index, { path, format: "raw", ...DRIVES[drive.kind]?.(drive.isReadOnly) });
  try {
    if (drive.kind === "floppy") checkFloppyBytes(disk, sizeBytes);
  } catch (error) {
    await disks.change(index, undefined);
    throw asVmError(error);
  }
  await tray(disk, { kind: "insert", sizeBytes });
}

interface Bay {
  readonly disk: string;
  readonly index: number;
  readonly disks: DiskThread;
  readonly tray: AtTray;
}

async function enterBay({ disk, index, disks, tray }: Bay, path: string): Promise<void> {
  if (disks.images[index] !== undefined)
    throw new VmError("bad-state", `The bay ${disk} holds ${disks.images[index].path}. Take that out first: eject.`);
  const sizeBytes = await disks.change(index, { path });
  if (sizeBytes === 0 || sizeBytes % DISK_LIMITS.stepBytes !== 0) {
    await disks.change(index, undefined);
    throw new VmError(
      "bad-option",
      `${path} cannot be a disk: it has ${sizeBytes} bytes, which are no whole sectors of ${DISK_LIMITS.stepBytes}.`,
    );
  }
  await tray(disk, { kind: "insert", sizeBytes });
}

async function leaveBay({ disk, index, disks, tray }: Bay, force: boolean): Promise<void> {
  if (force)
    throw new VmError(
      "bad-option",
      `The disk in ${disk} cannot be forced out: a driver that waits for it would wait for ever. Leave force out.`,
    );
  await letGo(tray, disk, "disk in", "Unmount it there and try again");
  await disks.change(index, undefined);
}

/** Of a machine that exists: what was named for its bays is what is in them. Rejects with VmError. */
export async function checkBays({ spec, disks, tray }: DiscChanging): Promise<void> {
  for (const [index, disk] of spec.devices.filter(isDisk).entries()) {
    if (!isInBay(disk)) continue;
    const wanted = (await tray(disk.name))?.sizeBytes;
    if (wanted === disks?.sizeOf(index)) continue;
    const { path } = disks?.images[index] ?? {};
    const has = wanted === undefined ? "The VM has no disk" : `The VM has a disk of ${wanted} bytes`;
    throw new VmError(
      "bad-option",
      `${has} in its bay ${disk.name}, and ${path ?? "no image"} was named for it. Name the images of all its disks, those in bays last.`,
    );
  }
}
