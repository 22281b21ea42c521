/**
 * The first of several vCPUs in parallel, which runs in the machine's thread like one that is alone. Its time is the host's:
 * budgets and `retired` are nanoseconds, as on kvm. Between pieces of a run it answers the others' mail.
 */
import type { KeptMsrs } from "../../cpu/kept-msrs.ts";
import * as L from "../../cpu/layout.ts";
import { resetState } from "../../cpu/reset-state.ts";
import type { VcpuState } from "../../cpu/state.ts";
import type { RegionTier } from "../../jit/tier.ts";
import { type DebugRequest, refuseInParallel } from "../debugging.ts";
import type { Vcpu, VcpuExit } from "../engine.ts";
import { EXITS } from "../jit-parts.ts";
import { StateBlock } from "../vcpu-state-block.ts";
import { BOUNDARY, type ParallelCells } from "./cells.ts";
import type { VcpuCore } from "./vcpu-core.ts";
import { BUDGET } from "./vcpu-thread.ts";

const POLL_EVERY = 16;
const KICK: VcpuExit = { reason: "kick" };
const WINDOW: VcpuExit = { reason: "interrupt-window" };

export interface FirstVcpuOptions {
  readonly core: VcpuCore;
  readonly cells: ParallelCells;
  readonly keptMsrs: KeptMsrs;
  readonly tier: RegionTier | undefined;
  readonly hostNs: () => number;
  readonly hasMail: () => boolean;
  readonly serve: () => void;
}

export class FirstVcpu implements Vcpu {
  readonly #options: FirstVcpuOptions;
  readonly #block: StateBlock;
  #isRunning = false;
  #isKicked = false;
  #isShutDown = false;
  /** NaN at first, so that V8 keeps it as a double. */
  #count = Number.NaN;
  #rounds = 0;

  constructor(options: FirstVcpuOptions) {
    this.#options = options;
    this.#block = new StateBlock(options.core.view);
    this.#count = 0;
  }

  /** While it runs, of now; between two runs, of the last one's end. */
  get retired(): number {
    if (this.#isRunning) this.#refresh();
    return this.#count;
  }
  #refresh(): void {
    const { cells, hostNs } = this.#options;
    const now = cells.countAt(hostNs());
    if (now > this.#count) this.#count = now;
  }
  followTime(isAnchor: boolean): void {
    if (isAnchor) this.#options.cells.setCount(this.#count, this.#options.hostNs());
    else this.#refresh();
  }

  get isWaiting(): boolean {
    return this.#block.isWaiting;
  }

  run(budget: number): VcpuExit {
    const { core, cells } = this.#options;
    if (this.#isShutDown) return { reason: "shutdown" };
    const block = this.#block;
    if (block.get(L.HALTED)) {
      if (block.canInterrupt) return WINDOW;
      if (block.isWaiting) {
        this.#refresh();
        return { reason: "halt" };
      }
      block.put(L.HALTED, 0);
    }
    core.gate.enter(BOUNDARY);
    this.#isRunning = true;
    try {
      return this.#runUntil(cells.countAt(this.#options.hostNs()) + budget);
    } finally {
      this.#refresh();
      this.#isRunning = false;
      core.gate.leave(BOUNDARY);
    }
  }

  #runUntil(end: number): VcpuExit {
    const { core, cells, tier, hasMail, serve, hostNs } = this.#options;
    const block = this.#block;
    for (;;) {
      if (this.#rounds++ % POLL_EVERY === 0) tier?.poll();
      block.put(L.TSC_KNOWN, 0);
      block.put(L.ACTIVITY, L.ACTIVITY_INTERPRETER);
      const exit = core.exports.run(BUDGET);
      block.put(L.ACTIVITY, L.ACTIVITY_OUTSIDE);
      if (exit === L.EXIT_HALT && block.canInterrupt) return WINDOW;
      if (exit === L.EXIT_SHUTDOWN) this.#isShutDown = true;
      if (exit !== L.EXIT_BUDGET && exit !== L.EXIT_KICK) return EXITS[exit]!;
      if (hasMail()) core.gate.inside(serve);
      if (core.gate.isWanted) core.gate.inside(() => {});
      if (this.#isKicked) {
        this.#isKicked = false;
        return KICK;
      }
      if (block.canInterrupt) return WINDOW;
      if (cells.countAt(hostNs()) >= end) return EXITS[L.EXIT_BUDGET]!;
    }
  }

  requestInterrupt(pending: boolean): void {
    this.#block.put(L.INTR_PENDING, pending ? 1 : 0);
    this.#options.core.exports.update_events();
  }
  setTaskPriority(cr8: number): void {
    this.#block.put64(L.CR8, BigInt(cr8));
  }
  interrupt(vector: number): void {
    const { gate, exports } = this.#options.core;
    gate.enter(BOUNDARY);
    if (exports.deliver_interrupt(vector)) this.#isShutDown = true;
    gate.leave(BOUNDARY);
  }
  nmi(): void {
    this.#block.put(L.NMI_PENDING, 1);
    this.#options.core.exports.update_events();
  }
  kick(): void {
    if (!this.#isRunning) return;
    this.#isKicked = true;
    this.#block.put(L.ATTENTION, this.#block.get(L.ATTENTION) | L.ATTENTION_KICK);
  }

  debug(request: DebugRequest | undefined): void {
    refuseInParallel(request);
  }

  getState(): VcpuState {
    const state = this.#block.save(this.#options.core.exports);
    return { ...state, retired: this.#count, msrs: { ...state.msrs, ...this.#options.keptMsrs.save() } };
  }
  setState(state: VcpuState): void {
    this.#isShutDown = false;
    this.#count = state.retired;
    this.followTime(true);
    this.#block.load({ ...state, retired: 0 }, this.#options.core.exports);
    this.#options.keptMsrs.load(state.msrs);
  }
  reset(): void {
    this.setState(resetState(this.#count));
  }
}
