/**
 * Bytes that were sent and are not acknowledged, and those behind them that wait: chunks as the host handed them over. Small
 * ones behind others are put together: a peer that sends byte by byte costs no more memory and time than others.
 */
const SMALL_BYTES = 1024;
const BLOCK_BYTES = 4096;

export class SendBuffer {
  readonly #chunks: Uint8Array[] = [];
  /** Bytes of the first chunk that are gone. */
  #skipped = 0;
  #length = 0;
  /** The last chunk is its front, which has room behind it. */
  #block: Uint8Array | undefined;

  get length(): number {
    return this.#length;
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#length += bytes.length;
    if (bytes.length >= SMALL_BYTES || this.#chunks.length === 0) {
      this.#block = undefined;
      this.#chunks.push(bytes);
      return;
    }
    const used = this.#block ? this.#chunks.at(-1)!.length : BLOCK_BYTES;
    if (used + bytes.length <= BLOCK_BYTES) this.#chunks.pop();
    else this.#block = new Uint8Array(BLOCK_BYTES);
    const start = used + bytes.length <= BLOCK_BYTES ? used : 0;
    this.#block!.set(bytes, start);
    this.#chunks.push(this.#block!.subarray(0, start + bytes.length));
  }

  /** Precondition: `count` <= length. */
  drop(count: number): void {
    this.#length -= count;
    let left = count + this.#skipped;
    let gone = 0;
    while (gone < this.#chunks.length && left >= this.#chunks[gone]!.length) left -= this.#chunks[gone++]!.length;
    if (gone > 0) this.#chunks.splice(0, gone);
    if (this.#chunks.length === 0) this.#block = undefined;
    this.#skipped = left;
  }

  /** Fills `into` with what lies `offset` bytes behind the front. Precondition: it is there. */
  copy(offset: number, into: Uint8Array): void {
    let skip = offset + this.#skipped;
    let done = 0;
    for (let i = 0; done < into.length; i++) {
      const chunk = this.#chunks[i]!;
      if (skip >= chunk.length) {
        skip -= chunk.length;
        continue;
      }
      const part = chunk.subarray(skip, skip + into.length - done);
      into.set(part, done);
      done += part.length;
      skip = 0;
    }
  }
}
