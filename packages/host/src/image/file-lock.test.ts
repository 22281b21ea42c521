import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { acquireLock } from "./file-lock.ts";

let directory = "";
let path = "";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-lock-"));
  path = join(directory, "lock");
});

afterEach(() => rm(directory, { recursive: true, force: true }));

describe("acquireLock", () => {
  it("lets one holder in at a time and tells the others whom they wait for", async () => {
    const first = await acquireLock(path);
    const waits: (number | undefined)[] = [];
    let isReleased = false;
    const second = acquireLock(path, { pollMs: 5, onWait: (pid) => waits.push(pid) }).then((lock) => {
      expect(isReleased).toBe(true);
      return lock;
    });
    await new Promise((resolve) => setTimeout(resolve, 30));
    isReleased = true;
    await first.release();
    await (await second).release();
    expect(new Set(waits)).toEqual(new Set([process.pid]));
    expect(await readdir(directory)).toEqual([]);
  });

  it("serves many at once, one after the other", async () => {
    let holders = 0;
    const use = async (): Promise<void> => {
      const lock = await acquireLock(path, { pollMs: 1 });
      expect(++holders).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 1));
      holders--;
      await lock.release();
    };
    await Promise.all(Array.from({ length: 10 }, use));
  });

  it("takes over from a process that is gone, and from a later one with its pid", async () => {
    for (const holder of [
      { pid: 2 ** 22 + 1, startTime: "1", host: hostname() },
      { pid: process.pid, startTime: "0", host: hostname() },
    ]) {
      await writeFile(path, JSON.stringify(holder));
      const lock = await acquireLock(path);
      expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ pid: process.pid });
      await lock.release();
    }
  });

  it("takes over a damaged lock, or another host's, only when its heartbeat is long gone", async () => {
    for (const text of ["", JSON.stringify({ pid: 1, startTime: "1", host: "elsewhere.example" })]) {
      await writeFile(path, text);
      const signal = AbortSignal.timeout(20);
      await expect(acquireLock(path, { signal, pollMs: 5 })).rejects.toThrow(/timeout/);
      const longAgo = new Date(Date.now() - 120_000);
      await utimes(path, longAgo, longAgo);
      await (await acquireLock(path)).release();
    }
  });

  it("stops waiting when aborted", async () => {
    const lock = await acquireLock(path);
    const abort = new AbortController();
    const waiting = acquireLock(path, { signal: abort.signal, onWait: () => abort.abort(new Error("enough")) });
    await expect(waiting).rejects.toThrow("enough");
    await lock.release();
  });
});
