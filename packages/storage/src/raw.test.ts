import { describe, expect, it } from "vitest";
import { guessFormat } from "./format-guess.ts";
import { MemoryFile } from "./memory-file.ts";
import { RawDisk } from "./raw.ts";
import { StorageError } from "./storage-error.ts";

const QCOW2_HEADER = new Uint8Array(512);
QCOW2_HEADER.set([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]);

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (error: unknown) => (error instanceof StorageError ? error.code : error),
  );

describe("a raw disk", () => {
  it("is the file's bytes, the last sector filled up", async () => {
    const file = new MemoryFile(new Uint8Array(1000).fill(5));
    const disk = await RawDisk.open(file);
    expect(disk.sizeBytes).toBe(1024);
    const into = new Uint8Array(512);
    await disk.read(512, into);
    expect([into[487], into[488], into[511]]).toEqual([5, 0, 0]);
    await disk.write(0, new Uint8Array(512).fill(6));
    await disk.writeZeroes(512, 512, true);
    await disk.flush();
    expect(file.contents()[511]).toBe(6);
    expect(file.contents()[512]).toBe(0);
    await disk.close();
    expect(await codeOf(disk.read(0, into))).toBe("closed");
  });

  it("of a disc has whole blocks, the last filled up", async () => {
    const disk = await RawDisk.open(new MemoryFile(new Uint8Array(2560).fill(5)), { blockBytes: 2048 });
    expect(disk.sizeBytes).toBe(4096);
    const into = new Uint8Array(2048).fill(9);
    await disk.read(2048, into);
    expect([into[511], into[512], into[2047]]).toEqual([5, 0, 0]);
  });

  it("takes whole sectors within its size only, and no writes when read-only", async () => {
    const disk = await RawDisk.open(new MemoryFile(new Uint8Array(1024), { isReadOnly: true }));
    const sector = new Uint8Array(512);
    expect(await codeOf(disk.read(1, sector))).toBe("out-of-range");
    expect(await codeOf(disk.read(1024, sector))).toBe("out-of-range");
    expect(await codeOf(disk.read(-512, sector))).toBe("out-of-range");
    expect(await codeOf(disk.read(0, new Uint8Array(100)))).toBe("out-of-range");
    expect(await codeOf(disk.write(0, sector))).toBe("read-only");
    expect(await codeOf(disk.discard(0, 512))).toBe("read-only");
  });

  it("reads and writes bytes that lie in several places", async () => {
    const file = new MemoryFile(new Uint8Array(4096));
    const disk = await RawDisk.open(file, { isGuessed: true });
    await disk.writeParts(512, [new Uint8Array(512).fill(1), new Uint8Array(1024).fill(2)]);
    const parts = [new Uint8Array(1024), new Uint8Array(512)];
    await disk.readParts(512, parts);
    expect(parts.map((part) => [part[0], part.at(-1)])).toEqual([
      [1, 2],
      [2, 2],
    ]);
    expect(await codeOf(disk.readParts(3584, parts))).toBe("out-of-range");
    expect(await codeOf(disk.writeParts(0, [QCOW2_HEADER, parts[0]!]))).toBe("permission");
  });

  it("does not become another format by a guest's write when its format was guessed", async () => {
    const guessed = await RawDisk.open(new MemoryFile(new Uint8Array(1024)), { isGuessed: true });
    expect(await codeOf(guessed.write(0, QCOW2_HEADER))).toBe("permission");
    const stated = await RawDisk.open(new MemoryFile(new Uint8Array(1024)));
    expect(await codeOf(stated.write(0, QCOW2_HEADER))).toBe("done");
    expect(guessFormat(QCOW2_HEADER)).toBe("qcow2");
  });

  it("passes a full host on as no-space", async () => {
    const disk = await RawDisk.open(new MemoryFile(new Uint8Array(65536), { capacityBytes: 65536 }));
    expect(await codeOf(disk.write(0, new Uint8Array(65536)))).toBe("done");
    const file = new MemoryFile(new Uint8Array(0), { capacityBytes: 65536 });
    await file.truncate(1 << 20);
    const sparse = await RawDisk.open(file);
    expect(await codeOf(sparse.write(0, new Uint8Array(512)))).toBe("done");
    expect(await codeOf(sparse.write(1 << 19, new Uint8Array(512)))).toBe("no-space");
  });
});
