/**
 * The VM's first serial port, as streams and as something to wait for text on.
 *
 * Output goes to listeners at once, to the text that `waitFor` searches (at least the last MAX_TEXT characters after the
 * last match), and to iterators, each with a queue of its own: while one is full the machine gets no release for its output,
 * and the guest waits in the end. Input is taken over in windows, as fast as the guest reads.
 */
import type { SerialPort } from "./vm.ts";
import { VmError } from "./vm-error.ts";

const MAX_TEXT = 256 * 1024;
const MAX_QUEUE_BYTES = 256 * 1024;
const WINDOW_BYTES = 64 * 1024;
const SHOWN_TAIL = 200;
/** Of a guest that came in running: kept for the first who iterates. */
const MAX_HELD_BYTES = 256 * 1024;

export interface SerialBackend {
  send(bytes: Uint8Array): void;
  /** So much cost of output is dealt with. */
  release(cost: number): void;
}

interface Waiter {
  readonly pattern: string | RegExp;
  readonly resolve: (text: string) => void;
  readonly reject: (error: unknown) => void;
}

interface PendingWrite {
  readonly endOffset: number;
  readonly settle: () => void;
}

export class VmSerialPort implements SerialPort {
  readonly #backend: SerialBackend;
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  readonly #iterators = new Set<ByteQueue>();
  readonly #decoder = new TextDecoder();
  #waiters: Waiter[] = [];
  #text = "";
  #heldCost = 0;
  #unsent: Uint8Array[] = [];
  #writes: PendingWrite[] = [];
  #offeredBytes = 0;
  #sentBytes = 0;
  #takenBytes = 0;
  #isCorked = false;
  #held: Uint8Array[] | undefined;
  #heldBytes = 0;
  #ended: string | undefined;

  /** `holdsOutput`: output from before the first iterator is not lost to it, up to a bound. */
  constructor(backend: SerialBackend, holdsOutput = false) {
    this.#backend = backend;
    if (holdsOutput) this.#held = [];
  }

  get output(): AsyncIterable<Uint8Array> {
    return { [Symbol.asyncIterator]: () => this.#iterate() };
  }

  onData(listener: (bytes: Uint8Array) => void): () => void {
    const own = (bytes: Uint8Array): void => listener(bytes);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  write(data: Uint8Array | string): Promise<void> {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data.slice();
    if (bytes.length === 0 || this.#ended !== undefined) return Promise.resolve();
    this.#offeredBytes += bytes.length;
    this.#unsent.push(bytes);
    const { promise, resolve } = deferred<void>();
    this.#writes.push({ endOffset: this.#offeredBytes, settle: resolve });
    this.#send();
    return promise;
  }

  waitFor(pattern: string | RegExp, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<string> {
    const { timeoutMs, signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = deferred<string>();
    let timer: NodeJS.Timeout | undefined;
    const onAbort = (): void => waiter.reject(signal?.reason);
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
    };
    const waiter: Waiter = {
      pattern: typeof pattern === "string" ? pattern : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, "")),
      resolve: (text) => {
        settle();
        resolve(text);
      },
      reject: (error) => {
        settle();
        reject(error);
      },
    };
    this.#waiters.push(waiter);
    this.#search();
    if (!this.#waiters.includes(waiter)) return promise;
    if (this.#ended !== undefined) waiter.reject(this.#endError(waiter.pattern, this.#ended));
    signal?.addEventListener("abort", onAbort, { once: true });
    if (timeoutMs !== undefined && this.#waiters.includes(waiter)) {
      timer = setTimeout(() => waiter.reject(this.#timeoutError(waiter.pattern, timeoutMs)), timeoutMs);
    }
    return promise;
  }

  /** Bytes of the guest. The cost is released when no iterator holds too much. */
  receive(bytes: Uint8Array, cost: number): void {
    this.#heldCost += cost;
    this.#text += this.#decoder.decode(bytes, { stream: true });
    if (this.#text.length > 2 * MAX_TEXT) this.#text = this.#text.slice(-MAX_TEXT);
    for (const iterator of this.#iterators) iterator.push(bytes);
    if (this.#held && this.#heldBytes < MAX_HELD_BYTES) {
      this.#held.push(bytes);
      this.#heldBytes += bytes.length;
    }
    this.#release();
    for (const listener of [...this.#listeners]) listener(bytes);
    this.#search();
  }

  /** The machine has taken so many bytes of input. */
  taken(bytes: number): void {
    this.#takenBytes += bytes;
    this.#send();
    while (this.#writes[0] && this.#writes[0].endOffset <= this.#takenBytes) this.#writes.shift()!.settle();
  }

  /** What is typed stays here: the guest is on its way elsewhere. */
  cork(): void {
    this.#isCorked = true;
  }

  uncork(): void {
    this.#isCorked = false;
    this.#send();
  }

  /** What was typed and has not been sent to the machine. */
  get unsent(): readonly Uint8Array[] {
    return this.#unsent;
  }

  /** The guest has ended: nothing more comes or goes. */
  end(why: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = why;
    this.#unsent = [];
    for (const { settle } of this.#writes.splice(0)) settle();
    this.#search();
    for (const waiter of [...this.#waiters]) waiter.reject(this.#endError(waiter.pattern, why));
    for (const iterator of this.#iterators) iterator.end();
  }

  #send(): void {
    while (this.#unsent[0] && !this.#isCorked) {
      const room = WINDOW_BYTES - (this.#sentBytes - this.#takenBytes);
      if (room <= 0) return;
      const first = this.#unsent[0];
      const part = first.slice(0, room);
      this.#sentBytes += part.length;
      this.#backend.send(part);
      if (part.length === first.length) this.#unsent.shift();
      else this.#unsent[0] = first.subarray(part.length);
    }
  }

  #release(): void {
    for (const iterator of this.#iterators) if (iterator.queuedBytes > MAX_QUEUE_BYTES) return;
    const cost = this.#heldCost;
    this.#heldCost = 0;
    this.#backend.release(cost);
  }

  #search(): void {
    for (let waiter = this.#matching(); waiter; waiter = this.#matching()) {
      const text = this.#text.slice(0, waiter.end);
      this.#text = this.#text.slice(waiter.end);
      waiter.waiter.resolve(text);
    }
  }

  #matching(): { readonly waiter: Waiter; readonly end: number } | undefined {
    for (const waiter of this.#waiters) {
      const { pattern } = waiter;
      if (typeof pattern === "string") {
        const at = this.#text.indexOf(pattern);
        if (at >= 0) return { waiter, end: at + pattern.length };
      } else {
        const match = pattern.exec(this.#text);
        if (match) return { waiter, end: match.index + match[0].length };
      }
    }
    return undefined;
  }

  #iterate(): AsyncIterator<Uint8Array> {
    const queue = new ByteQueue(() => this.#release());
    for (const bytes of this.#held ?? []) queue.push(bytes);
    this.#held = undefined;
    if (this.#ended === undefined) this.#iterators.add(queue);
    else queue.end();
    return {
      next: () => queue.next(),
      return: () => {
        this.#iterators.delete(queue);
        queue.end();
        this.#release();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #timeoutError(pattern: string | RegExp, timeoutMs: number): VmError {
    return new VmError(
      "timeout",
      `The guest did not write ${describe(pattern)} within ${timeoutMs / 1000} s. ${this.#describeTail()}`,
    );
  }

  #endError(pattern: string | RegExp, why: string): VmError {
    return new VmError(
      "guest-ended",
      `The guest ended before it wrote ${describe(pattern)}: ${why}. ${this.#describeTail()}`,
    );
  }

  #describeTail(): string {
    const tail = this.#text.slice(-SHOWN_TAIL);
    return tail === "" ? "It wrote nothing more." : `The last it wrote: ${JSON.stringify(tail)}`;
  }
}

/** What an iterator has not been asked for yet. */
class ByteQueue {
  readonly #onTaken: () => void;
  #chunks: Uint8Array[] = [];
  #asking: ((result: IteratorResult<Uint8Array>) => void)[] = [];
  #hasEnded = false;
  queuedBytes = 0;

  constructor(onTaken: () => void) {
    this.#onTaken = onTaken;
  }

  push(bytes: Uint8Array): void {
    const asking = this.#asking.shift();
    if (asking) {
      asking({ done: false, value: bytes });
      return;
    }
    this.#chunks.push(bytes);
    this.queuedBytes += bytes.length;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.#chunks.shift();
    if (chunk) {
      this.queuedBytes -= chunk.length;
      this.#onTaken();
      return Promise.resolve({ done: false, value: chunk });
    }
    if (this.#hasEnded) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#asking.push(resolve));
  }

  end(): void {
    this.#hasEnded = true;
    for (const asking of this.#asking.splice(0)) asking({ done: true, value: undefined });
  }
}

function describe(pattern: string | RegExp): string {
  return typeof pattern === "string" ? JSON.stringify(pattern) : String(pattern);
}

function deferred<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
