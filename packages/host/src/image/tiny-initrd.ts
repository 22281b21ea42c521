/**
 * The initial RAM file system of the tiny image: busybox, the guest scripts, and the virtio modules that the kernel
 * does not have built in. Not compressed: at about 2.4 MB the guest is through with it sooner than with gzip.
 */

import { gzipSync } from "node:zlib";
import { type CpioEntry, writeCpio } from "./cpio.ts";
import {
  AGENT_SCRIPT,
  CONTAINER_SCRIPT,
  DHCP_SCRIPT,
  INIT_SCRIPT,
  PLUGGED_SCRIPT,
  POWER_SCRIPT,
  PROFILE_SCRIPT,
  ROOT_SCRIPT,
} from "./guest-scripts.ts";
import type { LoadableModule, WantedModule } from "./kernel-modules.ts";

/** The agent's console first; the power button (`stop` asks by ACPI) where the kernel has it as modules. */
export const TINY_MODULES: readonly WantedModule[] = [
  { name: "virtio_pci" },
  { name: "virtio_console" },
  { name: "virtio_rng" },
  { name: "button", isOptional: true },
  { name: "evdev", isOptional: true },
];

/** Loaded where there is a disk, or may be, and compressed until then: they are as large as all the rest. */
export const TINY_DISK_MODULES: readonly WantedModule[] = [
  { name: "virtio_blk", isOptional: true },
  { name: "ext4", isOptional: true },
];

/** Loaded where there is a network card, or may be; compressed, too. */
export const TINY_NETWORK_MODULES: readonly WantedModule[] = [
  { name: "virtio_net", isOptional: true },
  { name: "e1000", isOptional: true },
];

/** Loaded where there is such a virtio device, by its number as the guest shows it. */
export const TINY_DEVICE_MODULES: Readonly<Record<string, readonly WantedModule[]>> = {
  "0x0005": [{ name: "virtio_balloon", isOptional: true }],
  "0x0018": [{ name: "virtio_mem", isOptional: true }],
  "0x0013": [{ name: "vmw_vsock_virtio_transport", isOptional: true }],
};

/** Loaded where a folder is shared; compressed, too. The cloud kernel has no 9p. */
export const TINY_SHARE_MODULES: readonly WantedModule[] = [
  { name: "virtiofs", isOptional: true },
  { name: "9pnet_virtio", isOptional: true },
  { name: "9p", isOptional: true },
];

export interface TinyInitrdParts {
  readonly kernelRelease: string;
  readonly busybox: Uint8Array;
  /** In load order. */
  readonly modules: readonly LoadableModule[];
  /** Those of `TINY_DISK_MODULES` that are not among them, in load order. */
  readonly diskModules: readonly LoadableModule[];
  /** Those of `TINY_NETWORK_MODULES`, likewise. */
  readonly networkModules: readonly LoadableModule[];
  /** As `TINY_DEVICE_MODULES`, in load order. */
  readonly deviceModules: Readonly<Record<string, readonly LoadableModule[]>>;
  /** Those of `TINY_SHARE_MODULES` that are not among the first ones, in load order. */
  readonly shareModules: readonly LoadableModule[];
}

/** What /init needs before `busybox --install` has made the other links. */
const EARLY_LINKS = ["sh", "mount", "mkdir", "ln", "hostname", "ifconfig"];

export const TINY_DIRECTORIES: readonly string[] = [
  "bin",
  "dev",
  "etc",
  "etc/twinmetal",
  "lib",
  "lib/modules",
  "mnt",
  "proc",
  "root",
  "run",
  "sbin",
  "sys",
  "tmp",
  "usr",
  "usr/bin",
  "usr/sbin",
];

export function buildTinyInitrd(parts: TinyInitrdParts): Uint8Array {
  const entries: CpioEntry[] = TINY_DIRECTORIES.map((path) => ({
    type: "directory",
    path,
    mode: path === "root" ? 0o700 : 0o755,
  }));
  entries.push({ type: "character-device", path: "dev/console", major: 5, minor: 1 });
  entries.push({ type: "file", path: "bin/busybox", data: parts.busybox, mode: 0o755 });
  for (const name of EARLY_LINKS) entries.push({ type: "symlink", path: `bin/${name}`, target: "busybox" });
  entries.push(
    script("init", INIT_SCRIPT),
    script("etc/twinmetal/agent", AGENT_SCRIPT),
    script("etc/twinmetal/power", POWER_SCRIPT),
    script("etc/twinmetal/dhcp", DHCP_SCRIPT),
    script("etc/twinmetal/plugged", PLUGGED_SCRIPT),
    script("etc/twinmetal/container", CONTAINER_SCRIPT),
    script("etc/twinmetal/root", ROOT_SCRIPT),
    text("etc/profile", PROFILE_SCRIPT),
    text(
      "etc/motd",
      `Twinmetal: Debian's kernel ${parts.kernelRelease} with busybox. Ctrl-] leaves; poweroff turns the machine off.\n`,
    ),
    text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    text("etc/group", "root:x:0:\n"),
    text("etc/hosts", "127.0.0.1 localhost\n"),
    text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    text("lib/modules/load-order", parts.modules.map(({ name }) => `${name}.ko\n`).join("")),
    text("lib/modules/disk-order", parts.diskModules.map(({ name }) => `${name}.ko\n`).join("")),
    text("lib/modules/network-order", parts.networkModules.map(({ name }) => `${name}.ko\n`).join("")),
    text("lib/modules/share-order", parts.shareModules.map(({ name }) => `${name}.ko\n`).join("")),
  );
  const deviceModules = Object.entries(parts.deviceModules);
  for (const [device, modules] of deviceModules)
    entries.push(text(`lib/modules/virtio-${device}`, modules.map(({ name }) => `${name}.ko\n`).join("")));
  for (const { name, data } of deviceModules.flatMap(([, modules]) => modules))
    entries.push({ type: "file", path: `lib/modules/${name}.ko.gz`, data: gzipSync(data) });
  for (const { name, data } of parts.modules) entries.push({ type: "file", path: `lib/modules/${name}.ko`, data });
  const further = [...parts.diskModules, ...parts.networkModules, ...parts.shareModules];
  const packed = new Map(further.map(({ name, data }) => [name, data]));
  for (const [name, data] of packed) {
    entries.push({ type: "file", path: `lib/modules/${name}.ko.gz`, data: gzipSync(data) });
  }
  return writeCpio(entries);
}

function text(path: string, content: string): CpioEntry {
  return { type: "file", path, data: Buffer.from(content, "utf8") };
}

function script(path: string, content: string): CpioEntry {
  return { type: "file", path, data: Buffer.from(content, "utf8"), mode: 0o755 };
}
