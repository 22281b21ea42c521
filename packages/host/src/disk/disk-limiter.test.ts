import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { DiskLimiter } from "./disk-limiter.ts";
import { checkDiskLimits } from "./disk-limits.ts";
import type { DiskLimits } from "./disk-protocol.ts";
import { openImageFile } from "./node-image-file.ts";
import { SpaceLimit } from "./space-limit.ts";

interface Request {
  readonly operation: "read" | "write" | "flush";
  readonly length: number;
}

/** A disk that carries a request out in no time, and a guest that keeps `depth` under way. */
class Bench {
  nowMs = 0;
  readonly done: number[] = [];
  #due: { readonly atMs: number; readonly callback: () => void } | undefined;
  readonly limiter = new DiskLimiter<Request>({
    nowMs: () => this.nowMs,
    setTimer: (callback, afterMs) => {
      this.#due = { atMs: this.nowMs + Math.ceil(afterMs), callback };
    },
    carryOut: () => this.done.push(this.nowMs),
  });

  /** How many get through. */
  run(limits: DiskLimits, request: Request, depth: number, forMs: number): number {
    this.limiter.set(limits);
    const before = this.done.length;
    const untilMs = this.nowMs + forMs;
    let asked = 0;
    while (this.nowMs < untilMs) {
      while (asked - (this.done.length - before) < depth) {
        this.limiter.submit(request);
        asked++;
        if (asked > 1e6) throw new Error("no limit holds");
      }
      const due = this.#due;
      this.#due = undefined;
      this.nowMs = Math.max(due!.atMs, this.nowMs);
      due!.callback();
    }
    return this.done.length - before;
  }
}

const READ: Request = { operation: "read", length: 65_536 };

it.each([1, 16])("lets requests through at their rate, with %d under way", (depth) => {
  const done = new Bench().run({ requestsPerSecond: 500 }, READ, depth, 10_000);
  expect(done / 10).toBeGreaterThan(475);
  expect(done / 10).toBeLessThan(525);
});

it.each([4096, 65_536, 1 << 20])("lets bytes through at their rate, in requests of %d", (length) => {
  const done = new Bench().run({ bytesPerSecond: 10e6 }, { operation: "write", length }, 4, 20_000);
  expect((done * length) / 20 / 10e6).toBeCloseTo(1, 1);
});

it("keeps what was not used for a burst, and no more", () => {
  const bench = new Bench();
  const limits = { requestsPerSecond: 10, burstRequests: 50 };
  bench.limiter.set(limits);
  bench.nowMs = 60_000;
  for (let i = 0; i < 100; i++) bench.limiter.submit(READ);
  expect(bench.done.length).toBe(50);
});

it("follows a change, with what waits, and none", () => {
  const bench = new Bench();
  bench.limiter.set({ bytesPerSecond: 4096 });
  for (let i = 0; i < 5; i++) bench.limiter.submit(READ);
  expect(bench.done.length).toBe(1);
  bench.limiter.set({});
  expect(bench.done.length).toBe(5);
  bench.nowMs = 1000;
  expect(bench.limiter.usage).toEqual({ reads: 5, writes: 0, readBytes: 5 * READ.length, writtenBytes: 0, heldMs: 0 });
});

it("keeps the order, lets go of all at once, and knows how long they waited", () => {
  const bench = new Bench();
  bench.limiter.set({ requestsPerSecond: 1, burstRequests: 1 });
  bench.limiter.submit(READ);
  bench.limiter.submit({ operation: "write", length: 512 });
  bench.limiter.submit({ operation: "flush", length: 0 });
  bench.nowMs = 300;
  bench.limiter.passAll();
  expect(bench.done).toEqual([0, 300, 300]);
  expect(bench.limiter.usage).toMatchObject({ reads: 1, writes: 2, writtenBytes: 512, heldMs: 300 });
});

it("refuses limits that cannot be", () => {
  expect(() => checkDiskLimits({ requestsPerSecond: 0 })).toThrow(/from 1 to 10000000, not 0/);
  expect(() => checkDiskLimits({ burstBytes: 4096 })).toThrow(/bytesPerSecond/);
  expect(() => checkDiskLimits({ speed: 3 } as DiskLimits)).toThrow(/has no speed/);
});

it("keeps an image below the space that it may take", async () => {
  const directory = mkdtempSync(join(tmpdir(), "twinmetal-space-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "disk.img");
  const space = new SpaceLimit();
  const file = await openImageFile(path, { create: true, lock: false, space });
  space.bytes = 2 ** 20;
  await file.truncate(8 * 2 ** 20);
  const bytes = new Uint8Array(65_536).fill(7);
  let written = 0;
  const fill = async (): Promise<void> => {
    for (; written < 8 * 2 ** 20; written += bytes.length) await file.write(written, bytes);
  };
  await expect(fill()).rejects.toMatchObject({ code: "no-space" });
  expect(written).toBeGreaterThan(2 ** 19);
  expect(statSync(path).blocks * 512).toBeLessThanOrEqual(2 ** 20);
  space.bytes = 3 * 2 ** 20;
  await expect(fill()).rejects.toMatchObject({ code: "no-space" });
  expect(written).toBeGreaterThan(2 * 2 ** 20);
  space.bytes = undefined;
  await fill();
  // Without holes it grows no more.
  space.bytes = 2 ** 20;
  await file.write(0, bytes);
  await file.close();
});
