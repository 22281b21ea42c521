// Linux's own floppy driver, of Debian's general kernel: it finds the drive, reads, writes, formats, and notices another disk.

import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createVm, ensureTinyImage } from "../../packages/host/src/index.ts";
import { debianFile } from "./pc/debian-files.ts";

const MINUTE_MS = 60_000;
const FLOPPY_BYTES = 1440 * 1024;
const TRACK_BYTES = 18 * 512;
const FORMAT = new URL("./floppy-format.c", import.meta.url).pathname;
/** What Linux fills a formatted track with. */
const FILLER = 0xf6;
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

test("Linux reads, writes and formats a floppy disk, and another one", { timeout: 20 * MINUTE_MS }, async () => {
  const { kernelPath, initrdPath, kernelRelease } = await ensureTinyImage({ kernel: "general" });
  const module = await debianFile({
    packageName: `linux-image-${kernelRelease}`,
    path: `lib/modules/${kernelRelease}/kernel/drivers/block/floppy.ko`,
  });
  if (typeof module === "string") throw new Error(module);
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-floppy-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [first, second, odd] = ["a.img", "b.img", "c.img"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const [content, other] = [randomBytes(FLOPPY_BYTES), randomBytes(FLOPPY_BYTES)];
  writeFileSync(first, content);
  writeFileSync(second, other);
  writeFileSync(odd, "");
  await using vm = await createVm({
    kernel: kernelPath,
    initrd: initrdPath,
    engine: "jit",
    memoryBytes: 256 * 2 ** 20,
    disks: [{ path: first, format: "raw", bus: "floppy" }],
  });
  await vm.start();
  await vm.agent.connect({ timeoutMs: 5 * MINUTE_MS });
  const shell = async (script: string): Promise<string> => {
    const { exitCode, stdout, stderr } = await vm.exec(["sh", "-ec", script]);
    expect(`${exitCode} ${stderr.toString()}`, script).toMatch(/^0/);
    return stdout.toString().trim();
  };
  await vm.writeFile("/tmp/floppy.ko", module);
  await shell("insmod /tmp/floppy.ko; [ -b /dev/fd0 ] || mknod /dev/fd0 b 2 0");
  expect(await shell("dmesg | grep -i -E 'fdc|floppy'")).toMatch(/fd0 is 1\.44M[\s\S]*82077/);
  expect(await shell("sha256sum </dev/fd0")).toBe(`${sha256(content)}  -`);
  const part = await shell(
    "head -c 300000 /dev/urandom >/tmp/part; dd if=/tmp/part of=/dev/fd0 bs=1000 seek=40 conv=fsync; sha256sum </tmp/part",
  );
  expect(`${sha256(readFileSync(first).subarray(40_000, 340_000))}  -`).toBe(part);
  const written = readFileSync(first);
  const formatter = join(folder, "floppy-format");
  execFileSync("gcc", ["-O1", "-static", "-o", formatter, FORMAT], { stdio: "pipe" });
  await vm.writeFile("/tmp/floppy-format", readFileSync(formatter));
  await shell("chmod +x /tmp/floppy-format; /tmp/floppy-format 40 1");
  written.fill(FILLER, 81 * TRACK_BYTES, 82 * TRACK_BYTES);
  expect(sha256(readFileSync(first))).toBe(sha256(written));
  expect(await shell("sha256sum </dev/fd0")).toBe(`${sha256(written)}  -`);
  truncateSync(odd, FLOPPY_BYTES + 512);
  await expect(vm.insert("disk0", odd)).rejects.toThrow(
    "cannot have 1475072 bytes. Give an image of 1440 KiB or 720 KiB.",
  );
  expect((await vm.exec(["sh", "-c", "head -c 512 /dev/fd0 | wc -c"])).stdout.toString().trim()).toBe("0");
  await vm.insert("disk0", second);
  expect(await shell("sha256sum </dev/fd0")).toBe(`${sha256(other)}  -`);
  await shell("/tmp/floppy-format");
  expect(readFileSync(second).every((byte) => byte === FILLER)).toBe(true);
  await vm.eject("disk0");
  expect((await vm.exec(["sh", "-c", "head -c 512 /dev/fd0 | wc -c"])).stdout.toString().trim()).toBe("0");
});
