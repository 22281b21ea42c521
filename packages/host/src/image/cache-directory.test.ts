import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  cacheCandidates,
  makeDirectories,
  openCacheDirectory,
  removeAbandoned,
  temporaryName,
} from "./cache-directory.ts";

let root = "";

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "twinmetal-cache-"));
});

afterEach(() => rm(root, { recursive: true, force: true }));

describe("cacheCandidates", () => {
  it("follows the XDG rules: absolute XDG_CACHE_HOME, else ~/.cache", () => {
    expect(cacheCandidates(undefined, { XDG_CACHE_HOME: "/x" }).preferred).toBe("/x/twinmetal/images");
    expect(cacheCandidates(undefined, { XDG_CACHE_HOME: "x", HOME: "/h" }).preferred).toBe(
      "/h/.cache/twinmetal/images",
    );
    expect(cacheCandidates("/named")).toEqual({ preferred: "/named", fallback: undefined });
  });
});

describe("openCacheDirectory", () => {
  it("falls back with a warning when the home cannot be written", async () => {
    await writeFile(join(root, "file"), "");
    const candidates = { preferred: join(root, "file/cache"), fallback: join(root, "own/images") };
    const warnings: string[] = [];
    expect(await openCacheDirectory(candidates, (text) => warnings.push(text))).toBe(candidates.fallback);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("Set XDG_CACHE_HOME");
  });

  it("does not use a fallback that others can write to, nor one for a directory the user named", async () => {
    await writeFile(join(root, "file"), "");
    await mkdir(join(root, "open"));
    await chmod(join(root, "open"), 0o777);
    const preferred = join(root, "file/cache");
    for (const fallback of [join(root, "open/images"), undefined]) {
      await expect(openCacheDirectory({ preferred, fallback }, () => {})).rejects.toMatchObject({
        code: "IMAGE_NOT_WRITABLE",
      });
    }
  });
});

describe("removeAbandoned", () => {
  it("removes what dead processes left for this target and nothing else", async () => {
    const target = join(root, "tiny-1");
    const mine = temporaryName(target);
    for (const name of [mine, `${target}.tmp-${2 ** 22 + 1}-x`, target, `${target}2.tmp-${2 ** 22 + 1}-x`])
      await mkdir(name);
    await removeAbandoned(target);
    expect((await readdir(root)).map((name) => join(root, name)).sort()).toEqual(
      [mine, target, `${target}2.tmp-${2 ** 22 + 1}-x`].sort(),
    );
  });
});

it("gives up where a parent that is there takes no directories, instead of never ending", async ({ skip }) => {
  if (process.platform !== "linux") skip("needs /proc");
  await expect(makeDirectories("/proc/twinmetal/images")).rejects.toMatchObject({ code: "ENOENT" });
});
