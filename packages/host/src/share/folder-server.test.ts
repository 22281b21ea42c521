import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AttributeChanges,
  decodeAttributes,
  decodeEntries,
  decodeTarget,
  ERRNO,
  type FileAttributes,
  type FileNode,
  type FileRequest,
  type SentRequest,
} from "@twinmetal/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FolderServer } from "./folder-server.ts";
import { errnoOf } from "./open-files.ts";

const ROOT: FileNode = { number: 1, path: [], identity: "" };
const NO_CHANGE: AttributeChanges = { mode: null, uid: null, gid: null, size: null, atime: null, mtime: null };

let base: string;
let folder: string;
let server: FolderServer;
let nextNumber: number;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "twinmetal-share-"));
  folder = join(base, "shared");
  mkdirSync(folder);
  writeFileSync(join(base, "secret"), "secret");
  writeFileSync(join(folder, "hello"), "hello");
  server = new FolderServer({ path: folder, isReadOnly: false });
  nextNumber = 100;
});

afterEach(() => {
  server.close();
  rmSync(base, { recursive: true, force: true });
});

const buffer = new Uint8Array(131_072);

function perform(request: SentRequest, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const done = server.perform(request, data, buffer);
  return typeof done === "number" ? buffer.slice(0, done) : done;
}

function refused(request: SentRequest, data?: Uint8Array): number | undefined {
  try {
    perform(request, data);
    return 0;
  } catch (error) {
    return errnoOf(error);
  }
}

function find(path: string, from: FileNode = ROOT): FileNode & { readonly attributes: FileAttributes } {
  let node: FileNode = from;
  let attributes!: FileAttributes;
  for (const name of path.split("/")) {
    [attributes] = decodeAttributes(perform({ operation: "lookup", node, names: [name] })) as [FileAttributes];
    node = { number: nextNumber++, path: [...node.path!, name], identity: attributes.identity };
  }
  return { ...node, attributes };
}

const open = (node: FileNode, access: "read" | "write" = "read", handle = nextNumber++) =>
  ({ node, handle, access }) as const;
const read = (node: FileNode, handle = nextNumber++): string =>
  new TextDecoder().decode(perform({ operation: "read", ...open(node, "read", handle), offset: 0, length: 100 }));

describe("a shared folder", () => {
  it("is read and written", () => {
    const node = find("hello");
    expect(node.attributes).toMatchObject({ size: 5, links: 1, uid: 0, gid: 0 });
    expect(read(node)).toBe("hello");
    const file = open(ROOT, "write");
    perform({ operation: "create", ...file, name: "new", mode: 0o640, isExclusive: true, isTruncated: false });
    perform({ operation: "write", ...file, node: find("new"), offset: 2 }, new TextEncoder().encode("abc"));
    expect(readFileSync(join(folder, "new"), "latin1")).toBe("\0\0abc");
    expect(statSync(join(folder, "new")).mode & 0o777).toBe(0o640);
    perform({ operation: "setattr", node: find("new"), handle: 0, changes: { ...NO_CHANGE, size: 3, mode: 0o600 } });
    expect(readFileSync(join(folder, "new"), "latin1")).toBe("\0\0a");
    const times = { atime: 1_000_000_000_000_000_000n, mtime: 1_500_000_000_500_000_000n };
    perform({ operation: "setattr", node: find("new"), handle: 0, changes: { ...NO_CHANGE, ...times } });
    expect(statSync(join(folder, "new")).mtimeMs).toBe(1_500_000_000_500);
  });

  it("has directories, links and renames", () => {
    perform({ operation: "mkdir", node: ROOT, name: "dir", mode: 0o755 });
    perform({ operation: "symlink", node: find("dir"), name: "link", target: "../hello" });
    expect(decodeTarget(perform({ operation: "readlink", node: find("dir/link") }))).toBe("../hello");
    perform({ operation: "link", node: find("dir"), name: "hard", target: find("hello") });
    expect(statSync(join(folder, "hello")).nlink).toBe(2);
    perform({ operation: "rename", node: find("dir"), name: "hard", to: ROOT, newName: "moved", child: 0 });
    perform({ operation: "unlink", node: find("dir"), name: "link", child: 0 });
    perform({ operation: "rmdir", node: ROOT, name: "dir", child: 0 });
    expect(readdirSync(folder).sort()).toEqual(["hello", "moved"]);
  });

  it("is listed piece by piece, names of any bytes included", () => {
    const names = Array.from({ length: 300 }, (_, i) => `file ${i}`);
    for (const name of names) writeFileSync(join(folder, name), "");
    writeFileSync(Buffer.from(`${folder}/\xff\xfe`, "latin1"), "");
    const found: string[] = [];
    const handle = 7;
    for (let offset = 0, isEnd = false; !isEnd; ) {
      const layout = { bytes: 4096, entryBytes: 24, align: 8, hasAttributes: false };
      const entries = decodeEntries(perform({ operation: "readdir", node: ROOT, handle, offset, ...layout }));
      isEnd = entries.length === 0;
      offset = entries.at(-1)?.next ?? offset;
      found.push(...entries.map(({ name }) => name));
    }
    expect(found.sort()).toEqual([".", "..", "hello", "\xff\xfe", ...names].sort());
  });

  it("finds its nodes again when it has forgotten them, and only those", () => {
    const node = find("hello");
    for (let i = 0; i < 600; i++) {
      writeFileSync(join(folder, `f${i}`), "");
      perform({ operation: "getattr", node: find(`f${i}`), handle: 0 });
    }
    expect(read(node)).toBe("hello");
    rmSync(join(folder, "hello"));
    writeFileSync(join(folder, "hello"), "another");
    server.close();
    server = new FolderServer({ path: folder, isReadOnly: false });
    expect(refused({ operation: "getattr", node, handle: 0 })).toBe(ERRNO.STALE);
    expect(refused({ operation: "read", ...open(node), offset: 0, length: 1 })).toBe(ERRNO.STALE);
  });

  it("goes on with what is open after its name is gone, and closes what the guest leaves open", () => {
    const node = find("hello");
    const file = open(node);
    perform({ operation: "open", ...file, isTruncated: false });
    perform({ operation: "unlink", node: ROOT, name: "hello", child: node.number });
    expect(read({ ...node, path: null }, file.handle)).toBe("hello");
    expect(refused({ operation: "getattr", node: { ...node, path: null }, handle: 0 })).toBe(ERRNO.STALE);
    const before = readdirSync("/proc/self/fd").length;
    perform({ operation: "reset" });
    expect(readdirSync("/proc/self/fd").length).toBeLessThan(before);
  });

  it("takes a repeated request for done where it was", () => {
    const again: FileRequest[] = [
      { operation: "mkdir", node: ROOT, name: "d", mode: 0o755 },
      { operation: "unlink", node: ROOT, name: "hello", child: 0 },
    ];
    for (const request of again) {
      perform(request);
      expect(refused(request)).toBeGreaterThan(0);
      expect(refused({ ...request, isRepeated: true })).toBe(0);
    }
  });

  it("gives its files no other owner, and no set-user-ID bit", () => {
    const node = find("hello");
    expect(refused({ operation: "setattr", node, handle: 0, changes: { ...NO_CHANGE, uid: 1000 } })).toBe(ERRNO.PERM);
    expect(refused({ operation: "setattr", node, handle: 0, changes: { ...NO_CHANGE, uid: 0, gid: 0 } })).toBe(0);
    perform({ operation: "setattr", node, handle: 0, changes: { ...NO_CHANGE, mode: 0o6755 } });
    expect(statSync(join(folder, "hello")).mode & 0o7777).toBe(0o755);
  });
});

describe("a read-only folder", () => {
  it("is changed by nothing", () => {
    const node = find("hello");
    server.close();
    server = new FolderServer({ path: folder, isReadOnly: true });
    const file = open(node, "write");
    const create = { name: "x", mode: 0o644, isExclusive: true, isTruncated: false };
    const tries: FileRequest[] = [
      { operation: "open", ...file, isTruncated: false },
      { operation: "open", ...open(node), isTruncated: true },
      { operation: "create", ...file, node: ROOT, ...create },
      { operation: "create", ...open(ROOT), ...create, handle: 0 },
      { operation: "write", ...file, offset: 0 },
      { operation: "setattr", node, handle: 0, changes: { ...NO_CHANGE, size: 0 } },
      { operation: "mkdir", node: ROOT, name: "x", mode: 0o755 },
      { operation: "symlink", node: ROOT, name: "x", target: "y" },
      { operation: "link", node: ROOT, name: "x", target: node },
      { operation: "rename", node: ROOT, name: "hello", to: ROOT, newName: "x", child: 0 },
      { operation: "unlink", node: ROOT, name: "hello", child: 0 },
      { operation: "rmdir", node: ROOT, name: "hello", child: 0 },
    ];
    for (const request of tries) expect([request.operation, refused(request)]).toEqual([request.operation, ERRNO.ROFS]);
    expect(read(node)).toBe("hello");
    expect(readdirSync(folder)).toEqual(["hello"]);
  });
});

describe("no way out of the folder", () => {
  it.each(["..", ".", "", "a/b", "../secret", "/etc/passwd", "hello\0", "x".repeat(256)])("by the name %j", (name) => {
    const tries: FileRequest[] = [
      { operation: "lookup", node: ROOT, names: [name] },
      { operation: "create", ...open(ROOT, "write"), name, mode: 0o644, isExclusive: false, isTruncated: true },
      { operation: "mkdir", node: ROOT, name, mode: 0o755 },
      { operation: "symlink", node: ROOT, name, target: "x" },
      { operation: "link", node: ROOT, name, target: find("hello") },
      { operation: "rename", node: ROOT, name, to: ROOT, newName: "x", child: 0 },
      { operation: "rename", node: ROOT, name: "hello", to: ROOT, newName: name, child: 0 },
      { operation: "unlink", node: ROOT, name, child: 0 },
      { operation: "rmdir", node: ROOT, name, child: 0 },
      { operation: "getattr", node: { number: 50, path: [name, "secret"], identity: "x" }, handle: 0 },
    ];
    for (const request of tries) expect(refused(request)).toBeGreaterThan(0);
    expect(readdirSync(base).sort()).toEqual(["secret", "shared"]);
  });

  it("by a symbolic link, whatever is done with it", () => {
    for (const [name, target] of [
      ["file", join(base, "secret")],
      ["dir", ".."],
      ["root", "/"],
    ] as const) {
      symlinkSync(target, join(folder, name));
      const node = find(name);
      expect(decodeTarget(perform({ operation: "readlink", node }))).toBe(target);
      const tries: FileRequest[] = [
        { operation: "lookup", node, names: ["secret"] },
        { operation: "open", ...open(node), isTruncated: false },
        { operation: "open", ...open(node, "write"), isTruncated: true },
        { operation: "opendir", node, handle: 9 },
        { operation: "setattr", node, handle: 0, changes: { ...NO_CHANGE, size: 0 } },
        { operation: "create", ...open(ROOT, "write"), name, mode: 0o644, isExclusive: false, isTruncated: true },
        { operation: "mkdir", node, name: "x", mode: 0o755 },
        { operation: "rename", node, name: "secret", to: ROOT, newName: "got", child: 0 },
        { operation: "getattr", node: { ...node, number: 60, path: [name, "secret"] }, handle: 0 },
      ];
      for (const request of tries)
        expect([name, request.operation, refused(request)]).not.toEqual([name, request.operation, 0]);
    }
    expect(readFileSync(join(base, "secret"), "utf8")).toBe("secret");
    expect(existsSync(join(base, "x"))).toBe(false);
  });

  it("by a hard link to a symbolic link, which stays a link", () => {
    symlinkSync(join(base, "secret"), join(folder, "file"));
    perform({ operation: "link", node: ROOT, name: "hard", target: find("file") });
    expect(lstatSync(join(folder, "hard")).isSymbolicLink()).toBe(true);
    expect(readlinkSync(join(folder, "hard"))).toBe(join(base, "secret"));
  });

  it("by a folder that becomes a link between two requests, and between two names", () => {
    mkdirSync(join(folder, "dir"));
    mkdirSync(join(base, "outside"));
    writeFileSync(join(folder, "dir", "x"), "inside");
    writeFileSync(join(base, "outside", "x"), "outside");
    const [directory, file] = [find("dir"), find("dir/x")];
    perform({ operation: "getattr", node: directory, handle: 0 });
    renameSync(join(folder, "dir"), join(folder, "was"));
    symlinkSync(join(base, "outside"), join(folder, "dir"));
    // What was looked up stays what it was.
    expect(find("x", directory).attributes.size).toBe("inside".length);
    perform({
      operation: "create",
      ...open(directory, "write"),
      name: "new",
      mode: 0o644,
      isExclusive: true,
      isTruncated: false,
    });
    expect(readdirSync(join(base, "outside"))).toEqual(["x"]);
    // And what has to be looked up again is not found through the link.
    server.close();
    server = new FolderServer({ path: folder, isReadOnly: false });
    expect(refused({ operation: "getattr", node: file, handle: 0 })).toBe(ERRNO.STALE);
    expect(refused({ operation: "lookup", node: directory, names: ["x"] })).toBe(ERRNO.STALE);
    expect(refused({ operation: "lookup", node: ROOT, names: ["dir", "x"] })).toBe(0);
    expect(decodeAttributes(perform({ operation: "lookup", node: ROOT, names: ["dir", "x"] }))).toHaveLength(1);
  });

  it("while a link and a folder change places all the time", () => {
    mkdirSync(join(base, "outside"));
    writeFileSync(join(base, "outside", "x"), "outside");
    mkdirSync(join(folder, "a"));
    writeFileSync(join(folder, "a", "x"), "inside");
    symlinkSync(join(base, "outside"), join(folder, "b"));
    const swap = (): void => {
      renameSync(join(folder, "a"), join(folder, "c"));
      renameSync(join(folder, "b"), join(folder, "a"));
      renameSync(join(folder, "c"), join(folder, "b"));
    };
    for (let i = 0; i < 200; i++) {
      try {
        expect(read(find("a/x"))).toBe("inside");
      } catch (error) {
        expect([ERRNO.NOTDIR, ERRNO.STALE, ERRNO.NOENT]).toContain(errnoOf(error));
      }
      swap();
    }
  });

  it("by special files: they are seen, and opened neither to read nor to write", () => {
    execFileSync("mkfifo", [join(folder, "fifo")]);
    const node = find("fifo");
    expect(node.attributes.mode & 0o170000).toBe(0o010000);
    expect(refused({ operation: "open", ...open(node), isTruncated: false })).toBe(ERRNO.ACCES);
    expect(refused({ operation: "open", ...open(node, "write"), isTruncated: true })).toBe(ERRNO.ACCES);
    expect(refused({ operation: "setattr", node, handle: 0, changes: { ...NO_CHANGE, size: 0 } })).toBe(ERRNO.ACCES);
    const again = { ...open(ROOT, "write"), name: "fifo", mode: 0o644, isExclusive: false, isTruncated: true };
    expect(refused({ operation: "create", ...again })).toBe(ERRNO.ACCES);
  });

  it("and its bounds hold: handles, lengths of links", () => {
    const node = find("hello");
    for (let handle = 1000; handle < 2024; handle++)
      perform({ operation: "open", ...open(node, "read", handle), isTruncated: false });
    expect(refused({ operation: "open", ...open(node, "read", 5000), isTruncated: false })).toBe(ERRNO.NFILE);
    expect(refused({ operation: "symlink", node: ROOT, name: "l", target: "" })).toBe(ERRNO.INVAL);
    chmodSync(folder, 0o755);
    linkSync(join(folder, "hello"), join(folder, "other"));
    expect(find("other").attributes.links).toBe(2);
  });
});
