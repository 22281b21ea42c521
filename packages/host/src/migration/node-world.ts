/** What core's migration needs of a host, in Node: time, compression, a wish to end it. */
import { promisify } from "node:util";
import { deflateRaw, inflateRaw } from "node:zlib";
import type { CancelSignal, MigrationTime, PageCompressor } from "@twinmetal/core";

const deflate = promisify(deflateRaw);
const inflate = promisify<Buffer | Uint8Array, { maxOutputLength: number }, Buffer>(inflateRaw);
/** Pages are to go over soon, not to be kept. */
const FASTEST = 1;

/** A timer that is so late was stopped with its process: what it waits for gets its time anew. */
const SUSPENDED_MS = 1000;

export const NODE_TIME: MigrationTime = {
  nowMs: () => performance.now(),
  after: (timeMs, callback) => {
    let timer: NodeJS.Timeout;
    const arm = (): void => {
      const dueMs = performance.now() + timeMs;
      timer = setTimeout(() => (performance.now() - dueMs > SUSPENDED_MS ? arm() : callback()), timeMs);
    };
    arm();
    return () => clearTimeout(timer);
  },
};

export const ZLIB_COMPRESSOR: PageCompressor = {
  compress: (bytes) => deflate(bytes, { level: FASTEST }),
  decompress: (bytes, maxBytes) => inflate(bytes, { maxOutputLength: maxBytes }),
};

export function cancelBy(signal: AbortSignal | undefined): CancelSignal {
  return {
    get isCancelled() {
      return signal?.aborted ?? false;
    },
    onCancel: (listener) => {
      signal?.addEventListener("abort", listener, { once: true });
      return () => signal?.removeEventListener("abort", listener);
    },
  };
}
