/**
 * Frames in a stream of bytes: each with its length in front, four bytes, the most significant first, as QEMU's
 * `-netdev stream` does it. What comes is anybody's: a length that no frame has ends the stream.
 */
import { NETWORK_LIMITS } from "@twinmetal/core";

const LENGTH_BYTES = 4;

export class FrameStreamError extends Error {
  override readonly name = "FrameStreamError";
  readonly code = "frame-length";
}

export function encodeFrame(frame: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(LENGTH_BYTES + frame.length);
  bytes.writeUInt32BE(frame.length);
  bytes.set(frame, LENGTH_BYTES);
  return bytes;
}

export class FrameDecoder {
  readonly #frame = new Uint8Array(NETWORK_LIMITS.frameBytes);
  readonly #length = new Uint8Array(LENGTH_BYTES);
  /** Bytes of the length, then of the frame. */
  #got = 0;
  #chunk: Uint8Array = new Uint8Array(0);
  #at = 0;

  /** Another stream begins. */
  reset(): void {
    this.#got = 0;
    this.feed(new Uint8Array(0));
  }

  /** Precondition: `next` has found nothing more. */
  feed(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** The next whole frame, valid until the next call. Throws FrameStreamError. */
  next(): Uint8Array | undefined {
    if (this.#got < LENGTH_BYTES && !this.#fill(this.#length, 0, LENGTH_BYTES)) return undefined;
    const length = new DataView(this.#length.buffer).getUint32(0);
    if (length === 0 || length > NETWORK_LIMITS.frameBytes) {
      throw new FrameStreamError(
        `The other end of the network says that a frame has ${length} bytes, and none has. It may speak another protocol.`,
      );
    }
    const start = this.#at;
    if (this.#got === LENGTH_BYTES && this.#chunk.length - start >= length) {
      this.#at = start + length;
      this.#got = 0;
      return this.#chunk.subarray(start, this.#at);
    }
    if (!this.#fill(this.#frame, LENGTH_BYTES, LENGTH_BYTES + length)) return undefined;
    this.#got = 0;
    return this.#frame.subarray(0, length);
  }

  /** Whether all of `from` to `end` is there. */
  #fill(into: Uint8Array, from: number, end: number): boolean {
    const part = this.#chunk.subarray(this.#at, this.#at + end - this.#got);
    into.set(part, this.#got - from);
    this.#at += part.length;
    this.#got += part.length;
    return this.#got === end;
  }
}
