/**
 * What is done to image files from outside a VM: made, described, looked through, grown. Each opens the file with its
 * lock, except the description, which may be of an image that a VM is using.
 */
import { rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import {
  type CheckResult,
  checkQcow2,
  createQcow2,
  type DiskFormat,
  GUESS_BYTES,
  guessFormat,
  Qcow2Disk,
  Qcow2Image,
  type Qcow2Snapshot,
  type Repair,
  readSnapshots,
  StorageError,
} from "@twinmetal/storage";
import { openNodeDisk } from "./node-disks.ts";
import { type NodeImageFile, openImageFile } from "./node-image-file.ts";

const SECTOR_BYTES = 512;

export interface CreateImageOptions {
  /** qcow2 */
  readonly format?: DiskFormat;
  /** Rounded up to whole sectors. Left out with a backing file: as large as that. */
  readonly sizeBytes?: number;
  readonly clusterBytes?: number;
  readonly refcountBits?: number;
  /** The path is relative to the new image, as it will be when the image is opened. */
  readonly backing?: { readonly path: string; readonly format: DiskFormat };
}

/** The file must not exist; one that could not be finished is removed. Returns the disk's size. */
export async function createImage(path: string, options: CreateImageOptions): Promise<number> {
  const { format = "qcow2", clusterBytes, refcountBits, backing } = options;
  if (format === "raw" && backing !== undefined) {
    throw new StorageError("unsupported", "A raw image has no backing file. Make it qcow2.");
  }
  const backingBytes = backing && (await backingSize(path, backing));
  const wanted = options.sizeBytes ?? backingBytes;
  if (wanted === undefined) {
    throw new StorageError("out-of-range", "A new image without a backing file needs a size.");
  }
  const sizeBytes = Math.ceil(wanted / SECTOR_BYTES) * SECTOR_BYTES;
  await makeFile(path, async (file) => {
    if (format === "raw") {
      await file.truncate(sizeBytes);
      return file.flush();
    }
    const named = backing && { name: backing.path, format: backing.format };
    return createQcow2(file, { sizeBytes, clusterBytes, refcountBits, backing: named });
  });
  return sizeBytes;
}

/** Makes a file and removes it again when `fill` fails, which may close it and makes it durable. */
export async function makeFile(path: string, fill: (file: NodeImageFile) => Promise<void>): Promise<void> {
  const file = await openImageFile(path, { create: true });
  try {
    await fill(file);
  } catch (error) {
    await file.close();
    await rm(path, { force: true });
    throw error;
  }
  await file.close();
}

async function backingSize(path: string, backing: NonNullable<CreateImageOptions["backing"]>): Promise<number> {
  const { disk } = await openNodeDisk(resolve(dirname(path), backing.path), {
    format: backing.format,
    isReadOnly: true,
  });
  const { sizeBytes } = disk;
  await disk.close();
  return sizeBytes;
}

export interface ImageInfo {
  readonly path: string;
  readonly format: string;
  /** Of the disk. undefined for formats that are only recognised. */
  readonly sizeBytes: number | undefined;
  /** What the file takes on the host's disk. */
  readonly usedBytes: number;
  readonly qcow2?: {
    readonly version: number;
    readonly clusterBytes: number;
    readonly refcountBits: number;
    readonly compression: string;
    readonly lazyRefcounts: boolean;
    readonly backing: { readonly name: string; readonly format: string | undefined } | undefined;
    readonly snapshots: readonly Omit<Qcow2Snapshot, "l1TableOffset" | "l1Size">[];
    /** Not closed by who wrote it last, or in use: it is looked through when it is opened next. */
    readonly isDirty: boolean;
    readonly isCorrupt: boolean;
  };
}

/** Without a lock: of an image in use it may say half of a change. */
export async function imageInfo(path: string): Promise<ImageInfo> {
  const file = await openImageFile(path, { isReadOnly: true, lock: false });
  try {
    const start = new Uint8Array(GUESS_BYTES);
    await file.read(0, start);
    const format = guessFormat(start);
    const usedBytes = (await stat(path)).blocks * SECTOR_BYTES;
    if (format === "raw") return { path, format, sizeBytes: await file.size(), usedBytes };
    if (format !== "qcow2") return { path, format, sizeBytes: undefined, usedBytes };
    const image = await Qcow2Image.open(file);
    const { header } = image;
    const { snapshots } = await readSnapshots(image);
    return {
      path,
      format,
      sizeBytes: header.size,
      usedBytes,
      qcow2: {
        version: header.version,
        clusterBytes: image.clusterBytes,
        refcountBits: 1 << header.refcountOrder,
        compression: header.compression,
        lazyRefcounts: header.isLazy,
        backing:
          header.backingName === undefined ? undefined : { name: header.backingName, format: header.backingFormat },
        snapshots: snapshots.map(({ l1TableOffset, l1Size, ...rest }) => rest),
        isDirty: image.isMarkedDirty,
        isCorrupt: image.isMarkedCorrupt,
      },
    };
  } finally {
    await file.close();
  }
}

export interface CheckImageOptions {
  readonly repair?: Repair;
  readonly onProgress?: (fraction: number) => void;
}

/** Only qcow2 images have something to check. */
export async function checkImage(path: string, options: CheckImageOptions = {}): Promise<CheckResult> {
  const isReadOnly = (options.repair ?? "none") === "none";
  const file = await openImageFile(path, { isReadOnly });
  try {
    const start = new Uint8Array(GUESS_BYTES);
    await file.read(0, start);
    if (guessFormat(start) !== "qcow2") {
      throw new StorageError("unsupported", `${path} is not a qcow2 image: only those have something to check.`);
    }
    return await checkQcow2(await Qcow2Image.open(file), options);
  } finally {
    await file.close();
  }
}

/** Makes the disk larger; returns its size. A smaller one is refused: a disk's end may hold data. */
export async function growImage(path: string, sizeFor: (sizeBytes: number) => number): Promise<number> {
  const { disk, chain } = await openNodeDisk(path);
  try {
    const wanted = Math.ceil(sizeFor(disk.sizeBytes) / SECTOR_BYTES) * SECTOR_BYTES;
    if (wanted < disk.sizeBytes) {
      const what = `${path} has ${disk.sizeBytes} bytes and cannot become smaller: what is at its end would be lost.`;
      throw new StorageError("out-of-range", `${what} Make a new image and copy what is needed.`);
    }
    if (disk instanceof Qcow2Disk) await disk.grow(wanted);
    if (chain[0]?.format === "raw") await growRaw(path, wanted, () => disk.close());
    return wanted;
  } finally {
    await disk.close();
  }
}

async function growRaw(path: string, sizeBytes: number, close: () => Promise<void>): Promise<void> {
  await close();
  const file = await openImageFile(path);
  try {
    if (sizeBytes > (await file.size())) await file.truncate(sizeBytes);
    await file.flush();
  } finally {
    await file.close();
  }
}
