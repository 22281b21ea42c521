/**
 * Runs a vCPU up to an exact instruction and answers its exits that the board can answer: interrupt windows and kicks.
 * In every slicing of the same run, the same things happen at the same count:
 *   - timers that are due fire before an interrupt is acknowledged;
 *   - an interrupt is delivered only if an instruction may still run after it, so that no slice ends between the two
 *     and events of one count never fall on both sides of a delivery.
 */
import type { DebugStop } from "../engine/debugging.ts";
import type { Vcpu } from "../engine/engine.ts";
import type { Board } from "./board-interface.ts";
import type { GuestClock } from "./guest-clock.ts";

export type VcpuStop =
  /** The target is reached, or something asked for a look at the machine first. */
  | { readonly kind: "ran" }
  /** Halted, and nothing can be delivered. */
  | { readonly kind: "halted" }
  /** One of several, at a PAUSE. */
  | { readonly kind: "yielded" }
  | { readonly kind: "shutdown" }
  | { readonly kind: "debug"; readonly stop: DebugStop }
  /** The engine gave up. */
  | { readonly kind: "error"; readonly message: string };

const RAN: VcpuStop = { kind: "ran" };
const HALTED: VcpuStop = { kind: "halted" };
const YIELDED: VcpuStop = { kind: "yielded" };
const SHUTDOWN: VcpuStop = { kind: "shutdown" };

export class VcpuRunner {
  readonly #vcpu: Vcpu;
  readonly #clock: GuestClock;
  readonly #board: Pick<Board, "acknowledgeInterrupt">;
  /** NaN at first, so that V8 keeps it as a double. */
  #target = Number.NaN;

  constructor(vcpu: Vcpu, clock: GuestClock, board: Pick<Board, "acknowledgeInterrupt">) {
    this.#vcpu = vcpu;
    this.#clock = clock;
    this.#board = board;
    this.#target = 0;
  }

  /**
   * Precondition: `limit` >= 1 and not beyond the first timer. It may end up to `slack` instructions before, where the vCPU
   * would have to go on slowly.
   */
  run(limit: number, slack = 0): VcpuStop {
    this.#target = this.#vcpu.retired + limit;
    try {
      return this.#run(slack);
    } finally {
      this.#target = 0;
    }
  }

  #run(slack: number): VcpuStop {
    const vcpu = this.#vcpu;
    for (;;) {
      const left = this.#target - vcpu.retired;
      if (left <= 0) return RAN;
      const exit = vcpu.run(left);
      switch (exit.reason) {
        case "budget":
          // Perhaps not all of it: then the rest follows.
          if (this.#target - vcpu.retired <= slack) return RAN;
          break;
        case "kick":
          return RAN;
        case "interrupt-window":
          if (vcpu.retired >= this.#target) return RAN;
          this.#deliver();
          break;
        case "halt":
          return HALTED;
        case "yield":
          return YIELDED;
        case "shutdown":
          return SHUTDOWN;
        case "debug":
          return { kind: "debug", stop: exit.stop };
        case "error":
          return { kind: "error", message: exit.message };
      }
    }
  }

  #deliver(): void {
    this.#clock.fireDue();
    const vector = this.#board.acknowledgeInterrupt();
    if (vector !== undefined) this.#vcpu.interrupt(vector);
  }
}
