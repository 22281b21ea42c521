/**
 * The machine's output on its way to the other thread: collected while a slice runs, neighbours of one channel joined,
 * sent as one message whose buffers change their owner. The sender bounds it (machine-thread.ts).
 */
import type { OutputPart } from "./worker-protocol.ts";
import { PART_COST } from "./worker-protocol.ts";

const FIRST_BYTES = 256;

export class OutputBatch {
  #parts: OutputPart[] = [];
  #channel = "";
  #bytes = new Uint8Array(FIRST_BYTES);
  #length = 0;
  #cost = 0;

  /** Bytes, and something for each part. */
  get cost(): number {
    return this.#cost;
  }

  /** Takes a copy. */
  add(channel: string, bytes: Uint8Array): void {
    if (channel !== this.#channel) {
      this.#close();
      this.#channel = channel;
    }
    if (this.#length + bytes.length > this.#bytes.length) this.#grow(bytes.length);
    this.#bytes.set(bytes, this.#length);
    if (this.#length === 0) this.#cost += PART_COST;
    this.#length += bytes.length;
    this.#cost += bytes.length;
  }

  /** The parts since the last call, in order. */
  take(): { readonly parts: readonly OutputPart[]; readonly cost: number } {
    this.#close();
    const taken = { parts: this.#parts, cost: this.#cost };
    this.#parts = [];
    this.#cost = 0;
    return taken;
  }

  #close(): void {
    if (this.#length === 0) return;
    this.#parts.push({ channel: this.#channel, bytes: this.#bytes.slice(0, this.#length) });
    this.#length = 0;
    if (this.#bytes.length > 65_536) this.#bytes = new Uint8Array(FIRST_BYTES);
  }

  #grow(bytes: number): void {
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + bytes));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
