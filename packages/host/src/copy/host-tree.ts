/**
 * Files and folders of the host as one tar archive, for a guest. What is named on the command line is followed where it is a
 * symbolic link; links inside folders stay links. A file is read as long as it was when it was looked at; one that has become
 * shorter is an error. Left out, and told: sockets, devices, FIFOs.
 */
import type { Stats } from "node:fs";
import { lstat, open, readdir, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { CopyError, hostFileError } from "./copy-error.ts";
import { TAR_END, type TarItem, tarHeader, tarPadding } from "./tar-writer.ts";

const READ_BYTES = 256 * 1024;

export interface HostTree {
  readonly items: readonly HostItem[];
  readonly sizeBytes: number;
  /** Paths of what is none of file, folder and symbolic link. */
  readonly leftOut: readonly string[];
}

interface HostItem extends TarItem {
  readonly source: string;
}

/** Each path is called by its number in the archive. Rejects with CopyError. */
export async function examineHostTree(paths: readonly string[]): Promise<HostTree> {
  const items: HostItem[] = [];
  const leftOut: string[] = [];
  const look = async (source: string, path: string, stats: Stats): Promise<void> => {
    const common = { source, path, mode: stats.mode & 0o7777, mtimeSeconds: Math.floor(stats.mtimeMs / 1000) };
    if (stats.isFile()) items.push({ ...common, type: "file", sizeBytes: stats.size });
    else if (stats.isSymbolicLink()) items.push({ ...common, type: "symlink", target: await readlink(source) });
    else if (!stats.isDirectory()) leftOut.push(source);
    else {
      items.push({ ...common, type: "directory" });
      for (const name of (await readdir(source)).sort()) {
        const below = join(source, name);
        await look(below, `${path}/${name}`, await lstat(below)).catch((error: unknown) => {
          throw hostFileError(error, below, "read");
        });
      }
    }
  };
  for (const [index, source] of paths.entries()) {
    const before = items.length;
    try {
      await look(source, String(index), await stat(source));
    } catch (error) {
      throw hostFileError(error, source, "read");
    }
    if (items.length === before)
      throw new CopyError("host-file", `${source} is no file and no folder, and only those are copied.`);
  }
  return { items, leftOut, sizeBytes: items.reduce((sum, { sizeBytes = 0 }) => sum + sizeBytes, 0) };
}

/** `last` is the name of an empty file at its end, by which a whole archive is told from one that was cut off. */
export async function* archiveOf(
  { items }: HostTree,
  last: string,
  onBytes: (sizeBytes: number) => void = () => {},
): AsyncGenerator<Uint8Array> {
  for (const item of items) {
    yield tarHeader(item);
    if (item.type !== "file") continue;
    for await (const bytes of bytesOf(item)) {
      onBytes(bytes.length);
      yield bytes;
    }
    yield tarPadding(item.sizeBytes ?? 0);
  }
  yield tarHeader({ path: last, type: "file", mode: 0o600, mtimeSeconds: 0 });
  yield TAR_END;
}

async function* bytesOf({ source, sizeBytes = 0 }: HostItem): AsyncGenerator<Uint8Array> {
  try {
    const file = await open(source, "r");
    try {
      for (let at = 0; at < sizeBytes; ) {
        const { bytesRead, buffer } = await file.read(
          Buffer.allocUnsafe(Math.min(READ_BYTES, sizeBytes - at)),
          0,
          undefined,
          at,
        );
        if (bytesRead === 0)
          throw new CopyError("host-file", `${source} became shorter while it was copied. Copy it once more.`);
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    throw hostFileError(error, source, "read");
  }
}
