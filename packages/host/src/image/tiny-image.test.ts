import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Archive, debianArchive, KERNEL_RELEASE, poolPath } from "../../../../tests/guest/debian-archive.ts";
import { ImageError } from "./image-error.ts";
import { ensureTinyImage, type TinyImage, type TinyImageOptions, type TinyProgress } from "./tiny-image.ts";

let root = "";
let server: Server;
let archive: Archive;
let requests: string[];
let mirror = "";

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "twinmetal-tiny-"));
  archive = debianArchive();
  requests = [];
  server = createServer((request, response) => {
    const path = (request.url ?? "").replace(/^\/debian\//, "");
    requests.push(path);
    const data = archive.get(path);
    response.writeHead(data === undefined ? 404 : 200).end(data);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  mirror = `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`;
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await rm(root, { recursive: true, force: true });
});

// Without a key ring the indices of a mirror on this machine are trusted; with one the test archive has no signature.
const ensure = (options: TinyImageOptions = {}): Promise<TinyImage> =>
  ensureTinyImage({ mirror, fetchWith: "mirror", cacheDirectory: join(root, "cache"), keyring: null, ...options });

async function failure(promise: Promise<unknown>): Promise<ImageError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ImageError);
  return error as ImageError;
}

const cacheNames = async (): Promise<string[]> =>
  (await readdir(join(root, "cache"))).map((name) => name.replace(/-.*/, "")).sort();

describe("ensureTinyImage", () => {
  it("builds kernel and initrd once and then serves them from the cache", async () => {
    const phases: TinyProgress[] = [];
    const first = await ensure({ onProgress: (progress) => phases.push(progress) });
    expect(first).toMatchObject({ cacheHit: false, kernelRelease: KERNEL_RELEASE });
    expect(first.packages.map(({ name }) => name)).toEqual([`linux-image-${KERNEL_RELEASE}`, "busybox-static"]);
    expect(await readFile(first.kernelPath, "utf8")).toBe("the kernel");
    expect([...new Set(phases.map(({ phase }) => phase))]).toEqual(["lists", "download", "unpack", "assemble"]);

    const initrd = (await readFile(first.initrdPath)).toString("latin1");
    expect(initrd).toContain("the busybox");
    expect(initrd).toContain("virtio_ring.ko\nvirtio_pci.ko\nvirtio_console.ko\nvirtio_rng.ko\n");
    expect(initrd).toContain("failover.ko\nnet_failover.ko\nvirtio_net.ko\n");
    expect(initrd).not.toContain("vmxnet3");
    expect(initrd).toContain("00000000mnt\0");
    expect(await cacheNames()).toEqual(["packages", "tiny"]);

    requests.length = 0;
    server.closeAllConnections();
    server.close();
    const second = await ensure();
    expect({ ...second, cacheHit: false }).toEqual(first);
    expect(second.cacheHit).toBe(true);
    expect(requests).toEqual([]);
  });

  it("takes a mirror in a directory", async () => {
    for (const [path, data] of archive) {
      await mkdir(join(root, "mirror", path, ".."), { recursive: true });
      await writeFile(join(root, "mirror", path), data);
    }
    expect((await ensure({ mirror: pathToFileURL(join(root, "mirror")).href })).kernelRelease).toBe(KERNEL_RELEASE);
  });

  it("builds a damaged image again without another download", async () => {
    const { initrdPath } = await ensure();
    const good = await readFile(initrdPath);
    await writeFile(initrdPath, "half");
    requests.length = 0;
    expect((await ensure()).cacheHit).toBe(false);
    expect((await readFile(initrdPath)).equals(good)).toBe(true);
    expect(requests).toEqual([]);
  });

  it("fetches anew on request", async () => {
    await ensure();
    requests.length = 0;
    expect((await ensure({ refresh: true })).cacheHit).toBe(false);
    expect(requests).toContain("dists/bookworm/InRelease");
  });

  it("lets two first runs share one download", async () => {
    const waited: (number | undefined)[] = [];
    const images = await Promise.all([
      ensure(),
      ensure({ onProgress: ({ phase, waitingForPid }) => phase === "wait" && waited.push(waitingForPid) }),
    ]);
    expect(images.map(({ cacheHit }) => cacheHit).sort()).toEqual([false, true]);
    expect(requests.filter((path) => path.startsWith("pool/"))).toHaveLength(2);
  });

  it("leaves nothing behind when it is aborted in a download or fails", async () => {
    const abort = new AbortController();
    const running = ensure({
      signal: abort.signal,
      onProgress: ({ phase, done }) => phase === "download" && done > 0 && abort.abort(new Error("stopped")),
    });
    await expect(running).rejects.toThrow("stopped");
    expect(await cacheNames()).toEqual([]);

    archive.delete(poolPath("busybox-static"));
    expect((await failure(ensure())).code).toBe("IMAGE_NETWORK");
    expect(await cacheNames()).toEqual([]);
  });

  it("refuses packages and indices that are not what their index says", async () => {
    archive.set(poolPath("busybox-static"), Buffer.alloc(archive.get(poolPath("busybox-static"))!.length));
    expect((await failure(ensure())).code).toBe("IMAGE_UNTRUSTED");
    archive.set("dists/bookworm/main/binary-amd64/Packages.gz", Buffer.from("other"));
    expect((await failure(ensure())).code).toBe("IMAGE_UNTRUSTED");
    expect(await cacheNames()).toEqual([]);
  });

  it("refuses plain http from elsewhere where nothing can verify it", async () => {
    const error = await failure(ensure({ mirror: "http://mirror.invalid/debian" }));
    expect(error).toMatchObject({ code: "IMAGE_UNTRUSTED" });
    expect(error.message).toContain("--mirror https://HOST/debian");
  });

  it("says in one sentence what is wrong with an option", async () => {
    for (const options of [{ mirror: "foo" }, { suite: "../x" }, { kernel: "big" as "cloud" }]) {
      expect((await failure(ensure(options))).code).toBe("IMAGE_BAD_OPTION");
    }
  });

  it("names the cause when the mirror does not answer", async () => {
    server.closeAllConnections();
    server.close();
    const error = await failure(ensure());
    expect(error).toMatchObject({ code: "IMAGE_NETWORK" });
    expect(error.message).toMatch(/cannot be reached: .*ECONNREFUSED.*--mirror URL/);
  });
});
