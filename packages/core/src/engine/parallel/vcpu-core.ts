/**
 * The core module of one of several vCPUs in parallel: an instance of its own, whose tables are its own, over everybody's
 * memory. Made in the vCPU's thread, and for the others' once more in the machine's thread, which looks at their states while
 * they rest.
 */
import * as L from "../../cpu/layout.ts";
import { BlockDecoder } from "../../interp/block-decoder.ts";
import {
  type Core,
  type CoreExports,
  type CoreHost,
  coreModuleBytes,
  handlerSet,
  hostImports,
} from "../../interp/core.ts";
import { type HandlerSet, limitHandlers } from "../../isa/handlers.ts";
import type { Feature } from "../../isa/record.ts";
import type { ParallelCells } from "./cells.ts";
import { Gate, type GateOptions } from "./gate.ts";
import { SharedCode } from "./shared-code.ts";

export interface ParallelExports extends CoreExports {
  drop_page(page: number): void;
}

export function parallelHandlers(features: ReadonlySet<Feature>): HandlerSet {
  return limitHandlers(handlerSet("parallel"), features);
}

/** The module of the vCPU with a map: addresses are constants in it. */
export function parallelModule(map: L.MemoryMap): WebAssembly.Module {
  return new WebAssembly.Module(coreModuleBytes(true, handlerSet("parallel"), map.ownShift));
}

export interface VcpuCoreOptions {
  readonly memory: WebAssembly.Memory;
  readonly maps: readonly L.MemoryMap[];
  readonly vcpu: number;
  readonly module: WebAssembly.Module;
  readonly handlers: HandlerSet;
  readonly cells: ParallelCells;
  readonly host: CoreHost;
  readonly serve?: GateOptions["serve"];
}

export interface VcpuCore extends Core {
  readonly exports: ParallelExports;
  readonly gate: Gate;
}

/** Makes another vCPU come to a boundary: a hint, which its own thread may overwrite, and is repeated then. */
export function kicker(memory: WebAssembly.Memory, maps: readonly L.MemoryMap[]): (vcpu: number) => void {
  const words = new Int32Array(memory.buffer);
  const places = maps.map((map) => (L.cpuBase(map) + L.ATTENTION.offset) / 4);
  return (vcpu) => void Atomics.or(words, places[vcpu]!, L.ATTENTION_KICK);
}

export function createVcpuCore(options: VcpuCoreOptions): VcpuCore {
  const { memory, maps, vcpu, handlers, cells } = options;
  const map = maps[vcpu]!;
  const view = new DataView(memory.buffer);
  const attention = (L.cpuBase(map) + L.ATTENTION.offset) / 4;
  const words = new Int32Array(memory.buffer);
  const gate: Gate = new Gate({
    cells,
    vcpu,
    vcpus: maps.length,
    kick: kicker(memory, maps),
    catchUp: () => code.catchUp(),
    ...(options.serve && { serve: options.serve }),
  });
  const code: SharedCode = new SharedCode({
    cells,
    gate,
    memory: memory.buffer as SharedArrayBuffer,
    map,
    vcpu,
    vcpus: maps.length,
    core: {
      protect: (page) => {
        exports.protect_page(page);
        // Translated code that is under way knows the stack's page by itself.
        Atomics.or(words, attention, L.ATTENTION_CODE);
      },
      drop: (page) => exports.drop_page(page),
    },
    dropAll: () => {
      decoder.flush();
      exports.flush_tlb_all();
      Atomics.or(words, attention, L.ATTENTION_CODE);
    },
  });
  const decoder = new BlockDecoder(handlers, memory.buffer, map, code);
  const instance = new WebAssembly.Instance(options.module, {
    env: {
      memory,
      ...hostImports(decoder, options.host, view, L.cpuBase(map)),
      decode_block: (host: number, mode: number) => decoder.decodeShared(host, mode),
      decode_crossing: (host: number, mode: number, second: number) => decoder.decodeShared(host, mode, second),
      code_changed: (page: number) => code.changed(page >>> 0),
      begin_exclusive: () => gate.begin(),
      end_exclusive: () => gate.end(),
    },
  });
  const exports = instance.exports as unknown as ParallelExports;
  const table = instance.exports["table"] as WebAssembly.Table;
  const imports = { env: { memory, ...instance.exports } } as WebAssembly.Imports;
  return { memory, map, exports, view, decoder, handlers, regions: { table, imports }, gate };
}
