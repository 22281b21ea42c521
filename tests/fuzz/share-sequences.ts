/**
 * Guests of the two devices that share a folder, for device-fuzz.ts: messages of FUSE and of 9P2000.L with nodes, handles and fids
 * that are often right. A folder in memory answers, or rubbish does. The oracle: no request leaves that a file server would have
 * to refuse for its form: names that are none, paths above the folder, lengths beyond the limits, modes beyond permissions.
 */
import type { FakeContext, FakeShare } from "../../packages/core/src/devices/fake-context.ts";
import { FILE_LIMITS } from "../../packages/core/src/devices/files/file-channel.ts";
import type { SentRequest } from "../../packages/core/src/devices/files/file-requests.ts";
import { MemoryFolder } from "../../packages/core/src/devices/files/memory-folder.ts";
import { Fields, fuseMessage, p9Message } from "../../packages/core/src/devices/virtio/fake-guest-files.ts";
import { createVirtioFs } from "../../packages/core/src/devices/virtio/fs.ts";
import { createVirtio9p } from "../../packages/core/src/devices/virtio/p9.ts";
import type { FuzzedDevice, Random } from "./device-fuzz.ts";
import { type Driver, type Part, target } from "./virtio-driver.ts";

const NAMES = [
  "hello",
  "a",
  "b",
  "dir",
  "dir2",
  "link",
  "..",
  ".",
  "",
  "x/y",
  "../hello",
  "n".repeat(255),
  "n".repeat(256),
];
const KNOWN = 8;

function checkName(name: unknown): void {
  if (typeof name === "string" && /^[^/\0]{1,255}$/s.test(name) && !/^\.\.?$/.test(name)) return;
  throw new Error(`the name ${JSON.stringify(name)}`);
}

export function checkRequest(request: SentRequest, data: Uint8Array): void {
  for (const [key, value] of Object.entries(request)) {
    if (key === "name" || key === "newName") checkName(value);
    if (key === "names") for (const name of value as string[]) checkName(name);
    const path = (value as { path?: unknown } | null)?.path;
    if (Array.isArray(path)) {
      for (const name of path) checkName(name);
      if (path.join("/").length > FILE_LIMITS.pathBytes) throw new Error("a path that is too long");
    }
    const isCount = ["offset", "length", "bytes", "handle", "child"].includes(key);
    if (isCount && !(Number.isSafeInteger(value) && (value as number) >= 0)) throw new Error(`${key} ${String(value)}`);
    if (key === "mode" && ((value as number) & ~0o1777) !== 0) throw new Error(`the mode ${String(value)}`);
  }
  if (request.operation === "read" && request.length > FILE_LIMITS.dataBytes)
    throw new Error("a read that is too long");
  if (request.operation === "readdir" && request.bytes > FILE_LIMITS.entryBytes) throw new Error("a list too long");
  if (request.operation === "symlink" && !/^[^\0]{1,4095}$/s.test(request.target)) throw new Error("a link's text");
  if (request.operation === "setattr" && ((request.changes.mode ?? 0) & ~0o1777) !== 0) throw new Error("a mode");
  if (data.length > FILE_LIMITS.dataBytes) throw new Error("a write that is too long");
}

/** What the device has in its state of what its guest knows. */
export interface Known {
  readonly hasBegun: boolean;
  readonly nodes: readonly number[];
  readonly handles: readonly { readonly number: number; readonly node: number }[];
  /** 9P's, and those of open files. */
  readonly fids: readonly number[];
  readonly openFids: readonly number[];
}

interface SavedShare {
  readonly isInitialised?: boolean;
  readonly msize?: number;
  readonly fids?: readonly { readonly fid: number; readonly handle: number }[];
  readonly nodes: { readonly nodes: readonly { readonly number: number }[]; readonly handles: Known["handles"] };
}

/** By the state of a protocol, or of its device. */
export function knownBy(state: unknown): Known {
  const { isInitialised, msize, fids = [], nodes } = state as SavedShare;
  return {
    hasBegun: isInitialised ?? msize !== 0,
    nodes: nodes.nodes.map(({ number }) => number),
    handles: nodes.handles,
    fids: fids.map(({ fid }) => fid),
    openFids: fids.filter(({ handle }) => handle !== 0).map(({ fid }) => fid),
  };
}

/** Lists of all of its files are longer than most answers. */
export function folderWithFiles(): MemoryFolder {
  const more = Array.from({ length: 40 }, (_, i) => [`${i}`.padEnd(3 + i, "n"), ""]);
  return new MemoryFolder({ hello: "hello, guest", a: "1", b: "2", ...Object.fromEntries(more) });
}

/** What both devices have in common: the folder's side, and how messages lie in buffers. */
function sharing(
  context: FakeContext,
  queues: number,
  known: () => Known,
  message: (random: Random, known: Known) => Uint8Array,
): Driver {
  const share = (): FakeShare => context.shares.get("share0")!;
  const folder = folderWithFiles();
  const answerOne = (): void => {
    const [next] = share().requests;
    if (!next) return;
    const { error, bytes } = folder.answer(next.message, next.data);
    share().complete(bytes, error);
  };
  return {
    features: 0x3000_0000,
    queues,
    check: () => {
      for (const { request, data } of share().requests) checkRequest(request, data);
    },
    events: [
      answerOne,
      (value) => {
        for (let left = value % 16; left > 0; left--) answerOne();
      },
      (value) => {
        while (share().requests.length > value % 4) answerOne();
      },
      (value) => share().requests.length > 0 && share().complete(new Uint8Array(0), 1 + (value % 133)),
      (value) => {
        // Rubbish, or another request's reply.
        const bytes = new Uint8Array((value >>> 8) % 90).fill(value);
        if (value % 8 === 0 && share().requests.length > 0) share().complete(bytes);
        else if (!share().requests.some(({ id }) => id === value % 64))
          share().deliver({ id: value % 64, error: 0, bytes });
      },
    ],
    request: (random, buffer) => {
      const bytes = message(random, known());
      const room = [0, 8, 64, 200, 400, 1000, 4000][random(7)]!;
      const cut = random(4) === 0 ? random(bytes.length) : 0;
      const parts: Part[] = [];
      for (const piece of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
        if (piece.length === 0) continue;
        parts.push({ gpa: buffer(piece.length), sizeBytes: piece.length, isWritable: false, bytes: piece });
      }
      if (room > 0) parts.push({ gpa: buffer(room), sizeBytes: room, isWritable: true });
      return { queue: queues - 1 - (random(12) === 0 ? random(queues) : 0), parts };
    },
  };
}

export function fuse(random: Random, known: Known): Uint8Array {
  const name = (): string => NAMES[random(random(4) === 0 ? NAMES.length : 6)]!;
  const number = (): number => (random(8) === 0 ? random(2 ** 20) : known.nodes[random(known.nodes.length)]!);
  // An open file and its node, mostly.
  const open = known.handles.length > 0 ? known.handles[random(known.handles.length)]! : { number: 5, node: 1 };
  const handle = (): number => (random(8) === 0 ? number() : open.number);
  const node = random(3) === 0 ? 1 : number();
  const data = new Uint8Array(random(60)).fill(0x61);
  const mode = (): number => random(0o10000);
  const calls: (() => Uint8Array)[] = [
    () => fuseMessage("INIT", 0, new Fields().u32(7, 31 + random(9), random(2 ** 20), 0xffff_ffff)),
    () => fuseMessage("LOOKUP", node, new Fields().zeroEnded(name())),
    () => fuseMessage("LOOKUP", 1, new Fields().zeroEnded(name())),
    () => fuseMessage("FORGET", node, new Fields().u64(random(3))),
    () => fuseMessage("BATCH_FORGET", 0, new Fields().u32(2, 0).u64(number(), 1, number(), random(4))),
    () => fuseMessage("GETATTR", node, new Fields().u32(random(2), 0).u64(number())),
    () =>
      fuseMessage("SETATTR", node, new Fields().u32(random(512), 0).u64(number(), random(99)).raw(new Uint8Array(68))),
    () => fuseMessage("READLINK", node),
    () => fuseMessage("SYMLINK", node, new Fields().zeroEnded(name(), "target")),
    () => fuseMessage("MKNOD", 1, new Fields().u32(mode() | (random(2) << 15), 0, 0, 0).zeroEnded(name())),
    () => fuseMessage("MKDIR", 1, new Fields().u32(mode(), 0).zeroEnded(name())),
    () => fuseMessage("UNLINK", 1, new Fields().zeroEnded(name())),
    () => fuseMessage("RMDIR", node, new Fields().zeroEnded(name())),
    () => fuseMessage("RENAME", 1, new Fields().u64(random(2) === 0 ? 1 : number()).zeroEnded(name(), name())),
    () => fuseMessage("RENAME2", 1, new Fields().u64(1).u32(random(2), 0).zeroEnded(name(), name())),
    () => fuseMessage("LINK", 1, new Fields().u64(number()).zeroEnded(name())),
    () => fuseMessage("OPEN", node, new Fields().u32(random(4) | (random(2) << 9), 0)),
    () => fuseMessage("OPENDIR", node, new Fields().u32(0, 0)),
    () => fuseMessage("CREATE", 1, new Fields().u32(random(0o2000), mode(), 0, 0).zeroEnded(name())),
    () =>
      fuseMessage(
        "READ",
        open.node,
        new Fields()
          .u64(handle(), random(20))
          .u32(random(2 ** 18), 0)
          .u64(0)
          .u32(0, 0),
      ),
    () =>
      fuseMessage(
        "WRITE",
        open.node,
        new Fields().u64(handle(), random(99)).u32(data.length, 0).u64(0).u32(0, 0).raw(data),
      ),
    () =>
      fuseMessage(
        random(2) === 0 ? "READDIR" : "READDIRPLUS",
        open.node,
        new Fields().u64(handle(), random(3)).u32(random(9000), 0).u64(0, 0),
      ),
    () =>
      fuseMessage(random(2) === 0 ? "RELEASE" : "RELEASEDIR", open.node, new Fields().u64(handle()).u32(0, 0).u64(0)),
    () => fuseMessage("FSYNC", open.node, new Fields().u64(handle()).u32(random(2), 0)),
    () => fuseMessage("STATFS", 1),
    () => fuseMessage(random(60), node, new Fields().u64(1, 2, 3)),
  ];
  const begins = known.hasBegun ? random(60) === 0 : random(3) !== 0;
  return calls[begins ? 0 : 1 + random(calls.length - 1)]!();
}

export function p9(random: Random, known: Known): Uint8Array {
  const name = (): string => NAMES[random(random(4) === 0 ? NAMES.length : 6)]!;
  const oneOf = (fids: readonly number[]): number =>
    fids.length > 0 && random(8) !== 0 ? fids[random(fids.length)]! : random(KNOWN);
  const fid = (): number => oneOf(known.fids);
  const openFid = (): number => oneOf(random(8) === 0 ? known.fids : known.openFids);
  const newFid = (): number => random(KNOWN);
  const data = new Uint8Array(random(60)).fill(0x61);
  const walked = Array.from({ length: random(4) }, name);
  const calls: (() => Uint8Array)[] = [
    () => p9Message("VERSION", new Fields().u32(4096 + random(2 ** 18)).counted("9P2000.L")),
    () => p9Message("ATTACH", new Fields().u32(newFid(), 0xffff_ffff).counted("", "").u32(0)),
    () =>
      p9Message(
        "WALK",
        new Fields()
          .u32(fid(), newFid())
          .u16(walked.length)
          .counted(...walked),
      ),
    () => p9Message("WALK", new Fields().u32(0, newFid()).u16(1).counted(name())),
    () => p9Message("WALK", new Fields().u32(fid(), newFid()).u16(0)),
    () => p9Message("CLUNK", new Fields().u32(fid())),
    () => p9Message("REMOVE", new Fields().u32(fid())),
    () => p9Message("FLUSH", new Fields().u16(random(9))),
    () => p9Message("GETATTR", new Fields().u32(fid()).u64(0x7ff)),
    () => p9Message("SETATTR", new Fields().u32(fid(), random(512), random(0o10000), 0, 0).u64(random(99), 1, 2, 3, 4)),
    () => p9Message("READLINK", new Fields().u32(fid())),
    () => p9Message("LOPEN", new Fields().u32(fid(), random(4))),
    () => p9Message("LCREATE", new Fields().u32(fid()).counted(name()).u32(random(0o2000), random(0o10000), 0)),
    () =>
      p9Message(
        "READ",
        new Fields()
          .u32(openFid())
          .u64(random(20))
          .u32(random(2 ** 18)),
      ),
    () => p9Message("WRITE", new Fields().u32(openFid()).u64(random(99)).u32(data.length).raw(data)),
    () => p9Message("READDIR", new Fields().u32(openFid()).u64(random(3)).u32(random(9000))),
    () => p9Message("FSYNC", new Fields().u32(fid(), random(2))),
    () => p9Message("STATFS", new Fields().u32(fid())),
    () => p9Message("MKDIR", new Fields().u32(fid()).counted(name()).u32(random(0o10000), 0)),
    () => p9Message("SYMLINK", new Fields().u32(fid()).counted(name(), "target").u32(0)),
    () =>
      p9Message(
        "MKNOD",
        new Fields()
          .u32(fid())
          .counted(name())
          .u32(random(2 ** 16), 0, 0, 0),
      ),
    () => p9Message("LINK", new Fields().u32(fid(), fid()).counted(name())),
    () => p9Message("RENAME", new Fields().u32(fid(), fid()).counted(name())),
    () => p9Message("RENAMEAT", new Fields().u32(fid()).counted(name()).u32(fid()).counted(name())),
    () =>
      p9Message(
        "UNLINKAT",
        new Fields()
          .u32(fid())
          .counted(name())
          .u32(random(2) << 9),
      ),
    () => p9Message("LOCK", new Fields().u32(fid()).raw(new Uint8Array(30))),
    () => p9Message("GETLOCK", new Fields().u32(fid()).raw(Uint8Array.of(1)).u64(0, 9).u32(1).counted("host")),
    () => p9Message(random(128), new Fields().u32(fid()).u64(1, 2)),
  ];
  if (known.hasBegun ? random(80) === 0 : random(3) !== 0) return calls[0]!();
  const attaches = random(known.fids.length === 0 ? 2 : 12) === 0;
  return calls[attaches ? 1 : 1 + random(calls.length - 1)]!();
}

export const SHARE_DEVICES: readonly FuzzedDevice[] = [
  {
    name: "virtio-fs",
    build: (context) => {
      const device = createVirtioFs(context, { name: "share0", tag: "work" });
      return target(
        context,
        device,
        sharing(context, 2, () => knownBy((device.save() as { device: unknown }).device), fuse),
      );
    },
  },
  {
    name: "virtio-9p",
    build: (context) => {
      const device = createVirtio9p(context, { name: "share0", tag: "work" });
      return target(
        context,
        device,
        sharing(context, 1, () => knownBy((device.save() as { device: unknown }).device), p9),
      );
    },
  },
];
