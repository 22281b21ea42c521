/**
 * Locks against opening an image twice: one writer, or any number of readers.
 *
 * Where system calls can be made (Linux with koffi) they are open-file-description locks (fcntl(2), F_OFD_SETLK): the
 * kernel lets them go when the process ends in whatever way, and two opens in one process exclude each other too. The
 * bytes are those that QEMU locks (its docs, "image locking"): byte 100 + n says "I use permission n", byte 200 + n "I do
 * not bear that others use it", so an image that a QEMU has open is refused here, and the other way round.
 *
 * Elsewhere a writer makes a file PATH.lock with its process's identity (../image/file-lock.ts), which is stale once that
 * process is gone; readers look for one and leave none.
 */
import { access } from "node:fs/promises";
import { StorageError } from "@twinmetal/storage";
import { acquireLock } from "../image/file-lock.ts";
import { processCalls } from "../kvm/process-calls.ts";

export interface ImageLock {
  /** Called after the file is closed. */
  release(): Promise<void>;
}

const SYS_FCNTL = 72;
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;
const FLOCK_BYTES = 32;
const EACCES = 13;
const EAGAIN = 11;

const USES_BASE = 100;
const REFUSES_BASE = 200;
const CONSISTENT_READ = 0;
const WRITE = 1;
const RESIZE = 3;

/** Throws StorageError "locked". `descriptor` is open for writing unless `isReadOnly`. */
export async function lockImage(path: string, descriptor: number, isReadOnly: boolean): Promise<ImageLock> {
  const kernel = lockInKernel(path, descriptor, isReadOnly);
  return kernel ?? lockByFile(path, isReadOnly);
}

/** undefined: this system, or this file system, has no such locks. */
function lockInKernel(path: string, descriptor: number, isReadOnly: boolean): ImageLock | undefined {
  const calls = processCalls();
  if ("detail" in calls) return undefined;
  const control = (command: number, type: number, byte: number) => {
    const request = flock(type, byte);
    const result = calls.call(SYS_FCNTL, descriptor, command, request);
    return { result, type: new DataView(request.buffer).getInt16(0, true) };
  };
  const uses = isReadOnly ? [CONSISTENT_READ] : [CONSISTENT_READ, WRITE, RESIZE];
  const refuses = [WRITE, RESIZE];
  const own = [...uses.map((n) => USES_BASE + n), ...refuses.map((n) => REFUSES_BASE + n)];
  const others = [...uses.map((n) => REFUSES_BASE + n), ...refuses.map((n) => USES_BASE + n)];
  for (const byte of own) {
    const { result } = control(F_OFD_SETLK, F_RDLCK, byte);
    if (result === -EAGAIN || result === -EACCES) throw locked(path);
    if (result !== 0) return undefined;
  }
  // Asking with a write lock shows read locks of others; its own never stand in the way of a description's request.
  for (const byte of others) {
    const { result, type } = control(F_OFD_GETLK, F_WRLCK, byte);
    if (result === 0 && type !== F_UNLCK) throw locked(path);
  }
  return { release: async () => {} };
}

/** struct flock of x86-64 Linux: type, whence, start, length, pid. */
function flock(type: number, byte: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FLOCK_BYTES);
  const view = new DataView(bytes.buffer);
  view.setInt16(0, type, true);
  view.setBigInt64(8, BigInt(byte), true);
  view.setBigInt64(16, 1n, true);
  return bytes;
}

/** Where there are no locks of the kernel's. Exported for its test. */
export async function lockByFile(path: string, isReadOnly: boolean): Promise<ImageLock> {
  const lockPath = `${path}.lock`;
  if (isReadOnly) {
    const isThere = await access(lockPath).then(
      () => true,
      () => false,
    );
    if (!isThere) return { release: async () => {} };
  }
  const controller = new AbortController();
  let holder: number | undefined;
  try {
    const onWait = (pid: number | undefined) => {
      holder = pid;
      controller.abort();
    };
    const lock = await acquireLock(lockPath, { signal: controller.signal, onWait });
    if (!isReadOnly) return lock;
    await lock.release();
    return { release: async () => {} };
  } catch (error) {
    throw controller.signal.aborted ? locked(path, holder) : error;
  }
}

function locked(path: string, pid?: number): StorageError {
  const who = pid === undefined ? "another process or another disk" : `process ${pid}`;
  const next = "End that VM or program first, or make an overlay for each VM (`twinmetal image create --backing`).";
  return new StorageError("locked", `${path} is in use by ${who}. ${next}`);
}
