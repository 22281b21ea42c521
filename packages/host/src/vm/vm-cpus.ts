/** The processors of a VM, from outside: how many it has, where they can come and go. Wishes enter through the machine's event log. */
import { CPUS_CHANNEL } from "@twinmetal/core";
import { GuestAnswers } from "./guest-answers.ts";
import type { VmCpus } from "./vm.ts";
import { VmError } from "./vm-error.ts";

const CHANGE_TIMEOUT_MS = 30_000;

export interface CpusBackend {
  /** At power-on, and the most that there may be. */
  readonly atStart: number;
  readonly max: number;
  send(channel: string, bytes: Uint8Array): void;
  /** Why the guest has ended, once it has. */
  ended(): string | undefined;
}

export class CpusOfVm implements VmCpus {
  readonly #backend: CpusBackend;
  readonly #answers: GuestAnswers;
  #count: number;
  #wanted = 0;
  #told = 0;

  constructor(backend: CpusBackend) {
    this.#backend = backend;
    this.#answers = new GuestAnswers(() => backend.ended());
    this.#count = backend.atStart;
  }

  get count(): number {
    return this.#count;
  }

  get max(): number {
    return this.#backend.max;
  }

  check(count: number): void {
    this.#answers.requireRunning();
    const { atStart, max } = this.#backend;
    if (atStart === max && count !== max) {
      throw new VmError(
        "no-hot-cpus",
        "The VM's processors cannot change while it runs: it was made without room for more. Make it with some: maxCpus, or twinmetal run --cpus 1,max=4.",
      );
    }
    if (!Number.isInteger(count) || count < 1 || count > max)
      throw new VmError("bad-option", `The VM cannot have ${count} processors. Give 1 to ${max}.`);
  }

  async set(count: number, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<number> {
    this.check(count);
    if (this.#backend.atStart === this.#backend.max) return count;
    const { timeoutMs = CHANGE_TIMEOUT_MS, signal } = options;
    const before = this.#told;
    this.#wanted = count;
    this.#backend.send(CPUS_CHANNEL, Uint8Array.of(count));
    if (timeoutMs === 0) return this.#count;
    const isThere = (): boolean => this.#told > before && this.#count === count;
    if (await this.#answers.until(() => isThere() || this.#wanted !== count, timeoutMs, signal)) return this.#count;
    throw new VmError(
      "timeout",
      `The guest has ${this.#count} processors and not ${count} after ${timeoutMs / 1000} s: it did not let go of the others. It may not be up yet, or have no ACPI; ask again then.`,
    );
  }

  /** Of a VM that comes from elsewhere: how many it has. */
  askCount(): void {
    if (this.#backend.max > this.#backend.atStart) this.#backend.send(CPUS_CHANNEL, new Uint8Array());
  }

  /** What the device says. */
  receive(bytes: Uint8Array): void {
    this.#count = bytes.at(-1) ?? this.#count;
    this.#told++;
    this.#answers.look();
  }

  look(): void {
    this.#answers.look();
  }
}
