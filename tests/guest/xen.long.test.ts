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
    // A paravirtualised guest's addresses are not what virtio devices without an IOMMU take.
    modules: [{ path: tiny.kernelPath, commandLine: "console=hvc0 quiet module_blacklist=virtio_pci" }],
    initrd: tiny.initrdPath,
  });
  await vm.start();
  // Xen of this version faults at input before that.
  await vm.serial.waitFor("Serial input to DOM0", { timeoutMs: 120_000 });
  await vm.serial.waitFor("~ # ", { timeoutMs: 300_000 });
  await vm.serial.write("cat /sys/hypervisor/type\n");
  expect(await vm.serial.waitFor(/\nxen\r?\n/, { timeoutMs: 60_000 })).toContain("xen");
});
