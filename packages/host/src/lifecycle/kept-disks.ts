/**
 * What a named VM writes to its disks. The image that it was made from is a template: it is only read, and an overlay in the
 * VM's folder has what was written, from the first start on. A disk given by --disk is written to itself.
 *
 *   DATA/vms/NAME/disks/image.qcow2
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { DiskOptions } from "../disk/disk-protocol.ts";
import { ensureOverlay } from "../disk/overlay-image.ts";
import type { VmFolder } from "./vm-folder.ts";

const PRIVATE = 0o700;

/** The disk that the VM has in place of its image. Its overlay is there from here on. Rejects with VmError. */
export async function keptImage(folder: VmFolder, image: DiskOptions): Promise<DiskOptions> {
  if (image.isReadOnly || image.isEphemeral) return image;
  const path = join(folder.disks, "image.qcow2");
  await mkdir(folder.disks, { recursive: true, mode: PRIVATE });
  await ensureOverlay(path, image);
  return { ...image, path, format: "qcow2" };
}
