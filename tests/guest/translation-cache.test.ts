// Translations that outlive their VM: what a later one gets of them, that it changes nothing, and that what lies in the
// directory may be anything.

import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createVm, replayVm, type VmOptions } from "../../packages/host/src/index.ts";
import { bareKernel, GUESTS } from "./bare-kernel.ts";

const MIB = 2 ** 20;
let directory = "";
const TIMEOUT_MS = 120_000;
const path = (name: string): string => join(directory, name);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "twinmetal-translations-"));
  await writeFile(path("counting"), bareKernel(GUESTS.counting));
});
// Somebody may still be at work in there.
afterAll(() => rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 500 }));

/** Counts to its end: the machine's state, and its counters. */
async function count(cache: string | undefined, options: VmOptions = {}) {
  const vm = await createVm({
    kernel: path("counting"),
    memoryBytes: 16 * MIB,
    clock: "virtual",
    seed: "00",
    epochSeconds: 0,
    translationCache: cache === undefined ? "off" : { directory: path(cache) },
    ...options,
  });
  try {
    await vm.start();
    expect(await vm.wait()).toMatchObject({ kind: "off" });
    return { hash: await vm.stateHash(), stats: await vm.stats() };
  } finally {
    await vm.close();
  }
}

const files = async (cache: string): Promise<string[]> =>
  (await readdir(path(cache))).filter((name) => /^[cnp]-/.test(name)).sort();
const kinds = async (cache: string): Promise<string> => (await files(cache)).map((name) => name[0]).join("");

/** Until nobody works on it any more. */
async function settled(cache: string): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    const names = await readdir(path(cache));
    if (names.some((name) => name.startsWith("c-")) && !names.includes("lock")) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`still at work: ${(await readdir(path(cache))).join(" ")}`);
}

async function filled(cache: string): Promise<string> {
  const { hash } = await count(cache);
  await settled(cache);
  return hash;
}

test(
  "a later VM begins with what an earlier one has left, and ends in the same state",
  async () => {
    const { hash, stats } = await count(undefined);
    expect(stats["regionsTranslated"]).toBeGreaterThan(0);
    expect(await filled("used")).toBe(hash);
    expect(await kinds("used")).toBe("cnp");
    const later = await count("used");
    expect(later.hash).toBe(hash);
    expect(later.stats["regionsKeptUsed"]).toBeGreaterThan(0);
    expect(later.stats["instructionsInRegions"]).toBeGreaterThan(0.9 * Number(later.stats["retired"]));
    expect(await kinds("used")).toBe("cnp");
  },
  TIMEOUT_MS,
);

test(
  "what is recorded with it is replayed without it, and the other way round",
  async () => {
    await filled("recorded");
    const replayed = (record: string, cache: string | undefined) =>
      replayVm(record, {
        kernel: path("counting"),
        translationCache: cache === undefined ? "off" : { directory: path(cache) },
      });
    const { hash } = await count("recorded", { record: path("with.rec") });
    expect((await replayed(path("with.rec"), undefined)).stateHash).toBe(hash);
    await count(undefined, { record: path("without.rec") });
    expect((await replayed(path("without.rec"), "recorded")).stateHash).toBe(hash);
  },
  TIMEOUT_MS,
);

test(
  "files that are damaged, cut off, exchanged or somebody else's are done without",
  async () => {
    const hash = await filled("sound");
    const names = await files("sound");
    const damages: [string, (bytes: Buffer, name: string) => Buffer | Promise<Buffer>][] = [
      ["front", (bytes) => Buffer.from(bytes.map((byte, i) => (i === 40 ? byte ^ 1 : byte)))],
      ["short", (bytes) => bytes.subarray(0, bytes.length / 2)],
      ["exchanged", (_, name) => readFile(path(join("sound", names[(names.indexOf(name) + 1) % names.length] ?? "")))],
    ];
    for (const [what, damage] of damages) {
      await mkdir(path(what), { mode: 0o700 });
      await copyFile(path("sound/key"), path(`${what}/key`));
      for (const name of names)
        await writeFile(path(join(what, name)), await damage(await readFile(path(join("sound", name))), name));
      const { hash: after, stats } = await count(what);
      expect([what, after, stats["regionsKept"]]).toEqual([what, hash, 0]);
      await settled(what);
    }
    // Of another key, as a whole.
    await mkdir(path("foreign"), { mode: 0o700 });
    for (const name of names) await copyFile(path(join("sound", name)), path(join("foreign", name)));
    const { hash: after, stats } = await count("foreign");
    expect([after, stats["regionsKept"]]).toEqual([hash, 0]);
    await settled("foreign");
  },
  2 * TIMEOUT_MS,
);

test(
  "several VMs fill one directory at once",
  async () => {
    const ends = await Promise.all([count("shared"), count("shared")]);
    expect(new Set(ends.map(({ hash }) => hash)).size).toBe(1);
    await settled("shared");
    expect((await count("shared")).stats["regionsKeptUsed"]).toBeGreaterThan(0);
  },
  TIMEOUT_MS,
);

test(
  "a directory that cannot be written to is read, and one that cannot be read is done without",
  async () => {
    const hash = await filled("fixed");
    await chmod(path("fixed"), 0o500);
    const { hash: after, stats } = await count("fixed");
    expect(after).toBe(hash);
    expect(stats["regionsKeptUsed"]).toBeGreaterThan(0);
    await writeFile(path("file"), "");
    expect((await count("file/below")).hash).toBe(hash);
    expect(existsSync(path("file/below"))).toBe(false);
  },
  TIMEOUT_MS,
);
