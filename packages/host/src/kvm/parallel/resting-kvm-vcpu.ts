/**
 * A vCPU of KVM's that rests: requests about it from the machine's thread, by a KvmVcpu of that thread, which never runs. What
 * KVM does not know of it (it has halted) goes through the cells.
 */
import type { VcpuState } from "@twinmetal/core";
import type { RestingVcpu } from "@twinmetal/core/engine";
import type { ParallelCells } from "@twinmetal/core/vcpu";
import type { KvmVcpu } from "../kvm-vcpu.ts";

/** ParallelCells.rest: it has halted; its state was set and it has not run since. */
export const RESTS_HALTED = 1;
const RESTS_FRESH = 2;

export class RestingKvmVcpu implements RestingVcpu {
  readonly #vcpu: number;
  readonly #cells: ParallelCells;
  readonly #kvm: KvmVcpu;

  constructor(vcpu: number, cells: ParallelCells, kvm: KvmVcpu) {
    this.#vcpu = vcpu;
    this.#cells = cells;
    this.#kvm = kvm;
    this.#leave(RESTS_FRESH);
  }

  nmi(): void {
    const fresh = this.#take();
    this.#kvm.nmi();
    this.#leave(fresh);
  }
  setTaskPriority(cr8: number): void {
    const fresh = this.#take();
    this.#kvm.setTaskPriority(cr8);
    this.#leave(fresh);
  }
  getState(): VcpuState {
    const fresh = this.#take();
    const state = this.#kvm.getState();
    this.#leave(fresh);
    return state;
  }
  setState(state: VcpuState): void {
    this.#kvm.setState({ ...state, retired: this.#kvm.retired });
    this.#leave(RESTS_FRESH);
  }

  #take(): number {
    const rest = this.#cells.rest(this.#vcpu);
    if ((rest & RESTS_FRESH) === 0) this.#kvm.takeOver((rest & RESTS_HALTED) !== 0);
    return rest & RESTS_FRESH;
  }
  #leave(fresh: number): void {
    this.#cells.setRest(this.#vcpu, fresh | (this.#kvm.handOver() ? RESTS_HALTED : 0));
  }
}
