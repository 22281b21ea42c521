/**
 * A copy of a file that shares its blocks with it where the file system can (FICLONE), and else has holes where it has zeros: states
 * and disk images are mostly empty. The copy is durable when it is there, and removed where it could not be finished.
 */
import { constants } from "node:fs";
import { copyFile, type FileHandle, open, rm } from "node:fs/promises";
import type { VmProgress } from "../vm/vm.ts";

const CHUNK_BYTES = 2 ** 20;
const BLOCK_BYTES = 4096;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

export interface CopyOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: VmProgress) => void) | undefined;
}

/** `to` must not be there. Rejects with the signal's reason, and with what the files' calls do. */
export async function copySparse(from: string, to: string, options: CopyOptions = {}): Promise<void> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const source = await open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stat = await source.stat();
    if (!stat.isFile()) throw Object.assign(new Error(`${from} is no file`), { code: "EINVAL" });
    const isShared = await shared(from, to);
    const target = await open(to, isShared ? "r+" : "wx", 0o600);
    try {
      if (!isShared) await copyBlocks(source, target, stat.size, options);
      await target.sync();
    } catch (error) {
      await rm(to, { force: true });
      throw error;
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

async function shared(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") throw error;
    return false;
  }
}

async function copyBlocks(source: FileHandle, target: FileHandle, sizeBytes: number, options: CopyOptions) {
  const { signal, onProgress } = options;
  await target.truncate(sizeBytes);
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let at = 0; at < sizeBytes; at += CHUNK_BYTES) {
    signal?.throwIfAborted();
    const bytes = chunk.subarray(0, Math.min(CHUNK_BYTES, sizeBytes - at));
    const { bytesRead } = await source.read(bytes, 0, bytes.length, at);
    if (bytesRead < bytes.length) throw Object.assign(new Error("the file became shorter"), { code: "EIO" });
    for (const [start, end] of filledRuns(bytes)) {
      for (let from = start; from < end; )
        from += (await target.write(bytes, from, end - from, at + from)).bytesWritten;
    }
    onProgress?.({ phase: "copy", done: at + bytes.length, total: sizeBytes });
  }
  signal?.throwIfAborted();
}

/** Of whole blocks, and what is left at the end. */
function* filledRuns(bytes: Buffer): Generator<readonly [start: number, end: number]> {
  let start: number | undefined;
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = bytes.subarray(at, at + BLOCK_BYTES);
    const isEmpty = ZEROS.subarray(0, block.length).equals(block);
    if (!isEmpty) start ??= at;
    else if (start !== undefined) {
      yield [start, at];
      start = undefined;
    }
  }
  if (start !== undefined) yield [start, bytes.length];
}
