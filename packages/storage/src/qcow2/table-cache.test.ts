import { describe, expect, it } from "vitest";
import { MemoryFile } from "../memory-file.ts";
import { TableCache } from "./table-cache.ts";

const PAGE = 512;

describe("pages of tables", () => {
  it("stay bounded, and changes stay in sight though the page had given way meanwhile", async () => {
    const cache = new TableCache(new MemoryFile(new Uint8Array(64 * PAGE)), PAGE, 0);
    const page = await cache.load(0);
    for (let n = 1; n < 64; n++) await cache.load(n * PAGE);
    expect(cache.peek(0)).toBeUndefined();
    page.bytes[0] = 7;
    cache.markDirty(page);
    expect((await cache.load(0)).bytes[0]).toBe(7);
    for (let n = 1; n < 64; n++) await cache.load(n * PAGE);
    expect((await cache.load(0)).bytes[0]).toBe(7);
    await cache.writeDirty();
    for (let n = 1; n < 64; n++) await cache.load(n * PAGE);
    expect((await cache.load(0)).bytes[0]).toBe(7);
  });

  it("are not taken from the file when they have changed while they were read", async () => {
    const file = new MemoryFile(new Uint8Array(64 * PAGE));
    const cache = new TableCache(file, PAGE, 0);
    const page = await cache.load(0);
    for (let n = 1; n < 64; n++) await cache.load(n * PAGE);
    const late = cache.load(0);
    page.bytes[0] = 7;
    cache.markDirty(page);
    expect((await late).bytes[0]).toBe(7);
    const gone = cache.load(63 * PAGE + 0);
    cache.drop(63 * PAGE, PAGE);
    await gone;
    expect(cache.dirtyPages).toBe(1);
  });

  it("can be read again after a failure", async () => {
    const file = new MemoryFile(new Uint8Array(PAGE));
    const read = file.read.bind(file);
    file.read = async () => {
      throw new Error("bad sector");
    };
    const cache = new TableCache(file, PAGE, 0);
    await expect(cache.load(0)).rejects.toThrow("bad sector");
    file.read = read;
    expect((await cache.load(0)).bytes[0]).toBe(0);
  });
});
