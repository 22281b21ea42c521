/** What a migration is given at its source: the VM that goes, limits, and what it tells of itself. */
import type { MachineSpec } from "../machine/spec.ts";
import type { CancelSignal, MigrationLink, MigrationTime, PageCompressor } from "./link.ts";
import type { StateForm } from "./messages.ts";

/** What a stopped guest is, beside RAM. */
export interface StoppedVm {
  /** From `saveSections`. */
  readonly sections: Uint8Array;
  /** The guest did not run before either. */
  readonly isPaused: boolean;
}

/** The VM that goes. Each method resolves when it is done, and rejects if the VM has ended. */
export interface SourceVm {
  readonly name: string;
  readonly spec: MachineSpec;
  readonly engine: string;
  readonly forms: readonly StateForm[];
  /** All of RAM, as it is: it changes while the guest runs. */
  readonly ram: Uint8Array;
  track(isOn: boolean): Promise<void>;
  /** Marks the pages written since the last call with 1; how many. */
  takeDirty(into: Uint8Array): Promise<number>;
  /** The share of its time that the guest gets, above 0 to 1. */
  throttle(share: number): Promise<void>;
  /** Stops the guest between two instructions and marks the pages that are left. Nothing but the methods below moves it on. */
  stop(into: Uint8Array): Promise<StoppedVm>;
  /** Goes on as before `stop`. */
  goOn(): Promise<void>;
  /** After `stop`: input that has not reached the guest, and will not unless `goOn` follows. */
  takeInput(): Uint8Array;
  /** The guest is elsewhere now: this machine ends. */
  give(): Promise<void>;
}

export interface MigrationLimits {
  /** How long the guest may stand still. */
  readonly maxDowntimeMs: number;
  readonly bytesPerSecond?: number;
  readonly compression: "auto" | "always" | "never";
  /** The guest may be slowed down when it writes faster than the link carries. */
  readonly mayThrottle: boolean;
  /** A side that is silent for so long is gone. */
  readonly stallMs: number;
  /** For the target to build its machine. */
  readonly prepareMs: number;
  /** How long the source asks what has become of the guest, when the link broke at the last step. */
  readonly decideMs: number;
}

export const DEFAULT_MIGRATION_LIMITS: MigrationLimits = {
  maxDowntimeMs: 100,
  compression: "auto",
  mayThrottle: true,
  stallMs: 10_000,
  prepareMs: 120_000,
  decideMs: 10_000,
};

export interface MigrationProgress {
  readonly phase: "connect" | "copy" | "stop" | "release" | "done";
  readonly round: number;
  readonly sentBytes: number;
  readonly sentPages: number;
  /** Of this round. */
  readonly leftPages: number;
  readonly roundPages: number;
  readonly share: number;
}

export interface MigrationResult {
  /** From the guest's stop to the message that it runs at the target. */
  readonly downtimeMs: number;
  readonly totalMs: number;
  readonly rounds: number;
  readonly sentBytes: number;
  readonly sentPages: number;
  readonly zeroPages: number;
  /** Of them, while the guest stood still. */
  readonly stoppedPages: number;
  /** The least share of its time that the guest was slowed down to. */
  readonly leastShare: number;
}

export interface MigrateOptions {
  readonly vm: SourceVm;
  readonly version: string;
  /** Random, `MIGRATION_ID_BYTES`. */
  readonly id: Uint8Array;
  /** Makes a link to the target: for the migration, and again for the question what has become of it. */
  readonly connect: () => Promise<MigrationLink>;
  readonly time: MigrationTime;
  readonly compressor: PageCompressor;
  readonly limits: MigrationLimits;
  readonly cancel?: CancelSignal;
  readonly onProgress?: (progress: MigrationProgress) => void;
}
