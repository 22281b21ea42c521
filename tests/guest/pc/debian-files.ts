// Files of Debian packages for tests of real boot loaders: fetched once as the guest image's packages are, kept in the
// tests' cache. Nothing of them is in the repository.

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetchWithApt, hasApt } from "../../../packages/host/src/image/apt-packages.ts";
import { DebPayload } from "../../../packages/host/src/image/deb-payload.ts";
import { findDebianSource } from "../../../packages/host/src/image/debian-sources.ts";
import { ImageError } from "../../../packages/host/src/image/image-error.ts";

const SUITE = "bookworm";
const TIMEOUT_MS = 120_000;

export interface DebianFile {
  readonly packageName: string;
  /** In the package, without the leading slash. */
  readonly path: string;
}

export const MEMTEST_DISC: DebianFile = { packageName: "memtest86+", path: "usr/lib/memtest86+/memtest86+x64.iso" };

/** The file's bytes, or the reason why it cannot be had here. */
export async function debianFile(file: DebianFile): Promise<Uint8Array | string> {
  const folder = join(
    process.env["XDG_CACHE_HOME"] ?? tmpdir(),
    `twinmetal-tests-${process.getuid?.() ?? 0}`,
    "debian",
  );
  const kept = join(folder, `${file.packageName}-${file.path.replaceAll("/", "-")}`);
  if (existsSync(kept)) return new Uint8Array(await readFile(kept));
  if (!(await hasApt())) return "apt-get is not here to fetch Debian packages with";
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const work = await mkdtemp(join(folder, "fetch-"));
  try {
    const bytes = await fetchFile(file, work);
    await writeFile(`${kept}.${process.pid}`, bytes);
    await rename(`${kept}.${process.pid}`, kept);
    return bytes;
  } catch (error) {
    if (error instanceof ImageError || (error as Error).name === "TimeoutError") return (error as Error).message;
    throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function fetchFile({ packageName, path }: DebianFile, folder: string): Promise<Uint8Array> {
  const hooks = { signal: AbortSignal.timeout(TIMEOUT_MS), onProgress: () => {} };
  const options = { source: findDebianSource(), suite: SUITE };
  const [fetched] = await fetchWithApt(options, { names: [packageName] }, folder, hooks);
  if (!fetched) throw new Error(`nothing was fetched for ${packageName}`);
  const payload = await DebPayload.unpack({
    debPath: fetched.path,
    spoolPath: join(folder, "spool"),
    select: (candidate) => candidate.replace(/^\.?\//, "") === path,
    signal: hooks.signal,
  });
  try {
    const [found] = payload.paths;
    if (!found) throw new Error(`${packageName} has no ${path}`);
    return new Uint8Array(payload.read(found));
  } finally {
    payload.close();
  }
}
