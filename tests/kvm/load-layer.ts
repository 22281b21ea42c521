/**
 * The Linux under load that changes its engine (guest/switches.ts): an initrd behind the tiny image's, with a compiler
 * (tcc, the C library's headers), sqlite3 and what they work on (load/, load-results.ts). From Debian packages, which are
 * kept in the user's cache with what was taken out of them.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchWithApt, hasApt } from "../../packages/host/src/image/apt-packages.ts";
import { removeAbandoned } from "../../packages/host/src/image/cache-directory.ts";
import { DebPayload } from "../../packages/host/src/image/deb-payload.ts";
import type { FetchHooks } from "../../packages/host/src/image/debian-package.ts";
import { findDebianSource } from "../../packages/host/src/image/debian-sources.ts";
import { acquireLock } from "../../packages/host/src/image/file-lock.ts";
import { buildStored, readStored, type StoredDescription } from "../../packages/host/src/image/image-store.ts";
import { fetchFromMirror } from "../../packages/host/src/image/mirror-packages.ts";
import type { TinyImage } from "../../packages/host/src/index.ts";
import { FileTree } from "./file-tree.ts";
import { databaseResults, databaseStep, functionsHeader, programResult, SEEDS, STEPS } from "./load-results.ts";

const FORMAT_VERSION = 1;
const SUITE = "bookworm";
const ARCHIVE_FILE = "load.cpio";
const LIBRARIES = "lib/x86_64-linux-gnu";

/** What is taken out of each package. */
const PACKAGES: Readonly<Record<string, RegExp>> = {
  tcc: /^usr\/bin\/tcc$|^usr\/lib\/x86_64-linux-gnu\/tcc\/(?:libtcc1\.a|include\/.*\.h)$/,
  sqlite3: /^usr\/bin\/sqlite3$/,
  "libsqlite3-0": /\/libsqlite3\.so\.0\.[^/]+$/,
  libreadline8: /\/libreadline\.so\.8\.[^/]+$/,
  libtinfo6: /\/libtinfo\.so\.6\.[^/]+$/,
  zlib1g: /\/libz\.so\.1\.[^/]+$/,
  libc6: /\/(?:ld-linux-x86-64\.so\.2|lib(?:c|m|dl|pthread)\.so\.\d)$/,
  "libc6-dev":
    /\/(?:crt[1in]\.o|libc\.so|libc_nonshared\.a)$|^usr\/include\/(?:[a-z0-9-]+\.h|x86_64-linux-gnu\/(?:bits\/(?:types\/)?[\w-]+\.h|gnu\/[\w-]+\.h|sys\/(?:cdefs|select|types)\.h))$/,
};

const own = (name: string): Promise<Buffer> => readFile(fileURLToPath(new URL(`load/${name}`, import.meta.url)));

/** The path of the initrd's own part. Rejects with an ImageError where Debian's packages cannot be had. */
export async function ensureLoadLayer(
  tiny: TinyImage,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (text: string) => void },
): Promise<Uint8Array> {
  const parts = JSON.stringify([FORMAT_VERSION, SUITE, Object.entries(PACKAGES).map(([name, p]) => [name, `${p}`])]);
  const key = createHash("sha256").update(parts).digest("hex").slice(0, 12);
  const directory = join(dirname(tiny.directory), `load-${key}`);
  const lock = await acquireLock(`${directory}.lock`, { signal, onWait: (pid) => onProgress(`waiting for ${pid}`) });
  try {
    if ((await readStored(directory, FORMAT_VERSION, signal)) === undefined) {
      await removeAbandoned(directory);
      await buildStored(directory, (temporary) => assemble(temporary, signal, onProgress));
    }
  } finally {
    await lock.release();
  }
  const packages = await readFile(join(directory, ARCHIVE_FILE), { signal });
  return Buffer.concat([await readFile(tiny.initrdPath, { signal }), packages, await work()]);
}

async function assemble(
  temporary: string,
  signal: AbortSignal,
  onProgress: (text: string) => void,
): Promise<StoredDescription> {
  await mkdir(temporary, { recursive: true });
  const hooks: FetchHooks = { signal, onProgress: (phase) => onProgress(`packages of the load: ${phase}`) };
  const from = { source: findDebianSource(), suite: SUITE };
  const names = Object.keys(PACKAGES);
  const fetched = (await hasApt(signal))
    ? await fetchWithApt(from, { names }, temporary, hooks)
    : await fetchFromMirror(from, names, temporary, hooks);
  const tree = new FileTree();
  for (const { name, path: debPath } of fetched) {
    onProgress(`unpacking ${name}`);
    const spoolPath = `${debPath}.spool`;
    const payload = await DebPayload.unpack({
      debPath,
      spoolPath,
      select: (path) => PACKAGES[name]!.test(path),
      signal,
    });
    for (const path of payload.paths) {
      const [, library, major] = /^(?:usr\/)?lib\/x86_64-linux-gnu\/(lib\w+\.so\.(\d+))[^/]*$/.exec(path) ?? [];
      const isProgram = /^usr\/bin\/|\.so\.\d/.test(path);
      const to = major !== undefined || path.endsWith("so.2") ? join(LIBRARIES, basename(path)) : path;
      tree.file(to, payload.read(path), isProgram ? 0o755 : 0o644);
      if (library !== undefined && library !== basename(path)) tree.link(join(LIBRARIES, library), basename(path));
    }
    payload.close();
  }
  tree.link("lib64/ld-linux-x86-64.so.2", `/${LIBRARIES}/ld-linux-x86-64.so.2`);
  const data = tree.archive();
  await writeFile(join(temporary, ARCHIVE_FILE), data, { signal });
  const sha256 = createHash("sha256").update(data).digest("hex");
  return { formatVersion: FORMAT_VERSION, files: [{ name: ARCHIVE_FILE, sizeBytes: data.length, sha256 }] };
}

async function work(): Promise<Uint8Array> {
  const tree = new FileTree().file("init", await own("init.sh"), 0o755);
  for (const name of ["beat.c", "program.c"]) tree.file(`load/${name}`, await own(name));
  tree.file("load/functions.h", functionsHeader());
  for (let seed = 0; seed < SEEDS; seed++) tree.file(`load/program/${seed}`, programResult(seed));
  const results = databaseResults();
  for (let step = 0; step < STEPS; step++) {
    tree.file(`load/base/${step}.sql`, databaseStep(step));
    tree.file(`load/base/${step}`, results[step]!);
  }
  return tree.archive();
}
