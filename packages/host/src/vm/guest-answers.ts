/** Waiting for what the guest says, which may never come, or the end. */
import { VmError } from "./vm-error.ts";

interface Waiting {
  readonly isDone: () => boolean;
  readonly resolve: () => void;
}

export class GuestAnswers {
  readonly #ended: () => string | undefined;
  readonly #waiting = new Set<Waiting>();

  /** `ended`: why the guest has ended, once it has. */
  constructor(ended: () => string | undefined) {
    this.#ended = ended;
  }

  /** Something has happened that somebody may wait for. */
  look(): void {
    for (const waiting of this.#waiting) if (waiting.isDone()) waiting.resolve();
  }

  /** Throws VmError "guest-ended". */
  requireRunning(): void {
    const ended = this.#ended();
    if (ended !== undefined) throw new VmError("guest-ended", `The guest has ended: ${ended}.`);
  }

  /** False: the time ran out. Rejects with VmError "guest-ended", or with the signal's reason. */
  async until(isDone: () => boolean, timeoutMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    signal?.throwIfAborted();
    let resolve = (): void => {};
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    const waiting = { isDone: () => isDone() || this.#ended() !== undefined, resolve };
    const timer = setTimeout(resolve, timeoutMs);
    this.#waiting.add(waiting);
    signal?.addEventListener("abort", waiting.resolve, { once: true });
    try {
      if (!waiting.isDone()) await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(waiting);
      signal?.removeEventListener("abort", waiting.resolve);
    }
    signal?.throwIfAborted();
    if (isDone()) return true;
    this.requireRunning();
    return false;
  }
}
