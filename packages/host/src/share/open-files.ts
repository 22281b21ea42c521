/**
 * What a shared folder's server has open, and the one way from a name to a file: nothing leaves the folder, whatever links there
 * are and whoever moves things meanwhile.
 *
 * The invariant: every name is looked up alone, in a directory that is open, and never followed. `/proc/self/fd/N/NAME` starts at
 * the directory that N has open, wherever it is by now; O_NOFOLLOW makes a symbolic link be the link itself; names have no "/" and
 * are not ".."; and O_PATH opens nothing behind the name, so a device or FIFO does nothing. What N then is can no longer change:
 * its type is asked of the descriptor, and the file itself is opened as `/proc/self/fd/N`, which is that very file.
 *
 * Linux alone has this. Descriptors are a cache, except for the open files of the guest: a node is found again by its path
 * and has to be the same file (device, inode, time of birth), or it is stale.
 */
import { type BigIntStats, closeSync, constants, fstatSync, openSync } from "node:fs";
import { ERRNO, type FileAccessMode, type FileNode, isFileName, type OpenFile } from "@twinmetal/core";

const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const { O_NOFOLLOW, O_DIRECTORY, O_NONBLOCK, O_NOCTTY, O_RDONLY, O_WRONLY, O_RDWR } = constants;
const NODE_FLAGS = O_PATH | O_NOFOLLOW | O_CLOEXEC;
const OPEN_FLAGS = O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
/** Descriptors of nodes, beside those of open files. */
const MAX_NODES = 512;
/** Names of all listed directories together. */
const MAX_NAMES = 500_000;
const MAX_HANDLES = 1024;
const MIN_DROPPED = 8;
const ROOT = 1;

/** An error of the guest's. */
export class FileError extends Error {
  override readonly name = "FileError";
  /** Of core's ERRNO. */
  readonly errno: number;

  constructor(errno: number) {
    super(`error ${errno}`);
    this.errno = errno;
  }
}

export interface Handle {
  readonly fd: number;
  readonly isDirectory: boolean;
  /** Of a directory: what was in it when it was read from its beginning. */
  names?: readonly string[] | undefined;
}

/** The path of what a descriptor has open; of a name in it. */
export function pathOf(fd: number, name?: string): Buffer {
  return Buffer.from(name === undefined ? `/proc/self/fd/${fd}` : `/proc/self/fd/${fd}/${name}`, "latin1");
}

export class OpenFiles {
  readonly #root: number;
  /** In the order of their last use. */
  readonly #nodes = new Map<number, number>();
  readonly #handles = new Map<number, Handle>();
  #nameCount = 0;

  /** Throws Node's error where the path is no directory that can be opened. */
  constructor(path: string) {
    this.#root = openSync(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  }

  close(): void {
    this.reset();
    closeSync(this.#root);
  }

  reset(): void {
    for (const fd of this.#nodes.values()) closeSync(fd);
    this.#nodes.clear();
    for (const { fd } of this.#handles.values()) closeSync(fd);
    this.#handles.clear();
    this.#nameCount = 0;
  }

  /** A descriptor of the node (O_PATH), which stays this object's: valid until the next call. Throws FileError. */
  node({ number, path, identity }: FileNode): number {
    if (number === ROOT) return this.#root;
    const known = this.#nodes.get(number);
    if (known !== undefined) {
      this.#nodes.delete(number);
      this.#nodes.set(number, known);
      return known;
    }
    if (path === null || path.length === 0) throw new FileError(ERRNO.STALE);
    const fd = this.#walk(path);
    if (identityOf(fstatSync(fd, { bigint: true })) !== identity) {
      closeSync(fd);
      throw new FileError(ERRNO.STALE);
    }
    this.#keep(number, fd);
    return fd;
  }

  /** As `node`, but of a directory. */
  directory(node: FileNode): number {
    const fd = this.node(node);
    if (!fstatSync(fd).isDirectory()) throw new FileError(ERRNO.NOTDIR);
    return fd;
  }

  /** A new descriptor (O_PATH) of the directory that a path's last name is in; whoever gets it closes it. */
  openParent(path: readonly string[]): number {
    return path.length > 1 ? this.#walk(path.slice(0, -1)) : this.duplicate(this.#root);
  }

  /** A new descriptor of the same directory; whoever gets it closes it. */
  duplicate(directory: number): number {
    return this.#open(pathOf(directory), O_PATH | O_DIRECTORY | O_CLOEXEC);
  }

  /** A new descriptor (O_PATH) of what a directory has under a name; whoever gets it closes it. */
  child(directory: number, name: string): number {
    return this.#open(pathOf(directory, checkedName(name)), NODE_FLAGS);
  }

  /** Opens what a node's descriptor names: a file or a directory, nothing else. */
  openNode(fd: number, access: FileAccessMode, isDirectory: boolean, moreFlags = 0): number {
    const found = fstatSync(fd);
    if (isDirectory) {
      if (!found.isDirectory()) throw new FileError(ERRNO.NOTDIR);
      return this.#open(pathOf(fd), O_RDONLY | O_DIRECTORY | OPEN_FLAGS);
    }
    if (found.isDirectory()) throw new FileError(ERRNO.ISDIR);
    // Devices, sockets and FIFOs of the host are there by name alone.
    if (!found.isFile()) throw new FileError(ERRNO.ACCES);
    return this.#open(pathOf(fd), accessFlags(access) | OPEN_FLAGS | moreFlags);
  }

  createFile(directory: number, name: string, access: FileAccessMode, mode: number): number {
    const flags = constants.O_CREAT | constants.O_EXCL | O_NOFOLLOW | accessFlags(access) | OPEN_FLAGS;
    return this.#open(pathOf(directory, checkedName(name)), flags, mode);
  }

  /** The descriptor is this object's from here on. */
  keepHandle(handle: number, fd: number, isDirectory: boolean): void {
    this.release(handle);
    if (this.#handles.size >= MAX_HANDLES) {
      closeSync(fd);
      throw new FileError(ERRNO.NFILE);
    }
    this.#handles.set(handle, { fd, isDirectory });
  }

  /** What is open under that number, which after a restore is opened again. Throws FileError. */
  handle(open: OpenFile, isDirectory: boolean): Handle {
    const known = this.#handles.get(open.handle);
    if (known?.isDirectory === isDirectory) return known;
    if (known) throw new FileError(ERRNO.BADF);
    this.keepHandle(open.handle, this.openNode(this.node(open.node), open.access, isDirectory), isDirectory);
    return this.#handles.get(open.handle)!;
  }

  knownHandle(handle: number): Handle | undefined {
    return this.#handles.get(handle);
  }

  list(handle: Handle, names: readonly string[]): void {
    this.#nameCount += names.length - (handle.names?.length ?? 0);
    handle.names = names;
    // Whoever reads on in another one has it listed again.
    for (const other of this.#handles.values()) {
      if (this.#nameCount <= MAX_NAMES) break;
      if (other === handle || !other.names) continue;
      this.#nameCount -= other.names.length;
      other.names = undefined;
    }
  }

  release(handle: number): void {
    const known = this.#handles.get(handle);
    if (!known) return;
    this.#handles.delete(handle);
    this.#nameCount -= known.names?.length ?? 0;
    closeSync(known.fd);
  }

  /** The name of that node is gone: its space on the disk shall not wait for this cache. */
  forget(number: number): void {
    const fd = this.#nodes.get(number);
    if (fd === undefined) return;
    this.#nodes.delete(number);
    closeSync(fd);
  }

  #walk(path: readonly string[]): number {
    let at = this.#root;
    for (const [index, name] of path.entries()) {
      const isLast = index === path.length - 1;
      try {
        const next = this.#open(pathOf(at, checkedName(name)), NODE_FLAGS | (isLast ? 0 : O_DIRECTORY));
        if (at !== this.#root) closeSync(at);
        at = next;
      } catch (error) {
        if (at !== this.#root) closeSync(at);
        throw isGone(error) ? new FileError(ERRNO.STALE) : error;
      }
    }
    return at;
  }

  #keep(number: number, fd: number): void {
    this.#nodes.set(number, fd);
    if (this.#nodes.size > MAX_NODES) this.#dropOldest(1);
  }

  #dropOldest(count: number): void {
    for (const [number, fd] of this.#nodes) {
      if (count-- <= 0) return;
      this.#nodes.delete(number);
      closeSync(fd);
    }
  }

  /** Where the process has too many files open, the cache gives way. */
  #open(path: Buffer, flags: number, mode?: number): number {
    try {
      return openSync(path, flags, mode);
    } catch (error) {
      const isFull = errnoOf(error) === ERRNO.MFILE || errnoOf(error) === ERRNO.NFILE;
      if (!isFull || this.#nodes.size < MIN_DROPPED) throw error;
      // The newest are in use: `path` begins with one of them.
      this.#dropOldest(Math.floor(this.#nodes.size / 2));
      return openSync(path, flags, mode);
    }
  }
}

export function identityOf({ dev, ino, birthtimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${birthtimeNs}`;
}

/** Throws FileError. */
export function checkedName(name: string): string {
  if (!isFileName(name)) throw new FileError(ERRNO.INVAL);
  return name;
}

/** Of Node's errors and FileError; undefined: of something else. */
export function errnoOf(error: unknown): number | undefined {
  if (error instanceof FileError) return error.errno;
  const { errno } = error as { errno?: unknown };
  return typeof errno === "number" ? Math.abs(errno) : undefined;
}

function isGone(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === ERRNO.NOENT || errno === ERRNO.NOTDIR;
}

function accessFlags(access: FileAccessMode): number {
  return access === "read" ? O_RDONLY : access === "write" ? O_WRONLY : O_RDWR;
}
