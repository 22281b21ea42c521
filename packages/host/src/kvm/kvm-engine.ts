/**
 * The kvm engine: guest code on the processor itself, in guest mode, through Linux's KVM. The vCPUs take turns in the thread
 * that creates the engine, or all but the first have threads of their own (parallel/). RAM is one WebAssembly.Memory under KVM's memory slots, so that devices see what the guest writes,
 * and RAM's addresses in host and guest agree modulo 2 MiB, so that the kernel can use large pages for both.
 *
 *   room for a jit engine that takes the guest over | up to 2 MiB unused | RAM, without the hole | ROM
 *
 * MSRs reach KVM only where they are the processor's own (DIRECT_MSRS); all others, local APIC and memory types among
 * them, leave the guest and are answered as on the jit engine.
 */
import {
  CPU_LIMITS,
  type DeviceMemory,
  type DeviceMemoryKind,
  type Engine,
  featureSet,
  MAX_ROM_BYTES,
  MEMORY_MAP,
  PAGE_BYTES,
  type ParallelVcpus,
  Ram,
  type RamHolder,
  ramSegments,
  tableBytesBelowRam,
  type Vcpu,
  type VcpuBus,
} from "@twinmetal/core";
import * as A from "./abi.ts";
import { DeviceSlot } from "./device-slots.ts";
import { DirtyLog } from "./dirty-log.ts";
import { codeAt } from "./guest-address.ts";
import { cpuidContext, missingFeatures, setCpuid } from "./guest-cpuid.ts";
import { TscPlace } from "./guest-tsc.ts";
import { HostTime } from "./host-time.ts";
import { VcpuCells } from "./kick-cells.ts";
import { isNoCalls, linuxCalls, type NoCalls } from "./koffi-calls.ts";
import { KvmVcpu } from "./kvm-vcpu.ts";
import type { LinuxCalls } from "./linux-calls.ts";
import { KvmParallel, type KvmParallelOptions } from "./parallel/kvm-parallel.ts";
import { KVM_DEVICE } from "./probe.ts";
import { FIRST_DEVICE_SLOT, isSame, type RamSlot, ROM_SLOT, ramSlots } from "./ram-slots.ts";
import { RunTimer } from "./run-timer.ts";
import { TurnTime } from "./turn-time.ts";
import { KICK_SIGNAL, type VcpuHandle } from "./vcpu-handle.ts";
import { DIRECT_MSRS } from "./vcpu-registers.ts";
import { VmHandle } from "./vm-handle.ts";

export interface KvmEngineOptions {
  readonly memoryBytes: number;
  /** How much of it lies below 4 GiB. Default: as much as goes there. */
  readonly lowRamBytes?: number;
  readonly tscFrequencyHz: number;
  /** Read-only memory that ends at 4 GiB: whole pages, at most 16 MiB. Copied. */
  readonly rom?: Uint8Array;
  /** The window of a VGA below 1 MiB is no RAM. Default: false. */
  readonly hasVga?: boolean;
  /** As in a machine's spec. */
  readonly cpuFeatures?: readonly string[];
  /** How many vCPUs: 1 (default) to 8. */
  readonly cpus?: number;
  /** What threads of their own need. Undefined: they take turns in this one. */
  readonly parallel?: KvmParallelOptions;
  /** By which another thread reaches the vCPU: kick-cells.ts. */
  readonly cells?: SharedArrayBuffer;
  /** RAM of an engine that no vCPU runs on any more when this one's first runs. Default: a new one. */
  readonly holder?: RamHolder;
  /** False: also where KVM does not support every feature of the CPU. For tests of what needs none of them. */
  readonly isCpuChecked?: boolean;
  readonly calls?: LinuxCalls | NoCalls;
  readonly path?: string;
  /** The host's monotonic clock. */
  readonly hostNs?: () => number;
}

export type KvmErrorCode = "unavailable" | "cpu" | "tsc-frequency";

/** Why this host's KVM cannot run a machine. */
export class KvmError extends Error {
  override readonly name = "KvmError";
  readonly code: KvmErrorCode;

  constructor(code: KvmErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

const WASM_PAGE = 65_536;
const LARGE_PAGE = 2 ** 21;
/** 8 bytes for each vCPU's counter, then the bitmaps. */
const SCRATCH = { tscOffset: 0, msrBitmaps: 128 } as const;
const MSR_RANGE_BITS = 64;
const MIN_RUN_NS = 50_000;

export class KvmEngine implements Engine {
  readonly kind = "kvm";
  readonly unit = "nanosecond";
  readonly memory: Ram;
  readonly dirtyTracking: DirtyLog;
  readonly holder: RamHolder;
  readonly #options: KvmEngineOptions;
  #slots: readonly RamSlot[];
  #slotFlags = 0;
  #protectedParts = 0;
  readonly #vm: VmHandle;
  readonly #timer: number;
  readonly #scratch: Uint8Array;
  readonly #features: ReadonlySet<string>;
  readonly #cells: VcpuCells;
  /** Where RAM starts, for the kernel. */
  readonly #ramAddress: bigint;
  readonly #cpus: number;
  readonly #time: TurnTime;
  readonly #runTimer: RunTimer;
  readonly #vcpus: KvmVcpu[] = [];
  readonly #parallel: KvmParallel | undefined;
  #nextDeviceSlot = FIRST_DEVICE_SLOT;

  /** Throws KvmError, LinuxError; RangeError where there is no memory. Nothing stays open then. */
  constructor(options: KvmEngineOptions) {
    const calls = options.calls ?? linuxCalls();
    if (isNoCalls(calls)) throw new KvmError("unavailable", `There is no way to call KVM here (${calls.detail}).`);
    const rom = options.rom ?? new Uint8Array();
    if (rom.length % PAGE_BYTES !== 0 || rom.length > MAX_ROM_BYTES)
      throw new RangeError(`a ROM of ${rom.length} bytes; possible are whole pages up to ${MAX_ROM_BYTES}`);
    const { cpus = 1, parallel, hostNs = () => performance.now() * 1e6 } = options;
    if (!Number.isInteger(cpus) || cpus < CPU_LIMITS.min || cpus > CPU_LIMITS.max)
      throw new RangeError(`${cpus} vCPUs; possible are ${CPU_LIMITS.min} to ${CPU_LIMITS.max}`);
    this.#options = options;
    this.#cpus = cpus;
    this.#time = new TurnTime(new HostTime(hostNs), new TscPlace(), cpus);
    this.#features = featureSet(options.cpuFeatures ?? []);
    this.holder = options.holder ?? newHolder(calls, options.memoryBytes, rom.length, cpus);
    const { memory, ramOffset } = this.holder;
    const buffer = memory.buffer as SharedArrayBuffer;
    this.#scratch = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1 }).buffer);
    this.memory = new Ram({
      buffer,
      byteOffset: ramOffset,
      segments: ramSegments(options.memoryBytes, options.lowRamBytes),
      romBytes: rom.length,
      onWrite: (at, length) => this.dirtyTracking?.written(at, length),
    });
    this.memory.loadRom(rom);
    this.#ramAddress = calls.addressOf(new Uint8Array(buffer, ramOffset, 1));
    this.#vm = new VmHandle(calls, options.path ?? KVM_DEVICE, cpus);
    this.#slots = ramSlots(this.memory.segments, options.hasVga ?? false);
    this.dirtyTracking = new DirtyLog(
      this.#vm,
      () => this.#slots,
      (flags) => this.#setSlots(flags),
    );
    const threadId = calls.threadId();
    try {
      this.#timer = calls.createTimer(threadId, KICK_SIGNAL);
    } catch (error) {
      this.#vm.close();
      throw error;
    }
    try {
      calls.blockSignal(KICK_SIGNAL, true);
      this.#setUp(rom.length);
    } catch (error) {
      calls.deleteTimer(this.#timer);
      this.#vm.close();
      throw error;
    }
    this.#runTimer = new RunTimer(calls, this.#timer);
    this.#cells = new VcpuCells(options.cells);
    const { kvmFd, vmFd, runBytes, vcpus } = this.#vm;
    this.#cells.announce({ kvmFd, vmFd, runBytes, vcpus, threadId, timer: this.#timer });
    if (!parallel || cpus === 1) return;
    const { tscFrequencyHz, cpuFeatures = [] } = options;
    const { segments } = this.memory;
    const romBytes = rom.length;
    const kickCells = this.#cells.buffer;
    this.#parallel = new KvmParallel({
      ...{ ...parallel, calls, cpus, kickCells, vmFd, handles: vcpus, runBytes, holder: this.holder },
      ...{ segments, romBytes, tscFrequencyHz, cpuFeatures, features: this.#features, vcpus: this.#vcpus },
    });
  }

  get parallel(): ParallelVcpus | undefined {
    return this.#parallel?.desk;
  }

  createVcpu(index: number, bus: VcpuBus): Vcpu {
    const handle = this.#vm.vcpus[index];
    if (!handle || index !== this.#vcpus.length)
      throw new RangeError(`no vCPU ${index}: this engine runs ${this.#cpus}, and makes them in order`);
    const scratchAt = SCRATCH.tscOffset + 8 * index;
    const parallel = this.#parallel;
    const isRemote = parallel !== undefined && index > 0;
    const vcpu = new KvmVcpu({
      index: isRemote ? 0 : index,
      handle,
      kickedRun: isRemote ? handle.run : this.#vm.first.run,
      cells: isRemote ? new VcpuCells(this.#cells.buffer, index) : this.#cells,
      timer: isRemote ? undefined : this.#runTimer,
      time: this.#time,
      bus,
      memory: this.memory,
      features: this.#features,
      tscFrequencyHz: this.#options.tscFrequencyHz,
      scratch: this.#scratch.subarray(scratchAt, scratchAt + 8),
      codeAt: (linear) => codeAt(handle, this.memory, linear),
      minRunNs: MIN_RUN_NS,
      ...(parallel && !isRemote && { serve: () => parallel.serve() }),
    });
    this.#vcpus.push(vcpu);
    if (!parallel) return vcpu;
    return parallel.connect(index, vcpu, bus);
  }

  deviceMemory(sizeBytes: number, kind: DeviceMemoryKind): DeviceMemory {
    return new DeviceSlot(this.#vm, this.#nextDeviceSlot++, sizeBytes, kind);
  }

  /** Slots cannot change their size or become read-only: for a moment nothing is there, for vCPUs in parallel that look. */
  protectShadow(parts: number): void {
    if (parts === this.#protectedParts) return;
    this.#protectedParts = parts;
    const before = this.#slots;
    const after = ramSlots(this.memory.segments, this.#options.hasVga ?? false, parts);
    const isIn = (slots: readonly RamSlot[], one: RamSlot): boolean => slots.some((slot) => isSame(slot, one));
    const gone = before.filter((slot) => !isIn(after, slot));
    this.dirtyTracking.keep(gone);
    for (const slot of gone) this.#setSlot({ ...slot, sizeBytes: 0 });
    this.#slots = after;
    for (const slot of after) if (!isIn(before, slot)) this.#setSlot(slot);
  }

  supportsReplay(): boolean {
    return false;
  }

  stats(): Readonly<Record<string, number>> {
    const sums: Record<string, number> = {};
    for (const { counters } of this.#vcpus)
      for (const [name, count] of Object.entries(counters)) sums[name] = (sums[name] ?? 0) + count;
    return { ...sums, ...(this.#parallel && { vcpuLetters: this.#parallel.desk.letters }) };
  }

  /** What a jit engine has left below RAM takes no memory any more. Precondition: none uses it. */
  discardTables(): void {
    const { memory, ramOffset } = this.holder;
    this.#vm.calls.discard(new Uint8Array(memory.buffer, 0, ramOffset - (ramOffset % PAGE_BYTES)));
  }

  /** Frees what the kernel holds. Only where no VcpuKicker does it: in tests, and in threads that go on. */
  close(): void {
    const { calls } = this.#vm;
    calls.deleteTimer(this.#timer);
    calls.takeSignal(KICK_SIGNAL);
    calls.blockSignal(KICK_SIGNAL, false);
    this.#vm.close();
  }

  #setUp(romBytes: number): void {
    const { tscFrequencyHz } = this.#options;
    const vm = this.#vm;
    const context = cpuidContext(tscFrequencyHz, this.#features);
    const missing = this.#options.isCpuChecked === false ? [] : missingFeatures(vm.calls, vm.kvmFd, context);
    if (missing.length > 0)
      throw new KvmError(
        "cpu",
        `This host's processor and KVM lack what the VM's CPU has: ${missing.join(", ")}. Create it without them (--cpu portable-v1,-NAME) where they can be left out, or use the jit engine.`,
      );
    for (const [index, vcpu] of vm.vcpus.entries()) {
      setCpuid(vcpu, cpuidContext(tscFrequencyHz, this.#features, index, this.#cpus));
      this.#setTscFrequency(vcpu, tscFrequencyHz);
      vcpu.admitKicks();
    }
    vm.enable("X86_USER_SPACE_MSR", A.MSR_EXIT_REASONS);
    this.#filterMsrs();
    this.#setSlots(0);
    if (romBytes === 0) return;
    vm.setSlot({
      slot: ROM_SLOT,
      flags: A.MEM_READONLY,
      guestAddress: MEMORY_MAP.highRamStart - romBytes,
      sizeBytes: romBytes,
      hostAddress: this.#ramAddress + BigInt(this.memory.sizeBytes),
    });
  }

  #setSlots(flags: number): void {
    this.#slotFlags = flags;
    for (const slot of this.#slots) this.#setSlot(slot);
  }

  #setSlot({ slot, start, sizeBytes, at, isReadOnly }: RamSlot): void {
    const flags = this.#slotFlags | (isReadOnly ? A.MEM_READONLY : 0);
    this.#vm.setSlot({ slot, flags, guestAddress: start, sizeBytes, hostAddress: this.#ramAddress + BigInt(at) });
  }

  #setTscFrequency({ calls, vcpuFd }: VcpuHandle, frequencyHz: number): void {
    const khz = frequencyHz / 1000;
    if (this.#vm.extension(A.CAP.TSC_CONTROL) > 0 && calls.ioctl(vcpuFd, A.KVM.SET_TSC_KHZ, khz) >= 0) return;
    const hostKhz = calls.ioctl(vcpuFd, A.KVM.GET_TSC_KHZ, 0);
    if (Math.abs(hostKhz - khz) <= 500) return;
    throw new KvmError(
      "tsc-frequency",
      `The VM's time-stamp counter runs at ${khz / 1000} MHz, this host's at ${hostKhz / 1000} MHz, and its processor cannot scale it. Create the VM on this host (it then gets this frequency), or run it on the jit engine.`,
    );
  }

  #filterMsrs(): void {
    const filter = new DataView(new ArrayBuffer(A.MSR_FILTER_BYTES));
    filter.setUint32(A.MSR_FILTER.flags, A.MSR_FILTER_DEFAULT_DENY, true);
    const bases = [...new Set(DIRECT_MSRS.map((index) => index - (index % MSR_RANGE_BITS)))];
    for (const [i, base] of bases.entries()) {
      const bitmap = this.#scratch.subarray(SCRATCH.msrBitmaps + 8 * i, SCRATCH.msrBitmaps + 8 * i + 8);
      for (const index of DIRECT_MSRS)
        if (index >= base && index < base + MSR_RANGE_BITS) bitmap[(index - base) >> 3]! |= 1 << ((index - base) & 7);
      const at = A.MSR_FILTER.ranges + i * A.MSR_FILTER.rangeBytes;
      filter.setUint32(at + A.MSR_RANGE.flags, A.MSR_FILTER_READ_WRITE, true);
      filter.setUint32(at + A.MSR_RANGE.nmsrs, MSR_RANGE_BITS, true);
      filter.setUint32(at + A.MSR_RANGE.base, base, true);
      filter.setBigUint64(at + A.MSR_RANGE.bitmap, this.#vm.calls.addressOf(bitmap), true);
    }
    this.#vm.onVm("KVM_X86_SET_MSR_FILTER", A.KVM.X86_SET_MSR_FILTER, new Uint8Array(filter.buffer));
  }
}

/** Untouched memory takes addresses and no more. */
function newHolder(calls: LinuxCalls, memoryBytes: number, romBytes: number, cpus: number): RamHolder {
  const room = tableBytesBelowRam(memoryBytes, romBytes, cpus);
  const pages = Math.ceil((room + LARGE_PAGE + memoryBytes + romBytes) / WASM_PAGE);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const address = calls.addressOf(new Uint8Array(memory.buffer as SharedArrayBuffer, 0, 1));
  const beyond = Number((address + BigInt(room)) % BigInt(LARGE_PAGE));
  return { memory, ramOffset: room + ((LARGE_PAGE - beyond) % LARGE_PAGE) };
}
