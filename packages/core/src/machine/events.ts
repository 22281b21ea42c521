/**
 * The event log: the one door through which anything enters a machine that its state and seed do not determine (wall
 * clock, input, disks, buttons, corrections after a restore). Each event has a position; from the same start and the same
 * events at the same positions, a machine runs the same way to the last bit.
 *
 * Three logs: `LiveLog` keeps nothing, `EventRecorder` (event-recorder.ts) streams to a sink, `EventReplay`
 * (event-replay.ts) is the source of all events and refuses live ones. Kicks are no events: they end a slice and leave
 * no trace in the guest.
 */
import { BLOCK_LIMITS } from "../devices/block-channel.ts";
import { FILE_LIMITS } from "../devices/files/file-channel.ts";

/** Events happen between two instructions, and while a halted vCPU waits in virtual mode between two skips of time. */
export interface EventPosition {
  /** Retired instructions. */
  readonly retired: number;
  /** Skips of time since the last instruction retired. */
  readonly skips: number;
}

export type MachineEvent =
  /** Wall mode: guest time moves forward by `advanceNs`, then goes on with this ratio. */
  | { readonly kind: "clock"; readonly advanceNs: number; readonly psPerInstruction: number }
  /** After a restore: the guest's calendar moves forward. */
  | { readonly kind: "epoch"; readonly advanceSeconds: number }
  /** At most MAX_INPUT_BYTES at once. */
  | { readonly kind: "input"; readonly channel: string; readonly bytes: Uint8Array }
  /** A request to a disk is done; `bytes`: what it read, at most MAX_BLOCK_BYTES. Valid during the call. */
  | {
      readonly kind: "block";
      readonly channel: string;
      readonly id: number;
      readonly isOk: boolean;
      readonly bytes: Uint8Array;
    }
  /** A request to a shared folder is done; `bytes`: its reply, at most MAX_FILE_BYTES. Valid during the call. */
  | {
      readonly kind: "file";
      readonly channel: string;
      readonly id: number;
      readonly error: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: "power"; readonly action: PowerRequest }
  | { readonly kind: "nmi" }
  /** CRC-32C of the vCPU's state, so that a replay notices soon where it went another way. */
  | { readonly kind: "check"; readonly digest: number }
  /** The recording ends here, in a state with this hash. */
  | { readonly kind: "end"; readonly stateHash: Uint8Array };

/** What a person could press on the case: the power and the sleep button (wishes, by ACPI), reset, pulling the plug. */
export type PowerRequest = "button" | "sleep" | "reset" | "off";

export const MAX_INPUT_BYTES = 65_536;
export const MAX_CHANNEL_NAME = 64;
export const MAX_BLOCK_BYTES: number = BLOCK_LIMITS.bytes;
export const MAX_FILE_BYTES: number = FILE_LIMITS.dataBytes;

export interface EventLog {
  readonly mode: "live" | "record" | "replay";
  /** A live event happens at `at`. Throws ReplayError("live-input") in a replay. */
  enter(at: EventPosition, event: MachineEvent): void;
  /** Replay: the next event if it belongs to `at`, taken out. Throws ReplayError("diverged") if it belonged to an earlier position. */
  take(at: EventPosition): MachineEvent | undefined;
  /** Replay: where the next event belongs. Undefined otherwise and after the end. */
  readonly next: EventPosition | undefined;
  /** Whether a "check" event is wanted at this count (record only). */
  wantsCheck(retired: number): boolean;
  /** Record: the recording ends at `at`, in a state with this hash. */
  finish(at: EventPosition, stateHash: Uint8Array): void;
}

export type ReplayErrorCode =
  /** The machine did not reach the next event, or is in another state than the recorded one. */
  | "diverged"
  /** The recording ends without its end mark. */
  | "truncated"
  /** Not a recording, or damaged. */
  | "format"
  | "checksum"
  /** Written by a newer version. */
  | "version"
  /** The recording belongs to another machine or other files. */
  | "foreign"
  /** Live input during a replay. */
  | "live-input";

export class ReplayError extends Error {
  override readonly name = "ReplayError";
  readonly code: ReplayErrorCode;
  /** The instruction count at which it was noticed, where there is one. */
  readonly retired: number | undefined;

  constructor(code: ReplayErrorCode, message: string, retired?: number) {
    super(message);
    this.code = code;
    this.retired = retired;
  }
}

export class LiveLog implements EventLog {
  readonly mode = "live";
  readonly next = undefined;
  enter(): void {}
  take(): undefined {
    return undefined;
  }
  wantsCheck(): boolean {
    return false;
  }
  finish(): void {}
}

/** Negative, zero or positive as `a` comes before, with or after `b`. */
export function comparePositions(a: EventPosition, b: EventPosition): number {
  return a.retired - b.retired || a.skips - b.skips;
}
