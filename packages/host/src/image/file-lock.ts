/**
 * A lock between processes, so that two first runs do not fetch the same packages twice. It saves work and is not
 * what keeps files whole: results are built aside and renamed into place, so even two holders do no harm.
 *
 * The lock is a file with its holder's pid, that process's start time, and host name. It is stale when the process is
 * gone (or its pid now belongs to a later one), or, from another host or container, when its heartbeat has stopped.
 */

import { open, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

export interface FileLock {
  release(): Promise<void>;
}

export interface LockOptions {
  readonly signal?: AbortSignal;
  /** Called each time another holder is found; pid is undefined while that is not known. */
  readonly onWait?: (pid: number | undefined) => void;
  readonly pollMs?: number;
  /** A lock that this process has taken before it executed its program again is its own. Default: false. */
  readonly takesOwn?: boolean;
}

interface LockHolder {
  readonly pid: number;
  readonly startTime: string;
  readonly host: string;
}

const HEARTBEAT_MS = 2000;
const HEARTBEAT_LOST_MS = 30_000;
const POLL_MS = 200;

/** Waits until the lock is free or `signal` is aborted. The directory of `path` has to exist. */
export async function acquireLock(path: string, options: LockOptions = {}): Promise<FileLock> {
  const { signal, onWait, pollMs = POLL_MS, takesOwn = false } = options;
  const text = JSON.stringify(await describeProcess(process.pid));
  for (;;) {
    signal?.throwIfAborted();
    if (await tryCreate(path, text)) return holdLock(path, text);
    const found = await readLock(path);
    if (found === undefined) continue;
    if (takesOwn && found.text === text) return holdLock(path, text);
    if (await isStale(found)) {
      await breakLock(path, found.text);
      continue;
    }
    onWait?.(found.holder?.pid);
    await sleep(pollMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
  }
}

/** The process that holds it, if there is one: its pid, where that can be known (else 0). Never waits. */
export async function lockHolder(path: string): Promise<number | undefined> {
  const found = await readLock(path);
  return found === undefined || (await isStale(found)) ? undefined : (found.holder?.pid ?? 0);
}

function holdLock(path: string, text: string): FileLock {
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {}); // Broken by somebody who thought this process dead: harmless, see above.
  }, HEARTBEAT_MS).unref();
  return {
    release: async () => {
      clearInterval(heartbeat);
      if ((await readLock(path))?.text === text) await rm(path, { force: true });
    },
  };
}

async function tryCreate(path: string, text: string): Promise<boolean> {
  try {
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

interface FoundLock {
  readonly text: string;
  readonly holder: LockHolder | undefined;
  readonly ageMs: number;
}

async function readLock(path: string): Promise<FoundLock | undefined> {
  try {
    const [text, { mtimeMs }] = [await readFile(path, "utf8"), await stat(path)];
    return { text, holder: parseHolder(text), ageMs: Date.now() - mtimeMs };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function parseHolder(text: string): LockHolder | undefined {
  try {
    const { pid, startTime, host } = JSON.parse(text) as Partial<LockHolder>;
    const isComplete = Number.isInteger(pid) && typeof startTime === "string" && typeof host === "string";
    return isComplete ? { pid: pid!, startTime: startTime!, host: host! } : undefined;
  } catch {
    return undefined; // Just created and not yet written, or damaged: its age decides.
  }
}

async function isStale({ holder, ageMs }: FoundLock): Promise<boolean> {
  if (holder === undefined || holder.host !== hostname()) return ageMs > HEARTBEAT_LOST_MS;
  return (await describeProcess(holder.pid)).startTime !== holder.startTime;
}

/** Moves the lock aside and makes sure it was the one seen: another process may have replaced it in between. */
async function breakLock(path: string, staleText: string): Promise<void> {
  const aside = `${path}.stale-${process.pid}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, "utf8")) === staleText) await rm(aside, { force: true });
    else await rename(aside, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error; // Somebody else was faster.
  }
}

/** startTime is "" for a process that does not exist, and "alive" where the system does not tell. */
async function describeProcess(pid: number): Promise<LockHolder> {
  const holder = { pid, host: hostname() };
  try {
    const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).replace(/^.*\)/s, "").trim().split(" ");
    // A zombie has ended; it is there until its parent looks at it.
    return { ...holder, startTime: /^[ZX]$/.test(fields[0] ?? "") ? "" : (fields[19] ?? "alive") };
  } catch {
    return { ...holder, startTime: isAlive(pid) ? "alive" : "" };
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
