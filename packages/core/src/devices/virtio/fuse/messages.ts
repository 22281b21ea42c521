/**
 * Layouts of the FUSE protocol (Linux: include/uapi/linux/fuse.h, minor version 31 and later), little-endian: the numbers of
 * operations and flags, and the answers' structures.
 */
import {
  type DirectoryEntry,
  type FileAttributes,
  type FileSystemStatistics,
  stringToBytes,
} from "../../files/file-requests.ts";

export const FUSE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  READDIRPLUS: 44,
  RENAME2: 45,
} as const;

export const FUSE_VERSION = { MAJOR: 7, MINOR: 31, OLDEST_MINOR: 31 } as const;

/** Of INIT. */
export const FUSE_INIT = {
  ASYNC_READ: 1 << 0,
  BIG_WRITES: 1 << 5,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  PARALLEL_DIROPS: 1 << 18,
  MAX_PAGES: 1 << 22,
} as const;

/** Of SETATTR. */
export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
} as const;

export const GETATTR_FH = 1;
export const FSYNC_FDATASYNC = 1;

export const IN_HEADER_BYTES = 40;
const OUT_HEADER_BYTES = 16;
const ATTR_BYTES = 88;
export const ENTRY_BYTES = 128;
export const DIRENT_BYTES = 24;
export const DIRENT_ALIGN = 8;

/** How long a guest may take names and attributes for true, in seconds: so late it sees what changes on the host. */
const VALID_SECONDS = 1n;
const BLOCK_BYTES = 4096;
const NS = 1_000_000_000n;

export interface InHeader {
  readonly length: number;
  readonly opcode: number;
  readonly unique: bigint;
  readonly nodeid: number;
  /** The number is beyond those that any node has. */
  readonly isNodeKnown: boolean;
}

/** Precondition: IN_HEADER_BYTES are there. */
export function readInHeader(view: DataView): InHeader {
  const nodeid = view.getBigUint64(16, true);
  const isNodeKnown = nodeid <= BigInt(Number.MAX_SAFE_INTEGER);
  return {
    length: view.getUint32(0, true),
    opcode: view.getUint32(4, true),
    unique: view.getBigUint64(8, true),
    nodeid: isNodeKnown ? Number(nodeid) : 0,
    isNodeKnown,
  };
}

/** A whole answer. `error` as a positive number. */
export function outMessage(unique: bigint, error: number, parts: readonly Uint8Array[] = []): Uint8Array[] {
  const header = new Uint8Array(OUT_HEADER_BYTES);
  const view = new DataView(header.buffer);
  const length = parts.reduce((sum, part) => sum + part.length, OUT_HEADER_BYTES);
  view.setUint32(0, length, true);
  view.setInt32(4, -error, true);
  view.setBigUint64(8, unique, true);
  return [header, ...parts];
}

export interface InitAnswer {
  readonly flags: number;
  readonly maxReadahead: number;
  readonly maxWrite: number;
}

/** fuse_init_out */
export function initOut({ flags, maxReadahead, maxWrite }: InitAnswer): Uint8Array {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, FUSE_VERSION.MAJOR, true);
  view.setUint32(4, FUSE_VERSION.MINOR, true);
  view.setUint32(8, maxReadahead, true);
  view.setUint32(12, flags, true);
  view.setUint16(16, 64, true); // max_background
  view.setUint16(18, 48, true); // congestion_threshold
  view.setUint32(20, maxWrite, true);
  view.setUint32(24, 1, true); // time_gran: nanoseconds
  view.setUint16(28, maxWrite / BLOCK_BYTES, true); // max_pages
  return bytes;
}

/** fuse_attr */
function putAttributes(view: DataView, at: number, attributes: FileAttributes): void {
  const { inode, size, blocks, atime, mtime, ctime, mode, links, uid, gid } = attributes;
  view.setBigUint64(at, inode, true);
  view.setBigUint64(at + 8, BigInt(size), true);
  view.setBigUint64(at + 16, BigInt(blocks), true);
  for (const [i, time] of [atime, mtime, ctime].entries()) {
    const ns = ((time % NS) + NS) % NS;
    view.setBigInt64(at + 24 + 8 * i, BigInt.asIntN(64, (time - ns) / NS), true);
    view.setUint32(at + 48 + 4 * i, Number(ns), true);
  }
  view.setUint32(at + 60, mode, true);
  view.setUint32(at + 64, links, true);
  view.setUint32(at + 68, uid, true);
  view.setUint32(at + 72, gid, true);
  view.setUint32(at + 80, BLOCK_BYTES, true); // blksize; rdev, flags: 0
}

/** fuse_attr_out */
export function attrOut(attributes: FileAttributes): Uint8Array {
  const bytes = new Uint8Array(16 + ATTR_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, VALID_SECONDS, true);
  putAttributes(view, 16, attributes);
  return bytes;
}

/** fuse_entry_out. Node numbers are never used again, so that their generation is always 0. */
export function entryOut(nodeid: number, attributes: FileAttributes): Uint8Array {
  const bytes = new Uint8Array(ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  putEntry(view, 0, nodeid, attributes);
  return bytes;
}

function putEntry(view: DataView, at: number, nodeid: number, attributes: FileAttributes): void {
  view.setBigUint64(at, BigInt(nodeid), true);
  view.setBigUint64(at + 16, VALID_SECONDS, true);
  view.setBigUint64(at + 24, VALID_SECONDS, true);
  putAttributes(view, at + 40, attributes);
}

/** fuse_open_out */
export function openOut(handle: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(handle), true);
  return bytes;
}

/** fuse_write_out */
export function writeOut(size: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setUint32(0, size, true);
  return bytes;
}

/** fuse_kstatfs */
export function statfsOut(statistics: FileSystemStatistics): Uint8Array {
  const { blockBytes, blocks, blocksFree, blocksAvailable, files, filesFree } = statistics;
  const bytes = new Uint8Array(80);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of [blocks, blocksFree, blocksAvailable, files, filesFree].entries())
    view.setBigUint64(8 * i, value, true);
  view.setUint32(40, blockBytes, true);
  view.setUint32(44, 255, true); // namelen
  view.setUint32(48, blockBytes, true); // frsize
  return bytes;
}

/** Entries as fuse_dirent, or as fuse_direntplus with the numbers of their nodes. */
export function direntsOut(
  entries: readonly DirectoryEntry[],
  nodeidOf?: (entry: DirectoryEntry) => number,
): Uint8Array {
  const head = (nodeidOf ? ENTRY_BYTES : 0) + DIRENT_BYTES;
  const sizes = entries.map(({ name }) => Math.ceil((head + name.length) / DIRENT_ALIGN) * DIRENT_ALIGN);
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [i, entry] of entries.entries()) {
    const dirent = at + head - DIRENT_BYTES;
    if (nodeidOf && entry.attributes) {
      const nodeid = nodeidOf(entry);
      // Without a node it is a name alone.
      if (nodeid !== 0) putEntry(view, at, nodeid, entry.attributes);
    }
    view.setBigUint64(dirent, entry.inode, true);
    view.setBigUint64(dirent + 8, BigInt(entry.next), true);
    view.setUint32(dirent + 16, entry.name.length, true);
    view.setUint32(dirent + 20, entry.type >> 12, true);
    bytes.set(stringToBytes(entry.name), dirent + DIRENT_BYTES);
    at += sizes[i]!;
  }
  return bytes;
}
