// Debian 12 as it is installed, from its own disk: firmware, GRUB, its kernel and initramfs, systemd, a login, power-off.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createVm, type DiskBus } from "../../packages/host/src/index.ts";
import { type Firmware, makeDebianDisk, whyNoDisk } from "./debian-disk.ts";

const MINUTE_MS = 60_000;
const reason = whyNoDisk();
if (reason !== undefined) console.warn(`Debian from a disk skipped: ${reason}`);

test.skipIf(reason !== undefined).each<readonly [Firmware, DiskBus]>([
  ["bios", "virtio"],
  ["uefi", "virtio"],
  ["bios", "ahci"],
  ["uefi", "ahci"],
  ["bios", "nvme"],
  ["uefi", "nvme"],
  ["bios", "ide"],
  ["uefi", "ide"],
])("Debian starts by %s from a disk on %s and turns off", { timeout: 40 * MINUTE_MS }, async (firmware, bus) => {
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-debian-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const disk = join(folder, "disk.img");
  makeDebianDisk(disk, firmware, folder);
  await using vm = await createVm({
    firmware,
    engine: "jit",
    memoryBytes: 1024 * 2 ** 20,
    disks: [{ path: disk, format: "raw", bus }],
  });
  const startMs = performance.now();
  const note = (what: string): void =>
    console.log(`${firmware}, ${bus}: ${what} after ${Math.round(performance.now() - startMs)} ms`);
  await vm.start();
  await vm.serial.waitFor("Booting `Debian'", { timeoutMs: 5 * MINUTE_MS });
  note("GRUB's entry");
  await vm.serial.waitFor("twin login: ", { timeoutMs: 15 * MINUTE_MS });
  note("login");
  await vm.serial.write("root\n");
  await vm.serial.waitFor("root@twin:~#", { timeoutMs: 5 * MINUTE_MS });
  await vm.serial.write(
    "systemctl is-system-running --wait; findmnt -no SOURCE /; test -d /sys/firmware/efi && echo by uefi\n",
  );
  const answer = await vm.serial.waitFor(/\/dev\/(?:[vs]d|nvme).*root@twin:~#/s, { timeoutMs: 5 * MINUTE_MS });
  note("commands");
  expect(answer).toMatch(/\brunning\r/);
  expect(answer).toContain({ ahci: "/dev/sda", ide: "/dev/sda", nvme: "/dev/nvme0n1", virtio: "/dev/vda" }[bus]);
  expect(/\nby uefi/.test(answer)).toBe(firmware === "uefi");
  await vm.serial.write("poweroff\n");
  expect((await vm.wait()).kind).toBe("off");
  note("off");
});
