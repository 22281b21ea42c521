/**
 * The `tiny` image: Debian's kernel, busybox and Twinmetal's agent, put together on first use from Debian packages
 * and kept in the user's cache. Two layers, each verified on use and replaced only as a whole:
 *
 *   packages-KEY/  the .deb files         fetched (apt, or a mirror directly)
 *   tiny-KEY/      vmlinuz and initrd     built from them; a new agent needs no new download
 *
 * Nothing is fetched while a valid image is there. `refresh` fetches anew and so takes up newer packages.
 */

import { createHash } from "node:crypto";
import { rename, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { type AptOptions, fetchWithApt, hasApt } from "./apt-packages.ts";
import {
  type CacheCandidates,
  cacheCandidates,
  isPrivate,
  makeDirectories,
  openCacheDirectory,
  removeAbandoned,
} from "./cache-directory.ts";
import { DebPayload, decompressModule } from "./deb-payload.ts";
import type { FetchedPackage, FetchHooks, PackageRecord } from "./debian-package.ts";
import { type DebianSource, findDebianSource, findKeyring } from "./debian-sources.ts";
import { acquireLock } from "./file-lock.ts";
import {
  AGENT_SCRIPT,
  CONTAINER_SCRIPT,
  DHCP_SCRIPT,
  INIT_SCRIPT,
  POWER_SCRIPT,
  PROFILE_SCRIPT,
} from "./guest-scripts.ts";
import { ImageError } from "./image-error.ts";
import { buildStored, readStored, type StoredDescription } from "./image-store.ts";
import { type LoadableModule, resolveModules, type WantedModule } from "./kernel-modules.ts";
import { fetchFromMirror } from "./mirror-packages.ts";
import {
  buildTinyInitrd,
  TINY_DEVICE_MODULES,
  TINY_DISK_MODULES,
  TINY_MODULES,
  TINY_NETWORK_MODULES,
  TINY_SHARE_MODULES,
  type TinyInitrdParts,
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

export interface TinyImageOptions {
  /** "cloud" (default) is small; "general" has the drivers of real computers. */
  readonly kernel?: TinyKernel;
  /** A Debian mirror; default is the one of the host's apt, or else Debian's standard mirror. */
  readonly mirror?: string;
  /** The key ring that signs the mirror; default is Debian's on this host. null: none, so the mirror has to be https. */
  readonly keyring?: string | null;
  /** Debian's release; default "bookworm" on every host. */
  readonly suite?: string;
  /** How packages are fetched: "auto" (default) takes apt where there is one. */
  readonly fetchWith?: "auto" | "apt" | "mirror";
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

interface PackageSet extends StoredDescription {
  readonly packages: readonly PackageRecord[];
  readonly mirror: string;
  readonly suite: string;
}

interface ImageDescription extends PackageSet {
  readonly kernel: TinyKernel;
  readonly kernelRelease: string;
}

const DEFAULT_SUITE = "bookworm";
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
      POWER_SCRIPT,
      PROFILE_SCRIPT,
      AGENT_SCRIPT,
      DHCP_SCRIPT,
      CONTAINER_SCRIPT,
      JSON.stringify([TINY_MODULES, TINY_DEVICE_MODULES, TINY_DISK_MODULES, TINY_NETWORK_MODULES, TINY_SHARE_MODULES]),
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
      : await readStored<PackageSet>(packagesDirectory, FORMAT_VERSION, this.#options.signal);
    const set = stored ?? (await buildStored(packagesDirectory, (temporary) => this.#fetch(temporary)));
    const description = await buildStored(imageDirectory, (temporary) =>
      this.#assemble(set, packagesDirectory, temporary),
    );
    return describeImage(imageDirectory, description, false);
  }

  async #fetch(directory: string): Promise<PackageSet> {
    await makeDirectories(directory);
    const source = this.#chooseSource();
    const names = [KERNEL_PACKAGES[this.#kernel], BUSYBOX_PACKAGE];
    const hooks: FetchHooks = {
      signal: this.#options.signal,
      onProgress: (phase, done, total) => this.#report(phase, done, total),
    };
    const fetchOptions: AptOptions = { source, suite: this.#suite };
    const fetched = (await this.#usesApt())
      ? await fetchWithApt(fetchOptions, names, directory, hooks)
      : await fetchFromMirror(fetchOptions, names, directory, hooks);
    const packages: PackageRecord[] = [];
    for (const record of fetched) packages.push(await keepAs(record, join(directory, debName(record))));
    return {
      formatVersion: FORMAT_VERSION,
      mirror: source.mirror,
      suite: this.#suite,
      packages,
      files: packages.map((record) => ({
        name: debName(record),
        sizeBytes: record.sizeBytes,
        sha256: record.sha256,
      })),
    };
  }

  #chooseSource(): DebianSource {
    const { mirror, keyring } = this.#options;
    const source = mirror === undefined ? findDebianSource() : { mirror: trimSlashes(mirror), keyring: findKeyring() };
    return keyring === undefined ? source : { ...source, keyring: keyring ?? undefined };
  }

  async #usesApt(): Promise<boolean> {
    const { fetchWith = "auto", signal, mirror } = this.#options;
    if (fetchWith === "mirror") return false;
    if (await hasApt(signal)) return true;
    if (fetchWith === "auto" && mirror !== undefined) return false;
    throw new ImageError(
      "IMAGE_NO_SOURCE",
      "The tiny image is put together from Debian packages on first use, and this host has no apt to fetch them with.",
      "Name a Debian mirror with --mirror https://HOST/debian, or boot your own kernel with --kernel FILE --initrd FILE.",
    );
  }

  async #assemble(set: PackageSet, packagesDirectory: string, directory: string): Promise<ImageDescription> {
    await makeDirectories(directory);
    const kernelRecord = set.packages.find(({ name }) => name.startsWith("linux-image-"));
    const busyboxRecord = set.packages.find(({ name }) => name === BUSYBOX_PACKAGE);
    if (kernelRecord === undefined || busyboxRecord === undefined) throw incomplete("a package is missing");
    const total = kernelRecord.installedBytes + busyboxRecord.installedBytes;

    const busybox = await this.#unpack(
      join(packagesDirectory, debName(busyboxRecord)),
      directory,
      BUSYBOX_PATH,
      (done) => this.#report("unpack", Math.min(done, total), total),
    );
    const busyboxBytes = readOnly(busybox, BUSYBOX_PATH);
    busybox.close();
    const kernel = await this.#unpack(join(packagesDirectory, debName(kernelRecord)), directory, KERNEL_PATHS, (done) =>
      this.#report("unpack", Math.min(busyboxRecord.installedBytes + done, total), total),
    );
    this.#report("assemble", 0, 1);
    try {
      const kernelRelease = findKernelRelease(kernel.paths);
      const initrd = buildTinyInitrd({
        kernelRelease,
        busybox: busyboxBytes,
        ...readModules(kernel, kernelRelease),
      });
      const vmlinuz = readOnly(kernel, new RegExp(`^boot/vmlinuz-${escapeRegExp(kernelRelease)}$`));
      const files = [];
      for (const [name, data] of [
        [KERNEL_FILE, vmlinuz],
        [INITRD_FILE, initrd],
      ] as const) {
        await writeFile(join(directory, name), data, { signal: this.#options.signal });
        files.push({ name, sizeBytes: data.length, sha256: createHash("sha256").update(data).digest("hex") });
      }
      const { packages, mirror, suite } = set;
      return { formatVersion: FORMAT_VERSION, kernel: this.#kernel, kernelRelease, suite, mirror, packages, files };
    } finally {
      kernel.close();
      this.#report("assemble", 1, 1);
    }
  }

  #unpack(
    debPath: string,
    directory: string,
    pattern: RegExp,
    onProgress: (done: number) => void,
  ): Promise<DebPayload> {
    return DebPayload.unpack({
      debPath,
      spoolPath: join(directory, `${basename(debPath)}.spool`),
      select: (path) => pattern.test(path),
      signal: this.#options.signal,
      onProgress,
    });
  }

  #imageDirectory(root: string): string {
    return join(root, `tiny-${this.#imageKey}`);
  }

  #report(phase: TinyPhase, done: number, total: number, waitingForPid?: number): void {
    this.#options.onProgress?.({ phase, done, total, waitingForPid });
  }
}

const BUSYBOX_PATH = /^(?:usr\/)?bin\/busybox$/;
const KERNEL_PATHS = /^boot\/vmlinuz-|^(?:usr\/)?lib\/modules\/[^/]+\/(?:modules\.builtin$|.*\.ko(?:\.[a-z]+)?$)/;
const MODULES_PREFIX = /^(?:usr\/)?lib\/modules\/[^/]+\//;

function checkOptions(options: TinyImageOptions): void {
  const { mirror, suite, kernel } = options;
  const isMirror =
    mirror === undefined || (URL.canParse(mirror) && /^(?:https?|file):/.test(mirror) && !/[\s"]/.test(mirror));
  if (!isMirror) {
    throw new ImageError(
      "IMAGE_BAD_OPTION",
      `"${mirror}" is not the address of a mirror.`,
      "Give one such as https://HOST/debian.",
    );
  }
  if (suite !== undefined && !/^[a-z][a-z0-9-]{1,40}$/.test(suite)) {
    throw new ImageError(
      "IMAGE_BAD_OPTION",
      `"${suite}" is not the name of a Debian release.`,
      `Give one such as ${DEFAULT_SUITE}.`,
    );
  }
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

function trimSlashes(url: string): string {
  return url.replace(/\/+$/, "");
}

function debName(record: PackageRecord): string {
  return `${record.name}.deb`;
}

async function keepAs({ path, ...record }: FetchedPackage, wanted: string): Promise<PackageRecord> {
  if (path !== wanted) await rename(path, wanted);
  return record;
}

function readModules(kernel: DebPayload, kernelRelease: string): Omit<TinyInitrdParts, "kernelRelease" | "busybox"> {
  const pathByModule = new Map<string, string>();
  for (const path of kernel.paths) {
    if (path.includes(`/modules/${kernelRelease}/`)) pathByModule.set(path.replace(MODULES_PREFIX, ""), path);
  }
  const read = (path: string): Buffer => kernel.read(pathByModule.get(path) ?? path);
  const builtin = pathByModule.has("modules.builtin") ? read("modules.builtin").toString("utf8") : "";
  const tree = { paths: [...pathByModule.keys()], builtin, read };
  const modules = resolveModules(tree, TINY_MODULES, decompressModule);
  const further = (wanted: readonly WantedModule[]): LoadableModule[] =>
    resolveModules(tree, [...TINY_MODULES, ...wanted], decompressModule).filter(
      ({ name }) => !modules.some((known) => known.name === name),
    );
  const deviceModules = Object.entries(TINY_DEVICE_MODULES).map(([device, wanted]) => [device, further(wanted)]);
  return {
    modules,
    diskModules: further(TINY_DISK_MODULES),
    networkModules: further(TINY_NETWORK_MODULES),
    deviceModules: Object.fromEntries(deviceModules),
    shareModules: further(TINY_SHARE_MODULES),
  };
}

function findKernelRelease(paths: readonly string[]): string {
  const releases = paths.map((path) => /^boot\/vmlinuz-([A-Za-z0-9][A-Za-z0-9.+~_-]*)$/.exec(path)?.[1]);
  const release = releases.find((found) => found !== undefined);
  if (release === undefined) throw incomplete("the kernel package has no kernel in it");
  return release;
}

function readOnly(payload: DebPayload, pattern: RegExp): Buffer {
  const path = payload.paths.find((candidate) => pattern.test(candidate));
  if (path === undefined) throw incomplete(`no file in the package matches ${pattern}`);
  return payload.read(path);
}

function incomplete(why: string): ImageError {
  return new ImageError(
    "IMAGE_MALFORMED",
    `The packages cannot be used: ${why}.`,
    "Try again with another --suite or --mirror.",
  );
}

function shortHash(...parts: readonly (string | number)[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 12);
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
