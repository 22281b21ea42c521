/**
 * Copying a disk from one image into a new one, of the same or another format: only what is not zeroes, backing files
 * merged. The new file appears under its name at once and is removed when the copy fails.
 */
import { type BlockDevice, createQcow2, type DiskFormat, Qcow2Disk, Qcow2Image, RawDisk } from "@twinmetal/storage";
import { makeFile } from "./image-operations.ts";
import { openNodeDisk } from "./node-disks.ts";

export interface ConvertImageOptions {
  /** undefined: guessed. */
  readonly fromFormat?: DiskFormat;
  /** qcow2 */
  readonly format?: DiskFormat;
  readonly clusterBytes?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

const CHUNK_BYTES = 1 << 21;
const PIECE_BYTES = 1 << 12;

export async function convertImage(from: string, to: string, options: ConvertImageOptions = {}): Promise<void> {
  const { fromFormat, format = "qcow2", clusterBytes } = options;
  const { disk: source } = await openNodeDisk(from, { format: fromFormat, isReadOnly: true });
  try {
    await makeFile(to, async (file) => {
      let target: BlockDevice;
      if (format === "raw") {
        await file.truncate(source.sizeBytes);
        target = await RawDisk.open(file);
      } else {
        await createQcow2(file, { sizeBytes: source.sizeBytes, clusterBytes });
        target = await Qcow2Disk.open(await Qcow2Image.open(file));
      }
      await copy(source, target, options);
      await target.close();
    });
  } finally {
    await source.close();
  }
}

async function copy(source: BlockDevice, target: BlockDevice, options: ConvertImageOptions): Promise<void> {
  const { signal, onProgress } = options;
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let at = 0; at < source.sizeBytes; ) {
    signal?.throwIfAborted();
    onProgress?.(at, source.sizeBytes);
    const left = source.sizeBytes - at;
    const zeroes = source instanceof Qcow2Disk ? await source.zeroesAt(at, left) : 0;
    if (zeroes > 0) {
      at += zeroes;
      continue;
    }
    const chunk = left < CHUNK_BYTES ? buffer.subarray(0, left) : buffer;
    await source.read(at, chunk);
    await writeData(target, at, chunk);
    at += chunk.length;
    await letOthersRun();
  }
}

/** Stretches of pieces that are not all zeroes: the target reads zeroes already. */
async function writeData(target: BlockDevice, offset: number, chunk: Uint8Array): Promise<void> {
  if (isZero(chunk, 0, chunk.length)) return;
  for (let start = 0; start < chunk.length; ) {
    let end = start;
    while (end < chunk.length && !isZero(chunk, end, end + PIECE_BYTES)) end += PIECE_BYTES;
    if (end > start) await target.write(offset + start, chunk.subarray(start, Math.min(end, chunk.length)));
    start = end + PIECE_BYTES;
  }
}

const ZEROES = new Uint8Array(CHUNK_BYTES);

function isZero(chunk: Uint8Array, start: number, end: number): boolean {
  const piece = chunk.subarray(start, end);
  return Buffer.compare(piece, ZEROES.subarray(0, piece.length)) === 0;
}

/** The files' calls are synchronous: a signal would otherwise wait for the end. */
const letOthersRun = () => new Promise<void>((resolve) => setImmediate(resolve));
