/**
 * Kept translations as files: in $XDG_CACHE_HOME/twinmetal/translations or ~/.cache/twinmetal/translations, or in a
 * directory of the user's choice, which is then a domain of its own. What is in them runs in this process, so only what
 * this user has written is taken: every file begins with its HMAC-SHA256 (RFC 2104) by a random key that lies beside,
 * readable by this user alone. A file that was damaged, moved to another name or directory, or written by anybody else
 * is a miss, and removed.
 *
 * Files are written aside and renamed, and named by their content, so that processes need no lock. Bounded in bytes and
 * in number: those not used for longest go. Whatever fails here only costs time.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import type { BlobStore } from "@twinmetal/core";
import { largeBytes } from "@twinmetal/core/large-bytes";

const KEY_BYTES = 32;
const MAC_BYTES = 32;
const MAX_FILE_BYTES = 64 << 20;
const NAME = /^[0-9a-z]+(-[0-9a-z]+)+$/;
/** Of a file whose writer has not come to its end, or not yet. */
const UNFINISHED = /\.tmp-/;
const ABANDONED_MS = 60 * 60 * 1000;

export interface StoreLimits {
  readonly maxBytes: number;
  readonly maxFiles: number;
}
const LIMITS: StoreLimits = { maxBytes: 256 << 20, maxFiles: 200 };

/** The user's own. */
export function translationDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const xdg = env["XDG_CACHE_HOME"];
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(env["HOME"] || homedir(), ".cache");
  return join(base, "twinmetal", "translations");
}

/** Undefined where nothing can be kept safely. */
export function openTranslationStore(directory: string, limits = LIMITS): BlobStore | undefined {
  try {
    makeDirectory(directory);
    if (!isPrivate(directory)) return undefined;
    const key = readKey(directory) ?? makeKey(directory);
    return key && new FileStore(directory, key, limits);
  } catch {
    return undefined;
  }
}

/** As mkdir -p. Node's own `recursive` never ends where a parent that is there answers ENOENT, as /proc does. */
function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const parent = dirname(directory);
    if (code === "EEXIST") return;
    if (code !== "ENOENT" || parent === directory || existsSync(parent)) throw error;
    makeDirectory(parent);
    mkdirSync(directory, { mode: 0o700 });
  }
}

/** This user's, and written by nobody else. True where the system has no such notion. */
function isPrivate(path: string): boolean {
  const uid = process.getuid?.();
  if (uid === undefined) return true;
  const status = lstatSync(path);
  return status.isDirectory() && status.uid === uid && (status.mode & 0o022) === 0;
}

function readKey(directory: string): Buffer | undefined {
  const path = join(directory, "key");
  if (!lstatSync(path, { throwIfNoEntry: false })) return undefined;
  const uid = process.getuid?.();
  const file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
  try {
    const status = fstatSync(file);
    const isOwn = uid === undefined || (status.uid === uid && (status.mode & 0o077) === 0);
    if (!isOwn || !status.isFile() || status.size !== KEY_BYTES) throw new Error("the key is not private");
    return readWhole(file, KEY_BYTES);
  } finally {
    closeSync(file);
  }
}

/** Of two processes that do this at once, one key stays. */
function makeKey(directory: string): Buffer | undefined {
  const temporary = join(directory, `key.tmp-${process.pid}-${randomBytes(4).toString("hex")}`);
  try {
    writeFileSync(temporary, randomBytes(KEY_BYTES), { mode: 0o600, flag: "wx" });
    try {
      linkSync(temporary, join(directory, "key"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  } finally {
    rmSync(temporary, { force: true });
  }
  return readKey(directory);
}

function readWhole(file: number, length: number): Buffer {
  const { buffer } = largeBytes(length);
  const bytes = Buffer.from(buffer);
  for (let at = 0; at < length; ) {
    const got = readSync(file, bytes, at, length - at, at);
    if (got === 0) throw new Error("the file is shorter than it was");
    at += got;
  }
  return bytes;
}

function writeNew(path: string, parts: readonly Uint8Array[]): void {
  const file = openSync(path, "wx", 0o600);
  try {
    for (const part of parts) for (let at = 0; at < part.length; ) at += writeSync(file, part, at);
  } finally {
    closeSync(file);
  }
}

/** Used now. Where that cannot be told, it goes when its time has come. */
function touch(path: string): void {
  try {
    const now = new Date();
    utimesSync(path, now, now);
  } catch {
    // A disk that is not to be written to.
  }
}

class FileStore implements BlobStore {
  readonly #directory: string;
  readonly #key: Buffer;
  readonly #limits: StoreLimits;

  constructor(directory: string, key: Buffer, limits: StoreLimits) {
    this.#directory = directory;
    this.#key = key;
    this.#limits = limits;
  }

  #mac(name: string, bytes: Uint8Array): Buffer {
    return createHmac("sha256", this.#key).update(`${name}\0`).update(bytes).digest();
  }

  list(prefix: string): string[] {
    return this.#entries()
      .filter(({ name }) => name.startsWith(prefix) && !UNFINISHED.test(name))
      .map(({ name }) => name);
  }

  read(name: string): Uint8Array | undefined {
    const path = join(this.#directory, name);
    try {
      const file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
      try {
        const status = fstatSync(file);
        if (!status.isFile() || status.size < MAC_BYTES || status.size > MAX_FILE_BYTES)
          throw new Error("no such file");
        const whole = readWhole(file, status.size);
        const bytes = whole.subarray(MAC_BYTES);
        if (!timingSafeEqual(whole.subarray(0, MAC_BYTES), this.#mac(name, bytes))) throw new Error("not ours");
        touch(path);
        return bytes;
      } finally {
        closeSync(file);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) this.remove(name);
      return undefined;
    }
  }

  add(prefix: string, bytes: Uint8Array): string | undefined {
    const content = createHmac("sha256", this.#key).update(bytes).digest("hex").slice(0, 32);
    const name = `${prefix}${content}`;
    const path = join(this.#directory, name);
    const temporary = `${path}.tmp-${process.pid}-${randomBytes(4).toString("hex")}`;
    if (bytes.length + MAC_BYTES > Math.min(MAX_FILE_BYTES, this.#limits.maxBytes)) return undefined;
    try {
      writeNew(temporary, [this.#mac(name, bytes), bytes]);
      renameSync(temporary, path);
      this.#trim(name);
      return name;
    } catch {
      this.#removePath(temporary);
      return undefined;
    }
  }

  remove(name: string): void {
    this.#removePath(join(this.#directory, name));
  }

  #removePath(path: string): void {
    try {
      rmSync(path, { force: true, recursive: true });
    } catch {
      // It stays, and is a miss again.
    }
  }

  /** Used last first. */
  #entries(): { name: string; size: number; usedMs: number }[] {
    try {
      const all = readdirSync(this.#directory).flatMap((name) => {
        if (!NAME.test(name) && !UNFINISHED.test(name)) return [];
        const status = statSync(join(this.#directory, name), { throwIfNoEntry: false });
        return status?.isFile() ? [{ name, size: status.size, usedMs: status.mtimeMs }] : [];
      });
      return all.sort((a, b) => b.usedMs - a.usedMs || (a.name < b.name ? -1 : 1));
    } catch {
      return [];
    }
  }

  #trim(added: string): void {
    let bytes = 0;
    let files = 0;
    const entries = this.#entries();
    for (const { name, size, usedMs } of [
      ...entries.filter((entry) => entry.name === added),
      ...entries.filter((entry) => entry.name !== added),
    ]) {
      bytes += size;
      files++;
      const isAbandoned = UNFINISHED.test(name) && Date.now() - usedMs > ABANDONED_MS;
      if (bytes > this.#limits.maxBytes || files > this.#limits.maxFiles || isAbandoned) this.remove(name);
    }
  }
}
