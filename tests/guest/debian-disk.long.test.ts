// Debian 12 as it is installed, from its own disk: firmware, GRUB, its kernel and initramfs, systemd, a login; a reboot, a
// restored copy that its kernel notices, and power-off, by itself and from outside.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createVm, type DiskBus, restoreVm, type Vm } from "../../packages/host/src/index.ts";
import { type Architecture, type Firmware, makeDebianDisk, whyNoDisk } from "./debian-disk.ts";

const MINUTE_MS = 60_000;
/** To a login: a minute, but on a host where others want each processor ten times over. */
const LOGIN_MS = 30 * MINUTE_MS;
const reason = whyNoDisk();
if (reason !== undefined) console.warn(`Debian from a disk skipped: ${reason}`);

test.skipIf(reason !== undefined).each<readonly [Firmware, Exclude<DiskBus, "floppy">, Architecture]>([
  ["bios", "virtio", "amd64"],
  ["uefi", "virtio", "amd64"],
  ["bios", "ahci", "amd64"],
  ["uefi", "ahci", "amd64"],
  ["bios", "nvme", "amd64"],
  ["uefi", "nvme", "amd64"],
  ["bios", "ide", "amd64"],
  ["uefi", "ide", "amd64"],
  ["bios", "virtio", "i386"],
])(
  "Debian starts by %s from a disk on %s (%s), and turns off",
  { timeout: 2 * LOGIN_MS + 30 * MINUTE_MS },
  async (firmware, bus, architecture) => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-debian-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const disk = join(folder, "disk.img");
    makeDebianDisk(disk, firmware, folder, architecture);
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
    await vm.serial.waitFor("twin login: ", { timeoutMs: LOGIN_MS });
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
  },
);

/** From GRUB to root's prompt. */
async function logIn(vm: Vm): Promise<void> {
  await vm.serial.waitFor("twin login: ", { timeoutMs: LOGIN_MS });
  await vm.serial.write("root\n");
  await vm.serial.waitFor("root@twin:~#", { timeoutMs: 5 * MINUTE_MS });
}

async function ask(vm: Vm, command: string): Promise<string> {
  await vm.serial.write(`${command}\n`);
  return await vm.serial.waitFor(/\n.*root@twin:~#/s, { timeoutMs: 5 * MINUTE_MS });
}

test.skipIf(reason !== undefined)(
  "Debian reboots, notices that it is a copy, and turns off when that is asked from outside",
  { timeout: 2 * LOGIN_MS + 30 * MINUTE_MS },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-debian-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const disk = join(folder, "disk.img");
    makeDebianDisk(disk, "bios", folder);
    const disks = [{ path: disk, format: "raw" as const }];
    const state = join(folder, "state");
    {
      await using vm = await createVm({ firmware: "bios", engine: "jit", memoryBytes: 1024 * 2 ** 20, disks });
      await vm.start();
      await logIn(vm);
      // What the terminal echoes is behind "end": the answer is between that and the next prompt.
      const complaints = "dmesg | grep -E 'ACPI( BIOS)? (Error|Warning)|ACPI Exception|_OSC.*failed' # end";
      expect((await ask(vm, complaints)).split("# end")[1]).not.toContain("ACPI");
      expect(
        await ask(vm, "dmesg | grep -E 'Power Button|Sleep Button|vmgenid'; ls /sys/bus/acpi/drivers/vmgenid"),
      ).toMatch(/Power Button.*Sleep Button.*TWMT0001/s);
      await vm.serial.write("reboot\n");
      await logIn(vm);
      await ask(vm, "sync");
      await vm.pause();
      await vm.save(state);
      await vm.kill();
    }
    await using copy = await restoreVm(state, { engine: "jit", disks });
    await copy.start();
    await copy.serial.write("\n");
    await copy.serial.waitFor("root@twin:~#", { timeoutMs: 5 * MINUTE_MS });
    expect(await ask(copy, "dmesg | tail -n 5")).toContain("crng reseeded due to virtual machine fork");
    await copy.stop({ timeoutMs: 5 * MINUTE_MS, force: false });
    expect((await copy.wait()).kind).toBe("off");
  },
);
