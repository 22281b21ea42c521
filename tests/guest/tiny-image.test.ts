// Fetches the real packages of Debian. Runs where TWINMETAL_TEST_NETWORK is set, since it needs a mirror.

import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureTinyImage, type TinyImage } from "../../packages/host/src/image/index.ts";

const hasNetwork = Boolean(process.env["TWINMETAL_TEST_NETWORK"]);

describe.skipIf(!hasNetwork)("the tiny image from a real mirror (needs TWINMETAL_TEST_NETWORK)", () => {
  let cacheDirectory = "";

  beforeAll(async () => {
    cacheDirectory = await mkdtemp(join(tmpdir(), "twinmetal-network-"));
  });

  afterAll(() => rm(cacheDirectory, { recursive: true, force: true }));

  async function checkImage(image: TinyImage): Promise<void> {
    const kernel = await readFile(image.kernelPath);
    expect(kernel.toString("latin1", 0x202, 0x206)).toBe("HdrS");
    expect(image.kernelRelease).toMatch(/^[0-9]+\.[0-9]+\..*amd64$/);
    expect(image.packages.every(({ sha256, version }) => sha256.length === 64 && version !== "")).toBe(true);
    const initrd = (await readFile(image.initrdPath)).toString("latin1");
    expect(initrd.startsWith("070701")).toBe(true);
    for (const name of ["virtio_pci.ko", "virtio_console.ko", "virtio_rng.ko", "init"]) expect(initrd).toContain(name);
    expect((await stat(image.initrdPath)).size).toBeLessThan(8 * 1024 * 1024);
  }

  it("is put together with apt and then found in the cache", { timeout: 120_000 }, async () => {
    const image = await ensureTinyImage({ cacheDirectory });
    await checkImage(image);
    const again = await ensureTinyImage({ cacheDirectory, signal: AbortSignal.timeout(5000) });
    expect(again).toEqual({ ...image, cacheHit: true });
  });

  it("has the same packages when fetched without apt", { timeout: 120_000 }, async () => {
    const withApt = await ensureTinyImage({ cacheDirectory });
    const direct = await ensureTinyImage({ cacheDirectory: join(cacheDirectory, "direct"), fetchWith: "mirror" });
    await checkImage(direct);
    expect(direct.packages).toEqual(withApt.packages);
    expect((await readFile(direct.initrdPath)).equals(await readFile(withApt.initrdPath))).toBe(true);
  });
});
