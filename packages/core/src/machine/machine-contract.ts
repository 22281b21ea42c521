/** What a host gives to a machine (machine.ts) and hears from it. */
import type { VcpuState } from "../cpu/state.ts";
import type { BlockBackend } from "../devices/block-channel.ts";
import type { FileBackend } from "../devices/files/file-channel.ts";
import type { NetworkBackend } from "../devices/network-channel.ts";
import type { DebugStop } from "../engine/debugging.ts";
import type { Engine } from "../engine/engine.ts";
import type { Ram } from "../memory/ram.ts";
import type { StreamHash } from "../state/sha256.ts";
import type { Board, BoardWiring } from "./board-interface.ts";
import type { EventLog } from "./events.ts";
import type { MachineSpec } from "./spec.ts";

export type MachineState = "created" | "running" | "paused" | "off" | "crashed";

export interface MachineOptions {
  readonly spec: MachineSpec;
  /** The RAM that the engine runs on. Zero at first. */
  readonly memory: Ram;
  readonly engine: Engine;
  readonly createBoard: (wiring: BoardWiring) => Board;
  /** Bytes for a channel's back-end, valid during the call. */
  readonly output: (channel: string, bytes: Uint8Array) => void;
  /** What keeps the bytes of the machine's disks. A machine with disks needs it, but for a replay. */
  readonly blocks?: BlockBackend | undefined;
  /** What carries the frames of the machine's network cards. Without it they lead nowhere. */
  readonly network?: NetworkBackend | undefined;
  /** What has the files of shared folders. */
  readonly files?: FileBackend | undefined;
  /** The host's monotonic clock; wall mode only. Read once a slice, by the event log's side. */
  readonly wallNs?: () => number;
  readonly log?: EventLog;
  /** Guest time of one slice, as far as nothing else ends it. */
  readonly sliceNs?: number;
  /** SHA-256 that is quicker than core's own. */
  readonly sha256?: () => StreamHash;
  /** What a reset that the guest asks for does; the host's own is one always. No part of a state. Default: "restart". */
  readonly onReboot?: RebootAction | undefined;
}

/** restart: the machine starts again. stop: it is turned off. */
export type RebootAction = "restart" | "stop";

export type SliceResult =
  | { readonly kind: "ran" }
  /** Halted in wall mode: nothing happens for `waitNs` (undefined: ever) unless an event arrives. */
  | { readonly kind: "idle"; readonly waitNs: number | undefined }
  /** Halted in virtual mode with no timer armed: only an event goes on. */
  | { readonly kind: "blocked" }
  /** `vcpu`: whose stop it is. */
  | { readonly kind: "debug"; readonly stop: DebugStop; readonly vcpu: number }
  | { readonly kind: "stopped"; readonly state: "off" | "crashed" }
  /** A replay has reached the end of its recording, in the recorded state. The machine is paused. */
  | { readonly kind: "replay-end" };

export interface CrashReport {
  readonly code: "triple-fault" | "device" | "replay" | "restore" | "engine";
  readonly reason: string;
  readonly retired: number;
  readonly vcpu: VcpuState;
  /** Where there are several: which one that is, and how the others stand. */
  readonly index?: number;
  readonly others?: readonly { readonly index: number; readonly state: VcpuState }[];
  /** The last branch targets, oldest first, where the engine knows them. */
  readonly recentBranches?: readonly bigint[];
}

export class MachineError extends Error {
  override readonly name = "MachineError";
  readonly code: "state" | "channel" | "wall-clock" | "engine";

  constructor(code: "state" | "channel" | "wall-clock" | "engine", message: string) {
    super(message);
    this.code = code;
  }
}
