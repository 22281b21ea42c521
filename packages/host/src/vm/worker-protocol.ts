/**
 * What the thread that holds the VM object and the thread that runs its machine say to each other.
 *
 *   to the machine     messages on a port of their own, which the machine reads at slice boundaries without an event
 *                      loop; each is followed by a kick (CELL.KICK), which also ends the machine's sleep
 *   from the machine   messages; those with output carry a cost, which the machine adds to CELL.PENDING_OUTPUT and the
 *                      other side subtracts once it has got rid of the bytes. A machine with too much pending waits.
 */
import type { MessagePort } from "node:worker_threads";
import type {
  DebugRequest,
  MachineEvent,
  MachineSpec,
  RamHolder,
  RebootAction,
  ScreenImage,
  StateForm,
  StoppedVm,
  Tier,
  TrayAction,
  VcpuState,
} from "@twinmetal/core";
import type { DiskRing, ReachedMemory } from "../disk/block-ring.ts";
import type { TrayReport } from "../disk/let-go.ts";
import type { FrameRing } from "../network/frame-ring.ts";
import type { SpentBefore } from "../resources/cpu-pacing.ts";
import type { HardLimits, VmLimits } from "../resources/vm-limits.ts";
import type { ShareRing } from "../share/share-ring.ts";
import type { DebugReport, MemoryPlace } from "./machine-debugger.ts";
import type { BootFileLocation } from "./open-boot-file.ts";
import type { TranslationSettings } from "./translation-settings.ts";
import type { OpenStateFile, VmExit, VmOptions, VmProgress } from "./vm.ts";
import type { PlainError } from "./vm-error.ts";

/** Int32 cells in shared memory. */
export const CELL = {
  /** Counts kicks: wait for a change. */
  KICK: 0,
  /** Cost of the output that the other side still holds. */
  PENDING_OUTPUT: 1,
  /** 1 while the machine waits for PENDING_OUTPUT to fall. */
  OUTPUT_BLOCKED: 2,
  /** 1: the save in progress shall end without a file. */
  ABORT_SAVE: 3,
  /** 1 while the guest waits, and its thread with it. */
  ASLEEP: 4,
  sizeBytes: 20,
} as const;

/** The machine stops running while more than this is pending. */
export const MAX_PENDING_OUTPUT: number = 1024 * 1024;
/** Of each part of a message, beside its bytes. */
export const PART_COST = 64;

export interface WorkerStart {
  readonly cells: SharedArrayBuffer;
  readonly port: MessagePort;
  readonly engine: "jit" | "kvm";
  /** By which the vCPU of the kvm engine is kicked (kvm/kick-cells.ts). */
  readonly vcpuCells: SharedArrayBuffer | undefined;
  readonly tier: Tier;
  /** Several vCPUs run in threads of their own. */
  readonly isParallel?: boolean;
  /** What was asked for, for the next engine that goes on with the guest. */
  readonly smp?: VmOptions["smp"] | undefined;
  /** To the thread that translates, for each of those but the first. */
  readonly vcpuTranslators?: readonly MessagePort[];
  /** To the thread that translates; undefined unless `tier` is "auto". */
  readonly translator: MessagePort | undefined;
  /** Where translations outlive the process; undefined: nowhere. */
  readonly translationCache: TranslationSettings | undefined;
  /** Where what earlier runs have left comes from, beside `translator`. */
  readonly kept: MessagePort | undefined;
  /** The core module, as an earlier run has left it. */
  readonly core: WebAssembly.Module | undefined;
  readonly spec: MachineSpec;
  /** RAM of the machine that this one takes over, which runs until this one is to; undefined: new. */
  readonly holder?: RamHolder | undefined;
  /** Undefined after a restore whose files are not to be found: the machine runs, and cannot be reset. */
  readonly files: WorkerFiles | undefined;
  /** To the thread that has the disks' images; undefined without disks, and in a replay. */
  readonly ring?: DiskRing | undefined;
  /** To the thread that carries the frames of network cards; undefined without any, and in a replay. */
  readonly frames?: FrameRing | undefined;
  /** To the thread that has the shared folders; undefined without any, and in a replay. */
  readonly shareRing?: ShareRing | undefined;
  readonly sliceNs: number | undefined;
  readonly onReboot?: VmOptions["onReboot"];
  /** From its start on. */
  readonly limits?: VmLimits | undefined;
  /** The saved state to begin from instead of power-on. */
  readonly statePath: string | undefined;
  /** The guest's calendar jumps by this much after the restore. */
  readonly advanceCalendarSeconds: number;
  /** Of a machine that is a copy from here on: its new generation identifier. */
  readonly generationId?: Uint8Array;
  readonly recordPath: string | undefined;
  readonly replayPath: string | undefined;
}

/** A kernel, or firmware, which is the bytes themselves. */
export interface WorkerFiles {
  readonly kernel?: BootFileLocation;
  readonly initrd?: BootFileLocation;
  readonly modules?: readonly BootFileLocation[];
  readonly firmware?: { readonly bytes: Uint8Array };
  readonly variables?: { readonly bytes: Uint8Array };
  readonly vgaRom?: { readonly bytes: Uint8Array };
  readonly cardRoms?: Readonly<Partial<Record<"virtio-net" | "e1000", { readonly bytes: Uint8Array }>>>;
}

/** What is decided where the thread is started. */
export type WorkerChoices = Omit<
  WorkerStart,
  "cells" | "vcpuCells" | "port" | "translator" | "vcpuTranslators" | "kept" | "core"
>;

/** Commands and what they answer. */
export interface Commands {
  start: { args: undefined; result: undefined };
  pause: { args: undefined; result: undefined };
  resume: { args: undefined; result: undefined };
  reset: { args: undefined; result: undefined };
  sleepButton: { args: undefined; result: undefined };
  powerButton: { args: undefined; result: undefined };
  powerOff: { args: { reason: string; limit?: keyof HardLimits }; result: undefined };
  save: { args: { file: string | OpenStateFile }; result: undefined };
  record: { args: { path: string; statePath: string }; result: undefined };
  stateHash: { args: undefined; result: string };
  stats: { args: undefined; result: Readonly<Record<string, number>> };
  registers: { args: undefined; result: VmRegisters };
  /** What a reboot by the guest does, from here on. */
  onReboot: { args: { action: RebootAction }; result: undefined };
  /** What the VM may use, from here on. */
  /** `spent`: what counts towards them, from machines that the guest has left. */
  limit: { args: { limits: VmLimits; spent: SpentBefore }; result: undefined };
  /** For a debugger: machine-debugger.ts. */
  debug: { args: { request: DebugRequest | undefined }; result: undefined };
  startPaused: { args: undefined; result: undefined };
  step: { args: undefined; result: undefined };
  vcpuState: { args: { vcpu: number }; result: VcpuState };
  setVcpuState: { args: { vcpu: number; state: VcpuState }; result: undefined };
  readMemory: { args: { place: MemoryPlace; length: number }; result: Uint8Array };
  writeMemory: { args: { place: MemoryPlace; bytes: Uint8Array }; result: undefined };
  /** At the tray of a disc's drive, or a disk's bay. The state that it was in; undefined: there is none. Without an action it only looks. */
  tray: { args: { disk: string; action?: TrayAction }; result: TrayReport | undefined };
  /** What the screen shows; undefined: there is none. */
  screen: { args: undefined; result: ScreenImage | undefined };
  screenText: { args: undefined; result: readonly string[] | undefined };
  /** Live migration, in the order of machine-migration.ts. `into`: a byte for each page of RAM. */
  describe: { args: undefined; result: MachineDescription };
  track: { args: { isOn: boolean }; result: undefined };
  takeDirty: { args: { into: SharedArrayBuffer }; result: number };
  throttle: { args: { share: number }; result: undefined };
  handOver: { args: { into: SharedArrayBuffer }; result: HandedOver };
  goOn: { args: undefined; result: undefined };
  give: { args: { to: string }; result: undefined };
  adopt: { args: { sections: Uint8Array; waiting?: readonly MachineEvent[] }; result: undefined };
  goOnHere: { args: { stoodUs: number; isPaused: boolean }; result: undefined };
  /** For another engine in this process (engine-switch.ts): stands still as for `handOver`, then `goOn` or `leave`. */
  standStill: { args: undefined; result: StoodStill };
  leave: { args: undefined; result: undefined };
  /** Where the guest has come from another engine of this process: nobody else uses its memory any more. */
  isAlone: { args: undefined; result: undefined };
}

export interface HandedOver extends StoppedVm {
  /** Serial input that the guest has not taken. */
  readonly input: Uint8Array;
}

export interface StoodStill extends HandedOver {
  /** Since when, in microseconds of the host's monotonic clock. */
  readonly sinceUs: number;
  /** What has not entered the machine: from outside, and within it. */
  readonly inputs: readonly OutputPart[];
  readonly waiting: readonly MachineEvent[];
}

/** A machine, for the side that moves its memory. */
export interface MachineDescription {
  readonly engine: string;
  readonly forms: readonly StateForm[];
  /** All of RAM. Undefined where it cannot be shared. */
  readonly ram: Uint8Array<SharedArrayBuffer> | undefined;
  readonly holder: RamHolder | undefined;
  readonly isTracking: boolean;
  readonly isRecording: boolean;
}

/** The host's monotonic clock, the same in all threads of the process. */
export const monotonicUs = (): number => Number(process.hrtime.bigint() / 1000n);

export type CommandName = keyof Commands;

/** The processor between two instructions. */
export interface VmRegisters {
  /** Current privilege level: the ring that the guest's code runs in. */
  readonly cpl: number;
  readonly rip: bigint;
  readonly rflags: bigint;
  /** rax rcx rdx rbx rsp rbp rsi rdi r8 to r15 */
  readonly gpr: readonly bigint[];
  readonly cs: number;
  readonly ss: number;
  readonly cr0: bigint;
  readonly cr2: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly isHalted: boolean;
  /** Instructions since power-on. */
  readonly retired: number;
}

export type ToMachine =
  | { readonly type: "input"; readonly channel: string; readonly bytes: Uint8Array }
  | { readonly type: "serial"; readonly bytes: Uint8Array }
  | { readonly type: "command"; readonly id: number; readonly name: CommandName; readonly args: unknown };

export interface OutputPart {
  readonly channel: string;
  readonly bytes: Uint8Array;
}

export type FromMachine =
  /** The machine is built; `activity`: what its thread does (core, JitEngine). `error`: it could not be, and the thread ends. */
  | {
      readonly type: "ready";
      readonly activity?: Int32Array<SharedArrayBuffer>;
      /** Which its disks' requests tell of. */
      readonly memory?: ReachedMemory;
      readonly error?: PlainError;
    }
  | { readonly type: "output"; readonly parts: readonly OutputPart[]; readonly cost: number }
  /** So many bytes of serial input are in the machine. */
  | { readonly type: "serial-taken"; readonly bytes: number }
  | { readonly type: "state"; readonly state: "running" | "paused" }
  /** The machine is paused, for what a debugger has asked. */
  | { readonly type: "debug-stop"; readonly report: DebugReport }
  | { readonly type: "exit"; readonly exit: VmExit }
  | { readonly type: "replay-end"; readonly stateHash: string; readonly retired: number }
  | { readonly type: "progress"; readonly id: number; readonly progress: VmProgress }
  | { readonly type: "reply"; readonly id: number; readonly result: unknown }
  | { readonly type: "reply"; readonly id: number; readonly error: PlainError };
