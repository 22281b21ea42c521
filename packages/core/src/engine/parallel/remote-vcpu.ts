/** The machine's thread's view of a vCPU that runs in another one, whatever runs it there. */
import { resetState } from "../../cpu/reset-state.ts";
import type { VcpuState } from "../../cpu/state.ts";
import { type DebugRequest, refuseInParallel } from "../debugging.ts";
import type { Vcpu, VcpuExit } from "../engine.ts";
import type { ParallelCells } from "./cells.ts";

/** What answers for the vCPU in the machine's thread, while it rests. Of its states' `retired` nothing is meant. */
export interface RestingVcpu {
  nmi(): void;
  setTaskPriority(cr8: number): void;
  getState(): VcpuState;
  setState(state: VcpuState): void;
}

export interface RemoteVcpuOptions {
  readonly vcpu: number;
  readonly cells: ParallelCells;
  readonly resting: RestingVcpu;
  readonly kick: (vcpu: number) => void;
  /** Does something while all others rest. */
  readonly whileHeld: <T>(work: () => T) => T;
}

export class RemoteVcpu implements Vcpu {
  readonly #options: RemoteVcpuOptions;
  /** Time goes by the first one's count. What a state brought stays as it is. */
  #retired = 0;

  constructor(options: RemoteVcpuOptions) {
    this.#options = options;
  }

  get retired(): number {
    return this.#retired;
  }
  /** Whether it does: for whose turn it is, which it never is. */
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
      if (cells.takeNmi(vcpu)) resting.nmi();
      const priority = cells.takeTaskPriority(vcpu);
      if (priority !== undefined) resting.setTaskPriority(priority);
      return { ...resting.getState(), retired: this.#retired };
    });
  }
  setState(state: VcpuState): void {
    const { whileHeld, resting } = this.#options;
    whileHeld(() => {
      this.#retired = state.retired;
      resting.setState(state);
    });
  }
  reset(): void {
    this.setState(resetState(this.#retired));
  }
}
