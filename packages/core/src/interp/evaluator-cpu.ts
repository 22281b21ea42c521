/**
 * A second CPU from the same records: the reference evaluator (ir/evaluate.ts) runs the routines that the core module
 * has compiled, over the same memory layout, one instruction at a time and without block cache. It finds mistakes of
 * the compiler, the block cache and the run loop; a mistake in a record is in both.
 *
 * It offers what the core module exports, so that an engine takes either, and counts instructions as the run loop does
 * (interp/dispatcher.ts). Only the ring of recent branches differs: every instruction is a block here.
 */
import * as L from "../cpu/layout.ts";
import { Evaluator } from "../ir/evaluate.ts";
import type { Routine } from "../ir/routine.ts";
import { type HandlerSet, handlerOf } from "../isa/handlers.ts";
import { encodeMicroOp } from "../isa/micro-op.ts";
import { BRANCH, FAULT, LEAVE } from "../isa/semantics.ts";
import type { RamHolder } from "../memory/ram.ts";
import { attend } from "./attention.ts";
import { BlockDecoder } from "./block-decoder.ts";
import { checkInstructionEnd, fetchNextPage, findCodePage } from "./code-fetch.ts";
import {
  type Core,
  type CoreExports,
  type CoreHost,
  coreExports,
  handlerSet,
  hostImports,
  prepareMemory,
} from "./core.ts";
import { fetchFault, instructionFault } from "./dispatcher.ts";

const UOP = L.CPU_BASE + L.SCRATCH_UOP;
const PAGE_MASK = 0xfffn;
const LONGEST = 16;

class EvaluatorCpu {
  readonly #evaluator: Evaluator;
  readonly #handlers: HandlerSet;
  readonly #routines: Record<string, Routine>;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #code = new Uint8Array(LONGEST);

  constructor(evaluator: Evaluator, handlers: HandlerSet, view: DataView) {
    this.#evaluator = evaluator;
    this.#handlers = handlers;
    this.#routines = coreExports(handlers);
    this.#view = view;
    this.#bytes = new Uint8Array(view.buffer);
  }

  exports(): CoreExports {
    const call =
      (name: string) =>
      (...args: number[]): number =>
        Number(this.#evaluator.call(this.#routines[name] as Routine, ...args));
    const names = Object.keys(this.#routines).filter((name) => name !== "run");
    const all = Object.fromEntries(names.map((name) => [name, call(name)]));
    return { ...all, run: (budget: number) => this.#run(budget) } as unknown as CoreExports;
  }

  #get(field: { offset: number }): number {
    return this.#view.getInt32(L.CPU_BASE + field.offset, true);
  }
  #put(field: { offset: number }, value: number): void {
    this.#view.setInt32(L.CPU_BASE + field.offset, value, true);
  }
  #get64(field: { offset: number }): bigint {
    return this.#view.getBigUint64(L.CPU_BASE + field.offset, true);
  }
  #put64(field: { offset: number }, value: bigint): void {
    this.#view.setBigUint64(L.CPU_BASE + field.offset, BigInt.asUintN(64, value), true);
  }
  #call(r: Routine, ...args: (number | bigint)[]): number {
    return Number(this.#evaluator.call(r, ...args));
  }

  #run(budget: number): number {
    this.#put64(L.RETIRED_END, this.#get64(L.RETIRED_END) + BigInt(budget - this.#get(L.REMAINING)));
    this.#put(L.REMAINING, budget);
    while (this.#get(L.REMAINING) > 0) {
      if (this.#get(L.ATTENTION)) {
        const what = this.#call(attend);
        if (what > 1) return what - 1;
        if (this.#get(L.REMAINING) <= 0) break;
      }
      const exit = this.#instruction();
      if (exit) return exit;
    }
    return L.EXIT_BUDGET;
  }

  /** One instruction: 0, or EXIT_*. */
  #instruction(): number {
    const rip = this.#get64(L.RIP);
    const ring = this.#get(L.BRANCH_NEXT);
    this.#view.setBigUint64(L.CPU_BASE + L.BRANCH_RING + ring, rip, true);
    this.#put(L.BRANCH_NEXT, (ring + 8) & (L.BRANCH_RING_ENTRIES * 8 - 1));
    this.#put64(L.BLOCK_RIP, rip);
    const handler = this.#fetch(BigInt.asUintN(64, rip + this.#get64(L.CODE_BASE)));
    if (handler < 0) {
      this.#call(fetchFault);
      return this.#deliver();
    }
    this.#put(L.REMAINING, this.#get(L.REMAINING) - 1);
    const code = this.#call(handlerOf(this.#handlers, handler).routine, UOP);
    if (code === BRANCH) return 0;
    if (code === LEAVE) return this.#get(L.EXIT_REASON);
    if (code === FAULT) {
      this.#call(instructionFault, UOP);
      return this.#deliver();
    }
    const next = rip + BigInt(this.#view.getUint8(UOP + L.UOP_LENGTH));
    this.#put64(L.RIP, this.#get(L.MODE) & L.MODE_64 ? next : next & 0xffff_ffffn);
    return 0;
  }

  #deliver(): number {
    return this.#call(this.#routines["deliver_exception"] as Routine) ? L.EXIT_SHUTDOWN : 0;
  }

  /** Decodes the instruction at a linear address into the scratch micro-op: its handler, or -1 = a fault is pending. */
  #fetch(linear: bigint): number {
    const { decoder } = this.#handlers;
    const first = this.#call(findCodePage, linear) >>> 0;
    if (first === 0) return -1;
    const mode = this.#get(L.MODE);
    const size = BlockDecoder.codeSize(mode);
    const isProtected = (mode & L.MODE_PROTECTED) !== 0;
    const inPage = 4096 - Number(linear & PAGE_MASK);
    let status = decoder.decode(this.#bytes, first, first + inPage, size, isProtected);
    if (status === "short") {
      const second = this.#call(fetchNextPage, linear) >>> 0;
      if (second === 0) return -1;
      this.#code.set(this.#bytes.subarray(first, first + inPage));
      this.#code.set(this.#bytes.subarray(second, second + LONGEST - inPage), inPage);
      status = decoder.decode(this.#code, 0, LONGEST, size, isProtected);
    }
    if (!this.#call(checkInstructionEnd, decoder.length)) return -1;
    if (status === "ok") encodeMicroOp(decoder, this.#view, UOP, 0, 0);
    else {
      this.#bytes.fill(0, UOP, UOP + L.UOP_BYTES);
      const pseudo = status === "long" ? this.#handlers.tooLong : this.#handlers.undefined;
      this.#view.setUint16(UOP + L.UOP_HANDLER, pseudo, true);
    }
    return this.#view.getUint16(UOP + L.UOP_HANDLER, true);
  }
}

/** As `createCore`, with the evaluator in place of the core module. */
export function createEvaluatorCore(
  ramBytes: number,
  host: CoreHost,
  shared: boolean,
  handlers: HandlerSet = handlerSet(),
  romBytes = 0,
  _holder?: RamHolder,
  vcpus = 1,
  hasVga = false,
  lowRamBytes?: number,
): Core {
  const map = L.memoryMap(ramBytes, romBytes, undefined, vcpus, lowRamBytes);
  const memory = new WebAssembly.Memory({ initial: map.wasmPages, maximum: map.wasmPages, shared });
  const view = new DataView(memory.buffer);
  const decoder = new BlockDecoder(handlers, memory.buffer, map);
  const evaluator = new Evaluator({
    memory: view,
    cpuBase: L.CPU_BASE,
    imports: hostImports(decoder, host, view),
    table: handlers.table.map((h) => h.routine),
  });
  const cpu = new EvaluatorCpu(evaluator, handlers, view);
  prepareMemory(view, map, handlers.features, hasVga);
  return { memory, map, exports: cpu.exports(), view, decoder, handlers, regions: undefined };
}
