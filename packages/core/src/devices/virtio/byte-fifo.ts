/** A bounded queue of bytes: a ring, so that taking a little from the front costs no copy of the rest. */
export class ByteFifo {
  readonly capacity: number;
  readonly #ring: Uint8Array;
  #start = 0;
  #length = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#ring = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** Appends as much as fits and returns how much that was. */
  push(bytes: Uint8Array): number {
    const accepted = Math.min(bytes.length, this.capacity - this.#length);
    const end = (this.#start + this.#length) % this.capacity;
    const beforeWrap = Math.min(accepted, this.capacity - end);
    this.#ring.set(bytes.subarray(0, beforeWrap), end);
    this.#ring.set(bytes.subarray(beforeWrap, accepted), 0);
    this.#length += accepted;
    return accepted;
  }

  /** Removes and returns the first `length` bytes, or all if there are fewer. */
  take(length: number): Uint8Array {
    const bytes = this.peek(length);
    this.#start = (this.#start + bytes.length) % this.capacity;
    this.#length -= bytes.length;
    return bytes;
  }

  /** A copy of the first `length` bytes, or of all if there are fewer. */
  peek(length: number): Uint8Array {
    const bytes = new Uint8Array(Math.min(length, this.#length));
    const beforeWrap = Math.min(bytes.length, this.capacity - this.#start);
    bytes.set(this.#ring.subarray(this.#start, this.#start + beforeWrap));
    bytes.set(this.#ring.subarray(0, bytes.length - beforeWrap), beforeWrap);
    return bytes;
  }

  clear(): void {
    this.#start = 0;
    this.#length = 0;
  }
}
