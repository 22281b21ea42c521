/** A vCPU of the jit engine's that rests: its state block, and an instance of its core module for the machine's thread. */
import type { KeptMsrs } from "../../cpu/kept-msrs.ts";
import * as L from "../../cpu/layout.ts";
import type { VcpuState } from "../../cpu/state.ts";
import type { CoreExports } from "../../interp/core.ts";
import type { StateBlock } from "../vcpu-state-block.ts";
import type { RestingVcpu } from "./remote-vcpu.ts";

export class RestingBlock implements RestingVcpu {
  readonly #block: StateBlock;
  readonly #exports: CoreExports;
  readonly #keptMsrs: KeptMsrs;

  constructor(block: StateBlock, exports: CoreExports, keptMsrs: KeptMsrs) {
    this.#block = block;
    this.#exports = exports;
    this.#keptMsrs = keptMsrs;
  }

  nmi(): void {
    this.#block.put(L.NMI_PENDING, 1);
  }
  setTaskPriority(cr8: number): void {
    this.#block.put64(L.CR8, BigInt(cr8));
  }
  getState(): VcpuState {
    const state = this.#block.save(this.#exports);
    return { ...state, msrs: { ...state.msrs, ...this.#keptMsrs.save() } };
  }
  setState(state: VcpuState): void {
    const { retired } = this.#block;
    this.#block.load({ ...state, retired }, this.#exports);
    this.#keptMsrs.load(state.msrs);
  }
}
