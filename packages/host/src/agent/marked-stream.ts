/**
 * Finds the bytes of one command in an endless port stream (docs/reference/agent-protocol.md, "Streams"). The agent
 * writes the command's mark, a random line, before the first and after the last byte; whatever is outside belongs to
 * an earlier command and is dropped. Only bytes that may be the beginning of the mark are ever held back.
 */

export class MarkedStream {
  readonly #mark: Buffer;
  readonly #onData: (bytes: Uint8Array) => void;
  readonly #onEnd: () => void;
  #state: "before" | "inside" | "after" = "before";
  #held: Buffer = Buffer.alloc(0);

  constructor(mark: string, onData: (bytes: Uint8Array) => void, onEnd: () => void) {
    this.#mark = Buffer.from(mark, "latin1");
    this.#onData = onData;
    this.#onEnd = onEnd;
  }

  get hasEnded(): boolean {
    return this.#state === "after";
  }

  write(bytes: Uint8Array): void {
    if (this.#state === "after") return;
    let rest = this.#held.length === 0 ? asBuffer(bytes) : Buffer.concat([this.#held, bytes]);
    for (;;) {
      const at = rest.indexOf(this.#mark);
      if (at < 0) break;
      const before = rest.subarray(0, at);
      rest = rest.subarray(at + this.#mark.length);
      if (this.#state === "inside") {
        this.#state = "after";
        this.#held = Buffer.alloc(0);
        if (before.length > 0) this.#onData(before);
        this.#onEnd();
        return;
      }
      this.#state = "inside";
    }
    const heldLength = this.#partialMarkLength(rest);
    const body = rest.subarray(0, rest.length - heldLength);
    this.#held = Buffer.from(rest.subarray(rest.length - heldLength));
    if (this.#state === "inside" && body.length > 0) this.#onData(body);
  }

  /** How many bytes at the end of `bytes` are the beginning of the mark. */
  #partialMarkLength(bytes: Buffer): number {
    for (let length = Math.min(bytes.length, this.#mark.length - 1); length > 0; length--) {
      if (bytes.subarray(bytes.length - length).equals(this.#mark.subarray(0, length))) return length;
    }
    return 0;
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
