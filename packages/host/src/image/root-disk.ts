/** The ext4 disk that an image's guest has as its root: the same tree and identity give the same bytes. */
import { createHash } from "node:crypto";
import { type DirectoryNode, type WriteExt4Options, writeExt4 } from "@twinmetal/storage";
import { openImageFile } from "../disk/node-image-file.ts";
import { describeWriteError } from "./image-error.ts";

export interface RootDiskOptions extends Omit<WriteExt4Options, "uuid"> {
  /** What the file system's UUID is made of. */
  readonly identity: string;
}

/** Rejects with an ImageError that names the file, or with the signal's reason. */
export async function writeRootDisk(
  path: string,
  root: DirectoryNode,
  { identity, ...options }: RootDiskOptions,
): Promise<void> {
  const uuid = createHash("sha256").update(identity).digest().subarray(0, 16);
  const disk = await openImageFile(path, { create: true, lock: false });
  try {
    await writeExt4(disk, root, { ...options, uuid });
  } catch (error) {
    options.signal?.throwIfAborted();
    throw describeWriteError(error, path);
  } finally {
    await disk.close();
  }
}
