/**
 * The disks of a VM that is cloned: what they hold becomes a base that is only read from then on, and original and clone each
 * get an overlay over it. A file outside the VM's folder stays where it is, and is the base; an overlay in it gets a
 * second name among the bases, and is replaced by a new one in one rename. So at each moment the VM has its whole disk.
 *
 *   DATA/vms/.bases/ID.qcow2     named by overlays as ../../.bases/ID.qcow2: DATA may move
 *
 * Preconditions: nobody has the disks open, and the caller holds the bases' lock (VmStore.lockBases).
 */
import { randomUUID } from "node:crypto";
import { link, mkdir, readdir, rm } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { type DiskOptions, imageInfo } from "../disk/index.ts";
import { makeOverlay, type OverlayBase } from "../disk/overlay-image.ts";
import { asVmError } from "../vm/vm-error.ts";
import { isOverlay, isWritten, overlayNameOf } from "./kept-disks.ts";
import type { VmFolder } from "./vm-folder.ts";

const PRIVATE = 0o700;

export interface ShareDisksOptions {
  /** Where relative paths are seen from. Default: the present one. */
  readonly directory?: string;
  /** Hears at once of each disk of the original's that is another file from then on. */
  readonly onMoved?: (disk: number, options: DiskOptions) => void;
}

/** Shares each disk that is written to with a VM whose folder `to` is in the making. Rejects with VmError. */
export async function shareDisks(
  from: VmFolder,
  to: Pick<VmFolder, "disks">,
  disks: readonly (DiskOptions | undefined)[],
  { directory = "", onMoved = () => {} }: ShareDisksOptions = {},
): Promise<void> {
  const bases = join(from.path, "..", ".bases");
  for (const folder of [bases, from.disks, to.disks]) await mkdir(folder, { recursive: true, mode: PRIVATE });
  for (const [index, disk] of disks.entries()) {
    if (!disk || !isWritten(disk)) continue;
    const name = overlayNameOf(from, disk);
    const own = join(from.disks, name);
    const base = isOverlay(from, disk) ? await asBase(bases, own) : { ...disk, path: resolve(directory, disk.path) };
    await makeOverlay(join(to.disks, name), base);
    await makeOverlay(own, base);
    onMoved(index, { ...disk, path: own, format: "qcow2" });
  }
}

async function asBase(bases: string, overlay: string): Promise<OverlayBase> {
  const name = `${randomUUID()}.qcow2`;
  const path = join(bases, name);
  await link(overlay, path).catch((error: unknown) => {
    throw asVmError(error);
  });
  return { path, name: `../../.bases/${name}`, format: "qcow2" };
}

/** Removes bases over which nothing lies any more. An image that cannot be read keeps them all. */
export async function sweepBases(root: string): Promise<void> {
  const bases = join(root, ".bases");
  const left = new Set(await readdir(bases).catch(() => []));
  if (left.size === 0) return;
  const open: string[] = [];
  for (const folder of await readdir(root)) {
    const disks = join(root, folder, "disks");
    const overlays = (await readdir(disks).catch(() => [])).filter((name) => name.endsWith(".qcow2"));
    open.push(...overlays.map((name) => join(disks, name)));
  }
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const under = await backingName(path);
    if (under === "unknown") return;
    if (under !== undefined && left.delete(basename(under))) open.push(join(bases, basename(under)));
  }
  for (const name of left) await rm(join(bases, name), { force: true });
}

async function backingName(path: string): Promise<string | undefined> {
  try {
    return (await imageInfo(path)).qcow2?.backing?.name;
  } catch (error) {
    // Of a VM that is being removed.
    return (error as { code?: string }).code === "not-found" ? undefined : "unknown";
  }
}
