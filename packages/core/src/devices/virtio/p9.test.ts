import { beforeEach, describe, expect, it } from "vitest";
import { deviceContract } from "../contract.ts";
import { FakeContext } from "../fake-context.ts";
import { ERRNO } from "../files/errno.ts";
import { MemoryFolder } from "../files/memory-folder.ts";
import { type Answered, FakeGuest, Fields, p9Message } from "./fake-guest-files.ts";
import { P9 } from "./p9/messages.ts";
import { createVirtio9p } from "./p9.ts";
import { BAR_LAYOUT } from "./pci-transport.ts";

const VERSION = p9Message("VERSION", new Fields().u32(8192).counted("9P2000.L"), 0xffff);
const NO_FID = 0xffff_ffff;
const ATTACH = p9Message("ATTACH", new Fields().u32(0, NO_FID).counted("root", "").u32(0));

let context: FakeContext;
let folder: MemoryFolder;
let guest: FakeGuest;
let device: ReturnType<typeof createVirtio9p>;

function connect(files: Readonly<Record<string, string>>): void {
  context = new FakeContext({ memoryBytes: 0x80_0000 });
  folder = new MemoryFolder(files);
  device = createVirtio9p(context, { name: "share0", tag: "work" });
  guest = new FakeGuest(context, device, 1, "share0", folder);
  guest.ask(VERSION);
  guest.ask(ATTACH);
}

beforeEach(() => connect({ hello: "hello, guest\n" }));

const errorOf = ({ view }: Answered): number => (view.getUint8(4) === P9.LERROR + 1 ? view.getUint32(7, true) : 0);
const ask = (type: Parameters<typeof p9Message>[0], body: Fields): Answered => guest.ask(p9Message(type, body));
const walk = (from: number, to: number, ...names: string[]): Answered =>
  ask(
    "WALK",
    new Fields()
      .u32(from, to)
      .u16(names.length)
      .counted(...names),
  );
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

describe("virtio-9p", () => {
  it("tells its tag", () => {
    const bytes = Array.from({ length: 6 }, (_, i) => device.read(BAR_LAYOUT.device + i, 1));
    expect(bytes.slice(0, 2)).toEqual([4, 0]);
    expect(text(Uint8Array.from(bytes.slice(2)))).toBe("work");
  });

  it("agrees on version and size, and knows no other dialect", () => {
    const { view } = guest.ask(p9Message("VERSION", new Fields().u32(2 ** 30).counted("9P2000.L"), 0xffff));
    expect([view.getUint8(4), view.getUint32(7, true)]).toEqual([101, 131_072 + 23]);
    const other = guest.ask(p9Message("VERSION", new Fields().u32(8192).counted("9P2000.u"), 0xffff));
    expect(text(other.bytes.subarray(13))).toBe("unknown");
    expect(errorOf(guest.ask(ATTACH))).toBe(ERRNO.IO);
  });

  it("walks, opens and reads a file", () => {
    expect(walk(0, 1, "hello").view.getUint16(7, true)).toBe(1);
    const attributes = ask("GETATTR", new Fields().u32(1).u64(0x7ff)).view;
    expect([attributes.getUint32(28, true), attributes.getBigUint64(56, true)]).toEqual([0o100644, 13n]);
    expect(errorOf(ask("LOPEN", new Fields().u32(1, 0)))).toBe(0);
    const { bytes, view } = ask("READ", new Fields().u32(1).u64(7).u32(100));
    expect([view.getUint32(7, true), text(bytes.subarray(11))]).toEqual([6, "guest\n"]);
    expect(errorOf(ask("CLUNK", new Fields().u32(1)))).toBe(0);
    expect(errorOf(ask("READ", new Fields().u32(1).u64(0).u32(1)))).toBe(ERRNO.BADF);
  });

  it("walks as far as there is something, and then leaves the new fid alone", () => {
    ask("MKDIR", new Fields().u32(0).counted("dir").u32(0o755, 0));
    expect(walk(0, 1, "dir", "none", "x").view.getUint16(7, true)).toBe(1);
    expect(errorOf(ask("GETATTR", new Fields().u32(1).u64(0)))).toBe(ERRNO.BADF);
    expect(errorOf(walk(0, 1, "none"))).toBe(ERRNO.NOENT);
  });

  it("never walks above the folder", () => {
    ask("MKDIR", new Fields().u32(0).counted("dir").u32(0o755, 0));
    walk(0, 1, "dir");
    expect(walk(1, 2, "..", "..", "..", "hello").view.getUint16(7, true)).toBe(4);
    expect(ask("GETATTR", new Fields().u32(2).u64(0)).view.getBigUint64(56, true)).toBe(13n);
  });

  it("makes a file, writes it, renames and removes it while it is open", () => {
    walk(0, 1);
    expect(errorOf(ask("LCREATE", new Fields().u32(1).counted("new").u32(0o102, 0o644, 0)))).toBe(0);
    const data = new TextEncoder().encode("written");
    expect(ask("WRITE", new Fields().u32(1).u64(0).u32(7).raw(data)).view.getUint32(7, true)).toBe(7);
    expect(text(folder.root.entries.get("new")!.bytes)).toBe("written");
    expect(errorOf(ask("RENAMEAT", new Fields().u32(0).counted("new").u32(0).counted("old")))).toBe(0);
    expect(errorOf(ask("UNLINKAT", new Fields().u32(0).counted("old").u32(0)))).toBe(0);
    expect(ask("GETATTR", new Fields().u32(1).u64(0)).view.getBigUint64(56, true)).toBe(7n);
    expect(text(ask("READ", new Fields().u32(1).u64(0).u32(9)).bytes.subarray(11))).toBe("written");
  });

  it("lists a directory", () => {
    walk(0, 1);
    ask("LOPEN", new Fields().u32(1, 0));
    const { bytes, view } = ask("READDIR", new Fields().u32(1).u64(0).u32(1000));
    expect(view.getUint32(7, true)).toBe(24 + 5);
    expect(text(bytes.subarray(35))).toBe("hello");
    expect(ask("READDIR", new Fields().u32(1).u64(1).u32(1000)).view.getUint32(7, true)).toBe(0);
  });

  it("lists many entries, in one answer and on from the last one", () => {
    const names = Array.from({ length: 90 }, (_, i) => "n".repeat(1 + (i % 40)) + i);
    connect(Object.fromEntries(names.map((name) => [name, ""])));
    walk(0, 1);
    ask("LOPEN", new Fields().u32(1, 0));
    const found: string[] = [];
    for (let [next, size] = [0n, 1]; size > 0; ) {
      const { bytes, view } = ask("READDIR", new Fields().u32(1).u64(Number(next)).u32(3000));
      size = view.getUint32(7, true);
      for (let at = 11; at < 11 + size; ) {
        next = view.getBigUint64(at + 13, true);
        const end = at + 24 + view.getUint16(at + 22, true);
        found.push(text(bytes.subarray(at + 24, end)));
        at = end;
      }
    }
    expect(found.sort()).toEqual(names.sort());
  });

  it.each(["..", ".", "", "a/b", "x".repeat(256)])("refuses the name %j before it leaves", (name) => {
    const wanted = name.length > 255 ? ERRNO.NAMETOOLONG : ERRNO.INVAL;
    const calls: [keyof typeof P9, Fields][] = [
      ["MKDIR", new Fields().u32(0).counted(name).u32(0o755, 0)],
      ["LCREATE", new Fields().u32(0).counted(name).u32(0, 0o644, 0)],
      ["SYMLINK", new Fields().u32(0).counted(name, "/etc/passwd").u32(0)],
      ["MKNOD", new Fields().u32(0).counted(name).u32(0o100644, 0, 0, 0)],
      ["UNLINKAT", new Fields().u32(0).counted(name).u32(0)],
      ["RENAMEAT", new Fields().u32(0).counted("hello").u32(0).counted(name)],
      ["LINK", new Fields().u32(0, 0).counted(name)],
    ];
    for (const [type, body] of calls) expect([type, errorOf(ask(type, body))]).toEqual([type, wanted]);
    expect([...folder.root.entries.keys()]).toEqual(["hello"]);
  });

  it("refuses devices, unknown messages, and messages that end early", () => {
    expect(errorOf(ask("MKNOD", new Fields().u32(0).counted("x").u32(0o020666, 1, 3, 0)))).toBe(ERRNO.PERM);
    expect(errorOf(ask(30, new Fields().u32(0, 1).counted("user.x")))).toBe(ERRNO.OPNOTSUPP);
    expect(errorOf(ask("WALK", new Fields().u32(0, 1).u16(3).counted("a")))).toBe(ERRNO.INVAL);
    expect(errorOf(ask("WALK", new Fields().u32(0, 1).u16(17)))).toBe(ERRNO.INVAL);
    expect(errorOf(ask("WRITE", new Fields().u32(0).u64(0).u32(1000)))).toBe(ERRNO.BADF);
  });

  it("answers a flush when what it flushes is answered", () => {
    guest = new FakeGuest(context, device, 1, "share0");
    guest.send(VERSION);
    guest.send(ATTACH);
    guest.send(p9Message("FLUSH", new Fields().u16(5), 6));
    const share = context.shares.get("share0")!;
    share.answerBy(folder);
    expect(share.requests).toHaveLength(0);
    expect(guest.driver.used(0)).toHaveLength(3);
  });

  describe("contract", () =>
    it.each(
      deviceContract((fake) => {
        const made = createVirtio9p(fake, { name: "share0", tag: "work" });
        made.pci.connect({ intx: fake.line("intx"), msi: () => {}, decodeChanged: () => {} });
        const files = new MemoryFolder({ hello: "hello" });
        const share = fake.shares.get("share0")!;
        const answerOne = (): void => {
          const [request] = share.requests;
          if (!request) return;
          const { error, bytes } = files.answer(request.message, request.data);
          share.complete(bytes, error);
        };
        return {
          device: made,
          ranges: [
            { handler: made, length: 0x14 },
            { handler: made, length: BAR_LAYOUT.sizeBytes },
          ],
          observe: () => share.requests.map(({ id, request }) => `${id} ${request.operation}`).join(),
          events: [answerOne],
          // Numbers of requests and nodes, which are never used again.
          survivesReset: true,
          setUp: () => {
            const driver = new FakeGuest(fake, made, 1, "share0");
            for (const message of [VERSION, ATTACH]) driver.send(message, 256);
            driver.send(p9Message("STATFS", new Fields().u32(0)), 256);
          },
        };
      }),
    )("$name", ({ run }) => run()));
});
