/**
 * The end of a ring in shared memory whose thread serves the machine (disks, shared folders, networks): it waits at a word that
 * counts what was submitted.
 */
export class ServingEnd {
  readonly #words: Int32Array;
  readonly #index: number;

  /** `index`: of the word. */
  constructor(words: Int32Array, index: number) {
    this.#words = words;
    this.#index = index;
  }

  /** Read before the ring is looked at: to wait from there on. */
  get work(): number {
    return Atomics.load(this.#words, this.#index);
  }

  /** In the thread's event loop. */
  async untilWork(work: number): Promise<void> {
    const { async, value } = waitAsync(this.#words, this.#index, work);
    if (async) await value;
  }

  /** Ends a wait. */
  wake(): void {
    Atomics.add(this.#words, this.#index, 1);
    Atomics.notify(this.#words, this.#index);
  }
}

/** ES2024; V8 has it in every Node that is supported. */
type AsyncWait =
  | { readonly async: false; readonly value: string }
  | { readonly async: true; readonly value: Promise<string> };
const { waitAsync } = Atomics as unknown as { waitAsync(cells: Int32Array, index: number, value: number): AsyncWait };
