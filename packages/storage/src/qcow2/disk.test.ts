import { describe, expect, it } from "vitest";
import { MemoryFile } from "../memory-file.ts";
import { type ImageFiles, openDisk } from "../open-disk.ts";
import { StorageError } from "../storage-error.ts";
import { checkQcow2 } from "./check.ts";
import { type CreateQcow2Options, createQcow2 } from "./create.ts";
import type { Qcow2Disk } from "./disk.ts";
import { INCOMPATIBLE } from "./header.ts";
import { Qcow2Image } from "./image.ts";

const CLUSTER = 4096;
const SIZE = 1 << 20;

class Files implements ImageFiles {
  readonly all = new Map<string, MemoryFile>();
  async open(name: string): Promise<MemoryFile> {
    const file = this.all.get(name);
    if (file === undefined) throw new StorageError("not-found", `no ${name}`);
    return file;
  }
  async resolve(reference: string): Promise<string> {
    return reference;
  }
}

async function create(options: Partial<CreateQcow2Options> = {}, capacityBytes?: number): Promise<MemoryFile> {
  const file = new MemoryFile(new Uint8Array(0), { capacityBytes });
  await createQcow2(file, { sizeBytes: SIZE, clusterBytes: CLUSTER, ...options });
  return file;
}

async function open(file: MemoryFile, cacheBytes?: number): Promise<Qcow2Disk> {
  const files = new Files();
  files.all.set("a", file);
  return (await openDisk(files, "a", { format: "qcow2", cacheBytes })).disk as Qcow2Disk;
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (error: unknown) => (error instanceof StorageError ? error.code : error),
  );

async function check(file: MemoryFile) {
  return checkQcow2(await Qcow2Image.open(file));
}

async function readAll(disk: Qcow2Disk): Promise<Uint8Array> {
  const all = new Uint8Array(disk.sizeBytes);
  await disk.read(0, all);
  return all;
}

const firstDifference = (a: Uint8Array, b: Uint8Array) => a.findIndex((byte, at) => byte !== b[at]);

describe("a qcow2 disk", () => {
  it("allocates a cluster once, however many requests want it", async () => {
    const file = await create();
    const disk = await open(file);
    const before = await file.size();
    const sectors = Array.from({ length: 8 }, (_, sector) => new Uint8Array(512).fill(sector + 1));
    await Promise.all(sectors.map((bytes, sector) => disk.write(sector * 512, bytes)));
    await disk.close();
    expect(await file.size()).toBe(before + 2 * CLUSTER);
    const again = await open(file);
    expect((await readAll(again)).filter((_, at) => at % 512 === 0).slice(0, 9)).toEqual(
      new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8, 0]),
    );
    expect(await check(file)).toMatchObject({ errorCount: 0, leakCount: 0, allocatedClusters: 1 });
  });

  it("reads and writes bytes that lie in several places, whatever holds their clusters", async () => {
    const file = await create();
    const disk = await open(file);
    await disk.write(0, new Uint8Array(CLUSTER).fill(1));
    await disk.write(2 * CLUSTER, new Uint8Array(CLUSTER).fill(3));
    const pieces = [512, 3 * CLUSTER, 1024];
    await disk.writeParts(
      CLUSTER - 512,
      pieces.map((length, i) => new Uint8Array(length).fill(0x10 + i)),
    );
    const expected = new Uint8Array(SIZE);
    expected
      .fill(1, 0, CLUSTER - 512)
      .fill(0x10, CLUSTER - 512, CLUSTER)
      .fill(0x11, CLUSTER, 4 * CLUSTER);
    expected.fill(0x12, 4 * CLUSTER, 4 * CLUSTER + 1024);
    expect(firstDifference(await readAll(disk), expected)).toBe(-1);
    const parts = [1024, CLUSTER, 6 * CLUSTER].map((length) => new Uint8Array(length).fill(0xee));
    await disk.readParts(0, parts);
    let at = 0;
    for (const part of parts) {
      expect(firstDifference(part, expected.subarray(at, at + part.length))).toBe(-1);
      at += part.length;
    }
    await disk.close();
    expect(await check(file)).toMatchObject({ errorCount: 0, leakCount: 0 });
  });

  it("is marked dirty while it changes and no longer once it is closed", async () => {
    const file = await create();
    const isDirty = async () => ((await Qcow2Image.open(file)).header.incompatibleFeatures & INCOMPATIBLE.dirty) !== 0;
    const disk = await open(file);
    expect(await isDirty()).toBe(false);
    await disk.write(0, new Uint8Array(512).fill(1));
    await disk.flush();
    expect(await isDirty()).toBe(true);
    await disk.close();
    expect(await isDirty()).toBe(false);
    expect(await codeOf(disk.write(0, new Uint8Array(512)))).toBe("closed");
  });

  it("reports a full host as no-space, loses nothing and goes on when there is room", async () => {
    const file = await create({}, 12 << 16);
    const disk = await open(file);
    const model = new Uint8Array(SIZE);
    let full = 0;
    for (let at = 0; at < SIZE; at += CLUSTER) {
      const bytes = new Uint8Array(CLUSTER).fill(1 + (at % 251));
      const code = await codeOf(disk.write(at, bytes));
      if (code === "done") model.set(bytes, at);
      else full++;
      expect(["done", "no-space"]).toContain(code);
      if (at % (16 * CLUSTER) === 0) await disk.flush();
    }
    expect(full).toBeGreaterThan(10);
    expect(firstDifference(await readAll(disk), model)).toBe(-1);
    await disk.discard(0, SIZE / 4);
    model.fill(0, 0, SIZE / 4);
    await disk.flush();
    expect(await codeOf(disk.write(SIZE - CLUSTER, new Uint8Array(CLUSTER).fill(9)))).toBe("done");
    model.fill(9, SIZE - CLUSTER);
    await disk.close();
    expect(await check(file)).toMatchObject({ errorCount: 0, leakCount: 0 });
    expect(firstDifference(await readAll(await open(file)), model)).toBe(-1);
  });

  it("uses discarded clusters again, so that it does not grow for ever", async () => {
    const file = await create();
    const disk = await open(file, 0);
    const data = new Uint8Array(SIZE / 4).fill(5);
    await disk.write(0, data);
    await disk.flush();
    const once = await file.size();
    for (let round = 0; round < 10; round++) {
      await disk.discard(0, SIZE / 4);
      await disk.flush();
      await disk.write(0, data);
    }
    await disk.close();
    expect(await file.size()).toBeLessThanOrEqual(once + 4 * CLUSTER);
    expect(await check(file)).toMatchObject({ errorCount: 0, leakCount: 0 });
  });

  it("gives a discarded cluster to nobody while a request for it is under way", async () => {
    const file = await create();
    const disk = await open(file);
    await disk.write(0, new Uint8Array(CLUSTER).fill(1));
    await disk.flush();
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const write = file.write.bind(file);
    file.write = async (offset, bytes) => {
      if (bytes[0] === 2) await held;
      return write(offset, bytes);
    };
    const late = disk.write(0, new Uint8Array(CLUSTER).fill(2));
    let isFlushed = false;
    const other = (async () => {
      await disk.discard(0, CLUSTER);
      await disk.flush();
      isFlushed = true;
      await disk.write(8 * CLUSTER, new Uint8Array(CLUSTER).fill(3));
    })();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(isFlushed).toBe(false);
    letGo();
    await Promise.all([late, other]);
    const all = await readAll(disk);
    expect([all[0], all[8 * CLUSTER], all[9 * CLUSTER - 1]]).toEqual([0, 3, 3]);
    await disk.close();
    expect(await check(file)).toMatchObject({ errorCount: 0, leakCount: 0 });
  });

  it("keeps the place of zeroes that may not be unmapped", async () => {
    const file = await create();
    const disk = await open(file);
    await disk.write(0, new Uint8Array(8 * CLUSTER).fill(5));
    await disk.flush();
    const before = await file.size();
    await disk.writeZeroes(0, 8 * CLUSTER, false);
    await disk.flush();
    expect((await readAll(disk)).every((byte) => byte === 0)).toBe(true);
    await disk.write(512, new Uint8Array(512).fill(6));
    await disk.write(CLUSTER, new Uint8Array(7 * CLUSTER).fill(6));
    const all = await readAll(disk);
    expect([all[0], all[512], all[1024], all[CLUSTER], all[8 * CLUSTER]]).toEqual([0, 6, 0, 6, 0]);
    await disk.close();
    expect(await file.size()).toBe(before);
    expect(await check(file)).toMatchObject({ errorCount: 0, leakCount: 0, allocatedClusters: 8 });
  });

  it("calls nothing durable any more once a flush has failed", async () => {
    const file = await create();
    const disk = await open(file);
    await disk.write(0, new Uint8Array(512).fill(1));
    file.flush = async () => {
      throw new StorageError("io", "bad disk");
    };
    expect(await codeOf(disk.flush())).toBe("io");
    file.flush = async () => {};
    expect(await codeOf(disk.flush())).toBe("io");
  });
});

describe("backing files", () => {
  const chain = async (names: readonly string[], format: string | undefined, last: MemoryFile | undefined) => {
    const files = new Files();
    for (const [index, name] of names.entries()) {
      const backing =
        names[index + 1] === undefined ? undefined : { name: names[index + 1]!, format: format as string };
      files.all.set(name, index === names.length - 1 && last !== undefined ? last : await create({ backing }));
    }
    return files;
  };

  it("are read through and never written", async () => {
    const files = await chain(["a", "b", "c"], "qcow2", undefined);
    const below = await open(files.all.get("c")!);
    await below.write(0, new Uint8Array(SIZE).fill(7));
    await below.close();
    const { disk, chain: links } = await openDisk(files, "a");
    expect(links.map(({ name }) => name)).toEqual(["a", "b", "c"]);
    await disk.write(512, new Uint8Array(512).fill(8));
    await disk.discard(2 * CLUSTER, CLUSTER);
    const all = await readAll(disk as Qcow2Disk);
    expect([all[0], all[512], all[1024], all[2 * CLUSTER], all[SIZE - 1]]).toEqual([7, 8, 7, 0, 7]);
    await disk.close();
    expect((await readAll(await open(files.all.get("c")!)))[512]).toBe(7);
  });

  it("that come back to themselves, are too many, or are not there, are refused", async () => {
    const loop = await chain(["a", "b", "a"], "qcow2", undefined);
    loop.all.set("b", await create({ backing: { name: "a", format: "qcow2" } }));
    loop.all.set("a", await create({ backing: { name: "b", format: "qcow2" } }));
    expect(await codeOf(openDisk(loop, "a"))).toBe("corrupt");
    const names = Array.from({ length: 70 }, (_, n) => `n${n}`);
    expect(await codeOf(openDisk(await chain(names, "qcow2", undefined), "n0"))).toBe("unsupported");
    const missing = await chain(["a", "b"], "qcow2", undefined);
    missing.all.delete("b");
    expect(await codeOf(openDisk(missing, "a"))).toBe("not-found");
    const network = await chain(["a", "nbd://host/disk"], "raw", new MemoryFile());
    expect(await codeOf(openDisk(network, "a"))).toBe("unsupported");
  });

  it("have a stated format, and what their bytes look like is nobody's business", async () => {
    const pretender = await create({ backing: { name: "/etc/shadow", format: "raw" } });
    const stated = await openDisk(await chain(["a", "b"], "raw", pretender), "a");
    const start = new Uint8Array(512);
    await stated.disk.read(0, start);
    expect([...start.subarray(0, 3)]).toEqual([0x51, 0x46, 0x49]);
    expect(await codeOf(openDisk(await chain(["a", "b"], undefined, pretender), "a"))).toBe("unsupported");
    expect(await codeOf(openDisk(await chain(["a", "b"], "vmdk", pretender), "a"))).toBe("unsupported");
  });
});
