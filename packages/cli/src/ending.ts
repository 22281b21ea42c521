/**
 * What ends a run from outside: signals and --timeout. The first of them aborts `signal` and decides the exit status; a
 * second signal ends the process at once, because tidying up may itself be stuck.
 */
import type { Io } from "./command.ts";
import { EXIT, signalStatus } from "./exit-status.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface EndingCause {
  readonly status: number;
  /** For standard error; empty where the user knows. */
  readonly message: string;
}

export class Ending {
  readonly #abort = new AbortController();
  readonly #disposers: (() => void)[] = [];
  #cause: EndingCause | undefined;

  constructor(io: Pick<Io, "onSignal">, timeoutMs?: number, exit: (status: number) => void = process.exit) {
    for (const name of SIGNALS) {
      const status = signalStatus(name);
      const message = name === "SIGINT" ? "" : `ended by ${name}.`;
      this.#disposers.push(
        io.onSignal(name, () => {
          if (this.#cause !== undefined) exit(status);
          this.end({ status, message });
        }),
      );
    }
    if (timeoutMs === undefined) return;
    const message = `the time of --timeout (${timeoutMs / 1000} s) is over; the VM was ended.`;
    const timer = setTimeout(() => this.end({ status: EXIT.TIMEOUT, message }), timeoutMs);
    this.#disposers.push(() => clearTimeout(timer));
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get cause(): EndingCause | undefined {
    return this.#cause;
  }

  /** Resolves with what the promise does, or with undefined as soon as the end has come. */
  async race<T>(promise: Promise<T>): Promise<T | undefined> {
    const { signal } = this;
    if (signal.aborted) return undefined;
    return await new Promise((resolve, reject) => {
      const onAbort = (): void => resolve(undefined);
      signal.addEventListener("abort", onAbort, { once: true });
      promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
    });
  }

  dispose(): void {
    for (const dispose of this.#disposers.splice(0)) dispose();
  }

  /** The first cause counts. */
  end(cause: EndingCause): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    this.#abort.abort(new DOMException("The run was ended from outside.", "AbortError"));
  }
}
