/**
 * Who may do what at the same time in one image. `Turns`: changes of metadata, one after the other. `Passage`: requests for
 * data whose place is known, many at once; closed for a moment where clusters change their owner, so that none still
 * reads or writes a cluster that has been given away.
 */

export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` when all before it have ended. What it throws is the caller's alone. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

export class Passage {
  #inside = 0;
  #closed: Promise<void> | undefined;
  #onEmpty: (() => void) | undefined;

  /** To be awaited, if there is something, before `enter`; again afterwards. */
  get obstacle(): Promise<void> | undefined {
    return this.#closed;
  }

  enter(): void {
    this.#inside++;
  }

  leave(): void {
    this.#inside--;
    if (this.#inside === 0) this.#onEmpty?.();
  }

  /** Runs `work` while nobody is inside. One caller at a time. */
  async whileEmpty(work: () => Promise<void>): Promise<void> {
    let open = () => {};
    this.#closed = new Promise((resolve) => (open = resolve));
    try {
      if (this.#inside > 0) await new Promise<void>((resolve) => (this.#onEmpty = resolve));
      this.#onEmpty = undefined;
      await work();
    } finally {
      this.#closed = undefined;
      open();
    }
  }
}
