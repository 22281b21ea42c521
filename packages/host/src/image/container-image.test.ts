import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type ContainerParts,
  dockerArchive,
  type LayerFile,
  layerTar,
  ociArchive,
  sha256,
} from "../../../../tests/guest/container-archive.ts";
import { tarFile } from "../../../../tests/guest/debian-archive.ts";
import { containerCommand, ensureContainerImage } from "./container-image.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "twinmetal-container-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function ensure(archive: Uint8Array, signal?: AbortSignal) {
  const path = join(folder, "image.tar");
  writeFileSync(path, archive);
  return ensureContainerImage({ path, cacheDirectory: join(folder, "cache"), ...(signal && { signal }) });
}

const layers = (...files: readonly LayerFile[][]): ContainerParts => ({ layers: files.map((of) => layerTar(...of)) });
const DEBUGFS = "/usr/sbin/debugfs";

/** What the disk has there, as debugfs prints it. */
async function ask(parts: ContainerParts, ...commands: string[]): Promise<string[]> {
  const { diskPath } = await ensure(dockerArchive(parts));
  execFileSync("/usr/sbin/e2fsck", ["-f", "-n", diskPath], { stdio: ["ignore", "pipe", "pipe"] });
  const run = (command: string) =>
    execFileSync(DEBUGFS, ["-R", command, diskPath], { stdio: ["ignore", "pipe", "pipe"] });
  return commands.map((command) => run(command).toString("utf8"));
}

describe.skipIf(!existsSync(DEBUGFS))("layers", () => {
  it("lie over each other", async () => {
    const parts = layers(
      [
        { path: "./etc/", typeFlag: "5", mode: 0o700 },
        { path: "etc/kept", data: "below" },
        { path: "etc/gone", data: "below" },
        { path: "etc/changed", data: "below" },
        { path: "var/log/old", data: "below" },
        { path: "usr/bin/tool", data: "tool", uid: 1000 },
        { path: "bin", typeFlag: "2", target: "usr/bin" },
      ],
      [
        { path: "etc/.wh.gone" },
        { path: "etc/changed", data: "above" },
        { path: "var/log/new", data: "above" },
        { path: "var/log/.wh..wh..opq" },
        { path: "bin/other", data: "through the link" },
        { path: "usr/twin", typeFlag: "1", target: "bin/tool" },
      ],
    );
    const answers = await ask(
      parts,
      "cat /etc/kept",
      "ls /etc",
      "cat /etc/changed",
      "ls /var/log",
      "cat /usr/bin/other",
      "stat /usr/twin",
    );
    expect(answers[0]).toBe("below");
    expect(answers[1]).not.toContain("gone");
    expect(answers[2]).toBe("above");
    expect(answers[3]).toContain("new");
    expect(answers[3]).not.toMatch(/old|\.wh/);
    expect(answers[4]).toBe("through the link");
    expect(answers[5]).toMatch(/User: {2}1000.*Links: 2/s);
  });

  it("stay inside, whatever their links say", async () => {
    const parts = layers(
      [
        { path: "up", typeFlag: "2", target: "../../../.." },
        { path: "tmp", typeFlag: "2", target: "/etc" },
        { path: "round", typeFlag: "2", target: "round" },
      ],
      [
        { path: "up/inside", data: "here" },
        { path: "tmp/there", data: "there" },
        { path: "round/x", data: "x" },
      ],
    );
    expect(await ask(parts, "cat /inside", "cat /tmp/there", "cat /round/x")).toEqual(["here", "there", "x"]);
    expect(existsSync("/inside")).toBe(false);
  });
});

describe("a container image", () => {
  const program = { path: "bin/hello", data: "#!/bin/sh\n" };
  const config = {
    Entrypoint: ["/bin/hello"],
    Cmd: ["world"],
    Env: ["A=b", "PATH=/bin"],
    WorkingDir: "/srv",
    User: "daemon",
  };
  const accounts = { path: "etc/passwd", data: "root:x:0:0::/root:/bin/sh\ndaemon:x:1:7:d:/usr/sbin:/bin/sh\n" };
  const parts = { ...layers([program, accounts]), config };

  it.each([
    ["docker save", dockerArchive],
    ["an OCI layout", ociArchive],
  ])("of %s is made once, and says what is run in it", async (_what, make) => {
    const image = await ensure(make(parts));
    expect(image.program).toMatchObject({ uid: 1, gid: 7, workingDirectory: "/srv" });
    expect(containerCommand(image, undefined).slice(-3)).toEqual(["--", "/bin/hello", "world"]);
    expect(containerCommand(image, ["you"]).slice(-2)).toEqual(["/bin/hello", "you"]);
    expect(containerCommand(image, undefined)).toEqual(expect.arrayContaining(["A=b", "PATH=/bin", "HOME=/usr/sbin"]));
    expect(await ensure(make(parts))).toEqual(image);
    expect(readdirSync(image.directory).sort()).toEqual(["disk.img", "image.json"]);
  });

  it.each<[string, () => Buffer, string]>([
    [
      "a path that leads out",
      () => dockerArchive(layers([{ path: "../../etc/passwd", data: "x" }])),
      "leads out of the image",
    ],
    [
      "a hard link that leads out",
      () => dockerArchive(layers([{ path: "a", typeFlag: "1", target: "../../etc/passwd" }])),
      "leads out",
    ],
    [
      "a hard link to nothing",
      () => dockerArchive(layers([{ path: "a", typeFlag: "1", target: "etc/passwd" }])),
      "is no file of the image",
    ],
    ["a layer with another digest", () => dockerArchive({ ...parts, diffIds: ["0".repeat(64)] }), "has another digest"],
    ["fewer digests than layers", () => dockerArchive({ ...parts, diffIds: [] }), "has 1 layers"],
    ["another machine", () => dockerArchive({ ...parts, architecture: "arm64" }), "linux/arm64"],
    ["a user that is not in it", () => dockerArchive({ ...parts, config: { User: "nobody" } }), "is not in it"],
    ["words that are none", () => dockerArchive({ ...parts, config: { Cmd: "ls" } }), "no list of words"],
    ["nothing in it", () => tarFile(), "neither index.json nor manifest.json"],
    ["documents that are none", () => tarFile({ path: "manifest.json", data: "{" }), "no JSON"],
    ["an index without images", () => tarFile({ path: "index.json", data: "{}" }), "no image for linux"],
    [
      "a layer that is not there",
      () => tarFile({ path: "manifest.json", data: '[{"Config":"c","Layers":["l"]}]' }),
      "it lacks",
    ],
    ["no archive at all", () => Buffer.alloc(4096, "x"), "cannot be read"],
    ["a compressed one", () => gzipSync(dockerArchive(parts)), "gunzip"],
    [
      "a bomb",
      () => ociArchive({ layers: [layerTar({ path: "zeroes", data: Buffer.alloc(80 * 2 ** 20) })] }),
      "more than 200 times",
    ],
  ])("is refused with %s", async (_what, make, message) => {
    await expect(ensure(make())).rejects.toThrow(message);
    expect(
      readdirSync(join(folder)).filter((name) => name === "cache" && readdirSync(join(folder, name)).length > 0),
    ).toEqual([]);
  });

  it("is refused wherever it is cut off, and with any byte changed that a digest is of", async () => {
    const whole = ociArchive(parts);
    const end = Buffer.from(whole)
      .subarray(0, -1024)
      .findLastIndex((byte) => byte !== 0);
    for (let cut = 1; cut <= end; cut += 487) {
      await expect(ensure(whole.subarray(0, cut)), `cut at ${cut}`).rejects.toMatchObject({
        code: expect.stringMatching(/^IMAGE_/),
      });
    }
    const at = whole.indexOf(Buffer.from('"Entrypoint"'));
    const changed = Buffer.from(whole);
    changed[at + 2] = 0x46;
    await expect(ensure(changed)).rejects.toThrow("another digest");
  });

  it("is given up by its signal", async () => {
    await expect(ensure(dockerArchive(parts), AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
  });

  it("hashes to the same name as its configuration", async () => {
    const { directory } = await ensure(dockerArchive(parts));
    expect(directory).toMatch(/container-[0-9a-f]{32}$/);
    expect(sha256(Buffer.from(""))).toHaveLength(64);
  });
});
