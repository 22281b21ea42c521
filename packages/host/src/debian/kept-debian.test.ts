import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { makeOverlay } from "../disk/overlay-image.ts";
import { type DebianImage, openDebianImage } from "./debian-image.ts";
import { keptDebian } from "./kept-debian.ts";

let folder = "";

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-kept-debian-"));
});

afterEach(() => rm(folder, { recursive: true }));

async function image(name: string): Promise<DebianImage> {
  const directory = join(folder, name);
  await mkdir(directory);
  await writeFile(join(directory, "disk.img"), Buffer.alloc(4096));
  const description = { formatVersion: 1, files: [], packages: [], kernelRelease: name, diskBytes: 4096 };
  await writeFile(join(directory, "image.json"), JSON.stringify(description));
  return (await openDebianImage(directory))!;
}

it("is the one that the overlay lies on, though there is a newer one, and says when that is gone", async () => {
  const overlay = join(folder, "image.qcow2");
  const [old, newer] = [await image("old"), await image("newer")];
  expect(await keptDebian(undefined, async () => old)).toEqual(old);
  await makeOverlay(overlay, { path: old.diskPath, format: "raw" });
  expect(await keptDebian(overlay, async () => newer)).toEqual(old);
  await rename(old.directory, join(folder, "elsewhere"));
  await expect(keptDebian(overlay, async () => newer)).rejects.toMatchObject({ code: "IMAGE_NOT_FOUND" });
});
