/**
 * Threads that compile yield to those that run guests (Linux; elsewhere nothing happens). Both of a host's cores are
 * soon busy with compiling, and a guest that waits for them is slower than one that is interpreted.
 */
import { readdirSync, readlinkSync } from "node:fs";
import { setPriority } from "node:os";

const BACKGROUND = 10;

function lower(thread: number): void {
  try {
    setPriority(thread, BACKGROUND);
  } catch {
    // The thread has ended, or the host does not let us: it stays as it is.
  }
}

/** For the thread that translates, about itself. */
export function yieldThisThread(): void {
  try {
    lower(Number(readlinkSync("/proc/thread-self").split("/").at(-1)));
  } catch {
    // No /proc: not Linux.
  }
}

/**
 * For a process that is there for its VMs alone, before it starts any: V8's own threads yield, which compile what was
 * translated.
 */
export function yieldCompilerThreads(): void {
  try {
    for (const name of readdirSync("/proc/self/task")) if (Number(name) !== process.pid) lower(Number(name));
  } catch {
    // No /proc: not Linux.
  }
}
