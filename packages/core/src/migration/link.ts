/** What migration needs of the world outside: a stream, time, compression. A host implements it, and tests do. */

/** One end of a stream of bytes in both directions. */
export interface MigrationLink {
  /** Resolves when the link takes more. `bytes` are not touched afterwards. Rejects once the link is gone. */
  send(bytes: Uint8Array): Promise<void>;
  /** The next bytes; undefined when the peer has ended. Rejects once the link is gone. One call at a time. */
  receive(): Promise<Uint8Array | undefined>;
  /** More is sent than the peer takes: it pays to make it less. */
  readonly isBacklogged: boolean;
  /** At once. What is under way may be lost; pending calls reject. */
  close(): void;
}

export interface MigrationTime {
  nowMs(): number;
  /** Calls back once, unless what it returns was called before. */
  after(timeMs: number, callback: () => void): () => void;
}

export interface PageCompressor {
  compress(bytes: Uint8Array): Promise<Uint8Array>;
  /** Rejects for bytes that are damaged, or become more than `maxBytes`. */
  decompress(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array>;
}

/** Somebody's wish to end it. */
export interface CancelSignal {
  readonly isCancelled: boolean;
  /** Calls back once; what it returns ends that. */
  onCancel(listener: () => void): () => void;
}

export const NEVER_CANCELLED: CancelSignal = { isCancelled: false, onCancel: () => () => {} };
