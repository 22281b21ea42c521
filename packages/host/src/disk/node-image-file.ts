/**
 * An image file over node:fs. Reads and writes are synchronous calls (pread, pwrite) behind the asynchronous interface: a
 * disk's requests run in a worker that has nothing else to do, mostly hit the page cache, and a trip through Node's
 * thread pool costs ten times such a call. What can take milliseconds whatever the cache holds goes through the pool:
 * fdatasync. Opened with a lock unless told otherwise (image-lock.ts).
 */
import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  readvSync,
  writeSync,
  writevSync,
} from "node:fs";
import { type ImageFile, type Parts, partsLength, StorageError } from "@twinmetal/storage";
import { fileError } from "./file-error.ts";
import { punchHole } from "./hole-punching.ts";
import { type ImageLock, lockImage } from "./image-lock.ts";
import type { SpaceLimit } from "./space-limit.ts";

export interface OpenImageFileOptions {
  readonly isReadOnly?: boolean;
  /** false: another process may be writing to it, and what is read may be half of that. */
  readonly lock?: boolean;
  /** The file must not exist and is made. */
  readonly create?: boolean;
  /** What it may take of its file system. */
  readonly space?: SpaceLimit | undefined;
}

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_NONBLOCK } = constants;
const NEW_FILE_MODE = 0o644;

/** Throws StorageError: "not-found", "exists", "permission", "locked", "unsupported" (not a regular file), "io". */
export async function openImageFile(path: string, options: OpenImageFileOptions = {}): Promise<NodeImageFile> {
  const { isReadOnly = false, lock = true, create = false, space } = options;
  // O_NONBLOCK: a FIFO by this name is refused below and not waited for. It means nothing to a regular file.
  const flags = (isReadOnly ? O_RDONLY : O_RDWR) | (create ? O_CREAT | O_EXCL : 0) | (O_NONBLOCK ?? 0);
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, flags, NEW_FILE_MODE);
    if (!fstatSync(descriptor).isFile()) {
      throw new StorageError("unsupported", `${path} is not a regular file. Name an image file.`);
    }
    const held = lock ? await lockImage(path, descriptor, isReadOnly) : undefined;
    return new NodeImageFile(path, descriptor, isReadOnly, held, space);
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    throw fileError(error, path, create ? "created" : "opened");
  }
}

export class NodeImageFile implements ImageFile {
  readonly path: string;
  readonly isReadOnly: boolean;
  readonly #lock: ImageLock | undefined;
  readonly #space: SpaceLimit | undefined;
  /** -1 once closed: no call can then reach a file that another open was given the number of. */
  #descriptor: number;
  #canPunch = true;

  constructor(
    path: string,
    descriptor: number,
    isReadOnly: boolean,
    lock: ImageLock | undefined,
    space?: SpaceLimit | undefined,
  ) {
    this.#space = space;
    this.path = path;
    this.isReadOnly = isReadOnly;
    this.#descriptor = descriptor;
    this.#lock = lock;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    let done = 0;
    try {
      while (done < into.length) {
        const count = readSync(this.#descriptor, into, done, into.length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
    } catch (error) {
      throw this.#error(error, "read");
    }
    if (done < into.length) into.fill(0, done);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    try {
      this.#space?.check(this.#descriptor, this.path, offset, bytes.length);
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.#descriptor, bytes, done, bytes.length - done, offset + done);
      }
    } catch (error) {
      throw this.#error(error, "written");
    }
  }

  async readParts(offset: number, parts: Parts): Promise<void> {
    try {
      const done = readvSync(this.#descriptor, parts, offset);
      if (done < partsLength(parts)) await this.#eachRest(offset, parts, done, (at, rest) => this.read(at, rest));
    } catch (error) {
      throw this.#error(error, "read");
    }
  }

  async writeParts(offset: number, parts: Parts): Promise<void> {
    try {
      this.#space?.check(this.#descriptor, this.path, offset, partsLength(parts));
      const done = writevSync(this.#descriptor, parts, offset);
      if (done < partsLength(parts)) await this.#eachRest(offset, parts, done, (at, rest) => this.write(at, rest));
    } catch (error) {
      throw this.#error(error, "written");
    }
  }

  /** What one call has not done. */
  async #eachRest(
    offset: number,
    parts: Parts,
    done: number,
    act: (offset: number, rest: Uint8Array) => Promise<void>,
  ): Promise<void> {
    let at = 0;
    for (const part of parts) {
      const skip = Math.min(part.length, Math.max(0, done - at));
      if (skip < part.length) await act(offset + at + skip, part.subarray(skip));
      at += part.length;
    }
  }

  flush(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#descriptor < 0) reject(this.#error(undefined, "flushed"));
      else fdatasync(this.#descriptor, (error) => (error ? reject(this.#error(error, "flushed")) : resolve()));
    });
  }

  async truncate(sizeBytes: number): Promise<void> {
    try {
      ftruncateSync(this.#descriptor, sizeBytes);
    } catch (error) {
      throw this.#error(error, "resized");
    }
  }

  async discard(offset: number, length: number): Promise<boolean> {
    if (!this.#canPunch || this.isReadOnly || this.#descriptor < 0) return false;
    if (length > 0) this.#canPunch = punchHole(this.#descriptor, offset, length);
    return this.#canPunch;
  }

  async size(): Promise<number> {
    try {
      return fstatSync(this.#descriptor).size;
    } catch (error) {
      throw this.#error(error, "read");
    }
  }

  async close(): Promise<void> {
    if (this.#descriptor < 0) return;
    const descriptor = this.#descriptor;
    this.#descriptor = -1;
    try {
      closeSync(descriptor);
    } catch (error) {
      throw fileError(error, this.path, "closed");
    } finally {
      await this.#lock?.release();
    }
  }

  #error(error: unknown, what: string): StorageError {
    if (this.#descriptor < 0) return new StorageError("closed", `${this.path} has been closed.`);
    return fileError(error, this.path, what);
  }
}
