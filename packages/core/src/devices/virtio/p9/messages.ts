/**
 * Layouts of 9P2000.L (Linux: include/net/9p/9p.h; the protocol's description of the diod project), little-endian: numbers of
 * messages and flags, a reader and a writer of fields. Texts have a length of 16 bits and no zero at their end.
 */
import {
  bytesToString,
  type DirectoryEntry,
  type FileAttributes,
  type FileSystemStatistics,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  stringToBytes,
} from "../../files/file-requests.ts";

/** Requests; the answer has the next number. */
export const P9 = {
  LERROR: 6,
  STATFS: 8,
  LOPEN: 12,
  LCREATE: 14,
  SYMLINK: 16,
  MKNOD: 18,
  RENAME: 20,
  READLINK: 22,
  GETATTR: 24,
  SETATTR: 26,
  READDIR: 40,
  FSYNC: 50,
  LOCK: 52,
  GETLOCK: 54,
  LINK: 70,
  MKDIR: 72,
  RENAMEAT: 74,
  UNLINKAT: 76,
  VERSION: 100,
  ATTACH: 104,
  FLUSH: 108,
  WALK: 110,
  READ: 116,
  WRITE: 118,
  CLUNK: 120,
  REMOVE: 122,
} as const;

/** Of SETATTR. */
export const P9_SETATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  ATIME_SET: 1 << 7,
  MTIME_SET: 1 << 8,
} as const;

const GETATTR_BASIC = 0x7ff;
export const HEADER_BYTES = 7;
/** Before the data of a write, and of a read's answer. */
export const WRITE_HEADER_BYTES = HEADER_BYTES + 16;
export const READ_HEADER_BYTES = HEADER_BYTES + 4;
/** Of an entry in a directory, beside its name. */
export const ENTRY_BYTES = 24;
const QID_TYPE = { DIRECTORY: 0x80, SYMLINK: 0x02, FILE: 0 } as const;
const V9FS_MAGIC = 0x0102_1997;
const BLOCK_BYTES = 4096;
const NS = 1_000_000_000n;
export const AT_REMOVEDIR = 0x200;

/** The fields of a message. Throws RangeError where it ends before they do. */
export class FieldReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#at = at;
  }

  u8(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#skip(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#skip(8), true);
  }

  text(): string {
    const length = this.u16();
    const at = this.#skip(length);
    if (at + length > this.#bytes.length) throw new RangeError("a text that goes beyond its message");
    return bytesToString(this.#bytes.subarray(at, at + length));
  }

  #skip(count: number): number {
    this.#at += count;
    return this.#at - count;
  }
}

/** The fields of an answer. */
export class FieldWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  u8(value: number): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, BigInt.asUintN(64, value), true);
    return this;
  }

  text(text: string): this {
    this.u16(text.length);
    const at = this.#grow(text.length);
    this.#bytes.set(stringToBytes(text), at);
    return this;
  }

  qid({ inode, mode }: { readonly inode: bigint; readonly mode: number }): this {
    const type = mode & S_IFMT;
    this.u8(type === S_IFDIR ? QID_TYPE.DIRECTORY : type === S_IFLNK ? QID_TYPE.SYMLINK : QID_TYPE.FILE);
    return this.u32(0).u64(inode);
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Where they are to go. The view is another one after it. */
  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
}

/** A whole answer: size, type, tag, and what comes behind. */
export function message(type: number, tag: number, parts: readonly Uint8Array[]): Uint8Array[] {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  const length = parts.reduce((sum, part) => sum + part.length, HEADER_BYTES);
  view.setUint32(0, length, true);
  view.setUint8(4, type);
  view.setUint16(5, tag, true);
  return [header, ...parts];
}

/** Rgetattr's body */
export function getattrOut(attributes: FileAttributes): Uint8Array {
  const { mode, uid, gid, links, size, blocks, atime, mtime, ctime } = attributes;
  const writer = new FieldWriter().u64(BigInt(GETATTR_BASIC)).qid(attributes).u32(mode).u32(uid).u32(gid);
  writer.u64(BigInt(links)).u64(0n).u64(BigInt(size)).u64(BigInt(BLOCK_BYTES)).u64(BigInt(blocks));
  for (const time of [atime, mtime, ctime, 0n]) {
    const ns = ((time % NS) + NS) % NS;
    writer.u64((time - ns) / NS).u64(ns);
  }
  return writer.u64(0n).u64(0n).finish();
}

/** Rstatfs's body */
export function statfsOut(statistics: FileSystemStatistics): Uint8Array {
  const { blockBytes, blocks, blocksFree, blocksAvailable, files, filesFree } = statistics;
  const writer = new FieldWriter().u32(V9FS_MAGIC).u32(blockBytes);
  for (const value of [blocks, blocksFree, blocksAvailable, files, filesFree, 0n]) writer.u64(value);
  return writer.u32(255).finish();
}

/** Rreaddir's body */
export function entriesOut(entries: readonly DirectoryEntry[]): Uint8Array {
  const length = entries.reduce((sum, { name }) => sum + ENTRY_BYTES + name.length, 0);
  const writer = new FieldWriter().u32(length);
  for (const { name, inode, type, next } of entries) {
    writer
      .qid({ inode, mode: type })
      .u64(BigInt(next))
      .u8(type >> 12);
    writer.text(name);
  }
  return writer.finish();
}
