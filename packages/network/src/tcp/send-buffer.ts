/** Bytes that were sent and are not acknowledged, and those behind them that wait: chunks as the host handed them over. */
export class SendBuffer {
  readonly #chunks: Uint8Array[] = [];
  /** Bytes of the first chunk that are gone. */
  #skipped = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.push(bytes);
    this.#length += bytes.length;
  }

  /** Precondition: `count` <= length. */
  drop(count: number): void {
    this.#length -= count;
    let left = count + this.#skipped;
    let gone = 0;
    while (gone < this.#chunks.length && left >= this.#chunks[gone]!.length) left -= this.#chunks[gone++]!.length;
    if (gone > 0) this.#chunks.splice(0, gone);
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
