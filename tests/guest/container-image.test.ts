// A container image runs: its program is the command, its root is the disk, what it says of user, folder and variables holds.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { DebPayload } from "../../packages/host/src/image/deb-payload.ts";
import type { TinyImage } from "../../packages/host/src/index.ts";
import { repository } from "../clone.ts";
import { dockerArchive, layerTar } from "./container-archive.ts";
import { tinyGuest } from "./tiny-guest.ts";

const folder = mkdtempSync(join(tmpdir(), "twinmetal-container-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The tiny image's own, from its package: static, so all that an image needs. */
async function busybox({ directory }: TinyImage): Promise<Buffer> {
  const root = dirname(directory);
  const packages = readdirSync(root).map((name) => join(root, name, "busybox-static.deb"));
  const deb = await DebPayload.unpack({
    debPath: packages.find((path) => existsSync(path)) ?? "",
    spoolPath: join(folder, "spool"),
    select: (path) => path.endsWith("bin/busybox"),
  });
  try {
    return deb.read(deb.paths[0]!);
  } finally {
    deb.close();
  }
}

function run(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const shim = join(repository, "packages", "cli", "bin", "twinmetal.mjs");
  const child = spawn(process.execPath, [shim, "run", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const texts = { stdout: "", stderr: "" };
  child.stdout.on("data", (bytes: Buffer) => void (texts.stdout += bytes.toString()));
  child.stderr.on("data", (bytes: Buffer) => void (texts.stderr += bytes.toString()));
  return new Promise((resolve) => child.on("close", (status) => resolve({ status, ...texts })));
}

test("the program of a container image runs in its root, as its user", { timeout: 300_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const tools = await busybox(guest.image);
  const script =
    "#!/bin/sh\nid -u; id -g; pwd; echo $GREETING $1; cat /proc/1/comm >/dev/null && echo hello >/tmp/x && cat /tmp/x; ls /etc; exit 7\n";
  const path = join(folder, "image.tar");
  const base = layerTar(
    { path: "bin/busybox", data: tools },
    { path: "bin/sh", typeFlag: "2", target: "busybox" },
    ...["id", "cat", "ls"].map((name) => ({ path: `bin/${name}`, typeFlag: "1", target: "bin/busybox" })),
    { path: "etc/passwd", data: "root:x:0:0::/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\n" },
    { path: "etc/gone", data: "" },
    { path: "tmp", typeFlag: "5", mode: 0o1777 },
  );
  const above = layerTar({ path: "etc/.wh.gone" }, { path: "usr/bin/program", data: script });
  const config = { Entrypoint: ["program"], Cmd: ["world"], Env: ["GREETING=hi"], WorkingDir: "/work", User: "ada" };
  writeFileSync(path, dockerArchive({ layers: [base, above], config }));
  const { status, stdout } = await run(path, "--timeout", "200");
  expect({ status, stdout }).toEqual({
    status: 7,
    stdout: "1000\n1001\n/work\nhi world\nhello\nhosts\npasswd\n",
  });
  // Made once: nothing is said of it any more.
  const other = await run(path, "--timeout", "200", "--", "you");
  expect(other).toMatchObject({ status: 7, stderr: "" });
  expect(other.stdout).toContain("hi you\n");
});
