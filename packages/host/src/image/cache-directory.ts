/**
 * Where prepared images live: $XDG_CACHE_HOME/twinmetal/images or ~/.cache/twinmetal/images (XDG Base Directory
 * Specification 0.8), and where that cannot be written, a private directory under the system's temporary one.
 */

import { constants } from "node:fs";
import { access, lstat, mkdir, readdir, rm } from "node:fs/promises";
import { homedir, tmpdir, userInfo } from "node:os";
import { basename, dirname, isAbsolute, join } from "node:path";
import { describeWriteError, ImageError } from "./image-error.ts";

export interface CacheCandidates {
  readonly preferred: string;
  /** Absent when the user named the directory. */
  readonly fallback: string | undefined;
}

export function cacheCandidates(named: string | undefined, env: NodeJS.ProcessEnv = process.env): CacheCandidates {
  if (named !== undefined) return { preferred: named, fallback: undefined };
  const xdg = env["XDG_CACHE_HOME"];
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(env["HOME"] || homedir(), ".cache");
  const user = process.getuid?.() ?? userInfo().username;
  return {
    preferred: join(base, "twinmetal", "images"),
    fallback: join(tmpdir(), `twinmetal-${user}`, "images"),
  };
}

/** Makes one of the candidates and returns it. `onWarning` hears of the fallback. */
export async function openCacheDirectory(
  candidates: CacheCandidates,
  onWarning: (message: string) => void,
): Promise<string> {
  try {
    return await makeWritable(candidates.preferred);
  } catch (error) {
    const described = describeWriteError(error, candidates.preferred);
    const isUnwritable = described instanceof ImageError && described.code === "IMAGE_NOT_WRITABLE";
    if (!isUnwritable || candidates.fallback === undefined) throw described;
    const directory = await makePrivate(candidates.fallback, described);
    onWarning(
      `${candidates.preferred} cannot be written, so the image is kept in ${directory}, which may not survive a ` +
        "restart of this host. Set XDG_CACHE_HOME to a directory you can write to.",
    );
    return directory;
  }
}

/** As mkdir -p. Node's own `recursive` never ends where a parent that is there answers ENOENT, as /proc does. */
export async function makeDirectories(directory: string): Promise<void> {
  try {
    await mkdir(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const parent = dirname(directory);
    if (code === "EEXIST") return;
    if (code !== "ENOENT" || parent === directory || (await exists(parent))) throw error;
    await makeDirectories(parent);
    await mkdir(directory).catch((again: NodeJS.ErrnoException) => {
      if (again.code !== "EEXIST") throw again;
    });
  }
}

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

async function makeWritable(directory: string): Promise<string> {
  await makeDirectories(directory);
  await access(directory, constants.W_OK | constants.X_OK);
  return directory;
}

/** In a shared temporary directory somebody else may have made ours first: that one is not used. */
export async function makePrivate(directory: string, cause: ImageError): Promise<string> {
  const own = dirname(directory);
  try {
    await mkdir(own, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    if (!(await isPrivate(own))) throw cause;
    return await makeWritable(directory);
  } catch (error) {
    throw error === cause
      ? cause
      : new ImageError(cause.code, cause.message.replace(cause.nextStep, "").trim(), cause.nextStep, { cause: error });
  }
}

/** A directory of this user that nobody else can write to. True where the system has no such notion. */
export async function isPrivate(directory: string): Promise<boolean> {
  const uid = process.getuid?.();
  if (uid === undefined) return true;
  const status = await lstat(directory);
  return status.isDirectory() && status.uid === uid && (status.mode & 0o022) === 0;
}

/** A name beside `target` for what is being built, which removeAbandoned recognises. */
export function temporaryName(target: string): string {
  return `${target}.tmp-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
}

/** Removes what processes that no longer run have left while building `target`. */
export async function removeAbandoned(target: string): Promise<void> {
  const prefix = `${basename(target)}.tmp-`;
  for (const name of await readdir(dirname(target))) {
    if (!name.startsWith(prefix)) continue;
    const pid = Number(name.slice(prefix.length).split("-")[0]);
    if (pid !== process.pid && isGone(pid)) await rm(join(dirname(target), name), { recursive: true, force: true });
  }
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
