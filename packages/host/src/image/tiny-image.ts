/**
 * The `tiny` image: Debian's kernel, busybox and Twinmetal's agent, put together on first use from Debian packages
 * and kept in the user's cache. Two layers, each verified on use and replaced only as a whole:
 *
 *   packages-KEY/  the .deb files         fetched (apt, or a mirror directly)
 *   tiny-KEY/      vmlinuz and initrd     built from them; a new agent needs no new download
 *
 * Nothing is fetched while a valid image is there. `refresh` fetches anew and so takes up newer packages.
 */

import { join } from "node:path";
import { incomplete, unpackBootFiles } from "./boot-files.ts";
import {
  type CacheCandidates,
  cacheCandidates,
  isPrivate,
  makeDirectories,
  openCacheDirectory,
  removeAbandoned,
} from "./cache-directory.ts";
import type { PackageRecord } from "./debian-package.ts";
import { acquireLock } from "./file-lock.ts";
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
import { ImageError } from "./image-error.ts";
import { buildStored, readStored, storeFile } from "./image-store.ts";
import {
  checkPackageSource,
  DEFAULT_SUITE,
  debName,
  fetchPackageSet,
  PACKAGE_SET_VERSION,
  type PackageSet,
  type PackageSource,
  shortHash,
} from "./package-set.ts";
import {
  TINY_DEVICE_MODULES,
  TINY_DIRECTORIES,
  TINY_DISK_MODULES,
  TINY_MODULES,
  TINY_NETWORK_MODULES,
  TINY_SHARE_MODULES,
} from "./tiny-initrd.ts";

export type TinyKernel = "cloud" | "general";

export type TinyPhase = "wait" | "lists" | "download" | "unpack" | "assemble";

export interface TinyProgress {
  readonly phase: TinyPhase;
  /** In bytes for "download" and "unpack", else of `total` steps. */
  readonly done: number;
  readonly total: number;
  /** The process that is preparing the same image, in the phase "wait". */
  readonly waitingForPid?: number;
}

export interface TinyImageOptions extends PackageSource {
  /** "cloud" (default) is small; "general" has the drivers of real computers. */
  readonly kernel?: TinyKernel;
  /** Default as in cache-directory.ts. */
  readonly cacheDirectory?: string;
  /** Fetch and build anew. */
  readonly refresh?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: TinyProgress) => void;
  readonly onWarning?: (message: string) => void;
}

export interface TinyImage {
  readonly kernelPath: string;
  readonly initrdPath: string;
  /** Nothing was fetched or built. */
  readonly cacheHit: boolean;
  readonly kernelRelease: string;
  readonly packages: readonly PackageRecord[];
  readonly directory: string;
}

interface ImageDescription extends PackageSet {
  readonly kernel: TinyKernel;
  readonly kernelRelease: string;
}

const FORMAT_VERSION = 1;
const KERNEL_PACKAGES: Readonly<Record<TinyKernel, string>> = {
  cloud: "linux-image-cloud-amd64",
  general: "linux-image-amd64",
};
const BUSYBOX_PACKAGE = "busybox-static";
const KERNEL_FILE = "vmlinuz";
const INITRD_FILE = "initrd";

/** Returns the cached image, or makes it. Rejects with an ImageError, or with the signal's reason. */
export async function ensureTinyImage(options: TinyImageOptions = {}): Promise<TinyImage> {
  checkOptions(options);
  const builder = new TinyBuilder(options);
  return await builder.ensure();
}

class TinyBuilder {
  readonly #options: TinyImageOptions;
  readonly #kernel: TinyKernel;
  readonly #suite: string;
  readonly #packagesKey: string;
  readonly #imageKey: string;

  constructor(options: TinyImageOptions) {
    this.#options = options;
    this.#kernel = options.kernel ?? "cloud";
    this.#suite = options.suite ?? DEFAULT_SUITE;
    const { mirror = "" } = options;
    this.#packagesKey = `${this.#kernel}-${shortHash(FORMAT_VERSION, this.#kernel, this.#suite, mirror)}`;
    const scripts = [
      INIT_SCRIPT,
      PLUGGED_SCRIPT,
      POWER_SCRIPT,
      PROFILE_SCRIPT,
      AGENT_SCRIPT,
      DHCP_SCRIPT,
      CONTAINER_SCRIPT,
      ROOT_SCRIPT,
      JSON.stringify([TINY_MODULES, TINY_DEVICE_MODULES, TINY_DISK_MODULES, TINY_NETWORK_MODULES, TINY_SHARE_MODULES]),
      TINY_DIRECTORIES.join(),
    ];
    this.#imageKey = `${this.#kernel}-${shortHash(this.#packagesKey, ...scripts)}`;
  }

  async ensure(): Promise<TinyImage> {
    const { cacheDirectory, refresh, onWarning, signal } = this.#options;
    signal?.throwIfAborted();
    const candidates = cacheCandidates(cacheDirectory);
    const cached = refresh ? undefined : await this.#findCached(candidates);
    if (cached !== undefined) return cached;

    const root = await openCacheDirectory(candidates, onWarning ?? (() => {}));
    const lock = await acquireLock(join(root, `${this.#packagesKey}.lock`), {
      signal,
      onWait: (pid) => this.#report("wait", 0, 1, pid),
    });
    try {
      const prepared = refresh ? undefined : await this.#openImage(root);
      return prepared ?? (await this.#build(root));
    } finally {
      await lock.release();
    }
  }

  async #findCached({ preferred, fallback }: CacheCandidates): Promise<TinyImage | undefined> {
    const found = await this.#openImage(preferred);
    if (found !== undefined || fallback === undefined) return found;
    const isTrusted = await isPrivate(join(fallback, "..")).catch(() => false);
    return isTrusted ? await this.#openImage(fallback) : undefined;
  }

  async #openImage(root: string): Promise<TinyImage | undefined> {
    const directory = this.#imageDirectory(root);
    const description = await readStored<ImageDescription>(directory, FORMAT_VERSION, this.#options.signal);
    return description === undefined ? undefined : describeImage(directory, description, true);
  }

  async #build(root: string): Promise<TinyImage> {
    const imageDirectory = this.#imageDirectory(root);
    const packagesDirectory = join(root, `packages-${this.#packagesKey}`);
    await removeAbandoned(imageDirectory);
    await removeAbandoned(packagesDirectory);
    const stored = this.#options.refresh
      ? undefined
      : await readStored<PackageSet>(packagesDirectory, PACKAGE_SET_VERSION, this.#options.signal);
    const set = stored ?? (await buildStored(packagesDirectory, (temporary) => this.#fetch(temporary)));
    const description = await buildStored(imageDirectory, (temporary) =>
      this.#assemble(set, packagesDirectory, temporary),
    );
    return describeImage(imageDirectory, description, false);
  }

  async #fetch(directory: string): Promise<PackageSet> {
    const names = [KERNEL_PACKAGES[this.#kernel], BUSYBOX_PACKAGE];
    return await fetchPackageSet(this.#options, { names }, directory, {
      signal: this.#options.signal,
      onProgress: (phase, done, total) => this.#report(phase, done, total),
    });
  }

  async #assemble(set: PackageSet, packagesDirectory: string, directory: string): Promise<ImageDescription> {
    await makeDirectories(directory);
    const kernelRecord = set.packages.find(({ name }) => name.startsWith("linux-image-"));
    const busyboxRecord = set.packages.find(({ name }) => name === BUSYBOX_PACKAGE);
    if (kernelRecord === undefined || busyboxRecord === undefined) throw incomplete("a package is missing");
    const total = kernelRecord.installedBytes + busyboxRecord.installedBytes;
    const { kernelRelease, kernel, initrd } = await unpackBootFiles({
      kernelDeb: join(packagesDirectory, debName(kernelRecord)),
      busyboxDeb: join(packagesDirectory, debName(busyboxRecord)),
      directory,
      signal: this.#options.signal,
      onProgress: (done) => this.#report("unpack", Math.min(done, total), total),
    });
    this.#report("assemble", 0, 1);
    const files = [
      await storeFile(directory, KERNEL_FILE, kernel, this.#options.signal),
      await storeFile(directory, INITRD_FILE, initrd, this.#options.signal),
    ];
    this.#report("assemble", 1, 1);
    const { packages, mirror, suite } = set;
    return { formatVersion: FORMAT_VERSION, kernel: this.#kernel, kernelRelease, suite, mirror, packages, files };
  }

  #imageDirectory(root: string): string {
    return join(root, `tiny-${this.#imageKey}`);
  }

  #report(phase: TinyPhase, done: number, total: number, waitingForPid?: number): void {
    this.#options.onProgress?.({ phase, done, total, waitingForPid });
  }
}

function checkOptions(options: TinyImageOptions): void {
  checkPackageSource(options);
  const { kernel } = options;
  if (kernel !== undefined && !(kernel in KERNEL_PACKAGES)) {
    throw new ImageError(
      "IMAGE_BAD_OPTION",
      `There is no kernel "${kernel}" for the tiny image.`,
      "Give cloud or general.",
    );
  }
}

function describeImage(directory: string, description: ImageDescription, cacheHit: boolean): TinyImage {
  return {
    kernelPath: join(directory, KERNEL_FILE),
    initrdPath: join(directory, INITRD_FILE),
    cacheHit,
    kernelRelease: description.kernelRelease,
    packages: description.packages,
    directory,
  };
}
