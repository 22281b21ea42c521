/**
 * Processor time of threads of this process: Linux's schedstat
 * (Documentation/scheduler/sched-stats.rst), which tells beside the time on a processor the time that a thread could have run
 * and had to wait for one. A running thread's figures are up to a tick old; those of one that has just waited are exact.
 *
 * Elsewhere than on Linux there is nothing like it in every Node: the time since a slice's start counts then.
 */
import { closeSync, openSync, readlinkSync, readSync } from "node:fs";

export interface ThreadTime {
  /** On a processor. */
  readonly cpuMs: number;
  /** Ready to run, without a processor. */
  readonly waitedMs: number;
}

/** The number by which the host knows this thread; -1 where there is no /proc. */
export function ownThreadId(): number {
  try {
    return Number(readlinkSync("/proc/thread-self").split("/").at(-1));
  } catch {
    return -1;
  }
}

/** Of several threads together, which tell their numbers when they begin: `threads` has 0 for those that have not yet. */
export class ThreadClock {
  readonly #threads: Int32Array;
  readonly #files: (number | undefined)[] = [];
  readonly #buffer = Buffer.alloc(96);

  constructor(threads: Int32Array) {
    this.#threads = threads;
    this.#open();
  }

  /** Undefined where the host does not tell. Threads that have ended count no more. */
  read(): ThreadTime | undefined {
    this.#open();
    let cpuNs = 0;
    let waitedNs = 0;
    let isTold = false;
    for (const file of this.#files) {
      if (file === undefined) continue;
      try {
        const length = readSync(file, this.#buffer, 0, this.#buffer.length, 0);
        const [cpu, waited] = this.#buffer.toString("latin1", 0, length).split(" ");
        cpuNs += Number(cpu);
        waitedNs += Number(waited);
        isTold = true;
      } catch {
        // ESRCH: it has ended.
      }
    }
    return isTold ? { cpuMs: cpuNs / 1e6, waitedMs: waitedNs / 1e6 } : undefined;
  }

  close(): void {
    for (const file of this.#files.splice(0)) if (file !== undefined) closeSync(file);
  }

  #open(): void {
    while (this.#files.length < this.#threads.length) {
      const thread = Atomics.load(this.#threads, this.#files.length);
      if (thread === 0) return;
      this.#files.push(open(thread));
    }
  }
}

function open(thread: number): number | undefined {
  try {
    return openSync(`/proc/self/task/${thread}/schedstat`, "r");
  } catch {
    return undefined;
  }
}
