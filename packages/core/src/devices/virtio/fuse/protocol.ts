/**
 * The FUSE protocol (Linux: include/uapi/linux/fuse.h, 7.31) as requests to a file server: one message of the guest's in, an
 * answer or a request out. Every length, number and name in a message is the guest's; what is wrong becomes an error number.
 *
 * Answered with ENOSYS, upon which Linux does without or by itself: extended attributes, access checks (the guest checks modes
 * itself), locks (which then hold within the guest), flushes, holes, allocation, ioctl, polling. Devices, sockets and FIFOs
 * are refused, and so are exchanging renames.
 */
import type { StateReader } from "../../../state/reader.ts";
import type { StateValue } from "../../device.ts";
import { ERRNO } from "../../files/errno.ts";
import { FILE_LIMITS } from "../../files/file-channel.ts";
import {
  type AttributeChanges,
  bytesToString,
  type DirectoryEntry,
  decodeEntries,
  decodeStatistics,
  decodeTarget,
  type FileAttributes,
  type FileNode,
  type FileRequest,
  isFileName,
  type OpenFile,
  stringToBytes,
} from "../../files/file-requests.ts";
import { NodeTable } from "../../files/node-table.ts";
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
import {
  attrOut,
  DIRENT_ALIGN,
  DIRENT_BYTES,
  direntsOut,
  ENTRY_BYTES,
  entryOut,
  FATTR,
  FSYNC_FDATASYNC,
  FUSE,
  FUSE_INIT,
  FUSE_VERSION,
  GETATTR_FH,
  IN_HEADER_BYTES,
  type InHeader,
  initOut,
  openOut,
  outMessage,
  readInHeader,
  statfsOut,
  writeOut,
} from "./messages.ts";

const OUT_HEADER_BYTES = 16;
const WRITE_HEADER_BYTES = IN_HEADER_BYTES + 40;
const MAX_FORGETS = 1000;

/** Flags that are granted where the guest asks for them. */
const GRANTED =
  FUSE_INIT.ASYNC_READ |
  FUSE_INIT.BIG_WRITES |
  FUSE_INIT.AUTO_INVAL_DATA |
  FUSE_INIT.DO_READDIRPLUS |
  FUSE_INIT.READDIRPLUS_AUTO |
  FUSE_INIT.ASYNC_DIO |
  FUSE_INIT.PARALLEL_DIROPS |
  FUSE_INIT.MAX_PAGES;

/** A message, checked as far as its header goes. */
interface Call {
  readonly header: InHeader;
  /** What comes behind the header. */
  readonly body: DataView;
  readonly message: Message;
}

export class FuseProtocol implements FileProtocol {
  readonly #nodes = new NodeTable();
  #isInitialised = false;

  hasData(prefix: Uint8Array): boolean {
    if (prefix.length < WRITE_HEADER_BYTES) return false;
    return new DataView(prefix.buffer, prefix.byteOffset).getUint32(4, true) === FUSE.WRITE;
  }

  begin(message: Message): Begun {
    const { bytes, room } = message;
    if (bytes.length < IN_HEADER_BYTES) return { kind: "silent" };
    const header = readInHeader(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
    const call = { header, body: new DataView(bytes.buffer, bytes.byteOffset + IN_HEADER_BYTES), message };
    if (header.opcode === FUSE.FORGET || header.opcode === FUSE.BATCH_FORGET) return this.#forget(call);
    if (header.opcode === FUSE.INTERRUPT || room < OUT_HEADER_BYTES) return { kind: "silent" };
    try {
      if (header.length !== message.length) throw new Refusal(ERRNO.IO);
      return this.#call(call);
    } catch (error) {
      return this.#answer(call, errorOf(error));
    }
  }

  reset(): void {
    this.#nodes.clear();
    this.#isInitialised = false;
  }

  save(): { readonly [key: string]: StateValue } {
    return { nodes: this.#nodes.save(), isInitialised: this.#isInitialised };
  }

  restore(reader: StateReader): void {
    const nodes = reader.object("nodes");
    this.#nodes.restore(nodes);
    nodes.end();
    this.#isInitialised = reader.bool("isInitialised");
  }

  #call(call: Call): Begun {
    const { opcode } = call.header;
    if (opcode === FUSE.INIT) return this.#init(call);
    if (!this.#isInitialised) throw new Refusal(ERRNO.IO);
    switch (opcode) {
      case FUSE.DESTROY:
        this.reset();
        return { ...this.#answer(call, 0), startsAnew: true };
      case FUSE.LOOKUP:
        return this.#lookup(call);
      case FUSE.GETATTR:
        return this.#getattr(call);
      case FUSE.SETATTR:
        return this.#setattr(call);
      case FUSE.READLINK:
        return this.#request(call, { operation: "readlink", node: this.#node(call) }, (bytes) => [
          stringToBytes(decodeTarget(bytes)),
        ]);
      case FUSE.SYMLINK: {
        const [name, target] = this.#names(call, 0, 2) as [string, string];
        if (target === "" || target.length > FILE_LIMITS.pathBytes) throw new Refusal(ERRNO.NAMETOOLONG);
        return this.#makes(call, name, { operation: "symlink", node: this.#node(call), name, target });
      }
      case FUSE.MKDIR: {
        const [name] = this.#names(call, 8, 1) as [string];
        const mode = call.body.getUint32(0, true) & 0o1777;
        return this.#makes(call, name, { operation: "mkdir", node: this.#node(call), name, mode });
      }
      case FUSE.MKNOD:
        return this.#mknod(call);
      case FUSE.CREATE:
        return this.#create(call);
      case FUSE.LINK: {
        const [name] = this.#names(call, 8, 1) as [string];
        const target = this.#nodeAt(call.body, 0);
        return this.#makes(call, name, { operation: "link", node: this.#node(call), name, target });
      }
      case FUSE.UNLINK:
      case FUSE.RMDIR:
        return this.#remove(call);
      case FUSE.RENAME:
        return this.#rename(call, 8);
      case FUSE.RENAME2:
        if (call.body.getUint32(8, true) !== 0) throw new Refusal(ERRNO.INVAL);
        return this.#rename(call, 16);
      case FUSE.OPEN:
      case FUSE.OPENDIR:
        return this.#open(call);
      case FUSE.READ:
        return this.#read(call);
      case FUSE.WRITE:
        return this.#write(call);
      case FUSE.READDIR:
      case FUSE.READDIRPLUS:
        return this.#readdir(call);
      case FUSE.RELEASE:
      case FUSE.RELEASEDIR:
        return this.#release(call);
      case FUSE.FSYNC:
      case FUSE.FSYNCDIR: {
        const open = this.#openFile(call, opcode === FUSE.FSYNCDIR);
        const isDataOnly = (call.body.getUint32(8, true) & FSYNC_FDATASYNC) !== 0;
        return this.#request(call, { operation: "fsync", isDataOnly, ...open }, () => []);
      }
      case FUSE.STATFS:
        return this.#request(call, { operation: "statfs", node: this.#node(call) }, (bytes) => [
          statfsOut(decodeStatistics(bytes)),
        ]);
      default:
        throw new Refusal(ERRNO.NOSYS);
    }
  }

  #init(call: Call): Begun {
    const { body } = call;
    const major = body.getUint32(0, true);
    const minor = body.getUint32(4, true);
    // A newer guest is told which version there is here, and asks again.
    if (major > FUSE_VERSION.MAJOR)
      return this.#answer(call, 0, [initOut({ flags: 0, maxReadahead: 0, maxWrite: 4096 })]);
    if (major < FUSE_VERSION.MAJOR || minor < FUSE_VERSION.OLDEST_MINOR) throw new Refusal(ERRNO.OPNOTSUPP);
    const flags = body.getUint32(12, true) & GRANTED;
    const maxReadahead = Math.min(body.getUint32(8, true), FILE_LIMITS.dataBytes);
    this.#nodes.clear();
    this.#isInitialised = true;
    const answer = this.#answer(call, 0, [initOut({ flags, maxReadahead, maxWrite: FILE_LIMITS.dataBytes })]);
    return { ...answer, startsAnew: true };
  }

  #forget({ header, body, message }: Call): Begun {
    const end = message.bytes.length - IN_HEADER_BYTES;
    const count = (at: number): number => Number(body.getBigUint64(at, true));
    if (header.opcode === FUSE.FORGET) {
      if (end >= 8) this.#nodes.forget(header.nodeid, count(0));
      return { kind: "silent" };
    }
    const items = end >= 8 ? Math.min(body.getUint32(0, true), MAX_FORGETS, Math.floor((end - 8) / 16)) : 0;
    for (let i = 0; i < items; i++) {
      const nodeid = body.getBigUint64(8 + 16 * i, true);
      if (nodeid <= BigInt(Number.MAX_SAFE_INTEGER)) this.#nodes.forget(Number(nodeid), count(16 + 16 * i));
    }
    return { kind: "silent" };
  }

  #lookup(call: Call): Begun {
    const [name] = this.#names(call, 0, 1) as [string];
    const node = this.#node(call);
    const request: FileRequest = { operation: "lookup", node, names: [name] };
    return this.#request(call, request, (bytes) => [this.#entry(node.number, name, attributesOf(bytes))]);
  }

  #getattr(call: Call): Begun {
    const node = this.#node(call);
    const hasHandle = (call.body.getUint32(0, true) & GETATTR_FH) !== 0;
    const handle = hasHandle ? this.#openAt(call, 8).handle : this.#nodes.handleOf(node.number);
    return this.#request(call, { operation: "getattr", node, handle }, attributesOnly);
  }

  #setattr(call: Call): Begun {
    const { body } = call;
    const node = this.#node(call);
    const valid = body.getUint32(0, true);
    const has = (bit: number): boolean => (valid & bit) !== 0;
    const size = body.getBigUint64(16, true);
    if (has(FATTR.SIZE) && size > BigInt(Number.MAX_SAFE_INTEGER)) throw new Refusal(ERRNO.FBIG);
    const time = (bit: number, now: number, at: number, nsAt: number): AttributeChanges["atime"] => {
      if (has(now)) return "now";
      return has(bit) ? body.getBigInt64(at, true) * NS + BigInt(body.getUint32(nsAt, true)) : null;
    };
    const changes: AttributeChanges = {
      mode: has(FATTR.MODE) ? body.getUint32(68, true) & 0o1777 : null,
      uid: has(FATTR.UID) ? body.getUint32(76, true) : null,
      gid: has(FATTR.GID) ? body.getUint32(80, true) : null,
      size: has(FATTR.SIZE) ? Number(size) : null,
      atime: time(FATTR.ATIME, FATTR.ATIME_NOW, 32, 56),
      mtime: time(FATTR.MTIME, FATTR.MTIME_NOW, 40, 60),
    };
    body.getUint32(84, true); // The structure is whole.
    const handle = has(FATTR.FH) ? this.#openAt(call, 8).handle : this.#nodes.handleOf(node.number);
    return this.#request(call, { operation: "setattr", node, handle, changes }, attributesOnly);
  }

  #mknod(call: Call): Begun {
    const [name] = this.#names(call, 16, 1) as [string];
    const mode = permissionsOf(call.body.getUint32(0, true));
    return this.#makes(call, name, mknodRequest(this.#node(call), name, mode));
  }

  #create(call: Call): Begun {
    const [name] = this.#names(call, 16, 1) as [string];
    const node = this.#node(call);
    const flags = call.body.getUint32(0, true);
    const mode = call.body.getUint32(4, true) & 0o777;
    const handle = reservedHandle(this.#nodes, call.message);
    const finish = (bytes: Uint8Array): Uint8Array[] => {
      const entry = this.#entry(node.number, name, attributesOf(bytes));
      const number = Number(new DataView(entry.buffer).getBigUint64(0, true));
      if (!this.#nodes.opened(handle, number, accessOf(flags), false)) throw new Refusal(ERRNO.NFILE);
      return [entry, openOut(handle)];
    };
    return this.#request(call, createRequest({ node, name, mode }, handle, flags), finish, { handle });
  }

  #remove(call: Call): Begun {
    const [name] = this.#names(call, 0, 1) as [string];
    const node = this.#node(call);
    const operation = call.header.opcode === FUSE.RMDIR ? "rmdir" : "unlink";
    const child = this.#nodes.child(node.number, name);
    return this.#request(call, { operation, node, name, child }, () => {
      this.#nodes.removed(node.number, name);
      return [];
    });
  }

  #rename(call: Call, namesAt: number): Begun {
    const [name, newName] = this.#names(call, namesAt, 2) as [string, string];
    const node = this.#node(call);
    const to = this.#nodeAt(call.body, 0);
    const child = this.#nodes.child(to.number, newName);
    return this.#request(call, { operation: "rename", node, name, to, newName, child }, () => {
      this.#nodes.renamed(node.number, name, to.number, newName);
      return [];
    });
  }

  #open(call: Call): Begun {
    const node = this.#node(call);
    const flags = call.body.getUint32(0, true);
    const isDirectory = call.header.opcode === FUSE.OPENDIR;
    const handle = reservedHandle(this.#nodes, call.message);
    const { request, access } = openRequest(node, handle, flags, isDirectory);
    const finish = (): Uint8Array[] => {
      if (!this.#nodes.opened(handle, node.number, access, isDirectory)) throw new Refusal(ERRNO.STALE);
      return [openOut(handle)];
    };
    return this.#request(call, request, finish, { handle });
  }

  #read(call: Call): Begun {
    const { body, message } = call;
    const open = this.#openFile(call, false);
    const offset = offsetOf(body.getBigUint64(8, true));
    const room = message.room - OUT_HEADER_BYTES;
    const length = Math.min(body.getUint32(16, true), room, FILE_LIMITS.dataBytes);
    return this.#request(call, { operation: "read", ...open, offset, length }, (bytes) => [bytes.subarray(0, length)]);
  }

  #write(call: Call): Begun {
    const { body, message } = call;
    const open = this.#openFile(call, false);
    const offset = offsetOf(body.getBigUint64(8, true));
    const length = body.getUint32(16, true);
    const data = writeData(message, WRITE_HEADER_BYTES, offset, length);
    const finish = (bytes: Uint8Array): Uint8Array[] => [writeOut(writtenBytes(bytes, length))];
    return this.#request(call, { operation: "write", ...open, offset }, finish, { data });
  }

  #readdir(call: Call): Begun {
    const { body, message, header } = call;
    const { node, handle } = this.#openFile(call, true);
    const hasAttributes = header.opcode === FUSE.READDIRPLUS;
    const entryBytes = DIRENT_BYTES + (hasAttributes ? ENTRY_BYTES : 0);
    const room = message.room - OUT_HEADER_BYTES;
    const bytes = Math.min(body.getUint32(16, true), room, FILE_LIMITS.entryBytes);
    const offset = offsetOf(body.getBigUint64(8, true));
    const request = { node, handle, offset, bytes, entryBytes, align: DIRENT_ALIGN, hasAttributes } as const;
    return this.#request(call, { operation: "readdir", ...request }, (reply) => {
      const nodeidOf = (entry: DirectoryEntry): number => this.#nodeOfEntry(node.number, entry);
      const dirents = direntsOut(decodeEntries(reply), hasAttributes ? nodeidOf : undefined);
      if (dirents.length > bytes) throw new Refusal(ERRNO.IO);
      return [dirents];
    });
  }

  #release(call: Call): Begun {
    const { handle } = this.#openFile(call, call.header.opcode === FUSE.RELEASEDIR);
    return this.#request(call, { operation: "release", handle }, () => {
      this.#nodes.released(handle);
      return [];
    });
  }

  /** A request whose success is a new name. */
  #makes(call: Call, name: string, request: FileRequest): Begun {
    const { nodeid } = call.header;
    return this.#request(call, request, (bytes) => [this.#entry(nodeid, name, attributesOf(bytes))]);
  }

  #request(
    call: Call,
    request: FileRequest,
    success: (bytes: Uint8Array) => Uint8Array[],
    more: { readonly handle?: number; readonly data?: { readonly at: number; readonly length: number } } = {},
  ): Begun {
    const { unique } = call.header;
    const finish = finishing(
      call.message.room,
      (bytes) => outMessage(unique, 0, success(bytes)),
      (error) => outMessage(unique, error),
    );
    return { kind: "request", request, ...more, finish };
  }

  #answer({ header, message }: Call, error: number, parts: readonly Uint8Array[] = []): Begun & { kind: "answer" } {
    const answer = outMessage(header.unique, error, parts);
    return { kind: "answer", answer: fitting(answer, message.room, (refused) => outMessage(header.unique, refused)) };
  }

  #entry(parent: number, name: string, attributes: FileAttributes): Uint8Array {
    const number = this.#nodes.enter(parent, name, attributes.identity);
    if (number === undefined) throw new Refusal(this.#nodes.has(parent) ? ERRNO.NFILE : ERRNO.STALE);
    return entryOut(number, attributes);
  }

  /** 0: a name alone, as the two that every directory has. */
  #nodeOfEntry(parent: number, { name, attributes }: DirectoryEntry): number {
    if (!attributes || !isFileName(name)) return 0;
    return this.#nodes.enter(parent, name, attributes.identity) ?? 0;
  }

  #node({ header }: Call): FileNode {
    return knownNode(this.#nodes, header.nodeid);
  }

  #nodeAt(body: DataView, at: number): FileNode {
    return knownNode(this.#nodes, numberAt(body, at));
  }

  #openFile(call: Call, isDirectory: boolean): OpenFile {
    const open = this.#nodes.open(numberAt(call.body, 0), isDirectory);
    if (!open || open.node.number !== call.header.nodeid) throw new Refusal(ERRNO.BADF);
    return open;
  }

  /** Of files alone. */
  #openAt(call: Call, at: number): OpenFile {
    const open = this.#nodes.open(numberAt(call.body, at), false);
    if (!open || open.node.number !== call.header.nodeid) throw new Refusal(ERRNO.BADF);
    return open;
  }

  /** Strings that each end with a zero, of which the last but for a link's target are names. */
  #names({ body, header }: Call, at: number, count: number): string[] {
    body.getUint8(Math.max(0, at - 1)); // What comes before them is whole.
    const bytes = new Uint8Array(body.buffer, body.byteOffset + at);
    const texts: string[] = [];
    let start = 0;
    for (let i = 0; i < count; i++) {
      const end = bytes.indexOf(0, start);
      if (end < 0) throw new Refusal(ERRNO.INVAL);
      const text = bytesToString(bytes.subarray(start, end));
      const isTarget = header.opcode === FUSE.SYMLINK && i === 1;
      texts.push(isTarget ? text : checkedName(text));
      start = end + 1;
    }
    return texts;
  }
}

function attributesOnly(bytes: Uint8Array): Uint8Array[] {
  return [attrOut(attributesOf(bytes))];
}

function numberAt(body: DataView, at: number): number {
  const number = body.getBigUint64(at, true);
  return number <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(number) : 0;
}
