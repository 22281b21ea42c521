/**
 * The jit engine: guest code decoded once into micro-ops and run by the interpreter in WebAssembly; what is hot is
 * translated into WebAssembly functions of its own (jit/tier.ts).
 */
import type { AccessSize } from "../bus/io.ts";
import { CpuidCache } from "../cpu/cpuid.ts";
import { decodedFeatures, featureSet } from "../cpu/features.ts";
import { KeptMsrs } from "../cpu/kept-msrs.ts";
import * as L from "../cpu/layout.ts";
import { constantMsr, ignoresMsrWrite } from "../cpu/msr-table.ts";
import { resetState } from "../cpu/reset-state.ts";
import type { VcpuState } from "../cpu/state.ts";
import { type Core, createCore, handlerSet } from "../interp/core.ts";
import { limitHandlers } from "../isa/handlers.ts";
import type { TierBounds } from "../jit/region-modules.ts";
import { RegionTier } from "../jit/tier.ts";
import { LocalTranslator, type Translator } from "../jit/translator.ts";
import { Ram, type RamHolder, ramSegments } from "../memory/ram.ts";
import type { DebugRequest } from "./debugging.ts";
import { TlbDirtyTracking } from "./dirty-pages.ts";
import type { DirtyTracking, Engine, Vcpu, VcpuBus, VcpuExit } from "./engine.ts";
import { JitDebugger } from "./jit-debugger.ts";
import {
  checkCpus,
  checkRom,
  codeWritten,
  EXITS,
  executeCpuid,
  HEAT,
  IA32_APIC_BASE,
  readParts,
  tierCounters,
  writeParts,
} from "./jit-parts.ts";
import { ShadowProtection } from "./shadow-protection.ts";
import { VcpuBlocks } from "./vcpu-blocks.ts";
import type { StateBlock } from "./vcpu-state-block.ts";
import { WriteTags } from "./write-tags.ts";

/** interp: the interpreter alone. jit: every block is translated before it first runs, for tests. */
export type Tier = "auto" | "interp" | "jit";

export interface JitEngineOptions {
  /** Default: auto where a translator is given, else interp. */
  readonly tier?: Tier;
  /**
   * Where hot code is translated: a thread of its own, best of all. Default: here, between two slices. Tier jit, which
   * waits for the answer, takes a LocalTranslator only.
   */
  readonly translator?: Translator;
  /** How many modules of translations there are at a time, and of how many bytes. */
  readonly translationBounds?: TierBounds;
  /** Told when modules were dropped, which may be much to collect. */
  readonly onDropped?: () => void;
  readonly memoryBytes: number;
  /** How much of it lies below 4 GiB. Default: as much as goes there. */
  readonly lowRamBytes?: number;
  readonly tscFrequencyHz: number;
  /** Read-only memory that ends at 4 GiB: whole pages, at most 16 MiB. Copied. */
  readonly rom?: Uint8Array;
  /** The window of a VGA below 1 MiB is no RAM. Default: false. */
  readonly hasVga?: boolean;
  /** False where SharedArrayBuffer is not to be had. */
  readonly sharedMemory?: boolean;
  /** As in a machine's spec: cpu/features.ts. Default: those of the portable model. */
  readonly cpuFeatures?: readonly string[];
  /** How many vCPUs, which take turns in one thread: 1 (default) to 8. */
  readonly cpus?: number;
  /** RAM of an engine that no vCPU runs on any more when this one's first runs; not another jit engine's. Default: a new one. */
  readonly holder?: RamHolder;
  /** What runs the guest: the interpreter's core module, or a stand-in of the same interface (interp/evaluator-cpu.ts). */
  readonly createCore?: typeof createCore;
}

const MAX_BUDGET = 2 ** 30;

class JitVcpu implements Vcpu {
  readonly #core: Core;
  readonly #index: number;
  readonly #blocks: VcpuBlocks;
  readonly #block: StateBlock;
  readonly #bus: VcpuBus;
  readonly #keptMsrs: KeptMsrs;
  readonly #tier: RegionTier | undefined;
  #shutdown = false;
  #debugger: JitDebugger | undefined;
  #isInterruptRequested = false;

  constructor(
    core: Core,
    index: number,
    blocks: VcpuBlocks,
    bus: VcpuBus,
    keptMsrs: KeptMsrs,
    tier: RegionTier | undefined,
  ) {
    this.#tier = tier;
    this.#core = core;
    this.#index = index;
    this.#blocks = blocks;
    this.#bus = bus;
    this.#block = blocks.of(index);
    this.#keptMsrs = keptMsrs;
  }

  get retired(): number {
    return this.#block.retired;
  }

  get isWaiting(): boolean {
    return this.#block.isWaiting;
  }

  run(budget: number): VcpuExit {
    if (budget < 1 || budget > MAX_BUDGET) throw new RangeError(`budget ${budget}`);
    this.#blocks.bring(this.#index);
    return this.#debugger ? this.#debugger.run(budget, (part) => this.#run(part)) : this.#run(budget);
  }

  #run(budget: number): VcpuExit {
    if (this.#shutdown) return { reason: "shutdown" };
    const block = this.#block;
    if (block.get(L.HALTED)) {
      if (block.canInterrupt) return { reason: "interrupt-window" };
      if (block.isWaiting) return { reason: "halt" };
      block.put(L.HALTED, 0);
    }
    if (this.#tier) {
      block.put(L.ACTIVITY, L.ACTIVITY_TRANSLATION);
      this.#tier.poll();
    }
    // Who asked for the time in the run before asks in this one, too.
    block.putTscLine(block.get(L.TSC_KNOWN) ? this.#bus.tscLine?.() : undefined);
    block.put(L.ACTIVITY, L.ACTIVITY_INTERPRETER);
    const exit = this.#core.exports.run(budget);
    block.put(L.ACTIVITY, L.ACTIVITY_OUTSIDE);
    if (exit === L.EXIT_HALT && block.canInterrupt) return { reason: "interrupt-window" };
    if (exit === L.EXIT_SHUTDOWN) this.#shutdown = true;
    const known = EXITS[exit];
    if (!known) throw new Error(`the core left with reason ${exit}`);
    return known;
  }

  requestInterrupt(pending: boolean): void {
    this.#isInterruptRequested = pending;
    this.#block.put(L.INTR_PENDING, pending && !this.#debugger?.isStepping ? 1 : 0);
    this.#updateEvents();
  }

  /** Another one's is looked at when its turn comes. */
  #updateEvents(): void {
    if (this.#blocks.running === this.#index) this.#core.exports.update_events();
  }

  setTaskPriority(cr8: number): void {
    this.#block.put64(L.CR8, BigInt(cr8));
  }

  interrupt(vector: number): void {
    this.#blocks.bring(this.#index);
    if (this.#core.exports.deliver_interrupt(vector)) this.#shutdown = true;
  }

  nmi(): void {
    this.#block.put(L.NMI_PENDING, 1);
    this.#updateEvents();
  }

  kick(): void {
    this.#block.put(L.ATTENTION, this.#block.get(L.ATTENTION) | L.ATTENTION_KICK);
  }

  debug(request: DebugRequest | undefined): void {
    this.#blocks.bring(this.#index);
    const next = request && new JitDebugger(this.#block, this.#core.exports, request);
    if (!next) this.#debugger?.end();
    this.#debugger = next;
    this.requestInterrupt(this.#isInterruptRequested);
  }

  getState(): VcpuState {
    this.#blocks.bring(this.#index);
    const state = this.#block.save(this.#core.exports);
    return { ...state, msrs: { ...state.msrs, ...this.#keptMsrs.save() } };
  }

  setState(state: VcpuState): void {
    this.#blocks.bring(this.#index);
    this.#shutdown = false;
    this.#block.load(state, this.#core.exports);
    this.#debugger?.forget();
    this.#keptMsrs.load(state.msrs);
  }

  reset(): void {
    this.setState(resetState(this.retired));
  }

  /** The last branch targets, oldest first. */
  recentBranches(): bigint[] {
    this.#blocks.bring(this.#index);
    const next = this.#block.get(L.BRANCH_NEXT) / 8;
    return Array.from({ length: L.BRANCH_RING_ENTRIES }, (_, i) =>
      this.#core.view.getBigUint64(L.CPU_BASE + L.BRANCH_RING + ((next + i) % L.BRANCH_RING_ENTRIES) * 8, true),
    );
  }
}

export class JitEngine implements Engine {
  readonly kind = "jit";
  readonly unit = "instruction";
  readonly memory: Ram;
  readonly dirtyTracking: DirtyTracking;
  readonly #core: Core;
  readonly #blocks: VcpuBlocks;
  readonly #keptMsrs: readonly KeptMsrs[];
  readonly #counters = { portReads: 0, portWrites: 0, mmioReads: 0, mmioWrites: 0 };
  readonly #tier: RegionTier | undefined;
  readonly #shadow: ShadowProtection;
  readonly #buses: VcpuBus[] = [];

  constructor(options: JitEngineOptions) {
    const cpus = checkCpus(options.cpus);
    const cpuFeatures = decodedFeatures(options.cpuFeatures ?? [], cpus);
    const features = featureSet(cpuFeatures);
    const { tscFrequencyHz } = options;
    const each = Array.from({ length: cpus }, (_, apicId) => apicId);
    this.#keptMsrs = each.map(() => new KeptMsrs());
    const cpuids = each.map((apicId) => new CpuidCache({ apicId, cpus, tscFrequencyHz, features }));
    const core = (options.createCore ?? createCore)(
      options.memoryBytes,
      {
        mmioRead: (gpa, bytes, at) => {
          const bus = this.#requireBus();
          blocks.live.during(() =>
            readParts(core.view, gpa, bytes, at, (part, size) => {
              this.#counters.mmioReads++;
              return bus.readMmio(part, size);
            }),
          );
        },
        mmioWrite: (gpa, bytes, at) => {
          const bus = this.#requireBus();
          blocks.live.during(() =>
            writeParts(core.view, gpa, bytes, at, (part, size, value) => {
              this.#counters.mmioWrites++;
              bus.writeMmio(part, size, value);
            }),
          );
        },
        portRead: (port, bytes) => {
          this.#counters.portReads++;
          return this.#requireBus().readPort(port, bytes as AccessSize);
        },
        portWrite: (port, bytes, value) => {
          this.#counters.portWrites++;
          const mask = bytes === 4 ? 0xffffffff : bytes === 2 ? 0xffff : 0xff;
          this.#requireBus().writePort(port, bytes as AccessSize, (value & mask) >>> 0);
        },
        readMsr: (index) => {
          const kept = this.#keptMsrs[blocks.running]!;
          const value = this.#requireBus().readMsr(index) ?? kept.read(index) ?? constantMsr(index, features);
          if (value === undefined) return 1;
          blocks.live.put64(L.result(0), value);
          return 0;
        },
        writeMsr: (index) => {
          const block = blocks.live;
          block.put(L.TSC_KNOWN, 0);
          const value = block.get64(L.result(0));
          const kept = this.#keptMsrs[blocks.running]!;
          if (this.#requireBus().writeMsr(index, value) || kept.write(index, value)) return 0;
          return ignoresMsrWrite(index, value) ? 0 : 1;
        },
        randomBits: () => this.#requireBus().randomBits(),
        readTsc: (retired) => {
          const bus = this.#requireBus();
          blocks.live.putTscLine(bus.tscLine?.());
          if (blocks.live.get(L.TSC_KNOWN)) return 0n;
          return BigInt.asIntN(64, bus.readTsc(Number(retired)));
        },
        floatError: (asserted) => (this.#requireBus().floatError?.(asserted !== 0) ? 1 : 0),
        cpuid: () => executeCpuid(blocks.live, cpuids[blocks.running]!, this.#requireBus().readMsr(IA32_APIC_BASE)),
      },
      options.sharedMemory ?? typeof SharedArrayBuffer !== "undefined",
      limitHandlers(handlerSet(), features),
      checkRom(options.rom),
      options.holder,
      cpus,
      options.hasVga,
      options.lowRamBytes,
    );
    const blocks = new VcpuBlocks(core);
    const tier = options.tier ?? (options.translator ? "auto" : "interp");
    const { translator } = options;
    const local = translator instanceof LocalTranslator ? translator : new LocalTranslator();
    if (tier !== "interp" && core.regions)
      this.#tier = new RegionTier(core, {
        ...(options.translationBounds && { bounds: options.translationBounds }),
        cpuFeatures,
        onDropped: options.onDropped,
        ...(tier === "jit"
          ? { heat: 0, isImmediate: true, translator: local }
          : { heat: HEAT, translator: translator ?? local }),
      });
    this.#core = core;
    this.#blocks = blocks;
    const writeTags = new WriteTags(core.view, core.map);
    const written = (host: number, length: number): void => codeWritten(core.exports, host, length);
    this.dirtyTracking = new TlbDirtyTracking(core.view, core.map, writeTags);
    this.#shadow = new ShadowProtection(core.view, core.map, writeTags, written);
    this.memory = new Ram({
      buffer: core.memory.buffer as SharedArrayBuffer,
      byteOffset: core.map.ram,
      segments: ramSegments(options.memoryBytes, core.map.lowRamBytes),
      romBytes: core.map.romBytes,
      onWrite: (at, length) => written(core.map.ram + at, length),
    });
    if (options.rom) this.memory.loadRom(options.rom);
  }

  /** For an engine that goes on with this one's guest. Undefined where memory is not shared. */
  get holder(): RamHolder | undefined {
    const { memory, map } = this.#core;
    return memory.buffer instanceof ArrayBuffer ? undefined : { memory, ramOffset: map.ram };
  }

  /** At the machine's end, for later ones: where the translator keeps translations. */
  keepWarm(): void {
    this.#tier?.keepWarm();
  }

  createVcpu(index: number, bus: VcpuBus): Vcpu {
    const keptMsrs = this.#keptMsrs[index];
    if (!keptMsrs || index !== this.#buses.length)
      throw new RangeError(`no vCPU ${index}: this engine runs ${this.#keptMsrs.length}, and makes them in order`);
    this.#buses.push(bus);
    const vcpu = new JitVcpu(this.#core, index, this.#blocks, bus, keptMsrs, this.#tier);
    vcpu.reset();
    // Where a run begins, and where there is one only, the first one is there.
    this.#blocks.bring(0);
    return vcpu;
  }

  protectShadow(parts: number): void {
    this.#shadow.set(parts);
  }

  supportsReplay(): boolean {
    return true;
  }

  /** One word, what the vCPU's thread does now (cpu/activity.ts), for another thread to read; undefined where memory is not shared. */
  get activity(): Int32Array<SharedArrayBuffer> | undefined {
    const { buffer } = this.#core.memory;
    if (buffer instanceof ArrayBuffer) return undefined;
    return new Int32Array(buffer, L.CPU_BASE + L.ACTIVITY.offset, 1);
  }

  stats(): Readonly<Record<string, number>> {
    return {
      ...this.#counters,
      ...tierCounters(this.#blocks.all, this.#core.decoder, this.#tier),
      ...(this.#buses.length > 1 && { vcpuSwitches: this.#blocks.switches }),
    };
  }

  #requireBus(): VcpuBus {
    const bus = this.#buses[this.#blocks.running];
    if (!bus) throw new Error("no vCPU yet");
    return bus;
  }
}
