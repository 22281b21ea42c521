/**
 * Kernel and initrd as files of the host, with the references by which a machine's spec names them. Nobody holds their
 * bytes: they are hashed piece by piece here, and read into guest memory by the machine's thread (open-boot-file.ts).
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { resolve } from "node:path";
import {
  bootModules,
  bootRamOf,
  type FileReference,
  isNetworkCard,
  type KernelKind,
  kernelKindOf,
  type MachineSpec,
  planKernelBoot,
} from "@twinmetal/core";
import {
  FIRMWARE_KINDS,
  type FirmwareFiles,
  findFirmware,
  findNetworkRoms,
  type NetworkRomFiles,
} from "../firmware/firmware-files.ts";
import { ensureTinyImage } from "../image/index.ts";
import { describeReadError } from "./file-reading.ts";
import { type BootFileLocation, OpenBootFile, versionOf } from "./open-boot-file.ts";
import type { VmProgress } from "./vm.ts";
import { asVmError, VmError } from "./vm-error.ts";

/** Kernels and initrds are far smaller; more would fit no machine. */
const MAX_FILE_BYTES = 2 ** 31 - 1;
const MAX_FIRMWARE_BYTES = 16 * 2 ** 20;
const HASH_PIECE_BYTES = 256 * 1024;

/** A file as it was when it was hashed. */
export interface KnownBootFile extends BootFileLocation {
  readonly reference: FileReference;
}

/** Small enough to be held. */
export interface KnownBytes {
  readonly reference: FileReference;
  readonly bytes: Uint8Array;
}

export interface KernelFiles {
  readonly kernel: KnownBootFile;
  readonly initrd?: KnownBootFile;
  readonly modules?: readonly KnownBootFile[];
}

export interface KnownFirmware {
  readonly firmware: KnownBytes;
  readonly variables?: KnownBytes;
  readonly vgaRom?: KnownBytes;
  /** Of its network cards, by their kind. */
  readonly cardRoms?: KnownCardRoms;
}

export type KnownCardRoms = Readonly<Partial<Record<keyof NetworkRomFiles, KnownBytes>>>;

export type KnownBootFiles = KernelFiles | KnownFirmware;

export interface ImageHooks {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: VmProgress) => void;
}

/** The paths that a VM starts from. Throws VmError, ImageError. */
export async function resolveBootPaths(
  options: { readonly image?: string; readonly kernel?: string; readonly initrd?: string },
  hooks: ImageHooks,
): Promise<{ readonly kernel: string; readonly initrd: string | undefined; readonly isTiny: boolean }> {
  const { image, kernel, initrd } = options;
  if (kernel !== undefined) {
    if (image !== undefined) {
      throw new VmError("bad-option", "An image and a kernel cannot both be given. Leave one of them out.");
    }
    return { kernel, initrd, isTiny: false };
  }
  if (image !== undefined && image !== "tiny") {
    throw new VmError("bad-option", `There is no image ${JSON.stringify(image)}. Give "tiny", or a kernel's path.`);
  }
  const tiny = await ensureTinyImage({
    signal: hooks.signal,
    onProgress: ({ phase, done, total }) => hooks.onProgress?.({ phase, done, total }),
  });
  return { kernel: tiny.kernelPath, initrd: initrd ?? tiny.initrdPath, isTiny: initrd === undefined };
}

export async function examineBootFile(
  path: string,
  role: BootFileLocation["role"],
  signal?: AbortSignal,
): Promise<KnownBootFile> {
  signal?.throwIfAborted();
  let file: FileHandle | undefined;
  try {
    // A pipe that nobody writes to shall not be waited for.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = await file.stat({ bigint: true });
    if (!found.isFile()) throw new VmError(`${role}-unreadable`, `${path} is no file. Give the path of the ${role}.`);
    const sizeBytes = Number(found.size);
    if (sizeBytes > MAX_FILE_BYTES) {
      throw new VmError(`${role}-unreadable`, `${path} has ${sizeBytes} bytes, more than any ${role}. Check the path.`);
    }
    const sha256 = await hashOf(file, sizeBytes, signal);
    return { path: resolve(path), role, version: versionOf(found), reference: { sha256, sizeBytes } };
  } catch (error) {
    signal?.throwIfAborted();
    throw describeReadError(error, path, role);
  } finally {
    await file?.close();
  }
}

async function hashOf(file: FileHandle, sizeBytes: number, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash("sha256");
  const piece = new Uint8Array(HASH_PIECE_BYTES);
  for (let done = 0; done < sizeBytes; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(piece, 0, piece.length, done);
    if (bytesRead === 0) throw new Error("it became shorter while it was read");
    hash.update(piece.subarray(0, bytesRead));
    done += bytesRead;
  }
  return hash.digest("hex");
}

/** Throws VmError. */
export function kindOfKernel(kernel: KnownBootFile): KernelKind {
  const file = new OpenBootFile(kernel);
  try {
    return kernelKindOf(file);
  } finally {
    file.close();
  }
}

/** Throws VmError if the files do not start in a machine of this spec: the reason, and how much memory would do. */
export function checkBootFiles(spec: MachineSpec, { kernel, initrd, modules = [] }: KernelFiles): void {
  const opened: OpenBootFile[] = [];
  const openFile = (location: BootFileLocation): OpenBootFile => {
    const file = new OpenBootFile(location);
    opened.push(file);
    return file;
  };
  try {
    planKernelBoot({
      kernel: openFile(kernel),
      modules: bootModules(spec, modules.map(openFile), initrd && openFile(initrd)),
      commandLine: spec.boot?.commandLine ?? "",
      ram: bootRamOf(spec),
    });
  } catch (error) {
    throw asVmError(error);
  } finally {
    for (const file of opened) file.close();
  }
}

/**
 * The files that a spec names by hash, among those given and the tiny image's. Undefined if one is not among them, unless
 * it was given and is another: that is an error.
 */
export async function findBootFiles(
  spec: MachineSpec,
  given: { readonly kernel?: string; readonly initrd?: string; readonly firmware?: string },
  hooks: ImageHooks,
): Promise<KnownBootFiles | undefined> {
  if (spec.firmware) return await findFirmwareOf(spec, spec.firmware, given.firmware, hooks);
  // Modules are not looked for: such a machine runs, and cannot be reset.
  if (!spec.boot || spec.boot.modules) return undefined;
  let paths: { readonly kernel?: string; readonly initrd?: string } = given;
  if (given.kernel === undefined && spec.devices.length > 0) {
    const tiny = await ensureTinyImage({ signal: hooks.signal }).catch((error: unknown) => {
      hooks.signal?.throwIfAborted();
      void error; // Without the image the files are simply not known.
      return undefined;
    });
    if (!tiny) return undefined;
    paths = { kernel: tiny.kernelPath, initrd: given.initrd ?? tiny.initrdPath };
  }
  const kernel = await findFile(paths.kernel, spec.boot.kernel, "kernel", given.kernel !== undefined, hooks.signal);
  if (!kernel) return undefined;
  if (!spec.boot.initrd) return { kernel };
  const isGiven = given.initrd !== undefined;
  const initrd = await findFile(paths.initrd, spec.boot.initrd, "initrd", isGiven, hooks.signal);
  return initrd && { kernel, initrd };
}

/** Without its firmware a machine cannot be: throws VmError. */
async function findFirmwareOf(
  spec: MachineSpec,
  wanted: FileReference,
  given: string | undefined,
  { signal }: ImageHooks,
): Promise<KnownFirmware> {
  const candidates: FirmwareFiles[] =
    given === undefined ? [] : [{ code: given, variables: undefined, vga: undefined }];
  if (given === undefined) {
    for (const kind of FIRMWARE_KINDS) {
      const found = await findFirmware(kind, { signal });
      if (found) candidates.push(found);
    }
  }
  for (const { code, variables, vga } of candidates) {
    const firmware = await readFirmware(code, signal);
    if (firmware.reference.sha256 !== wanted.sha256) continue;
    const fresh = variables === undefined ? undefined : await readFirmware(variables, signal);
    const isSame = fresh?.reference.sha256 === spec.variables?.sha256;
    const vgaRom = await findVgaRom(spec, vga, signal);
    const cardRoms = await findCardRoms(spec, signal);
    return {
      firmware,
      ...(fresh && isSame ? { variables: fresh } : {}),
      ...(vgaRom ? { vgaRom } : {}),
      ...(cardRoms ? { cardRoms } : {}),
    };
  }
  throw new VmError(
    "firmware-unknown",
    `This machine was started from firmware with SHA-256 ${wanted.sha256}, which ${given === undefined ? "is not at hand" : `${given} is not`}. Give that file with --firmware FILE.`,
  );
}

/** Without its VGA BIOS a machine that has one cannot be: throws VmError. */
async function findVgaRom(
  spec: MachineSpec,
  path: string | undefined,
  signal: AbortSignal | undefined,
): Promise<KnownBytes | undefined> {
  const wanted = spec.vga?.rom;
  if (!wanted) return undefined;
  const rom = path === undefined ? undefined : await readFirmware(path, signal);
  if (rom?.reference.sha256 === wanted.sha256) return rom;
  throw new VmError(
    "firmware-unknown",
    `This machine has a VGA BIOS with SHA-256 ${wanted.sha256}, which is not at hand. Install the version of Debian's package seabios that it was started from.`,
  );
}

/** Without the ROM of a network card that has one a machine cannot be: throws VmError. */
async function findCardRoms(spec: MachineSpec, signal: AbortSignal | undefined): Promise<KnownCardRoms | undefined> {
  const cards = spec.devices.filter(isNetworkCard).filter(({ rom }) => rom !== undefined);
  if (cards.length === 0) return undefined;
  const roms = await readCardRoms(await findNetworkRoms(signal ? { signal } : {}), signal);
  for (const { name, kind, rom } of cards) {
    if (roms[kind]?.reference.sha256 === rom?.sha256) continue;
    throw new VmError(
      "firmware-unknown",
      `The machine's network card ${name} has a ROM with SHA-256 ${rom?.sha256}, which is not at hand. Install the version of Debian's package ipxe-qemu that it was started with.`,
    );
  }
  return roms;
}

export async function readCardRoms(paths: NetworkRomFiles | undefined, signal?: AbortSignal): Promise<KnownCardRoms> {
  if (!paths) return {};
  return {
    "virtio-net": await readFirmware(paths["virtio-net"], signal),
    e1000: await readFirmware(paths.e1000, signal),
  };
}

/** Throws VmError. */
export async function readFirmware(path: string, signal?: AbortSignal): Promise<KnownBytes> {
  const { reference, version } = await examineBootFile(path, "firmware", signal);
  if (reference.sizeBytes > MAX_FIRMWARE_BYTES)
    throw new VmError("firmware-unreadable", `${path} has ${reference.sizeBytes} bytes, more than any firmware.`);
  const file = new OpenBootFile({ path, role: "firmware", version });
  try {
    const bytes = new Uint8Array(file.length);
    file.readAt(0, bytes);
    return { reference, bytes };
  } finally {
    file.close();
  }
}

async function findFile(
  path: string | undefined,
  wanted: FileReference,
  role: "kernel" | "initrd",
  isGiven: boolean,
  signal: AbortSignal | undefined,
): Promise<KnownBootFile | undefined> {
  if (path === undefined) return undefined;
  const file = await examineBootFile(path, role, signal);
  if (file.reference.sha256 === wanted.sha256) return file;
  if (!isGiven) return undefined;
  throw new VmError(
    `${role}-unknown`,
    `${path} is not the ${role} that this machine was started from (SHA-256 ${wanted.sha256}). Give the same file.`,
  );
}
