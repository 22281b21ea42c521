/**
 * Firmware by name: SeaBIOS and OVMF as Debian packages ship them. What is installed on this host is taken from there;
 * otherwise the package is fetched once, as the guest image's are, and its files are kept in the cache.
 */
import { createHash } from "node:crypto";
import { access, constants, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fetchWithApt, hasApt } from "../image/apt-packages.ts";
import { cacheCandidates, makeDirectories, openCacheDirectory, removeAbandoned } from "../image/cache-directory.ts";
import { DebPayload } from "../image/deb-payload.ts";
import type { FetchHooks } from "../image/debian-package.ts";
import { findDebianSource } from "../image/debian-sources.ts";
import { acquireLock } from "../image/file-lock.ts";
import { ImageError } from "../image/image-error.ts";
import { buildStored, readStored, type StoredDescription } from "../image/image-store.ts";

export const FIRMWARE_KINDS = ["bios", "uefi"] as const;
export type FirmwareKind = (typeof FIRMWARE_KINDS)[number];

export interface FirmwareFiles {
  /** What the processor starts in. */
  readonly code: string;
  /** What firmware's flash chip holds when it is new; undefined: it has none. */
  readonly variables: string | undefined;
  /** The BIOS of a VGA, which firmware of this kind starts; undefined: it has drivers of its own, or there is none here. */
  readonly vga: string | undefined;
}

export interface FirmwareOptions {
  /** For tests. Default: as in cache-directory.ts. */
  readonly cacheDirectory?: string;
  /** For tests: where packages are installed. Default: "/". */
  readonly root?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { phase: string; done: number; total: number }) => void;
}

interface FirmwarePackage {
  readonly packageName: string;
  /** In the package, without the leading slash. */
  readonly code: string;
  readonly variables?: string;
  readonly vga?: string;
}

const PACKAGES: Readonly<Record<FirmwareKind, FirmwarePackage>> = {
  bios: {
    packageName: "seabios",
    code: "usr/share/seabios/bios-256k.bin",
    vga: "usr/share/seabios/vgabios-stdvga.bin",
  },
  uefi: {
    packageName: "ovmf",
    code: "usr/share/OVMF/OVMF_CODE_4M.fd",
    variables: "usr/share/OVMF/OVMF_VARS_4M.fd",
  },
};
/** iPXE, which SeaBIOS starts from a network card with; OVMF has its own. */
const NETWORK_ROMS: FirmwarePackage = {
  packageName: "ipxe-qemu",
  code: "usr/lib/ipxe/qemu/pxe-virtio.rom",
  variables: "usr/lib/ipxe/qemu/pxe-e1000.rom",
};
const SUITE = "bookworm";
const FORMAT_VERSION = 2;

/** Paths of the ROMs of network cards, by what the spec calls those. */
export interface NetworkRomFiles {
  readonly "virtio-net": string;
  readonly e1000: string;
}

const romFiles = ({ code, variables }: FirmwareFiles): NetworkRomFiles => ({ "virtio-net": code, e1000: variables! });

/** What is here without fetching anything. */
export async function findNetworkRoms(options: FirmwareOptions = {}): Promise<NetworkRomFiles | undefined> {
  const found = await findPackage(NETWORK_ROMS, options);
  return found && romFiles(found);
}

/** Rejects with ImageError, or the signal's reason. */
export async function ensureNetworkRoms(options: FirmwareOptions = {}): Promise<NetworkRomFiles> {
  return romFiles(await ensurePackage(NETWORK_ROMS, "for network cards", options));
}

/** What is here without fetching anything. */
export async function findFirmware(
  kind: FirmwareKind,
  options: FirmwareOptions = {},
): Promise<FirmwareFiles | undefined> {
  return await findPackage(PACKAGES[kind], options);
}

async function findPackage(wanted: FirmwarePackage, options: FirmwareOptions): Promise<FirmwareFiles | undefined> {
  const { root = "/", cacheDirectory, signal } = options;
  const installed = pathsIn(root, wanted, (path) => path);
  if (await isReadable(installed)) return (await canRead(installed.vga)) ? installed : { ...installed, vga: undefined };
  const { preferred, fallback } = cacheCandidates(cacheDirectory);
  for (const directory of [preferred, fallback]) {
    if (directory === undefined) continue;
    const stored = directoryOf(directory, wanted);
    if (await readStored(stored, FORMAT_VERSION, signal)) return pathsIn(stored, wanted, (path) => basename(path));
  }
  return undefined;
}

/** The paths of all that is here without fetching anything. */
export async function knownFirmware(signal?: AbortSignal): Promise<string[]> {
  const found = await Promise.all(FIRMWARE_KINDS.map((kind) => findFirmware(kind, signal ? { signal } : {})));
  const roms = await findNetworkRoms(signal ? { signal } : {});
  return [
    ...found.flatMap((files) => [files?.code, files?.variables, files?.vga].filter((path) => path !== undefined)),
    ...Object.values(roms ?? {}),
  ];
}

/** Rejects with ImageError, or the signal's reason. */
export async function ensureFirmware(kind: FirmwareKind, options: FirmwareOptions = {}): Promise<FirmwareFiles> {
  return await ensurePackage(PACKAGES[kind], kind, options);
}

async function ensurePackage(wanted: FirmwarePackage, kind: string, options: FirmwareOptions): Promise<FirmwareFiles> {
  options.signal?.throwIfAborted();
  const found = await findPackage(wanted, options);
  if (found) return found;
  if (!(await hasApt(options.signal)))
    throw new ImageError(
      "IMAGE_NO_SOURCE",
      `The firmware ${kind} is in Debian's package ${wanted.packageName}, which is not installed here, and this host has no apt to fetch it with.`,
      "Install it, or give the firmware's file: --firmware FILE.",
    );
  const root = await openCacheDirectory(cacheCandidates(options.cacheDirectory), () => {});
  const directory = directoryOf(root, wanted);
  const lock = await acquireLock(`${directory}.lock`, { signal: options.signal, onWait: () => {} });
  try {
    await removeAbandoned(directory);
    const stored = await readStored(directory, FORMAT_VERSION, options.signal);
    if (!stored) await buildStored(directory, (temporary) => fetchInto(temporary, wanted, options));
  } finally {
    await lock.release();
  }
  return pathsIn(directory, wanted, (path) => basename(path));
}

async function fetchInto(
  directory: string,
  wanted: FirmwarePackage,
  { signal, onProgress }: FirmwareOptions,
): Promise<StoredDescription> {
  await makeDirectories(directory);
  const hooks: FetchHooks = {
    signal,
    onProgress: (phase, done, total) => onProgress?.({ phase, done, total }),
  };
  const source = findDebianSource();
  const [fetched] = await fetchWithApt({ source, suite: SUITE }, { names: [wanted.packageName] }, directory, hooks);
  if (!fetched) throw malformed(wanted.packageName, "it was not fetched");
  const paths = [wanted.code, wanted.variables, wanted.vga].filter((path) => path !== undefined);
  const payload = await DebPayload.unpack({
    debPath: fetched.path,
    spoolPath: `${fetched.path}.spool`,
    select: (path) => paths.includes(withoutPrefix(path)),
    ...(signal ? { signal } : {}),
  });
  try {
    const files = [];
    for (const path of paths) {
      const there = payload.paths.find((candidate) => withoutPrefix(candidate) === path);
      if (there === undefined) throw malformed(wanted.packageName, `it has no ${path}`);
      const bytes = payload.read(there);
      const name = basename(path);
      await writeFile(join(directory, name), bytes);
      files.push({ name, sizeBytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") });
    }
    return { formatVersion: FORMAT_VERSION, files };
  } finally {
    payload.close();
    await rm(fetched.path, { force: true });
  }
}

const withoutPrefix = (path: string): string => path.replace(/^\.?\//, "");

function directoryOf(root: string, { packageName }: FirmwarePackage): string {
  return join(root, `firmware-${packageName}-${SUITE}`);
}

function pathsIn(root: string, wanted: FirmwarePackage, name: (path: string) => string): FirmwareFiles {
  const { code, variables, vga } = wanted;
  return {
    code: join(root, name(code)),
    variables: variables && join(root, name(variables)),
    vga: vga && join(root, name(vga)),
  };
}

async function isReadable({ code, variables }: FirmwareFiles): Promise<boolean> {
  return (await canRead(code)) && (variables === undefined || (await canRead(variables)));
}

async function canRead(path: string | undefined): Promise<boolean> {
  if (path === undefined) return false;
  return await access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
}

function malformed(packageName: string, why: string): ImageError {
  return new ImageError(
    "IMAGE_MALFORMED",
    `Debian's package ${packageName} cannot be used: ${why}.`,
    "Give the firmware's file instead: --firmware FILE.",
  );
}
