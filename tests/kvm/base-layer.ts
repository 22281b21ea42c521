/**
 * The part of the nested guest that does not change with the project: Debian's cloud kernel with KVM's modules, busybox,
 * this host's Node and its shared libraries. Kept in the user's cache under a digest of all of them, and made anew when
 * one changes. What the project adds is another archive behind it (project-layer.ts): Linux unpacks a row of them.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { removeAbandoned } from "../../packages/host/src/image/cache-directory.ts";
import { DebPayload, decompressModule } from "../../packages/host/src/image/deb-payload.ts";
import { hashFile } from "../../packages/host/src/image/debian-package.ts";
import { acquireLock } from "../../packages/host/src/image/file-lock.ts";
import { buildStored, readStored, type StoredDescription } from "../../packages/host/src/image/image-store.ts";
import { resolveModules } from "../../packages/host/src/image/kernel-modules.ts";
import { ensureTinyImage, type TinyImage } from "../../packages/host/src/index.ts";
import { FileTree } from "./file-tree.ts";

export interface BaseLayer {
  readonly kernelPath: string;
  readonly archivePath: string;
  /** The image that a VM inside the guest boots. */
  readonly tiny: TinyImage;
  readonly cacheHit: boolean;
}

export interface BaseLayerOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
}

const FORMAT_VERSION = 1;
const MODULES = [{ name: "kvm" }, { name: "kvm_amd" }];
const KERNEL_FILE = "vmlinuz";
const ARCHIVE_FILE = "base.cpio";
const MODULE_PATHS = /^(?:usr\/)?lib\/modules\/[^/]+\/(?:modules\.builtin$|.*\.ko(?:\.[a-z]+)?$)/;
const BUSYBOX_PATH = /^(?:usr\/)?bin\/busybox$/;

/** Rejects with an ImageError where Debian's packages cannot be had. */
export async function ensureBaseLayer({ signal, onProgress }: BaseLayerOptions): Promise<BaseLayer> {
  const tiny = await ensureTinyImage({
    signal,
    onProgress: ({ phase, done, total }) => onProgress(`tiny image: ${phase} ${percent(done, total)}`),
  });
  const node = await realpath(process.execPath);
  const libraries = sharedLibraries(node);
  const hash = createHash("sha256").update(JSON.stringify([FORMAT_VERSION, MODULES, libraries, tiny.packages]));
  for (const path of [node, ...libraries]) hash.update(await hashFile(path, signal));
  const root = dirname(tiny.directory);
  const directory = join(root, `nested-${hash.digest("hex").slice(0, 12)}`);
  const layer = { kernelPath: join(directory, KERNEL_FILE), archivePath: join(directory, ARCHIVE_FILE), tiny };

  const lock = await acquireLock(`${directory}.lock`, { signal, onWait: (pid) => onProgress(`waiting for ${pid}`) });
  try {
    if ((await readStored(directory, FORMAT_VERSION, signal)) !== undefined) return { ...layer, cacheHit: true };
    await removeAbandoned(directory);
    const packages = await findPackages(tiny, root, signal);
    await buildStored(directory, (temporary) => assemble({ node, libraries, packages, temporary, signal, onProgress }));
    await removeOlder(root, basename(directory));
    return { ...layer, cacheHit: false };
  } finally {
    await lock.release();
  }
}

interface Parts {
  readonly node: string;
  readonly libraries: readonly string[];
  readonly packages: DebianPackages;
  readonly temporary: string;
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
}

async function assemble({
  node,
  libraries,
  packages,
  temporary,
  signal,
  onProgress,
}: Parts): Promise<StoredDescription> {
  await mkdir(temporary, { recursive: true });
  const unpack = (debPath: string, pattern: RegExp, totalBytes: number): Promise<DebPayload> =>
    DebPayload.unpack({
      debPath,
      spoolPath: join(temporary, `${basename(debPath)}.spool`),
      select: (path) => pattern.test(path),
      signal,
      onProgress: (done) => onProgress(`unpacking ${basename(debPath)} ${percent(done, totalBytes)}`),
    });

  const busybox = await unpack(packages.busybox.path, BUSYBOX_PATH, packages.busybox.installedBytes);
  const tree = new FileTree().file("bin/busybox", busybox.read(busybox.paths[0]!), 0o755);
  busybox.close();
  const kernel = await unpack(packages.kernel.path, MODULE_PATHS, packages.kernel.installedBytes);
  const pathByName = new Map(kernel.paths.map((path) => [path.replace(/^(?:usr\/)?lib\/modules\/[^/]+\//, ""), path]));
  const read = (path: string): Buffer => kernel.read(pathByName.get(path) ?? path);
  const builtin = pathByName.has("modules.builtin") ? read("modules.builtin").toString("utf8") : "";
  const modules = resolveModules({ paths: [...pathByName.keys()], builtin, read }, MODULES, decompressModule);
  kernel.close();
  for (const { name, data } of modules) tree.file(`lib/modules/${name}.ko`, data);
  tree.file("lib/modules/load-order", modules.map(({ name }) => `${name}.ko\n`).join(""));

  onProgress("packing Node");
  const stripped = join(temporary, "node.stripped");
  tree.copy("bin/node", strip(node, stripped) ? stripped : node, 0o755);
  await rm(stripped, { force: true });
  for (const path of libraries) tree.copy(path.slice(1), path, 0o755);
  for (const path of ["proc", "sys", "tmp", "root", "run"]) tree.directory(path);
  tree.device("dev/console", 5, 1);
  const files = [];
  for (const [name, data] of [
    [KERNEL_FILE, await readFile(packages.tinyKernelPath)],
    [ARCHIVE_FILE, tree.archive()],
  ] as const) {
    await writeFile(join(temporary, name), data, { signal });
    files.push({ name, sizeBytes: data.length, sha256: createHash("sha256").update(data).digest("hex") });
  }
  return { formatVersion: FORMAT_VERSION, files };
}

interface DebianPackages {
  readonly kernel: { readonly path: string; readonly installedBytes: number };
  readonly busybox: { readonly path: string; readonly installedBytes: number };
  readonly tinyKernelPath: string;
}

/** The packages that the tiny image was made of: by their hashes, in the same cache. */
async function findPackages(tiny: TinyImage, root: string, signal: AbortSignal): Promise<DebianPackages> {
  const found = new Map<string, { path: string; installedBytes: number }>();
  for (const name of await readdir(root)) {
    if (!name.startsWith("packages-") || name.includes(".")) continue;
    for (const record of tiny.packages) {
      const path = join(root, name, `${record.name}.deb`);
      const sha256 = await hashFile(path, signal).catch(() => undefined);
      if (sha256 === record.sha256) found.set(record.name, { path, installedBytes: record.installedBytes });
    }
  }
  const kernel = [...found].find(([name]) => name.startsWith("linux-image-"))?.[1];
  const busybox = found.get("busybox-static");
  if (kernel === undefined || busybox === undefined)
    throw new Error(
      `The packages of the tiny image are not in ${root} any more: remove ${tiny.directory} and try again.`,
    );
  return { kernel, busybox, tinyKernelPath: tiny.kernelPath };
}

/** What the dynamic linker maps for a program, itself included. */
export function sharedLibraries(program: string): string[] {
  const output = execFileSync("ldd", [program], { encoding: "utf8" });
  const paths = output.matchAll(/(?:=>\s+|^\s+)(\/\S+)\s+\(0x/gm);
  return [...new Set([...paths].map(([, path]) => path!))].sort();
}

/** Without debug information Node is an eighth smaller; where there is no strip it stays as it is. */
function strip(from: string, to: string): boolean {
  try {
    execFileSync("strip", ["-o", to, from], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function removeOlder(root: string, kept: string): Promise<void> {
  for (const name of await readdir(root))
    if (/^nested-[0-9a-f]{12}$/.test(name) && name !== kept)
      await rm(join(root, name), { recursive: true, force: true });
}

const percent = (done: number, total: number): string =>
  `${Math.floor((100 * Math.min(done, total)) / Math.max(total, 1))} %`;
