/**
 * The core module of a machine on the jit engine: its memory, the compiled routines, and the host's side of them
 * (decoding blocks, block-decoder.ts; device accesses).
 */
import { codeWritten, dropPage } from "../cpu/code-cache.ts";
import { updateFpuBlocked } from "../cpu/control-registers.ts";
import { deliverException, deliverInterrupt } from "../cpu/exceptions.ts";
import { ALL_FEATURES, featureWord } from "../cpu/features.ts";
import { readFlags, writeArithmeticFlags } from "../cpu/flags.ts";
import * as L from "../cpu/layout.ts";
import { updateEvents, updateMode } from "../cpu/mode.ts";
import { REGION_FLOAT_ROUTINES } from "../cpu/region-float.ts";
import { knownTimeStamp } from "../cpu/time-stamp.ts";
import { flushTlbAll, protectPage } from "../cpu/tlb.ts";
import { type HandlerSet, makeHandlers } from "../isa/handlers.ts";
import "../isa/records/index.ts";
import { compileModule } from "../ir/compile.ts";
import { inVariant, type Variant } from "../ir/routine.ts";
import type { Routine } from "../ir/types.ts";
import { walkCalls } from "../ir/walk.ts";
import { TRANSLATED_ROUTINES } from "../isa/records/x87-form.ts";
import {
  regionCarry,
  regionFlags,
  regionRead,
  regionWrite,
  runRegions,
  stackRange,
  stackRead,
  stackWrite,
  unparkFlags,
  writableRange,
} from "../jit/routines.ts";
import { leaveRegion, worldRest } from "../jit/world.ts";
import { MEMORY_MAP } from "../machine/board-map.ts";
import type { RamHolder } from "../memory/ram.ts";
import { BlockDecoder, clearPageLists, clearPageTables, fillTable } from "./block-decoder.ts";
import { makeRun } from "./dispatcher.ts";
import { prebuiltModule } from "./prebuilt.ts";

/** What the core module calls in the host. Values travel through memory at `at`. */
export interface CoreHost {
  mmioRead(gpa: number, bytes: number, at: number): void;
  mmioWrite(gpa: number, bytes: number, at: number): void;
  portRead(port: number, bytes: number): number;
  portWrite(port: number, bytes: number, value: number): void;
  /** MSR outside the state block; value through the first result field. 0 = done, 1 = #GP. */
  readMsr(index: number): number;
  writeMsr(index: number): number;
  readTsc(retired: bigint): bigint;
  randomBits(): bigint;
  cpuid(): void;
  /** The x87's FERR# pin changed or was asserted again; 1 = IGNNE# is asserted. */
  floatError(asserted: number): number;
}

export interface CoreExports {
  run(budget: number): number;
  deliver_interrupt(vector: number): number;
  deliver_exception(): number;
  update_mode(): void;
  update_fpu_blocked(): void;
  update_events(): void;
  flush_tlb_all(): void;
  read_flags(): number;
  write_arithmetic_flags(image: number): void;
  code_written(host: number, bytes: number): void;
  protect_page(host: number): void;
}

let sharedHandlers: HandlerSet | undefined;
let parallelHandlers: HandlerSet | undefined;
/** Compiled modules by the handlers in them: one for shared and one for unshared memory. */
const modules = new WeakMap<HandlerSet["table"], Map<boolean, WebAssembly.Module>>();

export function handlerSet(variant: Variant = "one"): HandlerSet {
  if (variant === "parallel") return (parallelHandlers ??= makeHandlers(undefined, variant));
  sharedHandlers ??= makeHandlers();
  return sharedHandlers;
}

/** The routines that the host calls, by export name. */
export function coreExports(handlers: HandlerSet): Parameters<typeof compileModule>[0]["exports"] {
  return {
    run: makeRun(handlers),
    deliver_interrupt: deliverInterrupt,
    deliver_exception: deliverException,
    update_mode: updateMode,
    update_fpu_blocked: updateFpuBlocked,
    update_events: updateEvents,
    flush_tlb_all: flushTlbAll,
    read_flags: readFlags,
    write_arithmetic_flags: writeArithmeticFlags,
    code_written: codeWritten,
    protect_page: protectPage,
    run_regions: runRegions,
    ...(handlers.variant === "parallel" && { drop_page: dropPage }),
  };
}

/** Routines that instructions call and that regions may import: `name` of each is its own. */
export function library(handlers: HandlerSet): Record<string, Routine> {
  const all: Record<string, Routine> = {};
  const add = (routine: Routine): void => {
    if (!routine.body) return;
    if ((all[routine.name] ??= routine) !== routine) throw new Error(`two routines are named ${routine.name}`);
  };
  const own = [
    regionRead,
    regionWrite,
    writableRange,
    stackRead,
    stackWrite,
    stackRange,
    runRegions,
    regionFlags,
    regionCarry,
    unparkFlags,
  ];
  const floats = [...TRANSLATED_ROUTINES, ...REGION_FLOAT_ROUTINES];
  for (const routine of [...own, leaveRegion, worldRest, knownTimeStamp, ...floats]) add(routine);
  for (const handler of handlers.table) {
    const body = handler.routine.body?.();
    if (body) walkCalls(body.statements, add);
  }
  return all;
}

/** `ownShift`: where a vCPU's own tables lie, against the first one's. */
export function coreModuleBytes(
  sharedMemory: boolean,
  handlers: HandlerSet = handlerSet(),
  ownShift = 0,
): Uint8Array<ArrayBuffer> {
  return inVariant(handlers.variant, () =>
    compileModule({
      cpuBase: L.CPU_BASE + ownShift,
      ownShift,
      sharedMemory,
      exports: { ...library(handlers), ...coreExports(handlers) },
      table: handlers.table.map((h) => h.routine),
    }),
  );
}

function coreModule(sharedMemory: boolean, handlers: HandlerSet): WebAssembly.Module {
  const byMemory = modules.get(handlers.table) ?? new Map<boolean, WebAssembly.Module>();
  modules.set(handlers.table, byMemory);
  const known = byMemory.get(sharedMemory);
  if (known) return known;
  const prebuilt = handlers.table === sharedHandlers?.table ? prebuiltModule(sharedMemory) : undefined;
  const made = new WebAssembly.Module(prebuilt ?? coreModuleBytes(sharedMemory, handlers));
  byMemory.set(sharedMemory, made);
  return made;
}

export interface Core {
  readonly memory: WebAssembly.Memory;
  readonly handlers: HandlerSet;
  /** Where functions of regions go, behind the handlers', and what their modules import; undefined where none can run. */
  readonly regions: { readonly table: WebAssembly.Table; readonly imports: WebAssembly.Imports } | undefined;
  readonly map: L.MemoryMap;
  readonly exports: CoreExports;
  readonly view: DataView;
  readonly decoder: BlockDecoder;
}

/** The host's side of the routines, by import name, as WebAssembly calls it; `view`: of the core's memory. */
export function hostImports(
  decoder: BlockDecoder,
  host: CoreHost,
  view: DataView,
  cpuBase: number = L.CPU_BASE,
): Record<string, (...args: never[]) => unknown> {
  const at = cpuBase + L.ACTIVITY.offset;
  const during =
    (activity: number) =>
    <A extends unknown[], R>(call: (...args: A) => R) =>
    (...args: A): R => {
      const before = view.getInt32(at, true);
      view.setInt32(at, activity, true);
      const result = call(...args);
      view.setInt32(at, before, true);
      return result;
    };
  const decoding = during(L.ACTIVITY_DECODING);
  const device = during(L.ACTIVITY_DEVICES);
  return {
    decode_block: decoding((at: number, mode: number) => decoder.decodeBlock(at, mode)),
    block_hot: during(L.ACTIVITY_TRANSLATION)((block: number) => decoder.onHot(block)),
    decode_crossing: decoding((at: number, mode: number, second: number) => decoder.decodeCrossing(at, mode, second)),
    mmio_read: device((gpa: number, bytes: number, at: number) => host.mmioRead(gpa, bytes, at)),
    mmio_write: device((gpa: number, bytes: number, at: number) => host.mmioWrite(gpa, bytes, at)),
    port_read: device((port: number, bytes: number) => host.portRead(port, bytes)),
    port_write: device((port: number, bytes: number, value: number) => host.portWrite(port, bytes, value >>> 0)),
    read_msr: device((index: number) => host.readMsr(index >>> 0)),
    write_msr: device((index: number) => host.writeMsr(index >>> 0)),
    read_tsc: device((retired: bigint) => host.readTsc(retired)),
    random_bits: device(() => BigInt.asIntN(64, host.randomBits())),
    cpuid: device(() => host.cpuid()),
    float_error: device((asserted: number) => host.floatError(asserted)),
  };
}

/**
 * For this thread's machines: the core module for shared memory, as coreImage() has it, that somebody else has compiled.
 */
export function provideCoreModule(module: WebAssembly.Module): void {
  const { table } = handlerSet();
  modules.set(table, new Map([...(modules.get(table) ?? []), [true, module]]));
}

/**
 * Makes a machine's memory and core. `shared` needs cross-origin isolation in browsers; `handlers`: of other records or
 * fewer features; `holder`: RAM is there already, and whatever else lies in that memory is nobody's any more.
 */
export function createCore(
  ramBytes: number,
  host: CoreHost,
  shared: boolean,
  handlers: HandlerSet = handlerSet(),
  romBytes = 0,
  holder?: RamHolder,
  vcpus = 1,
  hasVga = false,
  lowRamBytes?: number,
): Core {
  const map = L.memoryMap(ramBytes, romBytes, holder?.ramOffset, vcpus, lowRamBytes);
  const memory = holder?.memory ?? new WebAssembly.Memory({ initial: map.wasmPages, maximum: map.wasmPages, shared });
  const view = new DataView(memory.buffer);
  const hasBeenUsed = view.getUint32(L.CPU_BASE + L.RAM_HOST.offset, true) !== 0;
  if (hasBeenUsed) new Uint8Array(memory.buffer, 0, map.ram).fill(0);
  const decoder = new BlockDecoder(handlers, memory.buffer, map);
  const instance = new WebAssembly.Instance(coreModule(shared, handlers), {
    env: { memory, ...hostImports(decoder, host, view) },
  });
  const exports = instance.exports as unknown as CoreExports;
  decoder.onProtect((page) => exports.protect_page(page));
  prepareMemory(view, map, handlers.features, hasVga);
  const table = instance.exports["table"] as WebAssembly.Table;
  const imports = { env: { memory, ...instance.exports } } as WebAssembly.Imports;
  return { memory, map, exports, view, decoder, handlers, regions: { table, imports } };
}

/** The tables of a fresh machine: everything misses. */
export function prepareMemory(
  view: DataView,
  map: L.MemoryMap,
  features: ReadonlySet<string> = ALL_FEATURES,
  hasVga = false,
): void {
  const bytes = new Uint8Array(view.buffer);
  const { ownShift } = map;
  const cpuBase = L.cpuBase(map);
  fillTable(bytes, L.TLB_SUPERVISOR + ownShift, L.TLB_SUPERVISOR_AC + L.TLB_SET_BYTES - L.TLB_SUPERVISOR);
  fillTable(bytes, L.BLOCK_HASH + ownShift, L.BLOCK_HASH_BYTES);
  fillTable(bytes, L.JUMP_CACHE + ownShift, L.JUMP_CACHE_BYTES);
  view.setInt32(L.SHADOW_PROTECTED, 0, true);
  // All have the first one's.
  fillTable(bytes, L.TLB_NONE, L.TLB_SET_BYTES);
  fillTable(bytes, L.ONES_PAGE, 4096);
  const put = (field: { offset: number }, value: number): void => view.setInt32(cpuBase + field.offset, value, true);
  view.setBigUint64(cpuBase + L.QUARTER_GIB.offset, 1n << 28n, true);
  put(L.TLB_SHIFT, ownShift);
  put(L.RAM_HOST, map.ram);
  put(L.RAM_BYTES, map.ramBytes);
  put(L.ROM_HOST, map.ram + map.ramBytes);
  put(L.ROM_BYTES, map.romBytes);
  put(L.LOW_RAM_BYTES, map.lowRamBytes);
  put(L.VGA_WINDOW_BYTES, hasVga ? MEMORY_MAP.vgaSizeBytes : 0);
  put(L.CPU_FEATURES, featureWord(features));
  put(L.PAGE_LISTS, map.pageLists);
  put(L.PAGE_GRANULES, map.pageGranules);
  put(L.PAGE_UNWRITTEN, map.pageUnwritten);
  if (ownShift) clearPageLists(bytes, map);
  else clearPageTables(bytes, map);
  for (let vcpu = 1; vcpu < map.vcpus; vcpu++) {
    const parked = L.parkedBlock(map, vcpu);
    const shift = L.tlbShift(map, vcpu);
    bytes.copyWithin(parked, L.CPU_BASE, L.CPU_BASE + L.CPU_BYTES);
    view.setInt32(parked + L.TLB_SHIFT.offset, shift, true);
    bytes.fill(0xff, shift + L.TLB_SUPERVISOR, shift + L.TLB_SUPERVISOR_AC + L.TLB_SET_BYTES);
  }
}
