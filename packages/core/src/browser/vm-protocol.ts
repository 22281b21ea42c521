/**
 * What page and machine thread say to each other. Output of the guest is bounded by a window: the thread stops the guest
 * while more than `MAX_PENDING_OUTPUT` bytes are sent and not yet taken.
 */
import type { Tier } from "../engine/jit-engine.ts";
import type { BootFiles } from "../machine/power-on.ts";
import type { MachineSpec } from "../machine/spec.ts";

export const MAX_PENDING_OUTPUT: number = 256 * 1024;

/** Without the files' hashes, which the thread computes. */
export interface VmStart {
  readonly spec: Omit<MachineSpec, "boot">;
  readonly files: BootFiles;
  /** By name of the spec's devices. */
  readonly disks: Readonly<Record<string, Uint8Array>>;
  readonly commandLine: string;
  readonly sliceNs: number;
  readonly tier: Tier | undefined;
}

export type VmEnd =
  /** Turned off: by the guest, or from outside. */
  { readonly kind: "off"; readonly reason: string } | { readonly kind: "crashed"; readonly reason: string };

/** Counters by name. */
export type VmStats = Readonly<Record<string, number>>;

export interface PlainError {
  readonly code: string;
  readonly message: string;
}

export type CommandName = "start" | "pause" | "resume" | "reset" | "powerButton" | "powerOff" | "stats";

export type ToMachine =
  | { readonly type: "create"; readonly start: VmStart }
  | { readonly type: "command"; readonly id: number; readonly name: CommandName }
  /** Typed. Answered with "reply" when the guest's port has taken all of it. */
  | { readonly type: "serial"; readonly id: number; readonly bytes: Uint8Array }
  /** Output that the page's listeners have seen. */
  | { readonly type: "taken"; readonly sizeBytes: number };

export type FromMachine =
  | { readonly type: "created"; readonly error?: PlainError }
  | { readonly type: "output"; readonly bytes: Uint8Array }
  | { readonly type: "reply"; readonly id: number; readonly stats?: VmStats; readonly error?: PlainError }
  /** The last word but for replies. */
  | { readonly type: "end"; readonly end: VmEnd };
