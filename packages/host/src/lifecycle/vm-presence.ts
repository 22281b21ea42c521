/**
 * What the process of a named VM holds while it lives: the VM's lock, the record of its run, and the logs. All is opened at
 * once, since a process in its sandbox opens nothing later.
 */
import { acquireLock, type FileLock } from "../image/file-lock.ts";
import { BoundedLog } from "./bounded-log.ts";
import { LifecycleError } from "./lifecycle-error.ts";
import { type RunEndKind, RunWriter } from "./run-record.ts";
import type { VmFolder } from "./vm-folder.ts";

const CONSOLE_BYTES = 1024 * 1024;
const LOG_BYTES = 256 * 1024;

export class VmPresence {
  readonly console: BoundedLog;
  readonly log: BoundedLog;
  readonly #run: RunWriter;
  readonly #lock: FileLock;

  private constructor(folder: VmFolder, lock: FileLock) {
    this.#lock = lock;
    this.console = BoundedLog.open(folder.console, CONSOLE_BYTES);
    this.log = BoundedLog.open(folder.log, LOG_BYTES);
    this.#run = new RunWriter(folder.run, new Date());
  }

  /** Once more is no error for the same process, which executes its program again. Rejects with LifecycleError. */
  static async enter(folder: VmFolder): Promise<VmPresence> {
    const held = new AbortController();
    let holder: number | undefined;
    try {
      const lock = await acquireLock(folder.lock, {
        takesOwn: true,
        signal: held.signal,
        onWait: (pid) => {
          holder = pid;
          held.abort();
        },
      });
      return new VmPresence(folder, lock);
    } catch (error) {
      if (held.signal.aborted) {
        throw new LifecycleError("bad-state", `VM ${folder.name} runs already, in process ${holder}.`);
      }
      const { code, message } = error as NodeJS.ErrnoException;
      throw new LifecycleError(
        "folder",
        `${folder.path} cannot be used (${code ?? message}). Make room or rights there.`,
        {
          cause: error,
        },
      );
    }
  }

  /** It starts again by itself, for the `count`th time. */
  restarts(count: number, reason: string): void {
    this.#run.restarts({ count, reason, at: new Date().toISOString() });
  }

  /** The record says how it ended before the lock says that it has. */
  async leave(kind: RunEndKind, reason: string, code?: string): Promise<void> {
    this.#run.end(kind, reason, new Date(), code);
    this.console.close();
    this.log.close();
    await this.#lock.release().catch(() => {}); // In its sandbox it may not; the lock is stale with the process's end.
  }
}
