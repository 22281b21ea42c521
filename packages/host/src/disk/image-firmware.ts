/** Which firmware starts what is on an image. */
import { firmwareOfDisk, StorageError } from "@twinmetal/storage";
import { asVmError } from "../vm/vm-error.ts";
import type { DiskOptions } from "./disk-protocol.ts";
import { openNodeDisk } from "./node-disks.ts";

/** Rejects with VmError, also where there is nothing to start. */
export async function firmwareOfImage({
  path,
  format,
}: Pick<DiskOptions, "path" | "format">): Promise<"bios" | "uefi"> {
  try {
    const { disk } = await openNodeDisk(path, { ...(format && { format }), isReadOnly: true, lock: false });
    const firmware = await firmwareOfDisk(disk).finally(() => disk.close());
    if (firmware !== undefined) return firmware;
  } catch (error) {
    throw asVmError(error);
  }
  throw asVmError(
    new StorageError(
      "unsupported",
      `${path} has nothing that firmware could start: no boot code, and no EFI system partition. Name a disk with an operating system on it, or give it to another guest: --disk ${path}.`,
    ),
  );
}
