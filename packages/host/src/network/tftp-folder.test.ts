import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { TftpFolder } from "./tftp-folder.ts";

let outside: string;
let root: string;
let folder: TftpFolder;

beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), "twinmetal-tftp-"));
  root = join(outside, "root");
  mkdirSync(join(root, "below"), { recursive: true });
  writeFileSync(join(outside, "secret"), "secret");
  writeFileSync(join(root, "file"), "0123456789");
  writeFileSync(join(root, "below", "file"), "below");
  folder = await TftpFolder.open(root);
});
afterEach(() => rm(outside, { recursive: true, force: true }));

async function read(name: string): Promise<string> {
  const file = await folder.open(name);
  try {
    return new TextDecoder().decode(await file.read(0, 100));
  } finally {
    file.close();
  }
}

it("has the files in it and below, however a client writes their names", async () => {
  for (const name of ["file", "/file", "./file", "//file"]) expect(await read(name)).toBe("0123456789");
  for (const name of ["below/file", "\\below\\file"]) expect(await read(name)).toBe("below");
  const file = await folder.open("file");
  expect([file.sizeBytes, [...(await file.read(8, 5))], (await file.read(20, 5)).length]).toEqual([10, [56, 57], 0]);
  file.close();
  symlinkSync("file", join(root, "link"));
  expect(await read("link")).toBe("0123456789");
});

it("has nothing else", async () => {
  symlinkSync("../secret", join(root, "to-secret"));
  symlinkSync("..", join(root, "up"));
  symlinkSync("/", join(root, "top"));
  execFileSync("mkfifo", [join(root, "fifo")]);
  mkdirSync(`${root}2`);
  writeFileSync(join(`${root}2`, "secret"), "secret");
  symlinkSync("../root2", join(root, "sibling"));
  for (const name of [
    "",
    "/",
    ".",
    "..",
    "../secret",
    "below/../../secret",
    "below/../file",
    "..\\secret",
    "to-secret",
    "up/secret",
    "top/etc/passwd",
    "sibling/secret",
    "below",
    "none",
    "fifo",
    "file/x",
    "file\0.txt",
    "x".repeat(5000),
    "/etc/passwd",
    "/dev/zero",
    join(outside, "secret"),
  ]) {
    await expect(folder.open(name), name.slice(0, 50)).rejects.toMatchObject({ code: 1 });
  }
});

it("says what may not be read, and is a folder", async ({ skip }) => {
  await expect(TftpFolder.open(join(root, "file"))).rejects.toMatchObject({ code: "bad-option" });
  await expect(TftpFolder.open(join(root, "none"))).rejects.toMatchObject({ code: "bad-option" });
  // It stays where it was, whatever takes its name.
  renameSync(root, join(outside, "moved"));
  symlinkSync("/etc", root);
  await expect(folder.open("passwd")).rejects.toMatchObject({ code: 1 });
  if (process.getuid?.() === 0) skip("root may read everything");
  chmodSync(join(outside, "moved", "file"), 0);
  folder = await TftpFolder.open(join(outside, "moved"));
  await expect(folder.open("file")).rejects.toMatchObject({ code: 2 });
});
