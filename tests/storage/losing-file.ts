// A file on a disk that loses power: what was not flushed when it happens is there or not, sector by sector, in any
// order, as on a real disk with a cache. Operations take their time (some turns of the event loop), so that requests
// overlap. After the loss every operation fails.

import { type ImageFile, MemoryFile, StorageError } from "@twinmetal/storage";

const SECTOR = 512;

type Change =
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "zero"; readonly offset: number; readonly length: number }
  | { readonly kind: "size"; readonly sizeBytes: number };

export interface LosingFileOptions {
  /** The loss comes with this operation that changes something or flushes, counted from 1. */
  readonly cutAt: number;
  readonly random: (below: number) => number;
  /** A disk that says it has flushed and has not: what the rig has to find. */
  readonly lies?: boolean;
}

export class LosingFile implements ImageFile {
  readonly isReadOnly = false;
  readonly #seen: MemoryFile;
  readonly #options: LosingFileOptions;
  #durable: Uint8Array;
  #pending: Change[] = [];
  #operations = 0;
  /** What is on the disk after the loss. */
  afterLoss: Uint8Array | undefined;

  constructor(contents: Uint8Array, options: LosingFileOptions) {
    this.#seen = new MemoryFile(contents);
    this.#durable = contents.slice();
    this.#options = options;
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    await this.#wait(2);
    await this.#seen.read(offset, into);
    await this.#wait(2);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#wait(3);
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(SECTOR - ((offset + at) % SECTOR), bytes.length - at);
      this.#pending.push({ kind: "write", offset: offset + at, bytes: bytes.slice(at, at + length) });
      at += length;
    }
    await this.#seen.write(offset, bytes);
    await this.#step();
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#pending.push({ kind: "size", sizeBytes });
    await this.#seen.truncate(sizeBytes);
    await this.#step();
  }

  async discard(offset: number, length: number): Promise<boolean> {
    this.#pending.push({ kind: "zero", offset, length });
    await this.#seen.discard(offset, length);
    await this.#step();
    return true;
  }

  /** Only what was there when the flush began is durable by it. */
  async flush(): Promise<void> {
    const count = this.#pending.length;
    await this.#step();
    if (this.#options.lies) return;
    const flushed = this.#pending.splice(0, count);
    this.#durable = applied(this.#durable, flushed);
  }

  size(): Promise<number> {
    return this.#seen.size();
  }

  async close(): Promise<void> {}

  async #step(): Promise<void> {
    if (this.afterLoss === undefined && ++this.#operations >= this.#options.cutAt) this.#lose();
    if (this.afterLoss !== undefined) throw lost();
    await this.#wait(3);
  }

  async #wait(turns: number): Promise<void> {
    for (let left = this.#options.random(turns); left > 0; left--) await turn();
    if (this.afterLoss !== undefined) throw lost();
  }

  #lose(): void {
    const { random } = this.#options;
    const chance = [0, 10, 50, 90, 100][random(5)]!;
    const kept = this.#pending.filter(() => random(100) < chance);
    for (let at = kept.length - 1; at > 0; at--) {
      const other = random(at + 1);
      [kept[at], kept[other]] = [kept[other]!, kept[at]!];
    }
    this.afterLoss = applied(this.#durable, kept);
  }
}

function applied(before: Uint8Array, changes: readonly Change[]): Uint8Array {
  if (changes.length === 0) return before;
  const endOf = (change: Change) => (change.kind === "write" ? change.offset + change.bytes.length : 0);
  const sizeOf = (change: Change) => (change.kind === "size" ? change.sizeBytes : endOf(change));
  const bytes = new Uint8Array(changes.reduce((size, change) => Math.max(size, sizeOf(change)), before.length));
  bytes.set(before);
  let size = before.length;
  for (const change of changes) {
    if (change.kind === "write") bytes.set(change.bytes, change.offset);
    if (change.kind === "zero") bytes.fill(0, change.offset, change.offset + change.length);
    if (change.kind === "size") bytes.fill(0, change.sizeBytes);
    size = change.kind === "size" ? change.sizeBytes : Math.max(size, endOf(change));
  }
  return bytes.subarray(0, size);
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const lost = () => new StorageError("io", "The power is gone.");
