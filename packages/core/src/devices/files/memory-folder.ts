/**
 * A folder in memory as a file server, for tests: as much of one as guests' requests need, without owners, times and space.
 * It answers as the host's does, from the requests' bytes to the replies'.
 */
import { ERRNO } from "./errno.ts";
import {
  type DirectoryEntry,
  decodeRequest,
  encodeAttributes,
  encodeEntries,
  encodeStatistics,
  encodeTarget,
  type FileAttributes,
  type FileNode,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "./file-requests.ts";

interface MemoryFile {
  readonly inode: number;
  mode: number;
  bytes: Uint8Array;
  target: string;
  readonly entries: Map<string, MemoryFile>;
}

const MAX_FILE_BYTES = 2 ** 20;
const NOTHING = new Uint8Array(0);

class Failure {
  readonly error: number;

  constructor(error: number) {
    this.error = error;
  }
}

export class MemoryFolder {
  readonly root: MemoryFile;
  readonly #handles = new Map<number, MemoryFile>();
  #nextInode = 1;

  constructor(files: Readonly<Record<string, string>> = {}) {
    this.root = this.#file(S_IFDIR | 0o755);
    for (const [name, content] of Object.entries(files)) {
      const file = this.#file(S_IFREG | 0o644);
      file.bytes = new TextEncoder().encode(content);
      this.root.entries.set(name, file);
    }
  }

  /** The reply and its error number. */
  answer(message: Uint8Array, data: Uint8Array): { readonly error: number; readonly bytes: Uint8Array } {
    try {
      return { error: 0, bytes: this.#perform(message, data) };
    } catch (failure) {
      if (failure instanceof Failure) return { error: failure.error, bytes: NOTHING };
      throw failure;
    }
  }

  #perform(message: Uint8Array, data: Uint8Array): Uint8Array {
    const request = decodeRequest(message);
    switch (request.operation) {
      case "none":
        return NOTHING;
      case "reset":
        this.#handles.clear();
        return NOTHING;
      case "lookup": {
        const found: MemoryFile[] = [];
        let at = this.#directory(request.node);
        for (const name of request.names) {
          const next = at.entries.get(name);
          if (!next) break;
          found.push(next);
          at = next;
        }
        if (found.length === 0) throw new Failure(ERRNO.NOENT);
        return encodeAttributes(found.map(describe));
      }
      case "getattr":
        return one(this.#handles.get(request.handle) ?? this.#node(request.node));
      case "setattr": {
        const file = this.#handles.get(request.handle) ?? this.#node(request.node);
        const { mode, size } = request.changes;
        if (mode !== null) file.mode = (file.mode & S_IFMT) | mode;
        if (size !== null) resize(file, size);
        return one(file);
      }
      case "readlink": {
        const file = this.#node(request.node);
        if ((file.mode & S_IFMT) !== S_IFLNK) throw new Failure(ERRNO.INVAL);
        return encodeTarget(file.target);
      }
      case "open":
      case "opendir": {
        const file = this.#node(request.node);
        const isDirectory = (file.mode & S_IFMT) === S_IFDIR;
        if (isDirectory !== (request.operation === "opendir")) throw new Failure(ERRNO.ISDIR);
        if (request.operation === "open" && request.isTruncated) file.bytes = NOTHING;
        this.#handles.set(request.handle, file);
        return NOTHING;
      }
      case "create": {
        const { entries } = this.#directory(request.node);
        const known = entries.get(request.name);
        if (known && request.isExclusive && !request.isRepeated) throw new Failure(ERRNO.EXIST);
        const file = known ?? this.#file(S_IFREG | request.mode);
        entries.set(request.name, file);
        if (request.handle !== 0) this.#handles.set(request.handle, file);
        return one(file);
      }
      case "read":
        return this.#open(request.handle, request.node).bytes.slice(request.offset, request.offset + request.length);
      case "write": {
        const file = this.#open(request.handle, request.node);
        const end = request.offset + data.length;
        if (end > file.bytes.length) resize(file, end);
        file.bytes.set(data, request.offset);
        return new Uint8Array(Uint32Array.of(data.length).buffer);
      }
      case "readdir": {
        const { entries } = this.#open(request.handle, request.node);
        let room = request.bytes;
        const found: DirectoryEntry[] = [];
        for (const [at, [name, file]] of [...entries].sort().entries()) {
          if (at < request.offset) continue;
          room -= Math.ceil((request.entryBytes + name.length) / request.align) * request.align;
          if (room < 0) break;
          const attributes = describe(file);
          const { inode } = attributes;
          const type = file.mode & S_IFMT;
          found.push({ name, next: at + 1, inode, type, attributes: request.hasAttributes ? attributes : null });
        }
        return encodeEntries(found);
      }
      case "release":
        this.#handles.delete(request.handle);
        return NOTHING;
      case "fsync":
        return NOTHING;
      case "mkdir":
      case "symlink":
      case "link": {
        const { entries } = this.#directory(request.node);
        if (entries.has(request.name)) throw new Failure(ERRNO.EXIST);
        const file =
          request.operation === "link"
            ? this.#node(request.target)
            : this.#file(request.operation === "mkdir" ? S_IFDIR | request.mode : S_IFLNK | 0o777);
        if (request.operation === "symlink") file.target = request.target;
        entries.set(request.name, file);
        return one(file);
      }
      case "rename": {
        const from = this.#directory(request.node);
        const file = from.entries.get(request.name);
        if (!file) throw new Failure(ERRNO.NOENT);
        const to = this.#directory(request.to);
        if (file === to) throw new Failure(ERRNO.INVAL);
        from.entries.delete(request.name);
        to.entries.set(request.newName, file);
        return NOTHING;
      }
      case "unlink":
      case "rmdir": {
        const { entries } = this.#directory(request.node);
        if (!entries.delete(request.name)) throw new Failure(ERRNO.NOENT);
        return NOTHING;
      }
      case "statfs":
        return encodeStatistics({
          blockBytes: 4096,
          blocks: 100n,
          blocksFree: 50n,
          blocksAvailable: 40n,
          files: 10n,
          filesFree: 5n,
        });
    }
  }

  #file(mode: number): MemoryFile {
    return { inode: this.#nextInode++, mode, bytes: NOTHING, target: "", entries: new Map() };
  }

  #node({ path, identity }: FileNode): MemoryFile {
    if (path === null) throw new Failure(ERRNO.STALE);
    let at: MemoryFile | undefined = this.root;
    for (const name of path) at = at?.entries.get(name);
    if (!at || (path.length > 0 && identity !== identityOf(at))) throw new Failure(ERRNO.STALE);
    return at;
  }

  #directory(node: FileNode): MemoryFile {
    const file = this.#node(node);
    if ((file.mode & S_IFMT) !== S_IFDIR) throw new Failure(ERRNO.NOTDIR);
    return file;
  }

  #open(handle: number, node: FileNode): MemoryFile {
    const known = this.#handles.get(handle) ?? this.#node(node);
    this.#handles.set(handle, known);
    return known;
  }
}

function identityOf({ inode }: MemoryFile): string {
  return `1:${inode}:0`;
}

function describe(file: MemoryFile): FileAttributes {
  return {
    identity: identityOf(file),
    inode: BigInt(file.inode),
    mode: file.mode,
    links: 1,
    uid: 0,
    gid: 0,
    size: file.bytes.length,
    blocks: Math.ceil(file.bytes.length / 512),
    atime: 1_700_000_000_000_000_001n,
    mtime: 1_700_000_000_000_000_002n,
    ctime: 1_700_000_000_000_000_003n,
  };
}

function one(file: MemoryFile): Uint8Array {
  return encodeAttributes([describe(file)]);
}

function resize(file: MemoryFile, size: number): void {
  if (size > MAX_FILE_BYTES) throw new Failure(ERRNO.FBIG);
  const bytes = new Uint8Array(size);
  bytes.set(file.bytes.subarray(0, size));
  file.bytes = bytes;
}
