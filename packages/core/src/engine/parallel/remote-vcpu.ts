/** The machine's thread's view of a vCPU that runs in another one. */
import type { KeptMsrs } from "../../cpu/kept-msrs.ts";
import * as L from "../../cpu/layout.ts";
import { resetState } from "../../cpu/reset-state.ts";
import type { VcpuState } from "../../cpu/state.ts";
import type { CoreExports } from "../../interp/core.ts";
import { type DebugRequest, refuseInParallel } from "../debugging.ts";
import type { Vcpu, VcpuExit } from "../engine.ts";
import { StateBlock } from "../vcpu-state-block.ts";
import type { ParallelCells } from "./cells.ts";

export interface RemoteVcpuOptions {
  readonly vcpu: number;
  readonly cells: ParallelCells;
  readonly view: DataView;
  readonly map: L.MemoryMap;
  /** Of an instance for this thread. */
  readonly exports: CoreExports;
  readonly keptMsrs: KeptMsrs;
  readonly kick: (vcpu: number) => void;
  /** Does something while all others rest. */
  readonly whileHeld: <T>(work: () => T) => T;
}

export class RemoteVcpu implements Vcpu {
  readonly #options: RemoteVcpuOptions;
  readonly block: StateBlock;
  /** Time goes by the first one's count. What a state brought stays as it is. */
  #retired = 0;

  constructor(options: RemoteVcpuOptions) {
    this.#options = options;
    this.block = new StateBlock(options.view, L.cpuBase(options.map));
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
    this.#options.cells.setInterrupt(this.#options.vcpu, pending);
    if (pending) this.#tell();
  }
  setTaskPriority(cr8: number): void {
    this.#options.cells.setTaskPriority(this.#options.vcpu, cr8);
  }
  nmi(): void {
    this.#options.cells.setNmi(this.#options.vcpu);
    this.#tell();
  }
  kick(): void {
    this.#tell();
  }
  #tell(): void {
    const { cells, vcpu, kick } = this.#options;
    cells.wake(vcpu);
    kick(vcpu);
  }

  debug(request: DebugRequest | undefined): void {
    refuseInParallel(request);
  }

  getState(): VcpuState {
    const { whileHeld, exports, keptMsrs, cells, vcpu } = this.#options;
    return whileHeld(() => {
      if (cells.takeNmi(vcpu)) this.block.put(L.NMI_PENDING, 1);
      const priority = cells.takeTaskPriority(vcpu);
      if (priority !== undefined) this.block.put64(L.CR8, BigInt(priority));
      const state = this.block.save(exports);
      return { ...state, retired: this.#retired, msrs: { ...state.msrs, ...keptMsrs.save() } };
    });
  }
  setState(state: VcpuState): void {
    const { whileHeld, exports, keptMsrs } = this.#options;
    whileHeld(() => {
      this.#retired = state.retired;
      const { retired } = this.block;
      this.block.load({ ...state, retired }, exports);
      keptMsrs.load(state.msrs);
    });
  }
  reset(): void {
    this.setState(resetState(this.#retired));
  }
}
