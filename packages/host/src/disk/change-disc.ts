/**
 * Another disc in a CD or floppy drive of a running VM. The tray opens first, so that the guest reads nothing meanwhile; then the image is
 * exchanged in the disks' thread; then the tray closes. If the new image cannot be
 * opened, or none of its size fits the drive, that stays open and empty.
 */
import {
  checkFloppyBytes,
  isDisk,
  isRemovable,
  type MachineSpec,
  type TrayAction,
  type TrayState,
} from "@twinmetal/core";
import { asVmError, VmError } from "../vm/vm-error.ts";
import type { DiskOptions } from "./disk-protocol.ts";
import type { DiskThread } from "./disk-thread.ts";

type Disc = Omit<DiskOptions, "path" | "format">;
const DRIVES: Readonly<Partial<Record<string, (isReadOnly: boolean) => Disc>>> = {
  "sata-cd": () => ({ isReadOnly: true, isCdrom: true, bus: "ahci" }),
  "ide-cd": () => ({ isReadOnly: true, isCdrom: true, bus: "ide" }),
  floppy: (isReadOnly) => ({ isReadOnly, bus: "floppy" }),
};

export interface DiscChanging {
  readonly spec: MachineSpec;
  readonly disks: DiskThread | undefined;
  /** At the drive's tray; the state that it was in. */
  tray(disk: string, action: TrayAction): Promise<TrayState | undefined>;
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
    throw new VmError("bad-option", `The VM has no CD or floppy drive ${JSON.stringify(disk)}. ${known}`);
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
