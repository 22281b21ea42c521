/**
 * Bytes to standard output or error, in order, with back-pressure. A reader that went away (EPIPE) is no error: `onGone`
 * is called once, and the rest is dropped.
 */
import type { OutputTarget } from "./command.ts";

export class ByteOutput {
  readonly #stream: OutputTarget;
  readonly #onError = (error: NodeJS.ErrnoException): void => this.#failed(error);
  #pending = Promise.resolve();
  #isGone = false;
  /** The stream takes no more. `code` is the system's, such as EPIPE or ENOSPC. */
  onGone: ((code: string) => void) | undefined;

  constructor(stream: OutputTarget) {
    this.#stream = stream;
    stream.on("error", this.#onError);
  }

  /** Resolves when the stream has taken the bytes, and also when it takes no more. */
  write(bytes: Uint8Array | string): Promise<void> {
    if (this.#isGone) return Promise.resolve();
    const written = new Promise<void>((resolve) => {
      this.#stream.write(bytes, (error) => {
        if (error) this.#failed(error);
        resolve();
      });
    });
    this.#pending = this.#pending.then(() => written);
    return written;
  }

  /** Resolves when everything is written, or after `timeoutMs` when the reader does not read. */
  async flush(timeoutMs?: number): Promise<void> {
    if (timeoutMs === undefined) return await this.#pending;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.#pending, late]);
    clearTimeout(timer);
  }

  dispose(): void {
    this.#stream.off("error", this.#onError);
    // A stream that breaks later has nobody left to tell.
    this.#stream.on("error", () => {});
  }

  #failed(error: NodeJS.ErrnoException): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.onGone?.(error.code ?? "EIO");
  }
}
