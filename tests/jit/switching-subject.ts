// Tiers that take turns: at slice ends by chance the guest goes on in another machine, with all of its state.

import { Random } from "../cpu/random.ts";
import { EngineMachine, type EngineSubjectOptions } from "./engine-subject.ts";
import type { EventKind, Guest, GuestMachine, Subject } from "./subject.ts";

const LONGEST_SLICE = 50;

export function switchingSubject(name: string, tiers: readonly EngineSubjectOptions[], mostRetired?: number): Subject {
  return { name, mostRetired, load: (guest) => new SwitchingMachine(guest, tiers) };
}

class SwitchingMachine implements GuestMachine {
  readonly #machines: readonly EngineMachine[];
  readonly #guest: Guest;
  #current: EngineMachine;
  #random: Random;

  constructor(guest: Guest, tiers: readonly EngineSubjectOptions[]) {
    this.#guest = guest;
    this.#machines = tiers.map((tier) => new EngineMachine(guest, tier));
    this.#current = this.#machines[0]!;
    this.#random = new Random(guest.name);
  }

  reset(): void {
    this.#random = new Random(this.#guest.name);
    this.#current = this.#random.pick(this.#machines);
    this.#current.reset();
  }
  get retired(): number {
    return this.#current.retired;
  }
  get ram(): Uint8Array {
    return this.#current.ram;
  }
  get trace(): number {
    return this.#current.trace;
  }
  get translated(): number {
    return this.#machines.reduce((sum, { translated }) => sum + translated, 0);
  }
  state(): ReturnType<GuestMachine["state"]> {
    return this.#current.state();
  }
  raise(event: EventKind): void {
    this.#current.raise(event);
  }

  advance(retired: number): boolean {
    while (this.retired < retired) {
      const next = this.#random.pick(this.#machines);
      if (next !== this.#current && !this.#current.hasPendingTrap) {
        next.takeOver(this.#current);
        this.#current = next;
      }
      if (!this.#current.advance(Math.min(retired, this.retired + 1 + this.#random.below(LONGEST_SLICE)))) return false;
    }
    return true;
  }
}
