// A disk with Debian 12 as it is installed: systemd, its own kernel and initramfs, GRUB for BIOS or UEFI. Made as root by
// debootstrap and the tools that make file systems in files; no loop device. The tree is kept in the tests' cache.

import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findDebianSource } from "../../packages/host/src/image/debian-sources.ts";

const SUITE = "bookworm";
/** dbus: without it systemd has nobody who hears the power button. */
const PACKAGES = "systemd-sysv,dbus,udev,kmod,zstd,qemu-guest-agent";
const KERNELS = { amd64: "linux-image-amd64", i386: "linux-image-686-pae" } as const;
const SECTOR_BYTES = 512;
const MIB = 2 ** 20;
const DISK_MIB = 2048;
/** Partitions begin at whole MiB; a UEFI disk has its system partition first. */
const ESP_MIB = 32;
const TOOLS: Readonly<Record<string, string>> = {
  debootstrap: "/usr/sbin/debootstrap",
  e2fsprogs: "/usr/sbin/mke2fs",
  fdisk: "/usr/sbin/sfdisk",
  mtools: "/usr/bin/mcopy",
  "grub-common": "/usr/bin/grub-mkimage",
  "grub-pc-bin": "/usr/lib/grub/i386-pc/boot.img",
  "grub-efi-amd64-bin": "/usr/lib/grub/x86_64-efi/normal.mod",
};

export type Firmware = "bios" | "uefi";
export type Architecture = keyof typeof KERNELS;

/** Undefined: a disk can be made here. */
export function whyNoDisk(): string | undefined {
  if (process.getuid?.() !== 0) return "only root can run debootstrap";
  const missing = Object.entries(TOOLS).flatMap(([name, path]) => (existsSync(path) ? [] : [name]));
  return missing.length > 0 ? `not installed: ${missing.join(", ")}` : undefined;
}

const run = (command: string, ...args: string[]): void =>
  void execFileSync(command, args, { stdio: ["ignore", "ignore", "inherit"] });

function installedTree(architecture: Architecture): string {
  const kept = join(
    process.env["XDG_CACHE_HOME"] ?? tmpdir(),
    "twinmetal-tests-0",
    `debian-${SUITE}-agent-${architecture}`,
  );
  if (existsSync(kept)) return kept;
  const { mirror, keyring } = findDebianSource();
  const trust = keyring === undefined ? "--no-check-gpg" : `--keyring=${keyring}`;
  const fresh = `${kept}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  const packages = `--include=${PACKAGES},${KERNELS[architecture]}`;
  run("debootstrap", trust, "--variant=minbase", `--arch=${architecture}`, packages, SUITE, fresh, mirror);
  rmSync(join(fresh, "var/cache/apt"), { recursive: true });
  run("chroot", fresh, "passwd", "--delete", "root");
  writeFileSync(join(fresh, "etc/hostname"), "twin\n");
  renameSync(fresh, kept);
  return kept;
}

function grubMenu(tree: string): string {
  const named = (prefix: string): string =>
    readdirSync(join(tree, "boot")).find((name) => name.startsWith(prefix) && !/\.(new|dpkg-bak)$/.test(name)) ?? "";
  return [
    "serial --unit=0 --speed=115200",
    "terminal_input serial",
    "terminal_output serial",
    "set timeout=1",
    'menuentry "Debian" {',
    `  linux /boot/${named("vmlinuz-")} root=LABEL=twin rw console=ttyS0`,
    `  initrd /boot/${named("initrd.img-")}`,
    "}\n",
  ].join("\n");
}

/** Makes the image `path`. `scratch` is an empty folder. */
export function makeDebianDisk(
  path: string,
  firmware: Firmware,
  scratch: string,
  architecture: Architecture = "amd64",
): void {
  const tree = installedTree(architecture);
  const rootMib = firmware === "uefi" ? 1 + ESP_MIB : 1;
  writeFileSync(path, "");
  truncateSync(path, DISK_MIB * MIB);
  const esp = `start=1MiB, size=${ESP_MIB}MiB, type=uefi\n`;
  const table = firmware === "uefi" ? `label: gpt\n${esp}start=${rootMib}MiB` : "label: dos\nstart=1MiB, bootable";
  execFileSync("sfdisk", ["--quiet", path], { input: `${table}\n` });
  const bootFolder = join(scratch, "grub");
  const platform = firmware === "uefi" ? "x86_64-efi" : "i386-pc";
  mkdirSync(bootFolder);
  cpSync(`/usr/lib/grub/${platform}`, join(bootFolder, platform), { recursive: true });
  writeFileSync(join(bootFolder, "grub.cfg"), grubMenu(tree));
  const kept = join(tree, "boot/grub");
  rmSync(kept, { recursive: true, force: true });
  cpSync(bootFolder, kept, { recursive: true });
  // A busy host may need longer than the 90 s that systemd gives the serial port to appear in: there is no login then.
  mkdirSync(join(tree, "etc/systemd/system.conf.d"), { recursive: true });
  writeFileSync(
    join(tree, "etc/systemd/system.conf.d/patience.conf"),
    "[Manager]\nDefaultTimeoutStartSec=1h\nDefaultDeviceTimeoutSec=1h\n",
  );
  writeFileSync(join(tree, "etc/fstab"), "LABEL=twin / ext4 errors=remount-ro 0 1\n");
  const offset = `offset=${rootMib * MIB}`;
  run(
    "mke2fs",
    "-q",
    "-t",
    "ext4",
    "-L",
    "twin",
    "-d",
    tree,
    "-E",
    offset,
    path,
    `${(DISK_MIB - rootMib - 1) * 1024}k`,
  );
  if (firmware === "uefi") addUefiLoader(path, scratch);
  else addBiosLoader(path, scratch);
}

/** GRUB's first sector, and behind it the rest up to the first partition, whose place the first sector has by default. */
function addBiosLoader(path: string, scratch: string): void {
  const core = join(scratch, "core.img");
  const modules = ["biosdisk", "part_msdos", "ext2", "normal", "linux", "serial"];
  run("grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o", core, ...modules);
  const bytes = readFileSync(core);
  if (bytes.length > MIB - SECTOR_BYTES) throw new Error(`GRUB has ${bytes.length} bytes`);
  const disk = openSync(path, "r+");
  writeSync(disk, readFileSync("/usr/lib/grub/i386-pc/boot.img"), 0, 440, 0);
  writeSync(disk, bytes, 0, bytes.length, SECTOR_BYTES);
}

/** At the path that UEFI starts from removable disks. */
function addUefiLoader(path: string, scratch: string): void {
  const loader = join(scratch, "BOOTX64.EFI");
  const modules = ["part_gpt", "ext2", "normal", "linux", "serial", "search", "search_label"];
  run("grub-mkimage", "-O", "x86_64-efi", "-p", "(hd0,gpt2)/boot/grub", "-o", loader, ...modules);
  const esp = `${path}@@${MIB}`;
  run("mformat", "-i", esp, "-T", String((ESP_MIB * MIB) / SECTOR_BYTES), "-h", "64", "-s", "32", "::");
  run("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT");
  run("mcopy", "-i", esp, loader, "::/EFI/BOOT/BOOTX64.EFI");
}
