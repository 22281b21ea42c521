/**
 * Breakpoints and steps of a debugger outside the guest (debugging.ts) on the jit engine. Up to four breakpoints are the
 * run loop's (L.breakpoint, L.DEBUGGED; interp/attention.ts): the guest is interpreted, block by block. With more, each
 * instruction is a run of its own. A watchpoint makes every access take the slow path, as one of the guest's does.
 */
import * as L from "../cpu/layout.ts";
import type { CoreExports } from "../interp/core.ts";
import {
  type Breakpoint,
  type DebugPlan,
  type DebugRequest,
  debugControl,
  debugPlan,
  debugStopOf,
  MAX_HARDWARE_BREAKPOINTS,
} from "./debugging.ts";
import type { VcpuExit } from "./engine.ts";
import type { StateBlock } from "./vcpu-state-block.ts";

const HITS = 15;
const LOW_32 = 0xffff_ffffn;

export class JitDebugger {
  readonly #block: StateBlock;
  readonly #exports: CoreExports;
  /** In the run loop: watchpoints, then instructions as far as there is room. */
  readonly #inCore: readonly Breakpoint[];
  readonly #plan: DebugPlan;
  /** Instructions that have found no room. */
  readonly #isCounting: boolean;
  /** Where the last run has stopped. */
  #passing: bigint | undefined;

  /** Throws RangeError. */
  constructor(block: StateBlock, exports: CoreExports, request: DebugRequest) {
    this.#plan = debugPlan(request);
    const { watchpoints, instructions } = this.#plan;
    this.#block = block;
    this.#exports = exports;
    this.#isCounting = watchpoints.length + instructions.size > MAX_HARDWARE_BREAKPOINTS;
    const inCore = this.#isCounting ? [] : [...instructions];
    this.#inCore = [...watchpoints, ...inCore.map((address): Breakpoint => ({ on: "instruction", address }))];
    this.#arm(this.#inCore);
  }

  get isStepping(): boolean {
    return this.#plan.isStepping;
  }

  /** The guest's own debug registers act again. */
  end(): void {
    this.#block.put(L.WATCH_HITS, 0);
    this.#block.put(L.DEBUGGED, 0);
    this.#block.followDebugRegisters();
    this.#update();
  }

  /** Another state is there: nothing has been stopped for in it. */
  forget(): void {
    this.#passing = undefined;
  }

  /** `once` is a run of the core. */
  run(budget: number, once: (budget: number) => VcpuExit): VcpuExit {
    for (let left = budget; ; ) {
      const at = this.#codeAddress();
      const isBreakpoint = this.#plan.instructions.has(at);
      const isPassing = isBreakpoint && this.#passing === at;
      if (isBreakpoint && !isPassing) {
        this.#passing = at;
        return { reason: "debug", stop: { kind: "breakpoint", address: at } };
      }
      const isSingle = this.isStepping || this.#isCounting || isPassing;
      const before = this.#block.retired;
      if (isPassing) this.#arm(this.#plan.watchpoints);
      const exit = once(isSingle ? 1 : left);
      if (isPassing) this.#arm(this.#inCore);
      const ran = this.#block.retired - before;
      if (ran > 0) this.#passing = undefined;
      const hits = this.#block.get(L.WATCH_HITS) & HITS;
      if (hits !== 0) {
        this.#block.put(L.WATCH_HITS, this.#block.get(L.WATCH_HITS) & ~HITS);
        this.#exports.update_events();
        return { reason: "debug", stop: debugStopOf(hits, this.#inCore)! };
      }
      if (exit.reason === "debug") continue;
      if (exit.reason !== "budget") return exit;
      left -= ran;
      if (this.isStepping && ran > 0) return { reason: "debug", stop: { kind: "step" } };
      if (left <= 0) return exit;
    }
  }

  #arm(breakpoints: readonly Breakpoint[]): void {
    this.#block.put(L.DEBUGGED, 1);
    for (const [i, { address }] of breakpoints.entries()) this.#block.put64(L.breakpoint(i), address);
    this.#block.put64(L.BREAKPOINT_CONTROL, debugControl(breakpoints));
    this.#update();
  }

  #update(): void {
    this.#exports.update_mode();
    this.#exports.update_events();
  }

  #codeAddress(): bigint {
    const linear = BigInt.asUintN(64, this.#block.get64(L.RIP) + this.#block.get64(L.CODE_BASE));
    return (this.#block.get(L.MODE) & L.MODE_64) !== 0 ? linear : linear & LOW_32;
  }
}
