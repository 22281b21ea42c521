/**
 * The kernel and the initial RAM file system of an image that is made of Debian packages: the kernel as it is in its package,
 * and tiny-initrd.ts with the modules of that very kernel.
 */
import { basename, join } from "node:path";
import { DebPayload, decompressModule } from "./deb-payload.ts";
import { ImageError } from "./image-error.ts";
import { type LoadableModule, resolveModules, type WantedModule } from "./kernel-modules.ts";
import {
  buildTinyInitrd,
  TINY_DEVICE_MODULES,
  TINY_DISK_MODULES,
  TINY_MODULES,
  TINY_NETWORK_MODULES,
  TINY_SHARE_MODULES,
  type TinyInitrdParts,
} from "./tiny-initrd.ts";

export interface BootPackages {
  readonly kernelDeb: string;
  readonly busyboxDeb: string;
  /** For what is unpacked meanwhile. */
  readonly directory: string;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (unpackedBytes: number) => void;
}

export interface UnpackedBootFiles {
  readonly kernelRelease: string;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
}

const BUSYBOX_PATH = /^(?:usr\/)?bin\/busybox$/;
const KERNEL_PATHS = /^boot\/vmlinuz-|^(?:usr\/)?lib\/modules\/[^/]+\/(?:modules\.builtin$|.*\.ko(?:\.[a-z]+)?$)/;
const MODULES_PREFIX = /^(?:usr\/)?lib\/modules\/[^/]+\//;

/** Rejects with ImageError, or the signal's reason. */
export async function unpackBootFiles(packages: BootPackages): Promise<UnpackedBootFiles> {
  let doneBytes = 0;
  const busyboxFiles = await unpack(packages, packages.busyboxDeb, BUSYBOX_PATH, (bytes) => {
    doneBytes = bytes;
    packages.onProgress(bytes);
  });
  const busybox = readOnly(busyboxFiles, BUSYBOX_PATH);
  busyboxFiles.close();
  const files = await unpack(packages, packages.kernelDeb, KERNEL_PATHS, (bytes) =>
    packages.onProgress(doneBytes + bytes),
  );
  try {
    const kernelRelease = findKernelRelease(files.paths);
    return {
      kernelRelease,
      kernel: readOnly(files, new RegExp(`^boot/vmlinuz-${escapeRegExp(kernelRelease)}$`)),
      initrd: buildTinyInitrd({ kernelRelease, busybox, ...readModules(files, kernelRelease) }),
    };
  } finally {
    files.close();
  }
}

function unpack(
  { directory, signal }: BootPackages,
  debPath: string,
  pattern: RegExp,
  onProgress: (unpackedBytes: number) => void,
): Promise<DebPayload> {
  return DebPayload.unpack({
    debPath,
    spoolPath: join(directory, `${basename(debPath)}.spool`),
    select: (path) => pattern.test(path),
    signal,
    onProgress,
  });
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

export function incomplete(why: string): ImageError {
  return new ImageError(
    "IMAGE_MALFORMED",
    `The packages cannot be used: ${why}.`,
    "Try again with another --suite or --mirror.",
  );
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
