import { beforeEach, describe, expect, it } from "vitest";
import { deviceContract } from "../contract.ts";
import { FakeContext } from "../fake-context.ts";
import { ERRNO } from "../files/errno.ts";
import { MemoryFolder } from "../files/memory-folder.ts";
import { type Answered, FakeGuest, Fields, fuseMessage } from "./fake-guest-files.ts";
import { createVirtioFs } from "./fs.ts";
import { FUSE_INIT } from "./fuse/messages.ts";
import { BAR_LAYOUT } from "./pci-transport.ts";

const INIT = fuseMessage(
  "INIT",
  0,
  new Fields().u32(7, 36, 131_072, FUSE_INIT.MAX_PAGES | FUSE_INIT.DO_READDIRPLUS, 0),
);

let context: FakeContext;
let folder: MemoryFolder;
let guest: FakeGuest;
let device: ReturnType<typeof createVirtioFs>;

function start(): void {
  context = new FakeContext({ memoryBytes: 0x80_0000 });
  folder = new MemoryFolder({ hello: "hello, guest\n" });
  device = createVirtioFs(context, { name: "share0", tag: "work" });
  guest = new FakeGuest(context, device, 2, "share0", folder);
}

beforeEach(() => {
  start();
  guest.ask(INIT);
});

const errorOf = ({ view }: Answered): number => Math.abs(view.getInt32(4, true));
const lookup = (name: string, parent: number | bigint = 1): Answered =>
  guest.ask(fuseMessage("LOOKUP", parent, new Fields().zeroEnded(name)));
const nodeOf = ({ view }: Answered): number => Number(view.getBigUint64(16, true));
const open = (node: number, flags = 0): Answered => guest.ask(fuseMessage("OPEN", node, new Fields().u32(flags, 0)));
const read = (node: number, handle: number | bigint, offset = 0, size = 100): Answered =>
  guest.ask(fuseMessage("READ", node, new Fields().u64(handle, offset).u32(size, 0).u64(0).u32(0, 0)));
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const numberAt = ({ view }: Answered, at: number): number => Number(view.getBigUint64(at, true));

describe("virtio-fs", () => {
  it("tells its tag and one request queue", () => {
    const bytes = Array.from({ length: 36 }, (_, i) => device.read(BAR_LAYOUT.device + i, 1));
    expect(text(Uint8Array.from(bytes)).replace(/\0+$/, "")).toBe("work");
    expect(device.read(BAR_LAYOUT.device + 36, 4)).toBe(1);
  });

  it("agrees on version, limits and flags", () => {
    const { view } = guest.ask(INIT);
    expect([view.getUint32(16, true), view.getUint32(20, true)]).toEqual([7, 31]);
    expect(view.getUint32(28, true)).toBe(FUSE_INIT.MAX_PAGES | FUSE_INIT.DO_READDIRPLUS);
    expect([view.getUint32(36, true), view.getUint16(44, true)]).toEqual([131_072, 32]);
    const old = guest.ask(fuseMessage("INIT", 0, new Fields().u32(7, 30, 0, 0)));
    expect(errorOf(old)).toBe(ERRNO.OPNOTSUPP);
  });

  it("answers nothing else before that", () => {
    start();
    expect(errorOf(lookup("hello"))).toBe(ERRNO.IO);
  });

  it("finds, opens and reads a file", () => {
    const found = lookup("hello");
    expect(found.view.getUint32(16 + 40 + 60, true)).toBe(0o100644);
    expect(numberAt(found, 16 + 40 + 8)).toBe(13);
    const handle = numberAt(open(nodeOf(found)), 16);
    expect(text(read(nodeOf(found), handle).bytes.subarray(16))).toBe("hello, guest\n");
    expect(read(nodeOf(found), handle, 13).bytes).toHaveLength(16);
  });

  it("makes a file, writes it, renames it and removes it", () => {
    const created = guest.ask(fuseMessage("CREATE", 1, new Fields().u32(0o102, 0o100600, 0o22, 0).zeroEnded("new")));
    const [node, handle] = [nodeOf(created), numberAt(created, 16 + 128)];
    const data = new TextEncoder().encode("written");
    const write = new Fields().u64(handle, 0).u32(data.length, 0).u64(0).u32(0, 0).raw(data);
    expect(guest.ask(fuseMessage("WRITE", node, write)).view.getUint32(16, true)).toBe(7);
    expect(text(folder.root.entries.get("new")!.bytes)).toBe("written");
    expect(errorOf(guest.ask(fuseMessage("RENAME", 1, new Fields().u64(1).zeroEnded("new", "old"))))).toBe(0);
    expect(nodeOf(lookup("old"))).toBe(node);
    expect(errorOf(guest.ask(fuseMessage("UNLINK", 1, new Fields().zeroEnded("old"))))).toBe(0);
    // It is still open.
    expect(text(read(node, handle).bytes.subarray(16))).toBe("written");
    expect(numberAt(guest.ask(fuseMessage("GETATTR", node, new Fields().u32(0, 0).u64(0))), 16 + 16 + 8)).toBe(7);
    expect(errorOf(guest.ask(fuseMessage("RELEASE", node, new Fields().u64(handle).u32(0, 0).u64(0))))).toBe(0);
    expect(errorOf(read(node, handle))).toBe(ERRNO.BADF);
  });

  it("lists a directory with attributes, piece by piece, and the guest then knows the nodes", () => {
    for (let i = 0; i < 40; i++) folder.root.entries.set(`file${i}`, folder.root.entries.get("hello")!);
    const handle = numberAt(guest.ask(fuseMessage("OPENDIR", 1, new Fields().u32(0, 0))), 16);
    const names: string[] = [];
    for (let offset = 0, isEnd = false; !isEnd; ) {
      const body = new Fields().u64(handle, offset).u32(1000, 0).u64(0).u32(0, 0);
      const { view, bytes } = guest.ask(fuseMessage("READDIRPLUS", 1, body));
      expect(bytes.length).toBeLessThanOrEqual(16 + 1000);
      isEnd = bytes.length === 16;
      for (let at = 16; at < bytes.length; ) {
        const length = view.getUint32(at + 128 + 16, true);
        offset = Number(view.getBigUint64(at + 128 + 8, true));
        names.push(text(bytes.subarray(at + 152, at + 152 + length)));
        expect(view.getBigUint64(at, true)).toBeGreaterThan(1n);
        at += Math.ceil((152 + length) / 8) * 8;
      }
    }
    expect(names).toHaveLength(41);
    expect(new Set(names).size).toBe(41);
  });

  it("forgets without an answer, also many at once", () => {
    const node = nodeOf(lookup("hello"));
    const forget = fuseMessage("BATCH_FORGET", 0, new Fields().u32(2, 0).u64(node, 1, 99, 1));
    guest.send(forget, 0, 0);
    expect(guest.driver.used(0)).toEqual([{ head: expect.any(Number), writtenBytes: 0 }]);
    expect(errorOf(open(node))).toBe(ERRNO.STALE);
  });

  it.each(["..", ".", "", "a/b", "../etc/passwd", "x".repeat(256)])("refuses the name %j before it leaves", (name) => {
    const wanted = name.length > 255 ? ERRNO.NAMETOOLONG : ERRNO.INVAL;
    const calls: [Parameters<typeof fuseMessage>[0], Fields][] = [
      ["LOOKUP", new Fields().zeroEnded(name)],
      ["UNLINK", new Fields().zeroEnded(name)],
      ["RMDIR", new Fields().zeroEnded(name)],
      ["MKDIR", new Fields().u32(0o755, 0).zeroEnded(name)],
      ["MKNOD", new Fields().u32(0o100644, 0, 0, 0).zeroEnded(name)],
      ["CREATE", new Fields().u32(0, 0o644, 0, 0).zeroEnded(name)],
      ["SYMLINK", new Fields().zeroEnded(name, "/etc/passwd")],
      ["LINK", new Fields().u64(nodeOf(lookup("hello"))).zeroEnded(name)],
      ["RENAME", new Fields().u64(1).zeroEnded("hello", name)],
      ["RENAME2", new Fields().u64(1).u32(0, 0).zeroEnded(name, "x")],
    ];
    for (const [opcode, body] of calls)
      expect([opcode, errorOf(guest.ask(fuseMessage(opcode, 1, body)))]).toEqual([opcode, wanted]);
    expect([...folder.root.entries.keys()]).toEqual(["hello"]);
  });

  it("refuses devices, FIFOs and what it does not know", () => {
    for (const type of [0o010000, 0o020000, 0o060000, 0o140000]) {
      const body = new Fields().u32(type | 0o666, 0x0103, 0, 0).zeroEnded("node");
      expect(errorOf(guest.ask(fuseMessage("MKNOD", 1, body)))).toBe(ERRNO.PERM);
    }
    expect(errorOf(guest.ask(fuseMessage(39, 1)))).toBe(ERRNO.NOSYS);
    expect(errorOf(lookup("hello", 2n ** 63n))).toBe(ERRNO.STALE);
    expect(errorOf(guest.ask(fuseMessage("LOOKUP", 1, new Fields().raw(Uint8Array.of(65, 66)))))).toBe(ERRNO.INVAL);
  });

  it("asks again for what was under way after a restore, and says so", () => {
    guest.send(fuseMessage("MKDIR", 1, new Fields().u32(0o755, 0).zeroEnded("made")));
    const state = device.save();
    const copy = new FakeContext({ memoryBytes: 0x80_0000 });
    copy.copyFrom(context);
    const restored = createVirtioFs(copy, { name: "share0", tag: "work" });
    restored.restore(state);
    restored.resume?.();
    const share = copy.shares.get("share0")!;
    const again = share.requests.at(-1)?.request;
    expect(again).toMatchObject({ operation: "mkdir", name: "made", mode: 0o755, isRepeated: true });
    share.answerBy(folder);
    expect(folder.root.entries.has("made")).toBe(true);
  });

  it("does nothing new after a reset before the old has come back", () => {
    guest.send(fuseMessage("MKDIR", 1, new Fields().u32(0o755, 0).zeroEnded("made")));
    const share = context.shares.get("share0")!;
    const old = share.requests.splice(0);
    guest = new FakeGuest(context, device, 2, "share0");
    guest.send(INIT);
    guest.send(fuseMessage("STATFS", 1));
    expect(share.requests).toHaveLength(0);
    for (const { id } of old) share.deliver({ id, error: 0, bytes: new Uint8Array(0) });
    expect(share.requests.map(({ request }) => request.operation)).toEqual(["reset", "statfs"]);
  });

  describe("contract", () =>
    it.each(
      deviceContract((fake) => {
        const made = createVirtioFs(fake, { name: "share0", tag: "work" });
        const files = new MemoryFolder({ hello: "hello" });
        const answerOne = (): void => {
          const [request] = fake.shares.get("share0")!.requests;
          if (!request) return;
          const { error, bytes } = files.answer(request.message, request.data);
          fake.shares.get("share0")!.complete(bytes, error);
        };
        made.pci.connect({ intx: fake.line("intx"), msi: () => {}, decodeChanged: () => {} });
        return {
          device: made,
          ranges: [
            { handler: made, length: 0x14 },
            { handler: made, length: BAR_LAYOUT.sizeBytes },
          ],
          observe: () =>
            fake.shares
              .get("share0")!
              .requests.map(({ id, request }) => `${id} ${request.operation}`)
              .join(),
          events: [answerOne],
          // Numbers of requests and nodes, which are never used again.
          survivesReset: true,
          setUp: () => {
            const fuse = new FakeGuest(fake, made, 2, "share0");
            fuse.send(INIT, 256);
            for (const name of ["hello", "none"])
              fuse.send(fuseMessage("LOOKUP", 1, new Fields().zeroEnded(name)), 256);
            fuse.send(fuseMessage("STATFS", 1), 256);
          },
        };
      }),
    )("$name", ({ run }) => run()));
});
