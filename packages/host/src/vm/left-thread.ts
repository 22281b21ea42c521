/**
 * The thread that a guest has left for another engine. It waits with its code loaded, so that a change back is quick, and
 * is ended after five minutes: it costs some 50 MiB of code and tables of V8's.
 */
import { endIdle, type IdleThread } from "./machine-worker.ts";

const IDLE_MS = 300_000;

export class LeftThread {
  #thread: Promise<IdleThread | undefined> = Promise.resolve(undefined);
  #timer: NodeJS.Timeout | undefined;

  /** Precondition: the one before was taken. A scope of its own: the timer is not to hold the machine that was left. */
  keep(thread: Promise<IdleThread | undefined>): void {
    this.#thread = thread;
    this.#timer = setTimeout(() => void this.end(), IDLE_MS).unref();
  }

  /** Whoever takes it ends it. */
  take(): Promise<IdleThread | undefined> {
    const thread = this.#thread;
    this.#thread = Promise.resolve(undefined);
    clearTimeout(this.#timer);
    return thread;
  }

  async end(): Promise<void> {
    const thread = await this.take();
    if (thread) await endIdle(thread);
  }
}
