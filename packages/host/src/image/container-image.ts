/**
 * A container image as something that a VM runs: its layers laid over each other on an ext4 disk, and the program that its
 * configuration names. The disk is kept in the cache under the image's own digest, and made again where it is not whole.
 *
 *   container-DIGEST/disk.img     sparse
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { cacheCandidates, makeDirectories, openCacheDirectory, removeAbandoned } from "./cache-directory.ts";
import { acquireLock } from "./file-lock.ts";
import { buildStored, readStored, type StoredDescription } from "./image-store.ts";
import { LayerSpool } from "./layer-spool.ts";
import { badArchive, type LayerTree, printable } from "./layer-tree.ts";
import { type ImageConfig, OciArchive, type OciImage } from "./oci-archive.ts";
import { writeRootDisk } from "./root-disk.ts";

export interface ContainerImageOptions {
  /** An OCI image layout or what `docker save` has written, in one tar file. */
  readonly path: string;
  /** For tests. Default: as in cache-directory.ts. */
  readonly cacheDirectory?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly phase: string; readonly done: number; readonly total: number }) => void;
  readonly onWarning?: (message: string) => void;
}

export interface ContainerImage {
  /** Its root file system, raw. To be attached so that what a guest writes is thrown away. */
  readonly diskPath: string;
  readonly directory: string;
  readonly program: ContainerProgram;
}

/** How its program is started. */
export interface ContainerProgram extends ImageConfig {
  readonly uid: number;
  readonly gid: number;
}

interface ContainerDescription extends StoredDescription {
  readonly id: string;
  readonly diskBytes: number;
  readonly program: ContainerProgram;
}

const FORMAT_VERSION = 1;
const DISK_FILE = "disk.img";
const FREE_BYTES = 2 ** 30;
const DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MAX_ACCOUNTS_BYTES = 2 ** 20;

/** Rejects with ImageError, or the signal's reason. */
export async function ensureContainerImage(options: ContainerImageOptions): Promise<ContainerImage> {
  const { path, signal, cacheDirectory, onWarning = () => {} } = options;
  const archive = await OciArchive.open(path, signal);
  try {
    const image = await archive.image();
    const candidates = cacheCandidates(cacheDirectory);
    for (const root of [candidates.preferred, candidates.fallback]) {
      const found = root === undefined ? undefined : await findStored(directoryIn(root, image), image, signal);
      if (found !== undefined) return found;
    }
    const directory = directoryIn(await openCacheDirectory(candidates, onWarning), image);
    const lock = await acquireLock(`${directory}.lock`, { signal, onWait: () => {} });
    try {
      const found = await findStored(directory, image, signal);
      if (found !== undefined) return found;
      await removeAbandoned(directory);
      const description = await buildStored(directory, (temporary) => build(archive, image, temporary, options));
      return describe(directory, description);
    } finally {
      await lock.release();
    }
  } finally {
    await archive.close();
  }
}

/**
 * The words that start the image's program in the tiny guest: `given` replaces its command, as `docker run` has it. Throws
 * ImageError where there is nothing to start.
 */
export function containerCommand(
  { diskPath, program }: ContainerImage,
  given: readonly string[] | undefined,
): readonly string[] {
  const { entrypoint, command, environment, workingDirectory, uid, gid } = program;
  const words = [...entrypoint, ...(given ?? command)];
  if (words.length === 0) throw badArchive(diskPath, "it names no program. Give one behind --");
  const hasPath = environment.some((variable) => variable.startsWith("PATH="));
  return [
    "/etc/twinmetal/container",
    workingDirectory,
    String(uid),
    String(gid),
    ...["/bin/busybox", "env", "-i"],
    ...(hasPath ? [] : [DEFAULT_PATH]),
    ...environment,
    ...["/bin/busybox", "nsenter", "-r/container", `-w/container${workingDirectory}`],
    ...["-S", String(uid), "-G", String(gid), "-F", "--"],
    ...words,
  ];
}

const directoryIn = (root: string, { id }: OciImage): string => join(root, `container-${id.slice(0, 32)}`);

async function findStored(
  directory: string,
  { id }: OciImage,
  signal: AbortSignal | undefined,
): Promise<ContainerImage | undefined> {
  const description = await readStored<ContainerDescription>(directory, FORMAT_VERSION, signal);
  if (description?.id !== id) return undefined;
  const found = await stat(join(directory, DISK_FILE)).catch(() => undefined);
  return found?.size === description.diskBytes ? describe(directory, description) : undefined;
}

function describe(directory: string, { program }: ContainerDescription): ContainerImage {
  return { directory, diskPath: join(directory, DISK_FILE), program };
}

async function build(
  archive: OciArchive,
  image: OciImage,
  directory: string,
  { signal, onProgress = () => {} }: ContainerImageOptions,
): Promise<ContainerDescription> {
  await makeDirectories(directory);
  const spool = new LayerSpool(archive, join(directory, "spool"));
  try {
    const total = image.layers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    let done = 0;
    for (const layer of image.layers) {
      await spool.unpack(
        layer,
        (bytes) => {
          done += bytes;
          onProgress({ phase: "unpack", done, total });
        },
        signal,
      );
    }
    const program = await programOf(image.config, spool.tree, archive.path);
    const path = join(directory, DISK_FILE);
    await writeRootDisk(path, spool.tree.root, {
      label: "container",
      identity: image.id,
      freeBytes: FREE_BYTES,
      onProgress: (done, total) => onProgress({ phase: "assemble", done, total }),
      ...(signal && { signal }),
    });
    // The disk is not hashed at each start: it is as large as the image, and this folder is its owner's.
    return { formatVersion: FORMAT_VERSION, id: image.id, files: [], diskBytes: (await stat(path)).size, program };
  } finally {
    spool.close();
  }
}

/** USER or USER:GROUP, by name or number; names are those of the image. */
async function programOf(config: ImageConfig, tree: LayerTree, origin: string): Promise<ContainerProgram> {
  const [user = "", group] = config.user.split(":", 2);
  const accounts = await readAccounts(tree, "/etc/passwd");
  const account = accounts.find(([name, , uid]) => (/^\d+$/.test(user) ? uid === user : name === user));
  const uid = user === "" ? "0" : /^\d+$/.test(user) ? user : account?.[2];
  const groups = group === undefined ? [] : await readAccounts(tree, "/etc/group");
  const named = group !== undefined && !/^\d+$/.test(group) ? groups.find(([name]) => name === group)?.[2] : group;
  const gid = group === undefined ? (account?.[3] ?? "0") : named;
  const isId = (text: string | undefined): text is string =>
    text !== undefined && /^\d{1,10}$/.test(text) && Number(text) < 2 ** 32 - 1;
  if (!isId(uid) || !isId(gid)) throw badArchive(origin, `its user ${printable(config.user)} is not in it`);
  const { workingDirectory } = config;
  const found = tree.find(workingDirectory);
  const isThere = found?.node.type === "directory";
  const plain = workingDirectory.startsWith("/") && !workingDirectory.split("/").includes("..");
  if (!isThere && !plain)
    throw badArchive(origin, `its working directory ${printable(workingDirectory)} cannot be one`);
  return {
    ...config,
    environment: config.environment.some((variable) => variable.startsWith("HOME="))
      ? config.environment
      : [`HOME=${account?.[5] || (uid === "0" ? "/root" : "/")}`, ...config.environment],
    workingDirectory: isThere ? found.path : workingDirectory,
    uid: Number(uid),
    gid: Number(gid),
  };
}

async function readAccounts(tree: LayerTree, path: string): Promise<readonly (readonly string[])[]> {
  const node = tree.find(path)?.node;
  if (node?.type !== "file" || node.sizeBytes > MAX_ACCOUNTS_BYTES) return [];
  const bytes = new Uint8Array(node.sizeBytes);
  await node.read(0, bytes);
  return Buffer.from(bytes)
    .toString("utf8")
    .split("\n")
    .map((line) => line.split(":"));
}
