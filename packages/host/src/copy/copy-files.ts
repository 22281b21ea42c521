/** Copies between this host and a running VM's guest: `twinmetal cp`. What goes over the VM's control socket is a tar archive. */
import { existsSync, realpathSync, statfsSync, statSync } from "node:fs";
import { basename, dirname, join, posix, resolve } from "node:path";
import { askVm } from "../lifecycle/ask-vm.ts";
import type { VmProgress } from "../vm/vm.ts";
import { CopyError, hostFileError } from "./copy-error.ts";
import { WHOLE } from "./guest-archive.ts";
import { archiveOf, examineHostTree } from "./host-tree.ts";
import { ReceivedTree } from "./received-tree.ts";

/** Of the free space of the disk that is copied to. */
const MAX_PART_OF_DISK = 0.9;
/** A guest or a process that does not end what was given up. */
const GIVE_UP_MS = 1000;

export interface CopyOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: VmProgress) => void;
}

export interface CopyFromVmOptions extends CopyOptions {
  /** At most so many bytes come, the archive's own among them. Default: nine tenths of the target's free space. */
  readonly maxBytes?: number;
}

/** What was copied; `leftOut` names what is none of file, folder and symbolic link, or a link that leads out. */
export interface CopyResult {
  readonly files: number;
  readonly folders: number;
  readonly links: number;
  readonly sizeBytes: number;
  readonly leftOut: readonly string[];
}

/**
 * Files and folders of the guest, absolute paths there, to `target` on the host: into it, if it is a folder, ends in a slash,
 * or there are several; else it is the copy's name. Rejects with CopyError, and as askVm, with AgentError's codes.
 */
export async function copyFromVm(
  vm: string,
  paths: readonly string[],
  target: string,
  { maxBytes, signal, onProgress = () => {} }: CopyFromVmOptions = {},
): Promise<CopyResult> {
  const finals = paths.map((path) => hostTarget(target, nameOf(posix.normalize(path), path), paths.length > 1));
  let total: CopyResult = { files: 0, folders: 0, links: 0, sizeBytes: 0, leftOut: [] };
  let receivedBytes = 0;
  for (const [index, final] of finals.entries()) {
    const mostBytes = maxBytes === undefined ? freeBytes(dirname(final)) : maxBytes - receivedBytes;
    const tree = new ReceivedTree(final, `${vm}:${paths[index]}`, mostBytes);
    try {
      await receive(vm, paths[index]!, signal, (bytes) => {
        tree.write(bytes);
        receivedBytes += bytes.length;
        onProgress({ phase: "copy", done: receivedBytes, total: undefined });
      });
      total = sum(total, tree.finish());
    } finally {
      tree.dispose();
    }
  }
  return total;
}

async function receive(
  vm: string,
  path: string,
  signal: AbortSignal | undefined,
  take: (bytes: Uint8Array) => void,
): Promise<void> {
  const given = new AbortController();
  let trouble: unknown;
  const onStdout = (bytes: Uint8Array): void => {
    if (trouble !== undefined) return;
    try {
      take(bytes);
    } catch (error) {
      trouble = error;
      given.abort();
    }
  };
  try {
    const either = signal === undefined ? given.signal : AbortSignal.any([given.signal, signal]);
    await askVm(vm, { command: "pack", path }, { signal: either, giveUpMs: GIVE_UP_MS, streams: { onStdout } });
  } catch (error) {
    signal?.throwIfAborted();
    throw trouble ?? error;
  }
  if (trouble !== undefined) throw trouble;
}

/** Files and folders of the host to `target`, an absolute path in the guest; otherwise as `copyFromVm`. */
export async function copyToVm(
  vm: string,
  paths: readonly string[],
  target: string,
  { signal, onProgress = () => {} }: CopyOptions = {},
): Promise<CopyResult> {
  const names = paths.map((path) => nameOf(resolve(path), path));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined)
    throw new CopyError("conflict", `Two of the sources are called ${twice}. Copy one after the other.`);
  const tree = await examineHostTree(paths);
  const { sizeBytes: totalBytes, items, leftOut } = tree;
  let sentBytes = 0;
  let trouble: unknown;
  const given = new AbortController();
  const onBytes = (sizeBytes: number): void => {
    sentBytes += sizeBytes;
    onProgress({ phase: "copy", done: sentBytes, total: totalBytes });
  };
  const input = watched(archiveOf(tree, WHOLE, onBytes), (error) => {
    trouble = error;
    given.abort();
  });
  const isIntoFolder = paths.length > 1 || target.endsWith("/");
  const either = signal === undefined ? given.signal : AbortSignal.any([given.signal, signal]);
  try {
    const request = { command: "unpack", target, names, isIntoFolder } as const;
    await askVm(vm, request, { signal: either, giveUpMs: GIVE_UP_MS, streams: { input } });
  } catch (error) {
    signal?.throwIfAborted();
    throw trouble ?? error;
  } finally {
    // Nobody may have read it to its end, where it closes its file.
    await input.return(undefined);
  }
  const count = (type: string): number => items.filter((item) => item.type === type).length;
  return {
    files: count("file"),
    folders: count("directory"),
    links: count("symlink"),
    sizeBytes: totalBytes,
    leftOut,
  };
}

/** The reader of a stream that fails hears of its end only. */
async function* watched<T>(source: AsyncIterable<T>, onError: (error: unknown) => void): AsyncGenerator<T> {
  try {
    yield* source;
  } catch (error) {
    onError(error);
    throw error;
  }
}

function nameOf(path: string, given: string): string {
  const name = basename(path);
  if (name !== "" && name !== "/" && name !== "..") return name;
  throw new CopyError("host-file", `${given} has no name that its copy could have: name a folder in it.`);
}

/** The path that one copy gets. Throws CopyError. */
function hostTarget(target: string, name: string, isSeveral: boolean): string {
  try {
    const stats = statSync(target, { throwIfNoEntry: false });
    if (stats?.isDirectory()) return join(realpathSync(target), name);
    if (isSeveral || target.endsWith("/"))
      throw new CopyError("host-file", `There is no folder ${target}. Make it first, or name another.`);
    const folder = dirname(resolve(target));
    if (!existsSync(folder))
      throw new CopyError("host-file", `There is no folder ${folder}. Make it first, or name another.`);
    return join(realpathSync(folder), basename(resolve(target)));
  } catch (error) {
    throw hostFileError(error, target, "written");
  }
}

function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return Math.floor(bavail * bsize * MAX_PART_OF_DISK);
  } catch (error) {
    throw hostFileError(error, folder, "written");
  }
}

function sum(one: CopyResult, other: CopyResult): CopyResult {
  return {
    files: one.files + other.files,
    folders: one.folders + other.folders,
    links: one.links + other.links,
    sizeBytes: one.sizeBytes + other.sizeBytes,
    leftOut: [...one.leftOut, ...other.leftOut],
  };
}
