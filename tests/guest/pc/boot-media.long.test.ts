// What people put into a machine first: memtest86+'s CD under OVMF, and Debian's installer, which comes to its menus on the
// serial console.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createVm, type Vm } from "../../../packages/host/src/index.ts";
import { debianFile, MEMTEST_DISC } from "./debian-files.ts";

const MINUTE_MS = 60_000;
const INSTALLER = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64";

function folderWith(files: Readonly<Record<string, Uint8Array>>): string {
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-media-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
  return folder;
}

async function fileOf(packageName: string, path: string): Promise<Uint8Array> {
  const bytes = await debianFile({ packageName, path });
  if (typeof bytes === "string") throw new Error(bytes);
  return bytes;
}

/** Pixels of memtest86+'s background. */
async function bluePixels(vm: Vm): Promise<number> {
  const { rgba } = await vm.screen.image();
  return new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4).filter((pixel) => pixel === 0xffaa_0000).length;
}

test("OVMF starts memtest86+ from its CD, and it tests memory", { timeout: 10 * MINUTE_MS }, async () => {
  const folder = folderWith({ "memtest.iso": await fileOf(MEMTEST_DISC.packageName, MEMTEST_DISC.path) });
  await using vm = await createVm({
    firmware: "uefi",
    engine: "jit",
    memoryBytes: 256 * 2 ** 20,
    bootOrder: ["cdrom"],
    disks: [{ path: join(folder, "memtest.iso"), isCdrom: true }],
  });
  await vm.start();
  await expect.poll(() => bluePixels(vm), { timeout: 4 * MINUTE_MS, interval: 1000 }).toBeGreaterThan(640 * 480 * 0.6);
  await vm.press("enter");
  // What is tested, and for how long, comes to the screen.
  const before = await vm.screenshot();
  await expect
    .poll(async () => Buffer.compare(await vm.screenshot(), before) !== 0, { timeout: MINUTE_MS, interval: 2000 })
    .toBe(true);
});

test("Debian's installer comes to its menus on the serial console", { timeout: 20 * MINUTE_MS }, async () => {
  const name = "debian-installer-12-netboot-amd64";
  const folder = folderWith({
    linux: await fileOf(name, `${INSTALLER}/linux`),
    "initrd.gz": await fileOf(name, `${INSTALLER}/initrd.gz`),
  });
  await using vm = await createVm({
    kernel: join(folder, "linux"),
    initrd: join(folder, "initrd.gz"),
    engine: "jit",
    memoryBytes: 768 * 2 ** 20,
    append: "DEBIAN_FRONTEND=text priority=medium",
  });
  await vm.start();
  // It says first that this is little memory, and speaks English then.
  await vm.serial.waitFor("[Press enter to continue]", { timeoutMs: 10 * MINUTE_MS });
  await vm.serial.write("\n");
  await vm.serial.waitFor(/Debian installer main menu.*3: Configure the keyboard.*Prompt:/s, {
    timeoutMs: 5 * MINUTE_MS,
  });
  await vm.serial.write("3\n");
  const keymaps = await vm.serial.waitFor(/Keymap to use:.*Prompt:/s, { timeoutMs: 5 * MINUTE_MS });
  expect(keymaps).toContain("American English");
});
