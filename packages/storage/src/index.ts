/** Disks and their image formats, for any host: what holds the bytes is handed in as an ImageFile. */

export { type BlockDevice, SECTOR_BYTES } from "./block-device.ts";
export { GUESS_BYTES, type GuessedFormat, guessFormat } from "./format-guess.ts";
export type { ImageFile } from "./image-file.ts";
export { MemoryFile, type MemoryFileOptions } from "./memory-file.ts";
export { RawDisk, type RawOptions } from "./raw.ts";
export { StorageError, type StorageErrorCode } from "./storage-error.ts";
