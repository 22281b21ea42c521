/**
 * The `debian` image: Debian 12 with systemd, cloud-init, an ssh server and QEMU's guest agent, made on first use from Debian's
 * packages, by whoever starts it, and kept in the user's cache:
 *
 *   packages-debian-KEY/   the .deb files, fetched by apt
 *   debian-KEY/            vmlinuz, initrd, and disk.img: the root file system, raw and sparse, a template
 *
 * The packages are unpacked on this host into a tree that is written as ext4, and configured in a VM on that disk. The kernel
 * is started directly and its modules are on the disk; dpkg in the guest has no kernel.
 */
import { stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { unpackBootFiles } from "../image/boot-files.ts";
import { cacheCandidates, makeDirectories, openCacheDirectory, removeAbandoned } from "../image/cache-directory.ts";
import type { PackageRecord } from "../image/debian-package.ts";
import { acquireLock } from "../image/file-lock.ts";
import { ImageError } from "../image/image-error.ts";
import { buildStored, readStored, storeFile } from "../image/image-store.ts";
import {
  checkPackageSource,
  DEFAULT_SUITE,
  debName,
  fetchPackageSet,
  PACKAGE_SET_VERSION,
  type PackageSet,
  type PackageSource,
  shortHash,
} from "../image/package-set.ts";
import { writeRootDisk } from "../image/root-disk.ts";
import type { VmOptions } from "../vm/vm.ts";
import { configureDebian } from "./configure-debian.ts";
import { CONFIGURE_SCRIPT } from "./configure-script.ts";
import { CONFIGURED_HERE, configureHere } from "./configured-here.ts";
import { addDebianFiles, DEBIAN_FILES, DEBIAN_LINKS, DEBIAN_PACKAGES } from "./debian-files.ts";
import { DebianRoot } from "./debian-root.ts";

export type DebianPhase = "wait" | "lists" | "download" | "unpack" | "assemble" | "configure";

export interface DebianProgress {
  readonly phase: DebianPhase;
  /** In bytes for "download" and "unpack", in packages for "configure", else of `total` steps. */
  readonly done: number;
  readonly total: number;
  /** The process that is preparing the same image, in the phase "wait". */
  readonly waitingForPid?: number;
}

export interface DebianImageOptions extends Omit<PackageSource, "fetchWith"> {
  /** Default as in cache-directory.ts. */
  readonly cacheDirectory?: string;
  /** Fetch and build anew. */
  readonly refresh?: boolean;
  /** Of the VM in which the packages are configured; default "off". The image is the same with any. */
  readonly translationCache?: VmOptions["translationCache"];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DebianProgress) => void;
  readonly onWarning?: (message: string) => void;
}

export interface DebianImage {
  readonly directory: string;
  readonly kernelPath: string;
  readonly initrdPath: string;
  /** Its root file system. To be attached so that what a guest writes is thrown away, or below a disk of its own. */
  readonly diskPath: string;
  /** For the kernel's command line. */
  readonly append: string;
  readonly kernelRelease: string;
  readonly packages: readonly PackageRecord[];
}

interface DebianDescription extends PackageSet {
  readonly kernelRelease: string;
  readonly diskBytes: number;
}

const FORMAT_VERSION = 1;
const KERNEL_PACKAGE = "linux-image-cloud-amd64";
const BUSYBOX_PACKAGE = "busybox-static";
const KERNEL_FILE = "vmlinuz";
const INITRD_FILE = "initrd";
const DISK_FILE = "disk.img";
const FREE_BYTES = 16 * 2 ** 30;
/** Packages, what they unpack to, and the disk. */
const NEEDED_BYTES = 1.5 * 2 ** 30;
const APPEND = "twinmetal.root=/dev/vda";

/** Returns the cached image, or makes it. Rejects with an ImageError, or with the signal's reason. */
export async function ensureDebianImage(options: DebianImageOptions = {}): Promise<DebianImage> {
  checkPackageSource(options);
  const { cacheDirectory, refresh = false, signal, onWarning = () => {} } = options;
  signal?.throwIfAborted();
  const { packagesName, imageName } = namesOf(options);
  const candidates = cacheCandidates(cacheDirectory);
  for (const root of [candidates.preferred, candidates.fallback]) {
    const found = root === undefined || refresh ? undefined : await openDebianImage(join(root, imageName), signal);
    if (found !== undefined) return found;
  }
  const root = await openCacheDirectory(candidates, onWarning);
  const lock = await acquireLock(join(root, `${packagesName}.lock`), {
    signal,
    onWait: (waitingForPid) => options.onProgress?.({ phase: "wait", done: 0, total: 1, waitingForPid }),
  });
  try {
    const directory = join(root, imageName);
    const found = refresh ? undefined : await openDebianImage(directory, signal);
    if (found !== undefined) return found;
    await checkSpace(root);
    return await build(options, join(root, packagesName), directory);
  } finally {
    await lock.release();
  }
}

/** An image that was made before, by its folder; undefined for anything that is none. */
export async function openDebianImage(directory: string, signal?: AbortSignal): Promise<DebianImage | undefined> {
  const description = await readStored<DebianDescription>(directory, FORMAT_VERSION, signal);
  if (description === undefined) return undefined;
  // The disk is not hashed at each start: it is large, and this folder is its owner's.
  const disk = await stat(join(directory, DISK_FILE)).catch(() => undefined);
  return disk?.size === description.diskBytes ? describe(directory, description) : undefined;
}

/** A guest that is told that the disk is full, half-way, could say less about it. */
async function checkSpace(directory: string): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  if (bavail * bsize >= NEEDED_BYTES) return;
  throw new ImageError(
    "IMAGE_NO_SPACE",
    `The disk is full: ${directory} has room for ${Math.floor((bavail * bsize) / 2 ** 20)} MiB, and making Debian takes ${NEEDED_BYTES / 2 ** 20}.`,
    "Free some space, or set XDG_CACHE_HOME to a directory on another disk.",
  );
}

function namesOf({ suite = DEFAULT_SUITE, mirror = "" }: DebianImageOptions): {
  readonly packagesName: string;
  readonly imageName: string;
} {
  const packagesKey = shortHash(PACKAGE_SET_VERSION, suite, mirror, ...DEBIAN_PACKAGES);
  const imageKey = shortHash(
    FORMAT_VERSION,
    packagesKey,
    CONFIGURE_SCRIPT,
    JSON.stringify([DEBIAN_FILES, DEBIAN_LINKS]),
  );
  return { packagesName: `packages-debian-${packagesKey}`, imageName: `debian-${imageKey}` };
}

async function build(options: DebianImageOptions, packagesDirectory: string, directory: string): Promise<DebianImage> {
  const { refresh, signal, onProgress = () => {} } = options;
  await removeAbandoned(directory);
  await removeAbandoned(packagesDirectory);
  const stored = refresh ? undefined : await readStored<PackageSet>(packagesDirectory, PACKAGE_SET_VERSION, signal);
  const wanted = { names: [KERNEL_PACKAGE, BUSYBOX_PACKAGE], withDependencies: DEBIAN_PACKAGES };
  const set =
    stored ??
    (await buildStored(packagesDirectory, (temporary) =>
      fetchPackageSet({ ...options, fetchWith: "apt" }, wanted, temporary, {
        signal,
        onProgress: (phase, done, total) => onProgress({ phase, done, total }),
      }),
    ));
  const description = await buildStored(directory, (temporary) => assemble(set, packagesDirectory, temporary, options));
  return describe(directory, description);
}

async function assemble(
  set: PackageSet,
  packagesDirectory: string,
  directory: string,
  { translationCache, signal, onProgress = () => {} }: DebianImageOptions,
): Promise<DebianDescription> {
  await makeDirectories(directory);
  const total = set.packages.reduce((sum, { installedBytes }) => sum + installedBytes, 0);
  let unpackedBytes = 0;
  const onUnpacked = (bytes: number): void => {
    unpackedBytes += bytes;
    onProgress({ phase: "unpack", done: Math.min(unpackedBytes, total), total });
  };
  const debOf = (start: string): string => {
    const record = set.packages.find(({ name }) => name.startsWith(start));
    if (record !== undefined) return join(packagesDirectory, debName(record));
    throw new ImageError("IMAGE_MALFORMED", `Among the packages is no ${start}.`, "Try again with another --mirror.");
  };
  const kernelDeb = debOf("linux-image-");
  const boot = await unpackBootFiles({
    kernelDeb,
    busyboxDeb: debOf(BUSYBOX_PACKAGE),
    directory,
    signal,
    onProgress: () => {},
  });
  const files = [
    await storeFile(directory, KERNEL_FILE, boot.kernel, signal),
    await storeFile(directory, INITRD_FILE, boot.initrd, signal),
  ];
  const root = new DebianRoot(join(directory, "spool"), 0);
  const diskPath = join(directory, DISK_FILE);
  try {
    await root.addFilesOf(kernelDeb, (path) => /^(?:usr\/)?lib\/modules\//.test(path), signal);
    for (const record of set.packages) {
      if (record.name.startsWith("linux-image-") || record.name === BUSYBOX_PACKAGE) continue;
      const isConfigured = CONFIGURED_HERE.has(record.name);
      await root.addPackage(join(packagesDirectory, debName(record)), { isConfigured, onProgress: onUnpacked, signal });
    }
    await configureHere(root);
    addDebianFiles(root, set);
    root.writeDatabase();
    await writeRootDisk(diskPath, root.tree.root, {
      label: "debian",
      identity: JSON.stringify(set.packages),
      freeBytes: FREE_BYTES,
      onProgress: (done, total) => onProgress({ phase: "assemble", done, total }),
      ...(signal && { signal }),
    });
  } finally {
    root.close();
  }
  await configureDebian({
    kernelPath: join(directory, KERNEL_FILE),
    initrdPath: join(directory, INITRD_FILE),
    kernelRelease: boot.kernelRelease,
    diskPath,
    packageCount: root.unconfigured,
    translationCache,
    onProgress: (done, all) => onProgress({ phase: "configure", done, total: all }),
    signal,
  });
  const { packages, mirror, suite } = set;
  const { kernelRelease } = boot;
  const diskBytes = (await stat(diskPath)).size;
  return { formatVersion: FORMAT_VERSION, files, packages, mirror, suite, kernelRelease, diskBytes };
}

function describe(directory: string, { kernelRelease, packages }: DebianDescription): DebianImage {
  return {
    directory,
    kernelPath: join(directory, KERNEL_FILE),
    initrdPath: join(directory, INITRD_FILE),
    diskPath: join(directory, DISK_FILE),
    append: APPEND,
    kernelRelease,
    packages,
  };
}
