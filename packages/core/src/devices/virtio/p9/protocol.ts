/**
 * 9P2000.L (Linux: include/net/9p/9p.h) as requests to a file server: one message of the guest's in, an answer or a request
 * out. Every length, number and name in a message is the guest's; what is wrong becomes an error number.
 *
 * A fid is a file that the guest knows, and after LOPEN an open one. Requests are carried out in their order, so that a flush is
 * answered when all before it are. Refused: extended attributes, authentication, devices, sockets and FIFOs. Locks are granted,
 * and hold among the guest's own processes, which its kernel sees to. Left out: dialects other than .L.
 */
import type { StateReader } from "../../../state/reader.ts";
import type { StateValue } from "../../device.ts";
import { ERRNO } from "../../files/errno.ts";
import { FILE_LIMITS } from "../../files/file-channel.ts";
import {
  type AttributeChanges,
  decodeAttributes,
  decodeEntries,
  decodeStatistics,
  decodeTarget,
  type FileNode,
  type FileRequest,
  isFileName,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
} from "../../files/file-requests.ts";
import { ROOT } from "../../files/node-table.ts";
import type { Begun, FileProtocol, Message } from "../share-device.ts";
import {
  accessOf,
  attributesOf,
  checkedName,
  createRequest,
  errorOf,
  finishing,
  fitting,
  knownNode,
  mknodRequest,
  NS,
  offsetOf,
  openRequest,
  permissionsOf,
  Refusal,
  reservedHandle,
  writeData,
  writtenBytes,
} from "../share-protocol.ts";
import { FidTable } from "./fids.ts";
import {
  AT_REMOVEDIR,
  ENTRY_BYTES,
  entriesOut,
  FieldReader,
  FieldWriter,
  getattrOut,
  HEADER_BYTES,
  message,
  P9,
  P9_SETATTR,
  READ_HEADER_BYTES,
  statfsOut,
  WRITE_HEADER_BYTES,
} from "./messages.ts";

const VERSION = "9P2000.L";
const MIN_MSIZE = 4096;
const MAX_MSIZE = FILE_LIMITS.dataBytes + WRITE_HEADER_BYTES;
const MAX_WALK = 16;
const O_DIRECTORY = 0o200000;
const LOCK_SUCCESS = 0;
const F_UNLCK = 2;

interface Call {
  readonly type: number;
  readonly tag: number;
  readonly fields: FieldReader;
  readonly message: Message;
}

export class Protocol9p implements FileProtocol {
  readonly #fids = new FidTable();
  /** 0: no version is agreed on. */
  #msize = 0;

  hasData(prefix: Uint8Array): boolean {
    return prefix.length >= WRITE_HEADER_BYTES && prefix[4] === P9.WRITE;
  }

  begin(given: Message): Begun {
    const { bytes, room } = given;
    if (bytes.length < HEADER_BYTES || room < HEADER_BYTES + 4) return { kind: "silent" };
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const size = view.getUint32(0, true);
    // Of a write, the rest is data; otherwise what is behind the message is not part of it.
    const own = bytes.subarray(0, Math.min(size, bytes.length));
    const call = {
      type: view.getUint8(4),
      tag: view.getUint16(5, true),
      fields: new FieldReader(own, HEADER_BYTES),
      message: given,
    };
    try {
      if (size < HEADER_BYTES || size > given.length) throw new Refusal(ERRNO.INVAL);
      return this.#call(call);
    } catch (error) {
      return this.#answer(call, failure(call.tag, errorOf(error)));
    }
  }

  reset(): void {
    this.#fids.clear();
    this.#msize = 0;
  }

  save(): { readonly [key: string]: StateValue } {
    return { msize: this.#msize, ...this.#fids.save() };
  }

  restore(reader: StateReader): void {
    this.#msize = reader.int("msize", 0, MAX_MSIZE);
    if (this.#msize !== 0 && this.#msize < MIN_MSIZE) throw reader.invalid("msize", "is too small");
    this.#fids.restore(reader);
  }

  #call(call: Call): Begun {
    const { type, tag } = call;
    if (type === P9.VERSION) return this.#version(call);
    if (this.#msize === 0) throw new Refusal(ERRNO.IO);
    switch (type) {
      case P9.ATTACH:
        return this.#attach(call);
      case P9.WALK:
        return this.#walk(call);
      case P9.CLUNK:
        return this.#clunk(call, call.fields.u32());
      case P9.REMOVE:
        return this.#clunk(call, call.fields.u32(), ERRNO.OPNOTSUPP);
      case P9.FLUSH:
        return this.#request(call, { operation: "none" }, () => []);
      case P9.GETATTR:
        return this.#getattr(call);
      case P9.SETATTR:
        return this.#setattr(call);
      case P9.READLINK:
        return this.#request(call, { operation: "readlink", node: this.#fids.node(call.fields.u32()) }, (bytes) => [
          new FieldWriter().text(decodeTarget(bytes)).finish(),
        ]);
      case P9.LOPEN:
        return this.#open(call);
      case P9.LCREATE:
        return this.#create(call);
      case P9.READ:
        return this.#read(call);
      case P9.WRITE:
        return this.#write(call);
      case P9.READDIR:
        return this.#readdir(call);
      case P9.FSYNC: {
        const open = this.#fids.openFile(call.fields.u32());
        return this.#request(call, { operation: "fsync", isDataOnly: call.fields.u32() !== 0, ...open }, () => []);
      }
      case P9.STATFS:
        return this.#request(call, { operation: "statfs", node: this.#fids.node(call.fields.u32()) }, (bytes) => [
          statfsOut(decodeStatistics(bytes)),
        ]);
      case P9.MKDIR: {
        const node = this.#fids.node(call.fields.u32());
        const name = checkedName(call.fields.text());
        const mode = call.fields.u32() & 0o1777;
        return this.#makes(call, { operation: "mkdir", node, name, mode });
      }
      case P9.SYMLINK: {
        const node = this.#fids.node(call.fields.u32());
        const name = checkedName(call.fields.text());
        const target = call.fields.text();
        if (target === "" || target.includes("\0")) throw new Refusal(ERRNO.INVAL);
        if (target.length > FILE_LIMITS.pathBytes) throw new Refusal(ERRNO.NAMETOOLONG);
        return this.#makes(call, { operation: "symlink", node, name, target });
      }
      case P9.MKNOD:
        return this.#mknod(call);
      case P9.LINK: {
        const node = this.#fids.node(call.fields.u32());
        const target = this.#fids.node(call.fields.u32());
        const name = checkedName(call.fields.text());
        return this.#request(call, { operation: "link", node, name, target }, () => []);
      }
      case P9.RENAME: {
        // The fid's own name is the one that changes.
        const { node } = this.#fids.get(call.fields.u32());
        const to = this.#fids.node(call.fields.u32());
        return this.#rename(
          call,
          this.#fids.nodes.parentOf(node),
          this.#fids.nodes.nameOf(node),
          to,
          call.fields.text(),
        );
      }
      case P9.RENAMEAT: {
        const { node } = this.#fids.get(call.fields.u32());
        const name = call.fields.text();
        const to = this.#fids.node(call.fields.u32());
        return this.#rename(call, node, name, to, call.fields.text());
      }
      case P9.UNLINKAT:
        return this.#remove(call);
      case P9.LOCK:
        this.#fids.get(call.fields.u32());
        return this.#answer(call, message(type + 1, tag, [Uint8Array.of(LOCK_SUCCESS)]));
      case P9.GETLOCK:
        return this.#getlock(call);
      default:
        throw new Refusal(ERRNO.OPNOTSUPP);
    }
  }

  #version(call: Call): Begun {
    const msize = Math.min(call.fields.u32(), MAX_MSIZE);
    const isKnown = call.fields.text() === VERSION && msize >= MIN_MSIZE;
    this.reset();
    if (isKnown) this.#msize = msize;
    const body = new FieldWriter()
      .u32(msize)
      .text(isKnown ? VERSION : "unknown")
      .finish();
    return { ...this.#answer(call, message(call.type + 1, call.tag, [body])), startsAnew: true };
  }

  #attach(call: Call): Begun {
    const fid = call.fields.u32();
    this.#fids.requireFree(fid);
    const node = this.#fids.nodes.node(ROOT)!;
    return this.#request(call, { operation: "getattr", node, handle: 0 }, (bytes) => {
      const attributes = attributesOf(bytes);
      this.#fids.attach(fid);
      return [new FieldWriter().qid(attributes).finish()];
    });
  }

  #walk(call: Call): Begun {
    const { fields } = call;
    const from = this.#fids.get(fields.u32());
    const fid = fields.u32();
    const count = fields.u16();
    if (count > MAX_WALK) throw new Refusal(ERRNO.INVAL);
    const names = Array.from({ length: count }, () => fields.text());
    this.#fids.requireWalkable(fid, from);
    let start = from.node;
    let ups = 0;
    for (; names[ups] === ".."; ups++) start = this.#fids.nodes.parentOf(start);
    const rest = names.slice(ups);
    // What goes down and up again is walked as far as it goes down.
    const end = rest.findIndex((name) => !isFileName(name));
    const down = end < 0 ? rest : rest.slice(0, end);
    const node = knownNode(this.#fids.nodes, start);
    if (count > 0 && ups === 0 && down.length === 0) throw new Refusal(ERRNO.INVAL);
    const request: FileRequest = down.length > 0 ? { operation: "lookup", node, names: down } : { operation: "none" };
    return this.#request(call, request, (bytes) => {
      const found = down.length > 0 ? decodeAttributes(bytes) : [];
      if (found.length > down.length) throw new Refusal(ERRNO.IO);
      const writer = new FieldWriter().u16(ups + found.length);
      for (let i = 0; i < ups; i++) writer.qid({ inode: 0n, mode: S_IFDIR });
      for (const attributes of found) writer.qid(attributes);
      const isDirectory = found.length > 0 ? isDirectoryMode(found.at(-1)!.mode) : count > 0 || from.isDirectory;
      if (end < 0 && found.length === down.length) this.#fids.enter(fid, start, down, found, isDirectory);
      return [writer.finish()];
    });
  }

  /** Also where it then fails: the fid is gone. */
  #clunk(call: Call, number: number, error = 0): Begun {
    const fid = this.#fids.get(number);
    const request: FileRequest =
      fid.handle === 0 ? { operation: "none" } : { operation: "release", handle: fid.handle };
    return this.#request(call, request, () => {
      this.#fids.remove(number, fid);
      if (error !== 0) throw new Refusal(error);
      return [];
    });
  }

  #getattr(call: Call): Begun {
    const fid = this.#fids.get(call.fields.u32());
    const node = this.#fids.nodeOf(fid);
    const handle = fid.isDirectory || fid.handle === 0 ? this.#fids.nodes.handleOf(fid.node) : fid.handle;
    return this.#request(call, { operation: "getattr", node, handle }, (bytes) => [getattrOut(attributesOf(bytes))]);
  }

  #setattr(call: Call): Begun {
    const { fields } = call;
    const fid = this.#fids.get(fields.u32());
    const valid = fields.u32();
    const [mode, uid, gid] = [fields.u32(), fields.u32(), fields.u32()];
    const size = fields.u64();
    const [atime, atimeNs, mtime, mtimeNs] = [fields.u64(), fields.u64(), fields.u64(), fields.u64()];
    const has = (bit: number): boolean => (valid & bit) !== 0;
    if (has(P9_SETATTR.SIZE) && size > BigInt(Number.MAX_SAFE_INTEGER)) throw new Refusal(ERRNO.FBIG);
    const time = (bit: number, setBit: number, seconds: bigint, ns: bigint): AttributeChanges["atime"] => {
      if (!has(bit)) return null;
      return has(setBit) ? BigInt.asIntN(64, seconds) * NS + (ns % NS) : "now";
    };
    const changes: AttributeChanges = {
      mode: has(P9_SETATTR.MODE) ? mode & 0o1777 : null,
      uid: has(P9_SETATTR.UID) ? uid : null,
      gid: has(P9_SETATTR.GID) ? gid : null,
      size: has(P9_SETATTR.SIZE) ? Number(size) : null,
      atime: time(P9_SETATTR.ATIME, P9_SETATTR.ATIME_SET, atime, atimeNs),
      mtime: time(P9_SETATTR.MTIME, P9_SETATTR.MTIME_SET, mtime, mtimeNs),
    };
    const handle = this.#fids.nodes.handleOf(fid.node);
    return this.#request(call, { operation: "setattr", node: this.#fids.nodeOf(fid), handle, changes }, () => []);
  }

  #open(call: Call): Begun {
    const number = call.fields.u32();
    const flags = call.fields.u32();
    const fid = this.#fids.get(number);
    if (fid.handle !== 0) throw new Refusal(ERRNO.BADF);
    const node = this.#fids.nodeOf(fid);
    if ((flags & O_DIRECTORY) !== 0 && !fid.isDirectory) throw new Refusal(ERRNO.NOTDIR);
    const handle = reservedHandle(this.#fids.nodes, call.message);
    const { request, access } = openRequest(node, handle, flags, fid.isDirectory);
    const finish = (): Uint8Array[] => {
      this.#fids.open(number, fid, handle, access);
      const mode = fid.isDirectory ? S_IFDIR : S_IFREG;
      return [new FieldWriter().qid({ inode: 0n, mode }).u32(0).finish()];
    };
    return this.#request(call, request, finish, { handle });
  }

  /** The directory's fid becomes the new file's. */
  #create(call: Call): Begun {
    const { fields } = call;
    const number = fields.u32();
    const fid = this.#fids.get(number);
    const name = checkedName(fields.text());
    const flags = fields.u32();
    const mode = fields.u32() & 0o777;
    fields.u32(); // gid
    if (fid.handle !== 0) throw new Refusal(ERRNO.BADF);
    const node = this.#fids.nodeOf(fid);
    const handle = reservedHandle(this.#fids.nodes, call.message);
    return this.#request(
      call,
      createRequest({ node, name, mode }, handle, flags),
      (bytes) => {
        const attributes = attributesOf(bytes);
        this.#fids.requireSame(number, fid);
        this.#fids.enter(number, fid.node, [name], [attributes], isDirectoryMode(attributes.mode));
        this.#fids.open(number, this.#fids.get(number), handle, accessOf(flags));
        return [new FieldWriter().qid(attributes).u32(0).finish()];
      },
      { handle },
    );
  }

  #read(call: Call): Begun {
    const open = this.#fids.openFile(call.fields.u32());
    const offset = offsetOf(call.fields.u64());
    const room = Math.min(call.message.room, this.#msize) - READ_HEADER_BYTES;
    const length = Math.min(call.fields.u32(), Math.max(0, room), FILE_LIMITS.dataBytes);
    return this.#request(call, { operation: "read", ...open, offset, length }, (bytes) => {
      const data = bytes.subarray(0, length);
      return [new FieldWriter().u32(data.length).finish(), data];
    });
  }

  #write(call: Call): Begun {
    const open = this.#fids.openFile(call.fields.u32());
    const offset = offsetOf(call.fields.u64());
    const length = call.fields.u32();
    const data = writeData(call.message, WRITE_HEADER_BYTES, offset, length);
    const finish = (bytes: Uint8Array): Uint8Array[] => [new FieldWriter().u32(writtenBytes(bytes, length)).finish()];
    return this.#request(call, { operation: "write", ...open, offset }, finish, { data });
  }

  #readdir(call: Call): Begun {
    const fid = this.#fids.get(call.fields.u32());
    const open = this.#fids.nodes.open(fid.handle, true);
    if (!open) throw new Refusal(ERRNO.BADF);
    const offset = offsetOf(call.fields.u64());
    const room = Math.min(call.message.room, this.#msize) - READ_HEADER_BYTES;
    const bytes = Math.min(call.fields.u32(), Math.max(0, room), FILE_LIMITS.entryBytes);
    const { node, handle } = open;
    const layout = { entryBytes: ENTRY_BYTES, align: 1, hasAttributes: false } as const;
    return this.#request(call, { operation: "readdir", node, handle, offset, bytes, ...layout }, (reply) => {
      const entries = entriesOut(decodeEntries(reply));
      if (entries.length - 4 > bytes) throw new Refusal(ERRNO.IO);
      return [entries];
    });
  }

  #mknod(call: Call): Begun {
    const { fields } = call;
    const node = this.#fids.node(fields.u32());
    const name = checkedName(fields.text());
    return this.#makes(call, mknodRequest(node, name, permissionsOf(fields.u32())));
  }

  #rename(call: Call, parent: number, name: string, to: FileNode, newName: string): Begun {
    const node = knownNode(this.#fids.nodes, parent);
    checkedName(name);
    checkedName(newName);
    const child = this.#fids.nodes.child(to.number, newName);
    return this.#request(call, { operation: "rename", node, name, to, newName, child }, () => {
      this.#fids.nodes.renamed(parent, name, to.number, newName);
      return [];
    });
  }

  #remove(call: Call): Begun {
    const node = this.#fids.node(call.fields.u32());
    const name = checkedName(call.fields.text());
    const operation = (call.fields.u32() & AT_REMOVEDIR) !== 0 ? "rmdir" : "unlink";
    const child = this.#fids.nodes.child(node.number, name);
    return this.#request(call, { operation, node, name, child }, () => {
      this.#fids.nodes.removed(node.number, name);
      return [];
    });
  }

  /** Nobody but the guest itself locks. */
  #getlock(call: Call): Begun {
    const { fields, type, tag } = call;
    this.#fids.get(fields.u32());
    fields.u8();
    const [start, length, processId] = [fields.u64(), fields.u64(), fields.u32()];
    const body = new FieldWriter().u8(F_UNLCK).u64(start).u64(length).u32(processId).text(fields.text());
    return this.#answer(call, message(type + 1, tag, [body.finish()]));
  }

  #makes(call: Call, request: FileRequest): Begun {
    return this.#request(call, request, (bytes) => [new FieldWriter().qid(attributesOf(bytes)).finish()]);
  }

  #request(
    call: Call,
    request: FileRequest,
    success: (bytes: Uint8Array) => Uint8Array[],
    more: { readonly handle?: number; readonly data?: { readonly at: number; readonly length: number } } = {},
  ): Begun {
    const { type, tag } = call;
    const finish = finishing(
      call.message.room,
      (bytes) => message(type + 1, tag, success(bytes)),
      (error) => failure(tag, error),
    );
    return { kind: "request", request, ...more, finish };
  }

  #answer(call: Call, answer: Uint8Array[]): Begun & { readonly kind: "answer" } {
    return { kind: "answer", answer: fitting(answer, call.message.room, (error) => failure(call.tag, error)) };
  }
}

function failure(tag: number, error: number): Uint8Array[] {
  return message(P9.LERROR + 1, tag, [new FieldWriter().u32(error).finish()]);
}

function isDirectoryMode(mode: number): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}
