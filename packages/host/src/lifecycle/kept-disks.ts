/**
 * What a named VM writes to its disks. The image that it was made from is a template: it is only read, and an overlay in the
 * VM's folder has what was written, from the first start on. A disk given by --disk is written to itself, until the VM is
 * cloned (shared-disks.ts): what is in the folder goes before what its spec names.
 *
 *   DATA/vms/NAME/disks/image.qcow2           over its image
 *   DATA/vms/NAME/disks/STEM-DIGEST.qcow2     over the disk of this path, as the spec has it
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import type { DiskOptions } from "../disk/disk-protocol.ts";
import { ensureOverlay } from "../disk/overlay-image.ts";
import { LifecycleError } from "./lifecycle-error.ts";
import type { VmFolder } from "./vm-folder.ts";

const PRIVATE = 0o700;
const DIGEST_DIGITS = 12;
const MAX_STEM = 40;
const IMAGE_OVERLAY = "image.qcow2";

/** The disk that the VM has in place of its image. Its overlay is there from here on. Rejects with VmError. */
export async function keptImage(folder: VmFolder, image: DiskOptions): Promise<DiskOptions> {
  if (!isWritten(image)) return image;
  await mkdir(folder.disks, { recursive: true, mode: PRIVATE });
  await ensureOverlay(join(folder.disks, IMAGE_OVERLAY), image);
  return overlaid(folder, image, IMAGE_OVERLAY);
}

/** Undefined: nothing was written over an image yet. */
export function writtenImage(folder: VmFolder): DiskOptions | undefined {
  const path = join(folder.disks, IMAGE_OVERLAY);
  return existsSync(path) ? { path, format: "qcow2" } : undefined;
}

/** The disks of --disk as the VM has them. Rejects with LifecycleError where an overlay belongs to none of them any more. */
export async function keptDisks(
  folder: VmFolder,
  disks: readonly DiskOptions[],
  hasImage: boolean,
): Promise<readonly DiskOptions[]> {
  const left = new Set(await readdir(folder.disks).catch(() => []));
  if (hasImage) left.delete(IMAGE_OVERLAY);
  const kept = disks.map((disk) => {
    const name = overlayName(disk);
    return isWritten(disk) && left.delete(name) ? overlaid(folder, disk, name) : disk;
  });
  const lost = [...left].find((name) => name.endsWith(".qcow2"));
  if (lost === undefined) return kept;
  throw new LifecycleError(
    "bad-spec",
    `${join(folder.disks, lost)} has what VM ${folder.name} wrote over a disk that ${folder.spec} names no longer as it did. Name it there as before, or move that file away.`,
  );
}

/** How the overlay over a disk is called, by which it is found again; of a disk that is one, its own name. */
export function overlayNameOf(folder: VmFolder, disk: DiskOptions): string {
  return isOverlay(folder, disk) ? basename(disk.path) : overlayName(disk);
}

/** What it writes is kept. */
export function isWritten({ isReadOnly, isEphemeral, isCdrom }: DiskOptions): boolean {
  return !isReadOnly && !isEphemeral && !isCdrom;
}

export function isOverlay(folder: VmFolder, { path }: DiskOptions): boolean {
  return path.startsWith(`${folder.disks}/`);
}

function overlaid(folder: VmFolder, disk: DiskOptions, name: string): DiskOptions {
  return { ...disk, path: join(folder.disks, name), format: "qcow2" };
}

function overlayName({ path }: DiskOptions): string {
  const digest = createHash("sha256").update(path).digest("hex").slice(0, DIGEST_DIGITS);
  const stem = basename(path, extname(path))
    .replace(/[^A-Za-z0-9._-]/g, "_")
    .slice(0, MAX_STEM);
  return `${stem}-${digest}.qcow2`;
}
