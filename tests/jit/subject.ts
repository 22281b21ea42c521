// What the exactness rig drives: a tier of the CPU, given a guest, as a machine that runs to an exact count and takes
// events between two instructions. Two subjects must show the same state at the same count.

import type { VcpuState } from "../../packages/core/src/cpu/state.ts";

/** A guest before its first instruction. Read-only: machines are reset to it. */
export interface Guest {
  /** A name that makes it again. */
  readonly name: string;
  readonly ram: Uint8Array;
  readonly state: VcpuState;
  /** Addresses of bytes in the code that may be overwritten at any time: immediate operands. */
  readonly patches: readonly number[];
}

export type EventKind = "interrupt" | "nmi" | "unmap" | "protect" | "dma";

export interface GuestMachine {
  /** Back to the guest's beginning; decoded and translated code stays, where it is still right. */
  reset(): void;
  readonly retired: number;
  /** Runs until `retired` instructions have retired in all; false if the guest ended before that. */
  advance(retired: number): boolean;
  /** Something from outside, at this boundary. */
  raise(event: EventKind): void;
  state(): VcpuState;
  /** Guest-physical memory from 0, live. */
  readonly ram: Uint8Array;
  /** Guest instructions translated so far, each time they were. */
  readonly translated: number;
  /** Grows with each access to a device and each interrupt taken, by what and when. */
  readonly trace: number;
}

export interface Subject {
  readonly name: string;
  /** How many instructions of one program to run on it, all boundaries together, where it is slow. */
  readonly mostRetired?: number | undefined;
  load(guest: Guest): GuestMachine;
}
