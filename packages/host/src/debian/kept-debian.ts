/**
 * The image that a VM that stays was made of: its overlay (../lifecycle/kept-disks.ts) names the disk, and the VM starts with the
 * kernel beside that disk from then on, whatever newer image there is.
 */
import { dirname } from "node:path";
import { imageInfo } from "../disk/image-operations.ts";
import { ImageError } from "../image/image-error.ts";
import { type DebianImage, openDebianImage } from "./debian-image.ts";

/** What `make` answers, where there is no overlay yet. Rejects with ImageError, StorageError, or the signal's reason. */
export async function keptDebian(
  overlayPath: string | undefined,
  make: () => Promise<DebianImage>,
  signal?: AbortSignal,
): Promise<DebianImage> {
  if (overlayPath === undefined) return await make();
  const below = (await imageInfo(overlayPath)).qcow2?.backing?.name ?? "";
  const image = await openDebianImage(dirname(below), signal);
  if (image !== undefined) return image;
  throw new ImageError(
    "IMAGE_NOT_FOUND",
    `The disk ${overlayPath} lies on ${below}, which is not there any more.`,
    "Bring that folder back into the cache. Without it the disk cannot be read: remove the VM and make it anew.",
  );
}
