/**
 * What the lockstep debugger steps: one run of a guest on one tier or engine. Two executions of the same guest must
 * show the same state at every count of retired instructions.
 */
import type { VcpuState } from "../cpu/state.ts";

export interface Execution {
  readonly name: string;
  /** Retired instructions since its start. */
  readonly retired: number;
  /** Guest-physical memory from 0, live. */
  readonly ram: Uint8Array;
  /** Runs until `retired` instructions have retired in all; false if the guest ended before that. */
  advance(retired: number): boolean;
  state(): VcpuState;
}

/** Starts a guest anew, twice; each call begins at its first instruction. */
export type MakePair = () => readonly [Execution, Execution];
