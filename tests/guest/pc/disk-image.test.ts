// `twinmetal run IMAGE`: the firmware that starts it is found, what is given to cloud-init is a disk behind it, and the image
// stays as it is.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { repository } from "../../clone.ts";

/**
 * A boot sector: reads the first sector of the second disk's PVD (sector 64 of 512 bytes) over itself, writes a sector to its
 * own disk, and sends five bytes of what it has read to the serial port.
 */
const BOOT_SECTOR = [
  0x31,
  0xc0,
  0x8e,
  0xd8,
  0x8e,
  0xc0, // xor ax, ax; mov ds, ax; mov es, ax
  0xbe,
  0x40,
  0x7c, // mov si, 0x7c40: where the packet is
  0xb4,
  0x42,
  0xb2,
  0x81,
  0xcd,
  0x13, // mov ah, 0x42; mov dl, 0x81; int 0x13
  0xbe,
  0x50,
  0x7c, // mov si, 0x7c50
  0xb4,
  0x43,
  0xb0,
  0x00,
  0xb2,
  0x80,
  0xcd,
  0x13, // mov ah, 0x43; mov al, 0; mov dl, 0x80; int 0x13
  0xbe,
  0x01,
  0x80,
  0xb9,
  0x05,
  0x00, // mov si, 0x8001; mov cx, 5
  0xba,
  0xf8,
  0x03, // mov dx, 0x3f8
  0xac,
  0xee,
  0xe2,
  0xfc, // lodsb; out dx, al; loop
  0xf4,
  0xeb,
  0xfd, // hlt; jmp
];
const packet = (sector: number): number[] => [16, 0, 1, 0, 0x00, 0x80, 0, 0, sector, 0, 0, 0, 0, 0, 0, 0];

test("an image starts by itself, with its seed, and is not changed", { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-image-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const disk = new Uint8Array(4 * 2 ** 20);
  disk.set(BOOT_SECTOR);
  disk.set(packet(64), 0x40);
  disk.set(packet(2), 0x50);
  disk.set([0x55, 0xaa], 510);
  const path = join(folder, "box.raw");
  writeFileSync(path, disk);
  const digest = (): string => createHash("sha256").update(readFileSync(path)).digest("hex");
  const before = digest();
  const shim = join(repository, "packages", "cli", "bin", "twinmetal.mjs");
  const options = ["--net", "none", "--hostname", "box", "--timeout", "60", "--engine", "jit"];
  const child = spawn(process.execPath, [shim, "run", path, ...options], {
    env: { ...process.env, XDG_CACHE_HOME: process.env["XDG_CACHE_HOME"] ?? join(folder, "cache") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = await new Promise<string>((resolve) => {
    let text = "";
    const take = (bytes: Buffer): void => {
      text += bytes.toString("latin1");
      if (text.includes("CD001")) child.kill("SIGTERM");
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("close", () => resolve(text));
  });
  expect(said).toContain("CD001");
  expect(digest()).toBe(before);
});
