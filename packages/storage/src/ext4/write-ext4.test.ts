import { execFileSync } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { MemoryFile } from "../memory-file.ts";
import { type DirectoryNode, type FileNode, newDirectory, type TreeNode } from "./tree.ts";
import { writeExt4 } from "./write-ext4.ts";

const OPTIONS = { label: "test", uuid: Uint8Array.from({ length: 16 }, (_, i) => i), freeBytes: 0 };
const attributes = { mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 1_000_000_000 };

function file(text: string, more: Partial<FileNode> = {}): FileNode {
  const bytes = new TextEncoder().encode(text);
  const read = async (offset: number, into: Uint8Array): Promise<void> =>
    into.set(bytes.subarray(offset, offset + into.length));
  return { ...attributes, type: "file", sizeBytes: bytes.length, read, ...more };
}

function directory(children: Record<string, TreeNode>): DirectoryNode {
  return { ...newDirectory(), children: new Map(Object.entries(children)) };
}

async function image(root: DirectoryNode, options = OPTIONS): Promise<Uint8Array> {
  const disk = new MemoryFile();
  await writeExt4(disk, root, options);
  return disk.contents();
}

const E2FSCK = "/usr/sbin/e2fsck";

describe.skipIf(!existsSync(E2FSCK))("an ext4 image", () => {
  async function written(root: DirectoryNode, options = OPTIONS) {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-ext4-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "disk");
    writeFileSync(path, await image(root, options));
    execFileSync(E2FSCK, ["-f", "-n", path], { stdio: ["ignore", "pipe", "pipe"] });
    return (command: string): string =>
      execFileSync("/usr/sbin/debugfs", ["-R", command, path], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      });
  }

  it("has files, directories, links and devices as they were given", async () => {
    const shared = file("shared", { uid: 70_000, gid: 5, mode: 0o4755 });
    const ask = await written(
      directory({
        etc: directory({ "a file": file("hello\n"), twin: shared, größe: file("") }),
        other: shared,
        short: { ...attributes, type: "symlink", target: "etc/a" },
        long: { ...attributes, type: "symlink", target: "x/".repeat(100) },
        null: { ...attributes, type: "character-device", major: 1, minor: 3 },
        large: { ...attributes, type: "block-device", major: 259, minor: 70_000 },
        pipe: { ...attributes, type: "fifo", major: 0, minor: 0 },
      }),
    );
    expect(ask('cat "/etc/a file"')).toBe("hello\n");
    expect(ask("cat /other")).toBe("shared");
    expect(ask("stat /other")).toMatch(/Mode: {2}04755.*User: 70000 {3}Group: {5}5.*Links: 2/s);
    expect(ask("stat /short")).toContain('Fast link dest: "etc/a"');
    expect(ask("stat /null")).toContain("Device major/minor number: 01:03");
    expect(ask("stat /large")).toContain("259:70000");
    expect(ask("ls /etc")).toContain("gr\\xc3\\xb6\\xc3\\x9fe");
  });

  it("has thousands of entries in a directory, and room as it was asked for", async () => {
    const children = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`entry-${i}`, file(`${i}`)]));
    const ask = await written(directory({ many: directory(children) }), { ...OPTIONS, freeBytes: 200 * 2 ** 20 });
    expect(ask("cat /many/entry-2999")).toBe("2999");
    const [, free] = /Free blocks: +(\d+)/.exec(ask("stats -h"))!;
    expect(Number(free) * 4096).toBeGreaterThanOrEqual(200 * 2 ** 20);
  });

  it("has files over the borders of groups, with a list of their parts", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "twinmetal-ext4-")), "disk");
    onTestFinished(() => rmSync(join(path, ".."), { recursive: true, force: true }));
    const disk = openSync(path, "w+");
    onTestFinished(() => closeSync(disk));
    // What the file holds is left out, so that the test writes little.
    const write = async (at: number, bytes: Uint8Array): Promise<void> => {
      if (bytes.length < 1 << 20) writeSync(disk, bytes, 0, bytes.length, at);
    };
    const truncate = async (sizeBytes: number): Promise<void> => ftruncateSync(disk, sizeBytes);
    const big = file("", { sizeBytes: 700 * 2 ** 20, read: async () => {} });
    await writeExt4({ isReadOnly: false, ...sink, write, truncate }, directory({ big }), OPTIONS);
    execFileSync(E2FSCK, ["-f", "-n", path], { stdio: ["ignore", "pipe", "pipe"] });
    const extents = execFileSync("/usr/sbin/debugfs", ["-R", "ex /big", path], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    expect(extents).toMatch(/ 0\/ 1 +1\/ +1 .* 1\/ 1 +6\/ +6 /s);
  });
});

const sink = {
  read: async () => {},
  flush: async () => {},
  discard: async () => true,
  size: async () => 0,
  close: async () => {},
};

describe("an ext4 image", () => {
  it("is refused for names that are none, and for a directory with two", async () => {
    const twice = directory({});
    for (const root of [
      directory({ "a/b": file("") }),
      directory({ "..": file("") }),
      directory({ "": file("") }),
      directory({ ["ä".repeat(128)]: file("") }),
      directory({ a: twice, b: twice }),
    ]) {
      await expect(image(root)).rejects.toMatchObject({ code: "out-of-range" });
    }
  });

  it("passes on what reading fails with", async () => {
    const read = () => Promise.reject(new Error("gone"));
    await expect(image(directory({ a: file("x", { read }) }))).rejects.toThrow("gone");
  });
});
