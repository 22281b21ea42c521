/**
 * Kernel and initrd as bytes of the host, with the references by which a machine's spec names them.
 */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { type BootFiles, type FileReference, type MachineSpec, planLinuxBoot, ramSegments } from "@twinmetal/core";
import { ensureTinyImage } from "../image/index.ts";
import { describeReadError } from "./state-files.ts";
import type { VmProgress } from "./vm.ts";
import { asVmError, VmError } from "./vm-error.ts";

/** Kernels and initrds are far smaller; more would fit no machine. */
const MAX_FILE_BYTES = 2 ** 31 - 1;
const HIGH_RAM_START = 2 ** 32;

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

export async function readBootFile(path: string, role: "kernel" | "initrd", signal?: AbortSignal): Promise<Uint8Array> {
  signal?.throwIfAborted();
  try {
    const found = await stat(path);
    if (!found.isFile()) throw new VmError(`${role}-unreadable`, `${path} is no file. Give the path of the ${role}.`);
    if (found.size > MAX_FILE_BYTES) {
      throw new VmError(
        `${role}-unreadable`,
        `${path} has ${found.size} bytes, more than any ${role}. Check the path.`,
      );
    }
    return await readFile(path, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw describeReadError(error, path, role);
  }
}

export function referenceOf(bytes: Uint8Array): FileReference {
  return { sha256: createHash("sha256").update(bytes).digest("hex"), sizeBytes: bytes.length };
}

/** Throws VmError if the files do not start in a machine of this spec: the reason, and how much memory would do. */
export function checkBootFiles(spec: MachineSpec, files: BootFiles): void {
  let lowRamBytes = 0;
  let highRamBytes = 0;
  for (const { start, sizeBytes } of ramSegments(spec.memoryBytes)) {
    if (start >= HIGH_RAM_START) highRamBytes += sizeBytes;
    else lowRamBytes += sizeBytes;
  }
  try {
    planLinuxBoot({
      kernel: files.kernel,
      ...(files.initrd ? { initrd: files.initrd } : {}),
      commandLine: spec.boot?.commandLine ?? "",
      ram: { lowRamBytes, highRamBytes },
    });
  } catch (error) {
    throw asVmError(error);
  }
}

/**
 * The files that a spec names by hash, among those given and the tiny image's. Undefined if one is not among them, unless
 * it was given and is another: that is an error.
 */
export async function findBootFiles(
  spec: MachineSpec,
  given: { readonly kernel?: string; readonly initrd?: string },
  hooks: ImageHooks,
): Promise<BootFiles | undefined> {
  if (!spec.boot) return undefined;
  let paths = given;
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

async function findFile(
  path: string | undefined,
  wanted: FileReference,
  role: "kernel" | "initrd",
  isGiven: boolean,
  signal: AbortSignal | undefined,
): Promise<Uint8Array | undefined> {
  if (path === undefined) return undefined;
  const bytes = await readBootFile(path, role, signal);
  if (referenceOf(bytes).sha256 === wanted.sha256) return bytes;
  if (!isGiven) return undefined;
  throw new VmError(
    `${role}-unknown`,
    `${path} is not the ${role} that this machine was started from (SHA-256 ${wanted.sha256}). Give the same file.`,
  );
}
