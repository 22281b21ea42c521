/**
 * What a file server is asked and answers, whatever protocol its guest speaks: typed requests and replies, and their bytes
 * (state/codec.ts). Names and texts of links are byte strings: one character for each byte. A file is named by its place
 * below the folder and by its identity, so that a server may forget everything it has open: what is no longer there under
 * that name is ESTALE. Left out: extended attributes, locks between guests, special files.
 */

import { decodeState, encodeState } from "../../state/codec.ts";
import { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { FILE_LIMITS } from "./file-channel.ts";

/** File types in `mode` (inode(7)). */
export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

export interface FileNode {
  /** The device's own, never used again: under it a server may keep what it has open. 1 is the folder itself. */
  readonly number: number;
  /** From the folder; null: the name is gone, and only what is open may be used. */
  readonly path: readonly string[] | null;
  /** As the server has told it; empty for the folder. */
  readonly identity: string;
}

export const ACCESSES = ["read", "write", "both"] as const;
export type FileAccessMode = (typeof ACCESSES)[number];

/** An open file, by the device's own number; a server that does not have it open any more opens its node again. */
export interface OpenFile {
  readonly node: FileNode;
  readonly handle: number;
  readonly access: FileAccessMode;
}

/** Times in nanoseconds since 1970. Null: as it is. */
export interface AttributeChanges {
  readonly mode: number | null;
  readonly uid: number | null;
  readonly gid: number | null;
  readonly size: number | null;
  readonly atime: bigint | "now" | null;
  readonly mtime: bigint | "now" | null;
}

/** An open directory, and how a protocol writes its entries: bytes beside the name of each, rounded up to `align`. */
export interface ReadDirectory {
  readonly operation: "readdir";
  readonly node: FileNode;
  readonly handle: number;
  /** Entries before the first one wanted. */
  readonly offset: number;
  readonly bytes: number;
  readonly entryBytes: number;
  readonly align: number;
  readonly hasAttributes: boolean;
}

/** `handle`: 0 is none. `child`: the number of the node that the name is known as; 0: none. */
export type FileRequest =
  /** Nothing; comes back when all before it have. */
  | { readonly operation: "none" }
  /** The guest starts anew: what is open is closed. */
  | { readonly operation: "reset" }
  | { readonly operation: "lookup"; readonly node: FileNode; readonly names: readonly string[] }
  | { readonly operation: "getattr"; readonly node: FileNode; readonly handle: number }
  | {
      readonly operation: "setattr";
      readonly node: FileNode;
      readonly handle: number;
      readonly changes: AttributeChanges;
    }
  | { readonly operation: "readlink"; readonly node: FileNode }
  | ({ readonly operation: "open"; readonly isTruncated: boolean } & OpenFile)
  | { readonly operation: "opendir"; readonly node: FileNode; readonly handle: number }
  | ({
      readonly operation: "create";
      readonly name: string;
      readonly mode: number;
      readonly isExclusive: boolean;
      readonly isTruncated: boolean;
    } & OpenFile)
  | ({ readonly operation: "read"; readonly offset: number; readonly length: number } & OpenFile)
  | ({ readonly operation: "write"; readonly offset: number } & OpenFile)
  | ReadDirectory
  | { readonly operation: "release"; readonly handle: number }
  | ({ readonly operation: "fsync"; readonly isDataOnly: boolean } & OpenFile)
  | { readonly operation: "mkdir"; readonly node: FileNode; readonly name: string; readonly mode: number }
  | { readonly operation: "symlink"; readonly node: FileNode; readonly name: string; readonly target: string }
  | { readonly operation: "link"; readonly node: FileNode; readonly name: string; readonly target: FileNode }
  | {
      readonly operation: "rename";
      readonly node: FileNode;
      readonly name: string;
      readonly to: FileNode;
      readonly newName: string;
      readonly child: number;
    }
  | {
      readonly operation: "unlink" | "rmdir";
      readonly node: FileNode;
      readonly name: string;
      readonly child: number;
    }
  | { readonly operation: "statfs"; readonly node: FileNode };

/** With `isRepeated`: it may have been carried out before a restore, so that its traces are no error. */
export type SentRequest = FileRequest & { readonly isRepeated?: boolean };

export interface FileAttributes {
  readonly identity: string;
  readonly inode: bigint;
  readonly mode: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Of 512 bytes. */
  readonly blocks: number;
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
}

export interface DirectoryEntry {
  readonly name: string;
  /** Where reading goes on behind it. */
  readonly next: number;
  readonly inode: bigint;
  /** S_IFMT of it. */
  readonly type: number;
  readonly attributes: FileAttributes | null;
}

export interface FileSystemStatistics {
  readonly blockBytes: number;
  readonly blocks: bigint;
  readonly blocksFree: bigint;
  readonly blocksAvailable: bigint;
  readonly files: bigint;
  readonly filesFree: bigint;
}

export function encodeRequest(request: SentRequest): Uint8Array {
  return encodeState(request as unknown as StateValue);
}

/** The server's side: what the device of this very program has encoded. */
export function decodeRequest(bytes: Uint8Array): SentRequest {
  return decodeState(bytes, "request") as unknown as SentRequest;
}

/** "lookup": of the names that were found, one after another; all others: of the one file. */
export function encodeAttributes(files: readonly FileAttributes[]): Uint8Array {
  return encodeState(files as unknown as StateValue);
}

/** Throws StateError, as all that read replies: they may come from a recording. */
export function decodeAttributes(bytes: Uint8Array): FileAttributes[] {
  return listReader(bytes).map(readAttributes);
}

export function encodeEntries(entries: readonly DirectoryEntry[]): Uint8Array {
  return encodeState(entries as unknown as StateValue);
}

export function decodeEntries(bytes: Uint8Array): DirectoryEntry[] {
  return listReader(bytes).map((reader) => {
    const entry = {
      name: byteString(reader, "name", FILE_LIMITS.nameBytes),
      next: reader.int("next", 0, Number.MAX_SAFE_INTEGER),
      inode: reader.u64("inode"),
      type: reader.int("type", 0, 0xffff),
      attributes: reader.part("attributes") === null ? null : readAttributes(reader.object("attributes")),
    };
    reader.end();
    return entry;
  });
}

export function encodeTarget(target: string): Uint8Array {
  return encodeState({ target });
}

export function decodeTarget(bytes: Uint8Array): string {
  const reader = new StateReader(decodeState(bytes, "reply"), "reply");
  const target = byteString(reader, "target", FILE_LIMITS.pathBytes);
  reader.end();
  return target;
}

export function encodeStatistics(statistics: FileSystemStatistics): Uint8Array {
  return encodeState(statistics as unknown as StateValue);
}

export function decodeStatistics(bytes: Uint8Array): FileSystemStatistics {
  const reader = new StateReader(decodeState(bytes, "reply"), "reply");
  const statistics = {
    blockBytes: reader.u32("blockBytes"),
    blocks: reader.u64("blocks"),
    blocksFree: reader.u64("blocksFree"),
    blocksAvailable: reader.u64("blocksAvailable"),
    files: reader.u64("files"),
    filesFree: reader.u64("filesFree"),
  };
  reader.end();
  return statistics;
}

/** A name that a file can have: no path, nothing that means another directory. */
export function isFileName(name: string): boolean {
  return (
    name.length > 0 &&
    name.length <= FILE_LIMITS.nameBytes &&
    name !== "." &&
    name !== ".." &&
    !name.includes("/") &&
    !name.includes("\0")
  );
}

/** A text of which each character is one byte. Throws StateError. */
export function byteString(reader: StateReader, key: string, maxBytes: number): string {
  const text = reader.text(key, maxBytes);
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) throw reader.invalid(key, "is no byte string");
  return text;
}

export function bytesToString(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 1024) text += String.fromCharCode(...bytes.subarray(at, at + 1024));
  return text;
}

export function stringToBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

const MAX_IDENTITY = 96;
const MAX_NS = 2n ** 80n;

export function readIdentity(reader: StateReader): string {
  return byteString(reader, "identity", MAX_IDENTITY);
}

function readAttributes(reader: StateReader): FileAttributes {
  const attributes = {
    identity: readIdentity(reader),
    inode: reader.u64("inode"),
    mode: reader.int("mode", 0, 0xffff),
    links: reader.u32("links"),
    uid: reader.u32("uid"),
    gid: reader.u32("gid"),
    size: reader.int("size", 0, Number.MAX_SAFE_INTEGER),
    blocks: reader.int("blocks", 0, Number.MAX_SAFE_INTEGER),
    atime: readTime(reader, "atime"),
    mtime: readTime(reader, "mtime"),
    ctime: readTime(reader, "ctime"),
  };
  reader.end();
  return attributes;
}

function readTime(reader: StateReader, key: string): bigint {
  const value = reader.part(key);
  if (typeof value !== "bigint" || value > MAX_NS || value < -MAX_NS) throw reader.invalid(key, "is no time");
  return value;
}

function listReader(bytes: Uint8Array): StateReader[] {
  return new StateReader({ list: decodeState(bytes, "reply") }, "reply").array("list", FILE_LIMITS.dataBytes);
}
