/**
 * A folder of the host as a file server for one VM: carries out core's requests (file-requests.ts), one at a time, on what
 * open-files.ts lets it reach. Nothing of a request is trusted that the guest could have made up.
 *
 * Files belong to the user that the VM's process runs as, and that user is the guest's root (user and group 0); all others are
 * "nobody" (65534). Owners cannot be changed. Set-user-ID and set-group-ID bits are never set: a program that a guest leaves
 * behind runs as whoever starts it. Read-only folders refuse here, whatever the guest believes. Left out: extended
 * attributes, special files, renames that exchange.
 */
import {
  type BigIntStats,
  chmodSync,
  closeSync,
  fchmodSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  opendirSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  statfsSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import {
  type AttributeChanges,
  type DirectoryEntry,
  ERRNO,
  encodeAttributes,
  encodeEntries,
  encodeStatistics,
  encodeTarget,
  FILE_LIMITS,
  type FileAttributes,
  type FileNode,
  type FileRequest,
  type OpenFile,
  type ReadDirectory,
  S_IFMT,
  type SentRequest,
} from "@twinmetal/core";
import { checkedName, errnoOf, FileError, type Handle, identityOf, OpenFiles, pathOf } from "./open-files.ts";

const NOBODY = 65_534;
const NOTHING = new Uint8Array(0);
const MAX_LINK_COUNT = 0xffff_ffff;
/** Names that a directory is listed with; one with more cannot be read. */
const MAX_ENTRIES = 250_000;
const PERMISSIONS = 0o1777;
/** What file systems keep of times. */
const MAX_SECONDS = 2 ** 33;

const CHANGING: readonly FileRequest["operation"][] = [
  "setattr",
  "create",
  "write",
  "mkdir",
  "symlink",
  "link",
  "rename",
  "unlink",
  "rmdir",
];

export interface FolderOptions {
  readonly path: string;
  readonly isReadOnly: boolean;
}

/** A reply, or where `reply` was filled, how much of it. */
export type Performed = Uint8Array | number;

export class FolderServer {
  readonly #files: OpenFiles;
  readonly #isReadOnly: boolean;
  readonly #user: number;

  /** Throws Node's error where the path is no directory that can be opened. */
  constructor({ path, isReadOnly }: FolderOptions) {
    this.#files = new OpenFiles(path);
    this.#isReadOnly = isReadOnly;
    this.#user = process.geteuid?.() ?? 0;
  }

  close(): void {
    this.#files.close();
  }

  /** `data`: what is written; `reply`: where what is read goes. Throws what `errnoOf` knows the number of. */
  perform(request: SentRequest, data: Uint8Array, reply: Uint8Array): Performed {
    const opensToWrite = request.operation === "open" && (request.access !== "read" || request.isTruncated);
    if (this.#isReadOnly && (opensToWrite || CHANGING.includes(request.operation))) throw new FileError(ERRNO.ROFS);
    switch (request.operation) {
      case "none":
        return NOTHING;
      case "reset":
        this.#files.reset();
        return NOTHING;
      case "lookup":
        return this.#lookup(request.node, request.names);
      case "getattr":
        return this.#attributes(this.#statOf(request.node, request.handle));
      case "setattr":
        return this.#setAttributes(request.node, request.handle, request.changes);
      case "readlink":
        return this.#readlink(request.node);
      case "open": {
        const fd = this.#files.openNode(this.#files.node(request.node), request.access, false);
        this.#files.keepHandle(request.handle, fd, false);
        if (request.isTruncated) ftruncateSync(fd, 0);
        return NOTHING;
      }
      case "opendir": {
        const fd = this.#files.openNode(this.#files.node(request.node), "read", true);
        this.#files.keepHandle(request.handle, fd, true);
        return NOTHING;
      }
      case "create":
        return this.#create(request);
      case "read":
        return readSync(this.#open(request).fd, reply, 0, Math.min(request.length, reply.length), request.offset);
      case "write": {
        const written = writeSync(this.#open(request).fd, data, 0, data.length, request.offset);
        return new Uint8Array(Uint32Array.of(written).buffer);
      }
      case "readdir":
        return this.#readDirectory(request);
      case "release":
        this.#files.release(request.handle);
        return NOTHING;
      case "fsync": {
        const { fd } = this.#files.knownHandle(request.handle) ?? this.#open(request);
        if (request.isDataOnly) fdatasyncSync(fd);
        else fsyncSync(fd);
        return NOTHING;
      }
      case "mkdir":
      case "symlink":
      case "link":
        return this.#make(request, request.isRepeated === true);
      case "rename":
        return this.#rename(request, request.isRepeated === true);
      case "unlink":
      case "rmdir":
        return this.#remove(request, request.isRepeated === true);
      case "statfs":
        return statisticsOf(this.#files.node(request.node));
    }
  }

  #open(open: OpenFile): Handle {
    return this.#files.handle(open, false);
  }

  #lookup(node: FileNode, names: readonly string[]): Uint8Array {
    const found: FileAttributes[] = [];
    let at = this.#files.directory(node);
    let own: number | undefined;
    try {
      for (const name of names) {
        const next = this.#files.child(at, name);
        if (own !== undefined) closeSync(own);
        at = own = next;
        found.push(this.#describe(fstatSync(next, { bigint: true })));
      }
    } catch (error) {
      if (found.length === 0) throw error;
    } finally {
      if (own !== undefined) closeSync(own);
    }
    return encodeAttributes(found);
  }

  #statOf(node: FileNode, handle: number): BigIntStats {
    const open = handle === 0 ? undefined : this.#files.knownHandle(handle);
    return fstatSync(open?.fd ?? this.#files.node(node), { bigint: true });
  }

  #setAttributes(node: FileNode, handle: number, changes: AttributeChanges): Uint8Array {
    const { mode, uid, gid, size, atime, mtime } = changes;
    const open = handle === 0 ? undefined : this.#files.knownHandle(handle);
    const fd = open?.fd ?? this.#files.node(node);
    const before = fstatSync(fd, { bigint: true });
    const known = this.#describe(before);
    if ((uid !== null && uid !== known.uid) || (gid !== null && gid !== known.gid)) throw new FileError(ERRNO.PERM);
    if (mode !== null) this.#changeMode(fd, mode & PERMISSIONS);
    if (size !== null) this.#truncate(fd, open !== undefined, size);
    if (atime !== null || mtime !== null) {
      const now = Date.now() / 1000;
      const seconds = (time: AttributeChanges["atime"], old: bigint): number =>
        time === "now" ? now : Math.min(Math.max(Number(time ?? old) / 1e9, -MAX_SECONDS), MAX_SECONDS);
      utimesSync(pathOf(fd), seconds(atime, before.atimeNs), seconds(mtime, before.mtimeNs));
    }
    return this.#attributes(fstatSync(fd, { bigint: true }));
  }

  /** By an open file where one can be had: the sandbox allows nothing else. */
  #changeMode(fd: number, mode: number): void {
    let file: number;
    try {
      file = this.#files.openNode(fd, "read", fstatSync(fd).isDirectory());
    } catch {
      chmodSync(pathOf(fd), mode); // The process may not read it, or it is of a kind that is not opened.
      return;
    }
    try {
      fchmodSync(file, mode);
    } finally {
      closeSync(file);
    }
  }

  #truncate(fd: number, isOpen: boolean, size: number): void {
    if (isOpen) {
      ftruncateSync(fd, size);
      return;
    }
    const file = this.#files.openNode(fd, "write", false);
    try {
      ftruncateSync(file, size);
    } finally {
      closeSync(file);
    }
  }

  /** By its name, since Node cannot ask a descriptor: if another link is there by now it is the other's text, which is as good. */
  #readlink(node: FileNode): Uint8Array {
    if (!fstatSync(this.#files.node(node)).isSymbolicLink()) throw new FileError(ERRNO.INVAL);
    const { path } = node;
    if (path === null || path.length === 0) throw new FileError(ERRNO.STALE);
    return this.#inParent(path, (directory, name) =>
      encodeTarget(readlinkSync(pathOf(directory, name), { encoding: "latin1" })),
    );
  }

  /** The directory is open for the call alone. */
  #inParent<T>(path: readonly string[], action: (directory: number, name: string) => T): T {
    const directory = this.#files.openParent(path);
    try {
      return action(directory, checkedName(path.at(-1)!));
    } finally {
      closeSync(directory);
    }
  }

  #create(request: FileRequest & { readonly operation: "create" } & { readonly isRepeated?: boolean }): Uint8Array {
    const { node, name, mode, handle, access, isExclusive, isTruncated, isRepeated } = request;
    const directory = this.#files.directory(node);
    let fd: number;
    try {
      fd = this.#files.createFile(directory, name, access, mode & 0o777);
    } catch (error) {
      if (errnoOf(error) !== ERRNO.EXIST || (isExclusive && !isRepeated)) throw error;
      const found = this.#files.child(directory, name);
      try {
        fd = this.#files.openNode(found, access, false);
      } finally {
        closeSync(found);
      }
      if (isTruncated) ftruncateSync(fd, 0);
    }
    const found = fstatSync(fd, { bigint: true });
    if (handle === 0) closeSync(fd);
    else this.#files.keepHandle(handle, fd, false);
    return this.#attributes(found);
  }

  #make(request: FileRequest & { readonly operation: "mkdir" | "symlink" | "link" }, isRepeated: boolean): Uint8Array {
    const directory = this.#files.directory(request.node);
    const path = pathOf(directory, checkedName(request.name));
    try {
      if (request.operation === "mkdir") mkdirSync(path, { mode: request.mode & PERMISSIONS });
      else if (request.operation === "symlink") symlinkSync(checkedTarget(request.target), path);
      else this.#link(request.target, path);
    } catch (error) {
      if (!isRepeated || errnoOf(error) !== ERRNO.EXIST) throw error;
    }
    return this.#lookup(request.node, [request.name]);
  }

  /** By its name, which at the time of the call is whatever lies in that directory of the folder: a link to it leaves nothing. */
  #link(target: FileNode, path: Buffer): void {
    const found = fstatSync(this.#files.node(target), { bigint: true });
    if (found.isDirectory()) throw new FileError(ERRNO.PERM);
    if (target.path === null || target.path.length === 0) throw new FileError(ERRNO.STALE);
    this.#inParent(target.path, (directory, name) => {
      const source = pathOf(directory, name);
      const now = lstatSync(source, { bigint: true });
      if (now.ino !== found.ino || now.dev !== found.dev) throw new FileError(ERRNO.STALE);
      linkSync(source, path);
    });
  }

  #rename(request: FileRequest & { readonly operation: "rename" }, isRepeated: boolean): Uint8Array {
    const { node, name, to, newName, child } = request;
    // The second look-up may make room in the cache that the first has its descriptor from.
    const from = this.#files.duplicate(this.#files.directory(node));
    try {
      const target = pathOf(this.#files.directory(to), checkedName(newName));
      try {
        renameSync(pathOf(from, checkedName(name)), target);
      } catch (error) {
        const isThere = isRepeated && errnoOf(error) === ERRNO.NOENT && lstatSync(target, { throwIfNoEntry: false });
        if (!isThere) throw error;
      }
    } finally {
      closeSync(from);
    }
    if (child !== 0) this.#files.forget(child);
    return NOTHING;
  }

  #remove(request: FileRequest & { readonly operation: "unlink" | "rmdir" }, isRepeated: boolean): Uint8Array {
    const path = pathOf(this.#files.directory(request.node), checkedName(request.name));
    try {
      if (request.operation === "unlink") unlinkSync(path);
      else rmdirSync(path);
    } catch (error) {
      if (!isRepeated || errnoOf(error) !== ERRNO.NOENT) throw error;
    }
    if (request.child !== 0) this.#files.forget(request.child);
    return NOTHING;
  }

  #readDirectory(request: ReadDirectory): Uint8Array {
    const { offset, entryBytes, align, hasAttributes } = request;
    const handle = this.#files.handle({ node: request.node, handle: request.handle, access: "read" }, true);
    if (offset === 0 || !handle.names) this.#files.list(handle, listDirectory(handle.fd));
    const { names = [] } = handle;
    const entries: DirectoryEntry[] = [];
    let room = Math.min(request.bytes, FILE_LIMITS.entryBytes);
    for (let at = offset; at < names.length; at++) {
      const name = names[at]!;
      room -= Math.ceil((entryBytes + name.length) / align) * align;
      if (room < 0) break;
      const found =
        name === "." || name === ".."
          ? fstatSync(handle.fd, { bigint: true })
          : lstatSync(pathOf(handle.fd, name), { bigint: true, throwIfNoEntry: false });
      // Removed since.
      if (!found) continue;
      const attributes = this.#describe(found);
      entries.push({
        name,
        next: at + 1,
        inode: attributes.inode,
        type: attributes.mode & S_IFMT,
        attributes: hasAttributes ? attributes : null,
      });
    }
    return encodeEntries(entries);
  }

  #attributes(found: BigIntStats): Uint8Array {
    return encodeAttributes([this.#describe(found)]);
  }

  #describe(found: BigIntStats): FileAttributes {
    return {
      identity: identityOf(found),
      inode: BigInt.asUintN(64, found.ino),
      mode: Number(found.mode) & 0xffff,
      links: Math.min(Number(found.nlink), MAX_LINK_COUNT),
      uid: Number(found.uid) === this.#user ? 0 : NOBODY,
      gid: Number(found.uid) === this.#user ? 0 : NOBODY,
      size: Number(found.size),
      blocks: Number(found.blocks),
      atime: found.atimeNs,
      mtime: found.mtimeNs,
      ctime: found.ctimeNs,
    };
  }
}

/** Sorted, so that reading may go on after a restore. Bounded, as it is held. Throws FileError. */
function listDirectory(fd: number): readonly string[] {
  const directory = opendirSync(pathOf(fd) as unknown as string, { encoding: "buffer" as BufferEncoding });
  const names: string[] = [];
  try {
    for (let entry = directory.readSync(); entry; entry = directory.readSync()) {
      names.push((entry.name as unknown as Buffer).toString("latin1"));
      if (names.length > MAX_ENTRIES) throw new FileError(ERRNO.OVERFLOW);
    }
  } finally {
    directory.closeSync();
  }
  return [".", "..", ...names.sort()];
}

function checkedTarget(target: string): Buffer {
  if (target.length === 0 || target.includes("\0")) throw new FileError(ERRNO.INVAL);
  return Buffer.from(target, "latin1");
}

function statisticsOf(fd: number): Uint8Array {
  const { bsize, blocks, bfree, bavail, files, ffree } = statfsSync(pathOf(fd), { bigint: true });
  return encodeStatistics({
    blockBytes: Number(bsize),
    blocks,
    blocksFree: bfree,
    blocksAvailable: bavail,
    files,
    filesFree: ffree,
  });
}
