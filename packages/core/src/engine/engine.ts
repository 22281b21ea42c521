/**
 * What executes vCPUs: the interface between a machine and an engine (jit or kvm), capability questions included.
 *
 * An engine never sees devices: port and MMIO accesses of the guest go to `VcpuBus`, synchronously, in the vCPU's own
 * thread, whichever engine runs. Devices never see engines. See docs/decisions/0002-synchronous-device-exits.md.
 */
import type { AccessSize } from "../bus/io.ts";
import type { VcpuState } from "../cpu/state.ts";
import type { DeviceMemory, DeviceMemoryKind } from "../memory/device-memory.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import type { RamHolder } from "../memory/ram.ts";
import type { DebugRequest, DebugStop } from "./debugging.ts";

/** Guest time as a line: `ns` and `ps` (below 1000) at `retired` instructions, and the counter that is made of it. */
export interface TscLine {
  readonly retired: number;
  readonly ns: number;
  readonly ps: number;
  readonly psPerInstruction: number;
  /** A multiple of 1000; the counter is floor(ns * frequencyHz / 10^9) + adjust, modulo 2^64. */
  readonly frequencyHz: number;
  readonly adjust: bigint;
}

/** The machine's side of one vCPU. Addresses and sizes are guest-controlled. */
export interface VcpuBus {
  readPort(port: number, size: AccessSize): number;
  writePort(port: number, size: AccessSize, value: number): void;
  readMmio(gpa: number, size: AccessSize): number;
  writeMmio(gpa: number, size: AccessSize, value: number): void;
  /** MSRs of the local APIC and the time stamp counter's deadline: undefined or false = #GP(0) for the guest. */
  readMsr(index: number): bigint | undefined;
  writeMsr(index: number, value: bigint): boolean;
  /** Guest time-stamp counter after `retired` instructions: arithmetic, no clock of the host. */
  readTsc(retired: number): bigint;
  /** The line that `readTsc` follows until the vCPU's run ends or it writes an MSR, for engines that can use it. */
  tscLine?(): TscLine | undefined;
  /**
   * The FERR# pin (SDM vol. 1, 8.7.3), which an x87 error asserts where CR0.NE is clear: asked again by each instruction
   * that waits. Answers whether IGNNE# is asserted; where it is not, the vCPU waits for an interrupt.
   */
  floatError?(asserted: boolean): boolean;
  /** Of vCPUs in parallel: the acknowledge cycle of the interrupt controller. Undefined if the request has gone. */
  acknowledgeInterrupt?(): number | undefined;
  /** The next 64 bits of the machine's own random stream, for RDRAND and RDSEED. */
  randomBits(): bigint;
}

export type VcpuExit =
  /**
   * The budget is spent, or all of it but less than what comes next in one piece: at least one instruction has retired
   * since `run`, at most the budget. Running again with what is left gets to the exact instruction.
   */
  | { readonly reason: "budget" }
  /** HLT has retired and no interrupt can be delivered; the vCPU waits. */
  | { readonly reason: "halt" }
  /** An interrupt was requested and the vCPU can take it now. */
  | { readonly reason: "interrupt-window" }
  /** `kick` or a device asked the vCPU to come back after the current instruction. */
  | { readonly reason: "kick" }
  /** What `debug` has asked for. */
  | { readonly reason: "debug"; readonly stop: DebugStop }
  /** PAUSE has retired, and this is one of several vCPUs that run in turn. */
  | { readonly reason: "yield" }
  /** Triple fault. */
  | { readonly reason: "shutdown" }
  /** The engine cannot go on with this guest: a whole sentence or more, for people. */
  | { readonly reason: "error"; readonly message: string };

export interface Vcpu {
  /**
   * Retired instructions since the vCPU was created; set by `setState`. REP iterations, faults, HLT: docs/architecture.md,
   * "Counting". Where the engine's `unit` is a nanosecond: guest time that has passed, waiting included.
   */
  readonly retired: number;
  /** It has halted, and nothing that is pending would end that: a run would be over at once. */
  readonly isWaiting: boolean;
  /** Runs at most `budget` (1 to 2^30) instructions, or about so many nanoseconds. */
  run(budget: number): VcpuExit;
  /** Whether the interrupt controller has something to deliver; `run` answers with "interrupt-window" as soon as it can. */
  requestInterrupt(pending: boolean): void;
  /** CR8 has changed outside the vCPU: in the local APIC's task-priority register. */
  setTaskPriority(cr8: number): void;
  /** Delivers an external interrupt and ends HLT. Precondition: the last exit was "interrupt-window". */
  interrupt(vector: number): void;
  /** Raises a non-maskable interrupt at the next boundary. */
  nmi(): void;
  /** Makes `run` return after the current instruction. Callable from VcpuBus callbacks. */
  kick(): void;
  /**
   * Of engines that count nanoseconds, between two runs: `retired` catches up with the host. With `isAnchor` the time since
   * the last run is not the guest's: the machine stood still.
   */
  followTime?(isAnchor: boolean): void;
  getState(): VcpuState;
  setState(state: VcpuState): void;
  /** Architectural reset state (SDM vol. 3, table 9-1), or the state a direct boot starts from when given. */
  reset(): void;
  /**
   * What runs stop for from here on, for a debugger outside the guest; undefined: nothing. Called between two runs. Throws
   * RangeError for what cannot be (debugging.ts).
   */
  debug(request: DebugRequest | undefined): void;
  /** The last branch targets, oldest first, where the engine keeps them: for crash reports. */
  recentBranches?(): readonly bigint[];
}

/** Which pages of RAM are written. Called between two runs, from the vCPU's thread. Pages count in the order of RAM's segments. */
export interface DirtyTracking {
  /** Notes stores from here on, those of devices too. */
  start(): void;
  /** Sets `into[page]` to 1 for each page that was written since `start` or the last `take`: how many those are. */
  take(into: Uint8Array): number;
  /** Notes nothing any more; costs nothing from here on. */
  stop(): void;
}

/** Of engines whose vCPUs run in threads of their own, all but the first. Everything here is the machine's thread's. */
export interface ParallelVcpus {
  /** All others come to an instruction boundary and rest, as they do at first; holds are counted. */
  hold(): void;
  release(): void;
  /** Answers the others' accesses of devices. */
  serve(): void;
  /** Whether they wait for that. */
  hasMail(): boolean;
  /** One of the others can not go on: "shutdown" or "error". Once. */
  takeStop(): { readonly vcpu: number; readonly exit: VcpuExit } | undefined;
  /** It waits for a start-up message. */
  isParked(vcpu: number): boolean;
  setParked(vcpu: number, isParked: boolean): void;
}

export interface Engine {
  readonly kind: "jit" | "kvm";
  /** What `Vcpu.retired` counts. */
  readonly unit: "instruction" | "nanosecond";
  readonly memory: GuestMemory;
  /** Called once for each vCPU, in order, before any runs. Throws RangeError beyond what the engine was made for. */
  createVcpu(index: number, bus: VcpuBus): Vcpu;
  /** Exact replay of a recorded run is possible. */
  supportsReplay(): boolean;
  /** Undefined where the engine cannot tell: such a machine is not migrated while it runs. */
  readonly dirtyTracking?: DirtyTracking;
  /** For devices whose memory guests reach without an exit; undefined where each access is one. Throws RangeError without memory. */
  deviceMemory?(sizeBytes: number, kind: DeviceMemoryKind): DeviceMemory;
  /**
   * RAM below 1 MiB where vCPUs' stores go to the bus from here on, as MMIO, and do not reach memory: bit n for the 16 KiB at
   * 0xC0000 + n * 16 KiB. At first none.
   * Stores by `memory` do. Only from the machine's thread, within callbacks and between runs.
   */
  protectShadow(parts: number): void;
  /** For another engine of this process that goes on with the guest; undefined where threads cannot share it. */
  readonly holder?: RamHolder | undefined;
  /** Undefined: vCPUs take turns in the machine's thread. */
  readonly parallel?: ParallelVcpus;
  /** Counters for `--stats`, by name. */
  stats(): Readonly<Record<string, number>>;
}
