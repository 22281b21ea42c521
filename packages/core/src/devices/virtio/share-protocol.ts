/**
 * What the file protocols (fuse/protocol.ts, p9/protocol.ts) have in common: refusals, the flags of Linux's open, the requests
 * that both make of the same fields, what replies must have, and how a reply becomes an answer that fits into its chain.
 *
 * Not here: how messages are read and answers are laid out, and SETATTR, which the protocols say in ways of their own.
 */
import { ERRNO } from "../files/errno.ts";
import { FILE_LIMITS } from "../files/file-channel.ts";
import {
  decodeAttributes,
  type FileAccessMode,
  type FileAttributes,
  type FileNode,
  type FileRequest,
  isFileName,
  S_IFMT,
  S_IFREG,
} from "../files/file-requests.ts";
import type { NodeTable } from "../files/node-table.ts";
import type { Answer, Message } from "./share-device.ts";

const O_ACCMODE = 3;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
export const NS = 1_000_000_000n;

/** A message whose answer is an error of errno.ts. */
export class Refusal {
  readonly error: number;

  constructor(error: number) {
    this.error = error;
  }
}

/** The error of what was thrown while a message was read. */
export function errorOf(thrown: unknown): number {
  if (thrown instanceof Refusal) return thrown.error;
  // A message that ends before its fields do.
  if (thrown instanceof RangeError) return ERRNO.INVAL;
  throw thrown;
}

export function checkedName(name: string): string {
  if (name.length > FILE_LIMITS.nameBytes) throw new Refusal(ERRNO.NAMETOOLONG);
  if (!isFileName(name)) throw new Refusal(ERRNO.INVAL);
  return name;
}

export function offsetOf(offset: bigint): number {
  if (offset > BigInt(Number.MAX_SAFE_INTEGER)) throw new Refusal(ERRNO.INVAL);
  return Number(offset);
}

export function knownNode(nodes: NodeTable, number: number): FileNode {
  const node = nodes.node(number);
  if (!node) throw new Refusal(ERRNO.STALE);
  return node;
}

/** For a file that is to be opened; of a request that is begun again, the one that it had. */
export function reservedHandle(nodes: NodeTable, message: Message): number {
  const handle = message.handle ?? nodes.reserveHandle();
  if (handle === 0) throw new Refusal(ERRNO.NFILE);
  return handle;
}

export function accessOf(flags: number): FileAccessMode {
  return (["read", "write", "both", "both"] as const)[flags & O_ACCMODE]!;
}

/** `flags`: of Linux's open, of which a directory needs none. */
export function openRequest(
  node: FileNode,
  handle: number,
  flags: number,
  isDirectory: boolean,
): { readonly request: FileRequest; readonly access: FileAccessMode } {
  if (isDirectory) return { request: { operation: "opendir", node, handle }, access: "read" };
  const access = accessOf(flags);
  return { request: { operation: "open", node, handle, access, isTruncated: (flags & O_TRUNC) !== 0 }, access };
}

export function createRequest(
  file: { readonly node: FileNode; readonly name: string; readonly mode: number },
  handle: number,
  flags: number,
): FileRequest {
  const isExclusive = (flags & O_EXCL) !== 0;
  const isTruncated = (flags & O_TRUNC) !== 0;
  return { operation: "create", ...file, handle, access: accessOf(flags), isExclusive, isTruncated };
}

/** The permissions of what MKNOD makes: a file, and nothing else. */
export function permissionsOf(mode: number): number {
  const type = mode & S_IFMT;
  if (type !== 0 && type !== S_IFREG) throw new Refusal(ERRNO.PERM);
  return mode & 0o777;
}

/** A new file that is not opened. `mode`: of `permissionsOf`. */
export function mknodRequest(node: FileNode, name: string, mode: number): FileRequest {
  const how = { handle: 0, access: "read", isExclusive: true, isTruncated: false } as const;
  return { operation: "create", node, name, mode, ...how };
}

/** Where the data of a write is in its message, behind a header of `at` bytes. */
export function writeData(
  message: Message,
  at: number,
  offset: number,
  length: number,
): { readonly at: number; readonly length: number } {
  if (length > FILE_LIMITS.dataBytes || at + length > message.length) throw new Refusal(ERRNO.INVAL);
  if (!Number.isSafeInteger(offset + length)) throw new Refusal(ERRNO.FBIG);
  return { at, length };
}

/** Of the reply to a write of `length` bytes. */
export function writtenBytes(bytes: Uint8Array, length: number): number {
  if (bytes.length !== 4) throw new Refusal(ERRNO.IO);
  return Math.min(length, new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true));
}

/** Of the reply about one file. */
export function attributesOf(bytes: Uint8Array): FileAttributes {
  const [attributes] = decodeAttributes(bytes);
  if (!attributes) throw new Refusal(ERRNO.IO);
  return attributes;
}

/** `failed`: the answer that is an error's. */
export function fitting(answer: Answer, room: number, failed: (error: number) => Answer): Answer {
  const length = answer.reduce((sum, part) => sum + part.length, 0);
  return length <= room ? answer : failed(ERRNO.RANGE);
}

/** How the answer to a request is made of its reply. */
export function finishing(
  room: number,
  succeeded: (bytes: Uint8Array) => Answer,
  failed: (error: number) => Answer,
): (error: number, bytes: Uint8Array) => Answer {
  return (error, bytes) => {
    if (error !== 0) return failed(error);
    try {
      return fitting(succeeded(bytes), room, failed);
    } catch (refusal) {
      if (refusal instanceof Refusal) return failed(refusal.error);
      throw refusal;
    }
  };
}
