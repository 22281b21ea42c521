/** What core's migration needs of a host, in Node: time, compression, a wish to end it. */
import { promisify } from "node:util";
import { deflateRaw, inflateRaw } from "node:zlib";
import type { CancelSignal, MigrationTime, PageCompressor } from "@twinmetal/core";

const deflate = promisify(deflateRaw);
const inflate = promisify<Buffer | Uint8Array, { maxOutputLength: number }, Buffer>(inflateRaw);
/** Pages are to go over soon, not to be kept. */
const FASTEST = 1;

export const NODE_TIME: MigrationTime = {
  nowMs: () => performance.now(),
  after: (timeMs, callback) => {
    const timer = setTimeout(callback, timeMs);
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
