/**
 * One thread's end of the protocol of cells.ts: resting and going on, and having everything for itself. On one thread with a
 * vCPU each; the first one's is the machine's thread, which answers the others' mail wherever it waits, and is INSIDE while its
 * devices work.
 */
import { INSIDE, MAIL_POSTED, type ParallelCells, RUNNING } from "./cells.ts";

/** Looks until a kick is repeated, and until the thread sleeps. */
const KICK_EVERY = 512;
const SPINS = 2000;
const NAP_MS = 0.05;

export interface GateOptions {
  readonly cells: ParallelCells;
  readonly vcpu: number;
  readonly vcpus: number;
  /** Makes a vCPU that runs come to a boundary soon. */
  readonly kick: (vcpu: number) => void;
  /** RUNNING again, or the lock is had: what the list says is done. */
  readonly catchUp: () => void;
  /** Of the machine's thread: answers mail while it waits. Not called within a device's access, which would be two at once. */
  readonly serve?: () => void;
}

export class Gate {
  readonly #options: GateOptions;
  readonly #cells: ParallelCells;
  readonly #vcpu: number;
  /** How many exclusive sections there are around. */
  #depth = 0;

  constructor(options: GateOptions) {
    this.#options = options;
    this.#cells = options.cells;
    this.#vcpu = options.vcpu;
  }

  /** From BOUNDARY or INSIDE: RUNNING, when nobody has everything for itself. */
  enter(from: number): void {
    const { serve, catchUp } = this.#options;
    for (;;) {
      this.#cells.setState(this.#vcpu, RUNNING);
      const { lock } = this.#cells;
      if (lock === 0 || lock === this.#vcpu + 1) break;
      this.#cells.setState(this.#vcpu, from);
      serve?.();
      this.#cells.waitForLock(lock, serve && NAP_MS);
    }
    catchUp();
  }
  leave(to: number): void {
    this.#cells.setState(this.#vcpu, to);
  }
  /** Of a RUNNING vCPU, in the middle of an instruction. */
  inside<T>(wait: () => T): T {
    if (this.#cells.state(this.#vcpu) !== RUNNING) return wait();
    this.leave(INSIDE);
    try {
      return wait();
    } finally {
      this.enter(INSIDE);
    }
  }
  /** Somebody wants everything for itself, or all at a boundary. */
  get isWanted(): boolean {
    const { lock, isHeld } = this.#cells;
    return isHeld || (lock !== 0 && lock !== this.#vcpu + 1);
  }

  /** Begins an exclusive section; they may be nested. */
  begin(): void {
    if (this.#depth > 0) {
      this.#depth++;
      return;
    }
    const { vcpus, kick, serve, catchUp } = this.#options;
    const cells = this.#cells;
    const before = cells.state(this.#vcpu);
    if (before === RUNNING) cells.setState(this.#vcpu, INSIDE);
    for (let spins = 0; !cells.tryLock(this.#vcpu); spins++) {
      const { lock } = cells;
      // A device stores for whoever has everything for itself, and waits for the device.
      if (serve && before !== RUNNING && lock !== 0 && cells.mail(lock - 1) === MAIL_POSTED) {
        this.#depth = 1;
        return;
      }
      if (before === RUNNING) serve?.();
      if (spins > KICK_EVERY && lock !== 0) cells.waitForLock(lock, serve ? NAP_MS : 1);
    }
    this.#depth = 1;
    cells.countSection(this.#vcpu);
    cells.setState(this.#vcpu, before);
    for (let other = 0; other < vcpus; other++) {
      if (other === this.#vcpu) continue;
      for (let spins = 0; cells.state(other) === RUNNING; spins++) {
        if (spins % KICK_EVERY === 0) kick(other);
        if (spins > SPINS) cells.waitForState(other, RUNNING, NAP_MS);
      }
    }
    if (before === RUNNING) catchUp();
  }
  /** Without a section: nothing. */
  end(): void {
    if (this.#depth === 0 || --this.#depth > 0) return;
    if (this.#cells.lock === this.#vcpu + 1) this.#cells.unlock();
  }
  exclusive<T>(work: () => T): T {
    this.begin();
    try {
      return work();
    } finally {
      this.end();
    }
  }
}
