/**
 * The image behind one disk of a VM. A format that is not stated is guessed by the first bytes, and only believed where the
 * file's name says the same: a guest can write whatever it wants into a raw disk, a header that names any file of the host
 * included, and the next start shall not take that for an image of another format.
 */
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import {
  type BlockDevice,
  type DiskFormat,
  GUESS_BYTES,
  guessFormat,
  ScratchOverlay,
  StorageError,
} from "@twinmetal/storage";
import type { DiskOptions } from "./disk-protocol.ts";
import { fileError } from "./file-error.ts";
import { openNodeDisk } from "./node-disks.ts";
import { openImageFile } from "./node-image-file.ts";
import type { SpaceLimit } from "./space-limit.ts";

const DISC_BLOCK_BYTES = 2048;
const QCOW2_NAMES = [".qcow2", ".qcow"];

/** `space`: what the file that is written to may take. Throws StorageError. */
export async function openVmDisk(options: DiskOptions, space?: SpaceLimit): Promise<BlockDevice> {
  const { path, format, isReadOnly = false, isEphemeral = false, isCdrom = false } = options;
  if (format === undefined) checkGuess(path);
  const { disk } = await openNodeDisk(path, {
    ...(format && { format }),
    isReadOnly: isReadOnly || isEphemeral,
    // A disc's end is no less of it where its file does not fill the last block.
    ...(isCdrom && { blockBytes: DISC_BLOCK_BYTES }),
    space,
  });
  if (disk.sizeBytes === 0) {
    await disk.close();
    const why = `${path} is a disk of 0 bytes, which no machine has.`;
    throw new StorageError(
      "out-of-range",
      `${why} Name another image, or make it larger (\`twinmetal image resize\`).`,
    );
  }
  if (!isEphemeral || isReadOnly) return disk;
  try {
    return new ScratchOverlay(disk, await scratchFile(space));
  } catch (error) {
    await disk.close();
    throw error;
  }
}

/** The format that was stated, or is guessed. Throws StorageError. */
export function statedFormat({ path, format }: Pick<DiskOptions, "path" | "format">): DiskFormat {
  if (format !== undefined) return format;
  checkGuess(path);
  return isNamedQcow2(path) ? "qcow2" : "raw";
}

function isNamedQcow2(path: string): boolean {
  return QCOW2_NAMES.includes(extname(path).toLowerCase());
}

function checkGuess(path: string): void {
  const isNamed = isNamedQcow2(path);
  const guessed = guessFormat(firstBytes(path));
  if (guessed === "qcow2" && !isNamed) {
    throw new StorageError(
      "unsupported",
      `${path} begins like a qcow2 image, and its name does not say so; a guest could have written that into a raw disk. State format=qcow2 or format=raw.`,
    );
  }
  if (guessed !== "qcow2" && isNamed) {
    throw new StorageError(
      "unsupported",
      `${path} is named like a qcow2 image and is none. State format=raw if these bytes are a disk's.`,
    );
  }
}

function firstBytes(path: string): Uint8Array {
  const bytes = new Uint8Array(GUESS_BYTES);
  try {
    const file = openSync(path, "r");
    try {
      readSync(file, bytes, 0, bytes.length, 0);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw fileError(error, path, "opened");
  }
  return bytes;
}

/** It has no name any more once it is open, so that nothing of it stays. */
async function scratchFile(space: SpaceLimit | undefined): ReturnType<typeof openImageFile> {
  const path = join(tmpdir(), `twinmetal-scratch-${randomBytes(8).toString("hex")}`);
  const file = await openImageFile(path, { create: true, lock: false, space });
  rmSync(path, { force: true });
  return file;
}
