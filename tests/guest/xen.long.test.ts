// Xen as Debian ships it, by Multiboot, with the tiny image's Linux as its first domain: paravirtualised guests in a guest.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { createVm, ensureTinyImage } from "../../packages/host/src/index.ts";
import { debianFile } from "./pc/debian-files.ts";

const MIB = 2 ** 20;
const XEN = { packageName: "xen-hypervisor-4.17-amd64", path: "boot/xen-4.17-amd64.gz" };

test("Xen starts Linux as its first domain", { timeout: 10 * 60_000 }, async () => {
  const packed = await debianFile(XEN);
  if (typeof packed === "string") throw new Error(packed);
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-xen-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const kernel = join(folder, "xen");
  writeFileSync(kernel, gunzipSync(packed));
  const tiny = await ensureTinyImage();
  await using vm = await createVm({
    memoryBytes: 1024 * MIB,
    engine: "jit",
    kernel,
    append: "com1=115200,8n1 console=com1",
    modules: [{ path: tiny.kernelPath, commandLine: "console=hvc0 rdinit=/bin/busybox -- poweroff -f" }],
    initrd: tiny.initrdPath,
  });
  await vm.start();
  await vm.serial.waitFor("Serial input to DOM0", { timeoutMs: 200_000 });
  expect(await vm.serial.waitFor(/Dom0 (halted|crashed)/, { timeoutMs: 300_000 })).toContain("halted");
});
