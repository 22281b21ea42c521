/**
 * Saved states and recordings as files of the host. A state appears under its name when all of it is on the disk, or
 * not at all: it is written beside its place and renamed; in a file that is open already its first bytes come last.
 * Synchronous, for the machine's own thread.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import {
  type ByteSink,
  type ByteSource,
  EventRecorder,
  type Machine,
  recordingHeader,
  type StateSink,
  type StateSource,
} from "@twinmetal/core";
import { openForReading, readFully } from "./file-reading.ts";
import type { OpenStateFile } from "./vm.ts";
import { VmError, type VmFileRole } from "./vm-error.ts";

const READ_AHEAD_BYTES = 64 * 1024;
/** Progress is told in steps of this size. */
const PROGRESS_BYTES = 4 * 1024 * 1024;
/** A recording may go into a pipe: the machine waits for its reader. */
const FULL_PIPE_WAIT_MS = 1;
const SLEEP = new Int32Array(new SharedArrayBuffer(4));
let temporaries = 0;

export interface SaveHooks {
  /** Throws to end the save without a file. */
  readonly checkpoint: () => void;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/** Calls `write` with a sink of a new file; the file is at `path` afterwards, or `path` is as it was. */
export function saveStateFile(path: string, hooks: SaveHooks, write: (sink: StateSink) => void): void {
  refuseSpecialFile(path);
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${++temporaries}.part`);
  let descriptor: number | undefined;
  try {
    descriptor = openSync(temporary, "wx", 0o600);
    write(stateSink(descriptor, hooks));
    hooks.checkpoint();
    fsyncSync(descriptor);
    closeSync(descriptor);
    descriptor = undefined;
    hooks.checkpoint();
    renameSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    rmSync(temporary, { force: true });
    throw describeWriteError(error, path);
  }
}

/** Calls `write` with a sink of the file, from its beginning. It is empty where this throws, and no state until all of it is durable. */
export function fillStateFile(file: OpenStateFile, hooks: SaveHooks, write: (sink: StateSink) => void): void {
  const { descriptor, path } = file;
  try {
    ftruncateSync(descriptor, 0);
    const sink = stateSink(descriptor, hooks);
    const writeAt: StateSink["writeAt"] = (offset, bytes) => {
      if (offset === 0) fsyncSync(descriptor);
      sink.writeAt(offset, bytes);
    };
    write({ ...sink, writeAt });
    fsyncSync(descriptor);
  } catch (error) {
    ftruncateSync(descriptor, 0);
    throw describeWriteError(error, path);
  }
}

/** A device or a pipe would be replaced by a file. */
function refuseSpecialFile(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found || found.isFile()) return;
  throw new VmError("not-writable", `${path} is there already and is no file. Give another path.`);
}

function stateSink(descriptor: number, { checkpoint, onProgress }: SaveHooks): StateSink {
  let totalBytes = 0;
  let toldBytes = 0;
  return {
    setSize: (sizeBytes) => {
      totalBytes = sizeBytes;
      ftruncateSync(descriptor, sizeBytes);
    },
    writeAt: (offset, bytes) => {
      checkpoint();
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at, bytes.length - at, offset + at);
      const endBytes = offset + bytes.length;
      if (endBytes < toldBytes + PROGRESS_BYTES) return;
      toldBytes = endBytes;
      onProgress(endBytes, totalBytes);
    },
  };
}

/** A renamed file survives a power cut only when its directory is on the disk too. Not every file system can. */
export function syncDirectory(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EINVAL" && code !== "EPERM" && code !== "ENOTSUP") throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** A file that is open for random reading. */
export class FileSource implements StateSource {
  readonly sizeBytes: number;
  readonly #descriptor: number;
  readonly #role: VmFileRole;
  readonly #path: string;

  constructor(path: string, role: VmFileRole) {
    this.#role = role;
    this.#path = path;
    this.#descriptor = openForReading(path, role);
    const stat = fstatSync(this.#descriptor);
    if (!stat.isFile()) {
      closeSync(this.#descriptor);
      throw new VmError(`${role}-unreadable`, `${path} is no file. Give the path of the ${role}.`);
    }
    this.sizeBytes = stat.size;
  }

  readAt(offset: number, into: Uint8Array): void {
    readFully(this.#descriptor, offset, into, this.#path, this.#role);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/** The bytes of a file in order, for replays. */
export class FileStream implements ByteSource {
  readonly #source: FileSource;
  #at = 0;
  #ahead: Uint8Array = new Uint8Array(0);

  constructor(source: FileSource) {
    this.#source = source;
  }

  read(into: Uint8Array): number {
    if (this.#ahead.length === 0) {
      this.#ahead = new Uint8Array(Math.min(READ_AHEAD_BYTES, this.#source.sizeBytes - this.#at));
      this.#source.readAt(this.#at, this.#ahead);
      this.#at += this.#ahead.length;
    }
    const part = this.#ahead.subarray(0, into.length);
    into.set(part);
    this.#ahead = this.#ahead.subarray(part.length);
    return part.length;
  }
}

/** A recording in the making. What it holds after a crash of the host is valid up to its last chunk. */
export class RecordingFile implements ByteSink {
  readonly #descriptor: number;
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
    try {
      const { O_WRONLY, O_CREAT, O_TRUNC, O_NONBLOCK } = constants;
      this.#descriptor = openSync(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0o600);
    } catch (error) {
      throw describeWriteError(error, path);
    }
  }

  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      try {
        at += writeSync(this.#descriptor, bytes, at, bytes.length - at);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw describeWriteError(error, this.#path);
        Atomics.wait(SLEEP, 0, 0, FULL_PIPE_WAIT_MS);
      }
    }
  }

  close(): void {
    if (fstatSync(this.#descriptor).isFile()) fsyncSync(this.#descriptor);
    closeSync(this.#descriptor);
  }
}

function describeWriteError(error: unknown, path: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") {
    return new VmError("disk-full", `The disk is full: ${path} was not written. Free some space, or write elsewhere.`, {
      cause: error,
    });
  }
  if (code !== undefined && /^E[A-Z]+$/.test(code) && !(error instanceof VmError)) {
    return new VmError("not-writable", `${path} cannot be written (${code}). Give another path.`, { cause: error });
  }
  return error;
}

/** From the machine's present state on, which has this hash; null: from power-on. Precondition: it does not run. */
export function startRecording(
  machine: Machine,
  path: string,
  startHash: Uint8Array | null,
): { readonly log: EventRecorder; readonly close: () => void } {
  const file = new RecordingFile(path);
  try {
    const log = new EventRecorder(file, recordingHeader(machine.spec, startHash), machine.retired);
    machine.attachLog(log);
    return { log, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}
