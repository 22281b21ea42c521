/**
 * The machine's thread's view of a vCPU that runs in a thread of its own (kvm-vcpu-thread.ts). While that rests, KVM answers
 * requests from here about it; what KVM does not know (it has halted) goes through the cells.
 */
import type { DebugRequest, Vcpu, VcpuExit, VcpuState } from "@twinmetal/core";
import { type ParallelCells, refuseInParallel, resetState } from "@twinmetal/core/vcpu";
import type { KvmVcpu } from "../kvm-vcpu.ts";

/** ParallelCells.rest: it has halted; its state was set and it has not run since. */
export const RESTS_HALTED = 1;
export const RESTS_FRESH = 2;

export interface RemoteKvmVcpuOptions {
  readonly vcpu: number;
  readonly cells: ParallelCells;
  /** One for this thread, that never runs. */
  readonly resting: KvmVcpu;
  readonly kick: (vcpu: number) => void;
  /** Does something while all others rest. */
  readonly whileHeld: <T>(work: () => T) => T;
}

export class RemoteKvmVcpu implements Vcpu {
  readonly #options: RemoteKvmVcpuOptions;
  /** Time goes by the first one's count. What a state brought stays as it is. */
  #retired = 0;

  constructor(options: RemoteKvmVcpuOptions) {
    this.#options = options;
    this.#leave(RESTS_FRESH);
  }

  get retired(): number {
    return this.#retired;
  }
  /** For whose turn it is, which it never is. */
  readonly isWaiting = true;

  run(): VcpuExit {
    throw new Error("a vCPU that runs in parallel is run by its own thread");
  }
  interrupt(): void {
    throw new Error("a vCPU that runs in parallel takes interrupts by itself");
  }

  requestInterrupt(pending: boolean): void {
    const { cells, vcpu } = this.#options;
    if (cells.interrupt(vcpu) === pending) return;
    cells.setInterrupt(vcpu, pending);
    if (pending) this.kick();
  }
  setTaskPriority(cr8: number): void {
    this.#options.cells.setTaskPriority(this.#options.vcpu, cr8);
  }
  nmi(): void {
    this.#options.cells.setNmi(this.#options.vcpu);
    this.kick();
  }
  kick(): void {
    const { cells, vcpu, kick } = this.#options;
    cells.wake(vcpu);
    kick(vcpu);
  }

  debug(request: DebugRequest | undefined): void {
    refuseInParallel(request);
  }

  getState(): VcpuState {
    const { whileHeld, resting, cells, vcpu } = this.#options;
    return whileHeld(() => {
      const rest = cells.rest(vcpu);
      if ((rest & RESTS_FRESH) === 0) resting.takeOver((rest & RESTS_HALTED) !== 0);
      if (cells.takeNmi(vcpu)) resting.nmi();
      const priority = cells.takeTaskPriority(vcpu);
      if (priority !== undefined) resting.setTaskPriority(priority);
      const state = resting.getState();
      this.#leave(rest & RESTS_FRESH);
      return { ...state, retired: this.#retired };
    });
  }
  setState(state: VcpuState): void {
    this.#options.whileHeld(() => {
      this.#retired = state.retired;
      this.#options.resting.setState({ ...state, retired: this.#options.resting.retired });
      this.#leave(RESTS_FRESH);
    });
  }
  reset(): void {
    this.setState(resetState(this.#retired));
  }

  #leave(fresh: number): void {
    const { cells, resting, vcpu } = this.#options;
    cells.setRest(vcpu, fresh | (resting.handOver() ? RESTS_HALTED : 0));
  }
}
