/**
 * The jit engine with several vCPUs in parallel (docs/decisions/0016): the first one in the machine's thread, which has all devices,
 * each other one in a thread of its own over the same memory. Needs shared memory, and a host whose plain loads and stores
 * have x86's order: x64.
 *
 * Left out: what goes by counts of instructions (virtual clocks, recordings, replays) and a debugger outside the guest, for
 * which vCPUs take turns; taking over another engine's memory; keeping translations for later runs.
 */
import type { AccessSize } from "../../bus/io.ts";
import { CpuidCache } from "../../cpu/cpuid.ts";
import { decodedFeatures, featureSet } from "../../cpu/features.ts";
import { KeptMsrs } from "../../cpu/kept-msrs.ts";
import * as L from "../../cpu/layout.ts";
import { constantMsr, ignoresMsrWrite } from "../../cpu/msr-table.ts";
import type { CoreExports, CoreHost } from "../../interp/core.ts";
import { hostImports, prepareMemory } from "../../interp/core.ts";
import { RegionTier } from "../../jit/tier.ts";
import type { Translator } from "../../jit/translator.ts";
import { Ram, ramSegments } from "../../memory/ram.ts";
import { TlbDirtyTracking } from "../dirty-pages.ts";
import type { DirtyTracking, Engine, Vcpu, VcpuBus } from "../engine.ts";
import {
  checkCpus,
  checkRom,
  codeWritten,
  executeCpuid,
  HEAT,
  IA32_APIC_BASE,
  readParts,
  tierCounters,
  writeParts,
} from "../jit-parts.ts";
import { ShadowProtection } from "../shadow-protection.ts";
import { StateBlock } from "../vcpu-state-block.ts";
import { WriteTags } from "../write-tags.ts";
import { ParallelCells } from "./cells.ts";
import { FirstVcpu } from "./first-vcpu.ts";
import { RemoteVcpu } from "./remote-vcpu.ts";
import { RestingBlock } from "./resting-block.ts";
import { createVcpuCore, kicker, parallelHandlers, parallelModule, type VcpuCore } from "./vcpu-core.ts";
import { VcpuDesk } from "./vcpu-desk.ts";
import type { VcpuThreadStart } from "./vcpu-thread.ts";

export interface ParallelEngineOptions {
  readonly memoryBytes: number;
  /** How much of it lies below 4 GiB. Default: as much as goes there. */
  readonly lowRamBytes?: number;
  readonly tscFrequencyHz: number;
  /** Read-only memory that ends at 4 GiB: whole pages, at most 16 MiB. Copied. */
  readonly rom?: Uint8Array;
  readonly hasVga?: boolean;
  readonly cpuFeatures?: readonly string[];
  readonly cpus: number;
  /** Of the first vCPU; undefined: the interpreter alone. */
  readonly translator?: Translator | undefined;
  readonly onDropped?: () => void;
  /** The host's monotonic clock, the same in all threads. */
  readonly hostNs: () => number;
  /** Starts a thread with a VcpuThread. */
  readonly startThread: (start: VcpuThreadStart) => void;
  /** Why a vCPU can not go on, in whole sentences: asked when its thread says so. */
  readonly failureOf: (vcpu: number) => string;
  /** The word by which the machine's thread is woken. */
  readonly doorbell: Int32Array<SharedArrayBuffer>;
}

export class ParallelEngine implements Engine {
  readonly kind = "jit";
  readonly unit = "nanosecond";
  readonly memory: Ram;
  readonly dirtyTracking: DirtyTracking;
  readonly parallel: VcpuDesk;
  readonly #options: ParallelEngineOptions;
  readonly #cells = new ParallelCells();
  readonly #maps: readonly L.MemoryMap[];
  readonly #core: VcpuCore;
  readonly #tier: RegionTier | undefined;
  readonly #shadow: ShadowProtection;
  readonly #keptMsrs: readonly KeptMsrs[];
  readonly #features: ReturnType<typeof featureSet>;
  readonly #buses: VcpuBus[] = [];
  readonly #kick: (vcpu: number) => void;
  readonly #others: readonly CoreExports[];
  readonly #counters = { portReads: 0, portWrites: 0, mmioReads: 0, mmioWrites: 0 };

  constructor(options: ParallelEngineOptions) {
    this.#options = options;
    const cpus = checkCpus(options.cpus);
    const cpuFeatures = decodedFeatures(options.cpuFeatures ?? [], cpus, true);
    this.#features = featureSet(cpuFeatures);
    this.#keptMsrs = Array.from({ length: cpus }, () => new KeptMsrs());
    const maps = L.parallelMaps(options.memoryBytes, checkRom(options.rom), cpus, options.lowRamBytes);
    this.#maps = maps;
    const { wasmPages } = maps[0]!;
    const memory = new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages, shared: true });
    const view = new DataView(memory.buffer);
    const handlers = parallelHandlers(this.#features);
    for (const map of maps) prepareMemory(view, map, handlers.features, options.hasVga);
    this.#kick = kicker(memory, maps);
    const modules = maps.map(parallelModule);
    this.#core = createVcpuCore({
      ...{ memory, maps, handlers, cells: this.#cells, vcpu: 0, module: modules[0]! },
      host: this.#coreHost(),
      serve: () => this.parallel.serve(),
    });
    const { translator } = options;
    if (translator)
      this.#tier = new RegionTier(this.#core, { cpuFeatures, heat: HEAT, translator, onDropped: options.onDropped });
    const never = (): never => {
      throw new Error("a vCPU that rests has called out");
    };
    this.#others = maps.slice(1).map((map, i) => {
      const imports = hostImports(this.#core.decoder, this.#coreHost(), view, L.cpuBase(map));
      const names = [...Object.keys(imports), "code_changed", "begin_exclusive", "end_exclusive"];
      const env = { memory, ...Object.fromEntries(names.map((name) => [name, never])) };
      return new WebAssembly.Instance(modules[i + 1]!, { env }).exports as unknown as CoreExports;
    });
    const writeTags = new WriteTags(view, maps[0]!, maps);
    const tracking = new TlbDirtyTracking(view, maps[0]!, writeTags);
    this.#shadow = new ShadowProtection(view, maps[0]!, writeTags, (host, length) =>
      codeWritten(this.#core.exports, host, length),
    );
    const alone =
      <A extends unknown[], R>(call: (...args: A) => R) =>
      (...args: A): R =>
        this.#core.gate.exclusive(() => call(...args));
    this.dirtyTracking = {
      start: alone(() => tracking.start()),
      take: alone((into) => tracking.take(into)),
      stop: alone(() => tracking.stop()),
    };
    this.parallel = new VcpuDesk({
      ...{ cells: this.#cells, vcpus: cpus, kick: this.#kick, failureOf: options.failureOf },
      bus: (vcpu) => this.#buses[vcpu]!,
      readMsr: (vcpu, index) => this.#readMsr(vcpu, index),
      writeMsr: (vcpu, index, value) => this.#writeMsr(vcpu, index, value),
      beforeRelease: () => {
        for (const [vcpu, bus] of this.#buses.entries()) this.#followTime(vcpu, bus);
      },
    });
    this.memory = this.#ram(memory.buffer as SharedArrayBuffer);
    if (options.rom) this.memory.loadRom(options.rom);
    for (let vcpu = 1; vcpu < cpus; vcpu++) {
      const module = modules[vcpu]!;
      const { tscFrequencyHz, doorbell } = options;
      const cells = this.#cells.buffer;
      options.startThread({ vcpu, memory, maps, module, cells, cpuFeatures, tscFrequencyHz, doorbell });
    }
  }

  #ram(buffer: SharedArrayBuffer): Ram {
    const { ram, romBytes, lowRamBytes } = this.#maps[0]!;
    return new Ram({
      buffer,
      byteOffset: ram,
      segments: ramSegments(this.#options.memoryBytes, lowRamBytes),
      romBytes,
      onWrite: (at, length) => codeWritten(this.#core.exports, ram + at, length),
    });
  }

  createVcpu(index: number, bus: VcpuBus): Vcpu {
    const keptMsrs = this.#keptMsrs[index];
    if (!keptMsrs || index !== this.#buses.length)
      throw new RangeError(`no vCPU ${index}: this engine runs ${this.#maps.length}, and makes them in order`);
    this.#buses.push(bus);
    const vcpu = index === 0 ? this.#first(keptMsrs) : this.#remote(index, keptMsrs);
    vcpu.reset();
    return vcpu;
  }
  #first(keptMsrs: KeptMsrs): Vcpu {
    return new FirstVcpu({
      ...{ core: this.#core, cells: this.#cells, keptMsrs, tier: this.#tier, hostNs: this.#options.hostNs },
      hasMail: () => this.parallel.hasMail(),
      serve: () => this.parallel.serve(),
    });
  }
  #remote(vcpu: number, keptMsrs: KeptMsrs): Vcpu {
    return new RemoteVcpu({
      ...{ vcpu, cells: this.#cells, kick: this.#kick },
      resting: new RestingBlock(
        new StateBlock(this.#core.view, L.cpuBase(this.#maps[vcpu]!)),
        this.#others[vcpu - 1]!,
        keptMsrs,
      ),
      whileHeld: (work) => this.parallel.whileHeld(work),
    });
  }

  protectShadow(parts: number): void {
    this.#core.gate.exclusive(() => this.#shadow.set(parts));
  }

  supportsReplay(): boolean {
    return false;
  }

  get activity(): Int32Array<SharedArrayBuffer> {
    return new Int32Array(this.#core.memory.buffer as SharedArrayBuffer, L.CPU_BASE + L.ACTIVITY.offset, 1);
  }

  stats(): Readonly<Record<string, number>> {
    const blocks = this.#maps.map((map) => new StateBlock(this.#core.view, L.cpuBase(map)));
    return {
      ...this.#counters,
      vcpuLetters: this.parallel.letters,
      ...Object.fromEntries(blocks.map((block, vcpu) => [`vcpu${vcpu}Instructions`, block.retired])),
      exclusiveSections: blocks.reduce((all, _, vcpu) => all + this.#cells.sections(vcpu), 0),
      ...tierCounters(blocks, this.#core.decoder, this.#tier),
    };
  }

  /** The line of guest time, and a vCPU's counter, as its own thread computes them. */
  #followTime(vcpu: number, bus: VcpuBus): void {
    const line = bus.tscLine?.();
    if (!line) return;
    this.#cells.setGuestOffset(line.ns - line.retired);
    this.#cells.setTscAdjust(vcpu, BigInt.asIntN(64, line.adjust));
  }

  #readMsr(vcpu: number, index: number): bigint | undefined {
    const bus = this.#buses[vcpu]!;
    return bus.readMsr(index) ?? this.#keptMsrs[vcpu]!.read(index) ?? constantMsr(index, this.#features);
  }
  #writeMsr(vcpu: number, index: number, value: bigint): boolean {
    const bus = this.#buses[vcpu]!;
    const isDone = bus.writeMsr(index, value) || this.#keptMsrs[vcpu]!.write(index, value);
    if (isDone) this.#followTime(vcpu, bus);
    return isDone || ignoresMsrWrite(index, value);
  }

  /** The first vCPU's way to its devices: the others need not wait for those. */
  #coreHost(): CoreHost {
    const cpuids = new CpuidCache({
      ...{ apicId: 0, cpus: this.#options.cpus, tscFrequencyHz: this.#options.tscFrequencyHz },
      features: this.#features,
    });
    const first = (): VcpuBus => this.#buses[0]!;
    const device = <T>(access: () => T): T => this.#core.gate.inside(access);
    const block = (): StateBlock => new StateBlock(this.#core.view);
    return {
      mmioRead: (gpa, bytes, at) =>
        readParts(this.#core.view, gpa, bytes, at, (part, size) => {
          this.#counters.mmioReads++;
          return device(() => first().readMmio(part, size));
        }),
      mmioWrite: (gpa, bytes, at) =>
        writeParts(this.#core.view, gpa, bytes, at, (part, size, value) => {
          this.#counters.mmioWrites++;
          device(() => first().writeMmio(part, size, value));
        }),
      portRead: (port, bytes) => {
        this.#counters.portReads++;
        return device(() => first().readPort(port, bytes as AccessSize));
      },
      portWrite: (port, bytes, value) => {
        this.#counters.portWrites++;
        const mask = bytes === 4 ? 0xffffffff : bytes === 2 ? 0xffff : 0xff;
        device(() => first().writePort(port, bytes as AccessSize, (value & mask) >>> 0));
      },
      readMsr: (index) => {
        const value = device(() => this.#readMsr(0, index));
        if (value === undefined) return 1;
        block().put64(L.result(0), value);
        return 0;
      },
      writeMsr: (index) => {
        const value = block().get64(L.result(0));
        return device(() => this.#writeMsr(0, index, value)) ? 0 : 1;
      },
      randomBits: () => first().randomBits(),
      readTsc: () => BigInt.asIntN(64, first().readTsc(this.#cells.countAt(this.#options.hostNs()))),
      floatError: (asserted) => (device(() => first().floatError?.(asserted !== 0)) ? 1 : 0),
      cpuid: () => executeCpuid(block(), cpuids, first().readMsr(IA32_APIC_BASE)),
    };
  }
}
