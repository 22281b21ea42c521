/** What was typed, and what else happened at the terminal, until it is taken. */
export class TypedKeys<T> {
  readonly #typed: T[] = [];
  #wake: () => void = () => {};

  push(typed: T): void {
    this.#typed.push(typed);
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const typed = this.#typed.shift();
      if (typed !== undefined) yield typed;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
