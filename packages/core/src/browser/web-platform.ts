/**
 * The part of the web platform (WHATWG HTML: workers, message channels, timers; W3C High Resolution Time, Web
 * Cryptography) that this folder uses, as interfaces: core compiles with neither the DOM's nor Node's types. Everything
 * is handed in but `Worker` and `URL`, which bundlers want to see by name (vm.ts, worker-translator.ts).
 */

export interface MessageTarget {
  postMessage(message: unknown, transfer?: readonly ArrayBufferLike[]): void;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
}

export interface WebWorker extends MessageTarget {
  /** The script could not be loaded, or threw. */
  onerror: ((event: { readonly message?: string }) => void) | null;
  terminate(): void;
}

export type WorkerConstructor = new (url: object, options: { type: "module"; name: string }) => WebWorker;

/** What a page and a worker have. */
export interface WebGlobals {
  /** COOP and COEP are set: memory can be shared between threads. */
  readonly crossOriginIsolated?: boolean;
  readonly performance: { readonly timeOrigin: number; now(): number };
  readonly crypto: { getRandomValues<T extends Uint8Array>(into: T): T };
  readonly MessageChannel: new () => { readonly port1: MessageTarget; readonly port2: MessageTarget };
  setTimeout(callback: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** A worker's own global scope. */
export type WebWorkerScope = WebGlobals & MessageTarget;
