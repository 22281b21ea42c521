import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { StorageError } from "@twinmetal/storage";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { processCalls } from "../kvm/process-calls.ts";
import { fileError } from "./file-error.ts";
import { lockByFile } from "./image-lock.ts";
import { openImageFile } from "./node-image-file.ts";
import { SpaceLimit } from "./space-limit.ts";

const hasKernelLocks = !("detail" in processCalls());
const hasQemuIo = existsSync("/usr/bin/qemu-io");
let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-disk-"));
  path = join(folder, "disk.img");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (error: unknown) => (error instanceof StorageError ? error.code : error),
  );

describe("an image file", () => {
  it("reads and writes bytes in several places, in shared memory, too", async () => {
    const file = await openImageFile(path, { create: true });
    const memory = new SharedArrayBuffer(4096);
    const part = (at: number, length: number): Uint8Array => new Uint8Array(memory, at, length);
    part(100, 3).fill(1);
    part(2000, 2).fill(2);
    await file.writeParts(5, [part(100, 3), part(2000, 2)]);
    expect([...(await readFile(path))]).toEqual([0, 0, 0, 0, 0, 1, 1, 1, 2, 2]);
    part(3000, 8).fill(9);
    await file.readParts(6, [part(3000, 1), part(3005, 1), part(3001, 4)]);
    expect([...part(3000, 6)]).toEqual([1, 2, 2, 0, 0, 1]);
    await file.close();
    expect(await codeOf(file.readParts(0, [part(0, 1)]))).toBe("closed");
  });

  it("holds what is written, reads zeroes behind its end, and is resized", async () => {
    const file = await openImageFile(path, { create: true });
    await file.write(3, new Uint8Array([1, 2, 3]));
    const into = new Uint8Array(8).fill(9);
    await file.read(2, into);
    expect([...into]).toEqual([0, 1, 2, 3, 0, 0, 0, 0]);
    await file.flush();
    await file.truncate(4096);
    expect(await file.size()).toBe(4096);
    await file.close();
    expect((await readFile(path)).subarray(0, 6)).toEqual(Buffer.from([0, 0, 0, 1, 2, 3]));
    expect(await codeOf(file.read(0, into))).toBe("closed");
    expect(await codeOf(file.flush())).toBe("closed");
  });

  it.skipIf(!hasKernelLocks)("gives space back and reads zeroes there", async () => {
    const file = await openImageFile(path, { create: true });
    await file.write(0, new Uint8Array(1 << 20).fill(7));
    await file.flush();
    const before = (await stat(path)).blocks;
    if (await file.discard(0, 1 << 19)) expect((await stat(path)).blocks).toBeLessThan(before);
    const into = new Uint8Array(16);
    await file.read((1 << 19) - 8, into);
    expect([...into]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7]);
    await file.close();
  });

  it("takes no more of its file system than it is allowed, written in one piece or in parts", async () => {
    const space = new SpaceLimit();
    space.bytes = 1 << 20;
    const file = await openImageFile(path, { create: true, space });
    const piece = new Uint8Array(1 << 18).fill(7);
    const parts = [piece.subarray(0, 1 << 17), piece.subarray(1 << 17)];
    await file.write(0, piece);
    await file.writeParts!(1 << 20, parts);
    await file.write(0, piece);
    expect(await codeOf(file.writeParts!(2 << 20, [...parts, ...parts, ...parts]))).toBe("no-space");
    await file.writeParts!(2 << 20, parts);
    expect(await codeOf(file.write(3 << 20, new Uint8Array(1 << 19)))).toBe("no-space");
    expect((await stat(path)).blocks * 512).toBeLessThanOrEqual(1 << 20);
    await file.close();
  });

  it("says with a code what cannot be opened", async () => {
    expect(await codeOf(openImageFile(path))).toBe("not-found");
    await writeFile(path, "");
    expect(await codeOf(openImageFile(path, { create: true }))).toBe("exists");
    expect(await codeOf(openImageFile(folder, { isReadOnly: true }))).toBe("unsupported");
    await promisify(execFile)("mkfifo", [join(folder, "pipe")]);
    expect(await codeOf(openImageFile(join(folder, "pipe")))).toBe("unsupported");
  });

  it("has a code for each error of the system that has its own next step", () => {
    const code = (name: string) => fileError(Object.assign(new Error(), { code: name }), path, "written").code;
    expect(["ENOSPC", "EDQUOT", "EROFS", "EIO"].map(code)).toEqual(["no-space", "no-space", "permission", "io"]);
  });
});

describe("locks", () => {
  it("let one writer in, also within one process, or several readers", async () => {
    const writer = await openImageFile(path, { create: true });
    expect(await codeOf(openImageFile(path))).toBe("locked");
    expect(await codeOf(openImageFile(path, { isReadOnly: true }))).toBe("locked");
    const unlocked = await openImageFile(path, { isReadOnly: true, lock: false });
    await unlocked.close();
    expect(await codeOf(openImageFile(path))).toBe("locked");
    await writer.close();
    const readers = [await openImageFile(path, { isReadOnly: true }), await openImageFile(path, { isReadOnly: true })];
    if (hasKernelLocks) expect(await codeOf(openImageFile(path))).toBe("locked");
    for (const reader of readers) await reader.close();
    await (await openImageFile(path)).close();
  });

  it("by a file, where the kernel has none, and not by one of a process that is gone", async () => {
    const writer = await lockByFile(path, false);
    expect(await codeOf(lockByFile(path, false))).toBe("locked");
    expect(await codeOf(lockByFile(path, true))).toBe("locked");
    await expect(lockByFile(path, false)).rejects.toThrow(`process ${process.pid}`);
    await writer.release();
    await (await lockByFile(path, true)).release();
    const child = spawn(process.execPath, ["-e", ""]);
    await new Promise((resolve) => child.once("exit", resolve));
    await writeFile(`${path}.lock`, JSON.stringify({ pid: child.pid, startTime: "1", host: hostname() }));
    await (await lockByFile(path, false)).release();
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it.skipIf(!hasKernelLocks || !hasQemuIo)("are QEMU's too, and end with a killed process", async () => {
    await writeFile(path, new Uint8Array(1 << 16));
    const qemu = spawn("qemu-io", ["-f", "raw", path], { stdio: ["pipe", "pipe", "inherit"] });
    await new Promise((resolve) => qemu.stdout.once("data", resolve));
    expect(await codeOf(openImageFile(path))).toBe("locked");
    const ended = new Promise((resolve) => qemu.once("exit", resolve));
    qemu.kill("SIGKILL");
    await ended;
    const own = await openImageFile(path);
    const attempt = promisify(execFile)("qemu-io", ["-f", "raw", "-c", "read 0 512", path]);
    await expect(attempt).rejects.toThrow(/lock/);
    await own.close();
  });
});
