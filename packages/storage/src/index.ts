/** Disks and their image formats, for any host: what holds the bytes is handed in as an ImageFile. */

export { type BlockDevice, SECTOR_BYTES } from "./block-device.ts";
export { firmwareOfDisk } from "./boot-records.ts";
export { type DirectoryNode, type FileNode, newDirectory, type SymlinkNode, type TreeNode } from "./ext4/tree.ts";
export { type WriteExt4Options, writeExt4 } from "./ext4/write-ext4.ts";
export { GUESS_BYTES, type GuessedFormat, guessFormat } from "./format-guess.ts";
export type { ImageFile } from "./image-file.ts";
export { type IsoFile, writeIso9660 } from "./iso9660.ts";
export { MemoryFile, type MemoryFileOptions } from "./memory-file.ts";
export {
  type DiskFormat,
  type ImageFiles,
  type OpenDiskOptions,
  type OpenedDisk,
  openDisk,
} from "./open-disk.ts";
export { joinParts, type Parts, partsLength } from "./parts.ts";
export { type CheckOptions, type CheckResult, checkQcow2, type Repair } from "./qcow2/check.ts";
export type { Decoders } from "./qcow2/compressed.ts";
export { type CreateQcow2Options, createQcow2 } from "./qcow2/create.ts";
export { Qcow2Disk, type Qcow2Options } from "./qcow2/disk.ts";
export type { Compression, Qcow2Header } from "./qcow2/header.ts";
export { Qcow2Image } from "./qcow2/image.ts";
export { type Qcow2Snapshot, readSnapshots } from "./qcow2/snapshots.ts";
export { RawDisk, type RawOptions } from "./raw.ts";
export { ScratchOverlay } from "./scratch-overlay.ts";
export { StorageError, type StorageErrorCode } from "./storage-error.ts";
