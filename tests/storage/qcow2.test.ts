// qcow2 beside qemu-img, in both directions: what one makes and writes, the other reads and calls clean.

import { readFile, writeFile } from "node:fs/promises";
import * as zlib from "node:zlib";
import { openImageFile, openNodeDisk } from "@twinmetal/host";
import { createQcow2, type Qcow2Disk, StorageError } from "@twinmetal/storage";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Folder,
  hasQemuTools,
  makeFolder,
  qemuCheck,
  qemuImg,
  qemuIo,
  randomFrom,
  WHY_SKIPPED,
} from "./qemu-tools.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

let folder: Folder;
beforeEach(async () => {
  folder = await makeFolder();
});
afterEach(() => folder.remove());

async function create(name: string, options: Parameters<typeof createQcow2>[1]): Promise<string> {
  const path = folder.file(name);
  const file = await openImageFile(path, { create: true });
  await createQcow2(file, options);
  await file.close();
  return path;
}

/** Some writes, zeroes and discards of many sizes, the same on a plain array. */
async function scribble(disk: Qcow2Disk, model: Uint8Array, seed: number, steps: number): Promise<void> {
  const random = randomFrom(seed);
  for (let step = 0; step < steps; step++) {
    const offset = random(model.length / 512) * 512;
    const length = Math.min(model.length - offset, (1 + random(random(4) === 0 ? 600 : 20)) * 512);
    const kind = random(8);
    if (kind === 0) {
      await disk.writeZeroes(offset, length, random(2) === 0);
      model.fill(0, offset, offset + length);
    } else if (kind === 1) {
      await disk.flush();
    } else {
      const bytes = new Uint8Array(length).fill(1 + random(255));
      await disk.write(offset, bytes);
      model.set(bytes, offset);
    }
  }
}

const openQcow2 = async (path: string, isReadOnly = false): Promise<Qcow2Disk> =>
  (await openNodeDisk(path, { format: "qcow2", isReadOnly })).disk as Qcow2Disk;

async function contents(path: string): Promise<Uint8Array> {
  const disk = await openQcow2(path, true);
  const all = new Uint8Array(disk.sizeBytes);
  await disk.read(0, all);
  await disk.close();
  return all;
}

const expectClean = async (path: string) => expect(await qemuCheck(path)).toMatchObject({ status: 0 });
const equal = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

describe.skipIf(!hasQemuTools)(`qcow2 and qemu-img (${WHY_SKIPPED})`, () => {
  const clusterSizes = Array.from({ length: 13 }, (_, n) => 512 << n);
  it.each(clusterSizes)("clusters of %i bytes: what is written here, QEMU reads", async (clusterBytes) => {
    const sizeBytes = 3 * MIB + 512;
    const path = await create("a.qcow2", { sizeBytes, clusterBytes });
    await expectClean(path);
    const model = new Uint8Array(sizeBytes);
    const disk = await openQcow2(path);
    await scribble(disk, model, clusterBytes, 120);
    await disk.close();
    await expectClean(path);
    await writeFile(folder.file("model.raw"), model);
    await qemuImg("compare", "-f", "qcow2", "-F", "raw", path, folder.file("model.raw"));
    expect(equal(await contents(path), model)).toBe(true);
  });

  it.each([1, 2, 4, 8, 16, 32, 64])("reference counts of %i bits, made here and by QEMU", async (refcountBits) => {
    const sizeBytes = 2 * MIB;
    const own = await create("own.qcow2", { sizeBytes, clusterBytes: 512, refcountBits });
    const theirs = folder.file("theirs.qcow2");
    const options = `cluster_size=512,refcount_bits=${refcountBits}`;
    await qemuImg("create", "-q", "-f", "qcow2", "-o", options, theirs, String(sizeBytes));
    for (const path of [own, theirs]) {
      const model = new Uint8Array(sizeBytes);
      const disk = await openQcow2(path);
      await scribble(disk, model, refcountBits, 150);
      await disk.close();
      await expectClean(path);
      await writeFile(folder.file("model.raw"), model);
      await qemuImg("compare", "-f", "qcow2", "-F", "raw", path, folder.file("model.raw"));
      await qemuIo(path, "qcow2", "write -P 7 1M 64k", "discard 0 128k");
      expect((await contents(path))[MIB]).toBe(7);
    }
  });

  it("version 2, and converted images, plain and compressed", async () => {
    const model = new Uint8Array(5 * MIB);
    const random = randomFrom(9);
    for (let at = 0; at < model.length; at += 16) model[at] = random(3) === 0 ? random(256) : 0;
    model.fill(0, MIB, 2 * MIB);
    await writeFile(folder.file("model.raw"), model);
    const forms = [["-o", "compat=0.10"], ["-c"], ["-c", "-o", "cluster_size=4k"], ["-c", "-o", "cluster_size=2M"]];
    for (const form of forms) {
      const path = folder.file("converted.qcow2");
      await qemuImg("convert", "-f", "raw", "-O", "qcow2", ...form, folder.file("model.raw"), path);
      expect(equal(await contents(path), model)).toBe(true);
      const changed = model.slice();
      const disk = await openQcow2(path);
      await scribble(disk, changed, 10, 60);
      await disk.close();
      await expectClean(path);
      expect(equal(await contents(path), changed)).toBe(true);
      await writeFile(folder.file("changed.raw"), changed);
      await qemuImg("compare", "-f", "qcow2", "-F", "raw", path, folder.file("changed.raw"));
    }
  });

  it("chains of three, each made by the other side", async () => {
    const base = folder.file("base.raw");
    const model = new Uint8Array(2 * MIB + 512).fill(1);
    await writeFile(base, model);
    await qemuImg("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", folder.file("middle.qcow2"), "3M");
    await qemuIo(folder.file("middle.qcow2"), "qcow2", "write -P 2 512k 256k", "write -z 1M 64k");
    const grown = new Uint8Array(3 * MIB);
    grown.set(model);
    grown.fill(2, 512 * KIB, 768 * KIB);
    grown.fill(0, MIB, MIB + 64 * KIB);
    const backing = { name: "middle.qcow2", format: "qcow2" };
    const top = await create("top.qcow2", { sizeBytes: 3 * MIB, clusterBytes: 4 * KIB, backing });
    expect(equal(await contents(top), grown)).toBe(true);
    const disk = await openQcow2(top);
    await scribble(disk, grown, 4, 100);
    await disk.discard(0, MIB);
    grown.fill(0, 0, MIB);
    await disk.close();
    await expectClean(top);
    expect(equal(await contents(top), grown)).toBe(true);
    await writeFile(folder.file("model.raw"), grown);
    await qemuImg("compare", "-f", "qcow2", "-F", "raw", top, folder.file("model.raw"));
    const info = JSON.parse(await qemuImg("info", "--output=json", top));
    expect(info).toMatchObject({ "backing-filename": "middle.qcow2", "backing-filename-format": "qcow2" });
  });

  it("snapshots inside an image stay what they were", async () => {
    const path = await create("a.qcow2", { sizeBytes: 2 * MIB, clusterBytes: 4 * KIB });
    const model = new Uint8Array(2 * MIB);
    let disk = await openQcow2(path);
    await scribble(disk, model, 1, 80);
    await disk.close();
    await qemuImg("snapshot", "-c", "before", path);
    const before = model.slice();
    disk = await openQcow2(path);
    await scribble(disk, model, 2, 80);
    await disk.discard(MIB, 512 * KIB);
    model.fill(0, MIB, MIB + 512 * KIB);
    await disk.close();
    await expectClean(path);
    expect(equal(await contents(path), model)).toBe(true);
    await qemuImg("snapshot", "-a", "before", path);
    expect(equal(await contents(path), before)).toBe(true);
    await qemuImg("snapshot", "-d", "before", path);
    await expectClean(path);
  });

  it("grows, past one L1 table and over a backing file's end", async () => {
    const backing = { name: "base.raw", format: "raw" };
    await writeFile(folder.file("base.raw"), new Uint8Array(8 * MIB).fill(3));
    const path = await create("a.qcow2", { sizeBytes: MIB, clusterBytes: 512, backing });
    const disk = await openQcow2(path);
    await disk.grow(40 * MIB);
    const model = new Uint8Array(40 * MIB);
    model.fill(3, 0, MIB);
    await scribble(disk, model, 3, 60);
    await disk.close();
    await expectClean(path);
    expect(equal(await contents(path), model)).toBe(true);
    await writeFile(folder.file("model.raw"), model);
    await qemuImg("compare", "-f", "qcow2", "-F", "raw", path, folder.file("model.raw"));
  });

  it("an image with lazy reference counts, left by a crash of QEMU, is repaired when it is opened", async () => {
    const path = folder.file("lazy.qcow2");
    await qemuImg("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,cluster_size=4k", path, "4M");
    await qemuIo(path, "qcow2", "write -P 5 0 1M", "flush", "abort").catch(() => {});
    expect((await qemuCheck(path)).status).not.toBe(0);
    const disk = await openQcow2(path);
    await disk.write(2 * MIB, new Uint8Array(4096).fill(6));
    await disk.close();
    await expectClean(path);
    const all = await contents(path);
    expect([all[0], all[MIB - 1], all[MIB], all[2 * MIB]]).toEqual([5, 5, 0, 6]);
  });

  it("refuses what it does not know, by name", async () => {
    const refusal = async (...args: string[]) => {
      await qemuImg("create", "-q", "-f", "qcow2", ...args, folder.file("odd.qcow2"), "1M");
      const error = await openQcow2(folder.file("odd.qcow2"), true).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      return error instanceof StorageError ? `${error.code}: ${error.message}` : error;
    };
    expect(await refusal("-o", "extended_l2=on")).toMatch(/^unsupported: .*extended L2 entries/);
    expect(await refusal("-o", `data_file=${folder.file("data")}`)).toMatch(/^unsupported: .*external data file/);
    await qemuImg("create", "-q", "-f", "qcow2", folder.file("plain.qcow2"), "1M");
    await qemuImg("create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", folder.file("zstd.qcow2"), "1M");
    const zstd = openQcow2(folder.file("zstd.qcow2"), true).then(
      (disk) => disk.close().then(() => "opened"),
      (error: Error) => error.message,
    );
    expect(await zstd).toMatch("zstdDecompressSync" in zlib ? /^opened$/ : /compressed with zstd.*Node 22\.15/);
    const patched = async (at: number, value: number) => {
      const image = await readFile(folder.file("plain.qcow2"));
      image.writeUInt32BE(value, at);
      await writeFile(folder.file("patched.qcow2"), image);
      return openQcow2(folder.file("patched.qcow2"), true);
    };
    await expect(patched(32, 2)).rejects.toThrow(/encrypted \(LUKS\)/);
    await expect(patched(72, 0x80)).rejects.toThrow(/feature bit 39/);
    await expect(patched(4, 4)).rejects.toMatchObject({ code: "unsupported" });
    await expect(patched(20, 8)).rejects.toMatchObject({ code: "corrupt" });
  });
});
