/**
 * From an image's name to its disk, backing files included. A backing file's format is stated in the image that names it
 * and never guessed: its bytes may be a guest's, who could make them a header that names any file of the host. Chains are
 * bounded, and one that comes back to itself is refused.
 *
 * An image that was not closed (its dirty bit is set) is looked through and repaired before it is written to.
 */
import type { BlockDevice } from "./block-device.ts";
import { GUESS_BYTES, guessFormat } from "./format-guess.ts";
import type { ImageFile } from "./image-file.ts";
import { checkQcow2 } from "./qcow2/check.ts";
import type { Decoders } from "./qcow2/compressed.ts";
import { Qcow2Disk } from "./qcow2/disk.ts";
import { Qcow2Image } from "./qcow2/image.ts";
import { RawDisk } from "./raw.ts";
import { StorageError } from "./storage-error.ts";

export type DiskFormat = "raw" | "qcow2";

/** Where images are found by name. */
export interface ImageFiles {
  open(name: string, options: { readonly isReadOnly: boolean }): Promise<ImageFile>;
  /** The name, such that two names of one file are equal, of what `reference` in the image `from` means. */
  resolve(reference: string, from: string | undefined): Promise<string>;
}

export interface OpenDiskOptions {
  /** undefined: guessed by the first bytes. */
  readonly format?: DiskFormat;
  readonly isReadOnly?: boolean;
  /** Of a raw image: `RawOptions`. */
  readonly blockBytes?: number | undefined;
  readonly decoders?: Decoders;
  /** For each of the two caches of each qcow2 image. */
  readonly cacheBytes?: number;
  readonly onProgress?: (what: "repair", fraction: number) => void;
}

export interface OpenedDisk {
  readonly disk: BlockDevice;
  /** The image, then its backing files. */
  readonly chain: readonly { readonly name: string; readonly format: DiskFormat }[];
}

const MAX_CHAIN = 64;

/** Throws StorageError. Whatever was opened is closed again then. */
export async function openDisk(files: ImageFiles, name: string, options: OpenDiskOptions = {}): Promise<OpenedDisk> {
  return openLink(files, await files.resolve(name, undefined), options, []);
}

async function openLink(
  files: ImageFiles,
  name: string,
  options: OpenDiskOptions,
  above: readonly string[],
): Promise<OpenedDisk> {
  if (above.includes(name)) {
    throw new StorageError("corrupt", `The chain of backing files comes back to ${name}: it is damaged.`);
  }
  if (above.length >= MAX_CHAIN) {
    throw new StorageError("unsupported", `More than ${MAX_CHAIN} images on top of each other: merge some of them.`);
  }
  const file = await files.open(name, { isReadOnly: options.isReadOnly ?? false });
  try {
    const format = options.format ?? (await guess(file, name));
    if (format === "raw") {
      const { blockBytes } = options;
      const disk = await RawDisk.open(file, { isGuessed: options.format === undefined, blockBytes });
      return { disk, chain: [{ name, format }] };
    }
    return await openQcow2(files, file, name, options, above);
  } catch (error) {
    await file.close().catch(() => {});
    throw error;
  }
}

async function guess(file: ImageFile, name: string): Promise<DiskFormat> {
  const start = new Uint8Array(GUESS_BYTES);
  await file.read(0, start);
  const format = guessFormat(start);
  if (format === "raw" || format === "qcow2") return format;
  const next = "Convert it (`qemu-img convert -O qcow2`), or state format=raw if these bytes are a disk's.";
  throw new StorageError("unsupported", `${name} looks like a ${format} image, which is not supported. ${next}`);
}

async function openQcow2(
  files: ImageFiles,
  file: ImageFile,
  name: string,
  options: OpenDiskOptions,
  above: readonly string[],
): Promise<OpenedDisk> {
  const { decoders, cacheBytes, onProgress } = options;
  const image = await Qcow2Image.open(file);
  if (image.isMarkedDirty && !file.isReadOnly) {
    const result = await checkQcow2(image, { repair: "all", onProgress: (done) => onProgress?.("repair", done) });
    if (result.errorCount > 0) {
      const what = `${name} was not closed and cannot be repaired: ${result.errors[0]}.`;
      throw new StorageError("corrupt", `${what} Open it with \`readonly\` to save what can be read.`);
    }
    await image.setDirtyBit(false);
  }
  if (image.header.compression === "zstd" && decoders?.zstd === undefined) {
    const what = `${name} has clusters compressed with zstd, which this host cannot decompress.`;
    throw new StorageError("unsupported", `${what} Use Node 22.15 or later, or convert the image.`);
  }
  const below = await openBacking(files, image, name, options, [...above, name]);
  try {
    const disk = await Qcow2Disk.open(image, { backing: below?.disk, decoders, cacheBytes });
    return { disk, chain: [{ name, format: "qcow2" }, ...(below?.chain ?? [])] };
  } catch (error) {
    await below?.disk.close().catch(() => {});
    throw error;
  }
}

async function openBacking(
  files: ImageFiles,
  image: Qcow2Image,
  name: string,
  options: OpenDiskOptions,
  above: readonly string[],
): Promise<OpenedDisk | undefined> {
  const { backingName, backingFormat } = image.header;
  if (backingName === undefined) return undefined;
  const format = backingFormatOf(name, backingName, backingFormat);
  const reference = backingName.startsWith("file:") ? backingName.slice("file:".length) : backingName;
  if (/^[a-z][a-z0-9+.-]*:/i.test(reference)) {
    throw new StorageError("unsupported", `${name} has a backing file that is not a file: ${printable(backingName)}.`);
  }
  const { decoders, cacheBytes } = options;
  try {
    const resolved = await files.resolve(reference, name);
    return await openLink(files, resolved, { format, isReadOnly: true, decoders, cacheBytes }, above);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== "not-found") throw error;
    const what = `The backing file ${printable(backingName)} of ${name} is not there.`;
    throw new StorageError(
      "not-found",
      `${what} Put it back, or name another: qemu-img rebase -u -F ${format} -b FILE.`,
    );
  }
}

function backingFormatOf(name: string, backingName: string, backingFormat: string | undefined): DiskFormat {
  if (backingFormat === "raw" || backingFormat === "qcow2") return backingFormat;
  if (backingFormat !== undefined) {
    const what = `${name} has a backing file of format ${printable(backingFormat)}`;
    throw new StorageError("unsupported", `${what}, which is not supported here. Convert it to raw or qcow2.`);
  }
  const what = `${name} does not say which format its backing file ${printable(backingName)} has, and it is not guessed:`;
  const next = "Say it: qemu-img rebase -u -F raw|qcow2 -b BACKING IMAGE.";
  throw new StorageError(
    "unsupported",
    `${what} a guest's bytes could pretend to be one that names your files. ${next}`,
  );
}

/** A name from an image, safe to print. */
function printable(text: string): string {
  return [...text].map((character) => (character < " " || character === "\x7f" ? "?" : character)).join("");
}
