/** The one error of migration. `code` is stable for programs; the message says what happened, where the VM is, and what to do. */
export type MigrationErrorCode =
  /** The target cannot take the VM: see `obstacles`. Nothing was started. */
  | "refused"
  /** The peer speaks another version of the protocol. */
  | "version"
  /** The peer breaks the protocol, or is none of ours. */
  | "bad-peer"
  /** A frame or a page arrived damaged. */
  | "corrupt"
  /** The link ended, or could not be made. */
  | "link-lost"
  /** The peer is silent, or takes nothing. */
  | "stalled"
  /** The last step would have stopped the guest for longer than allowed. */
  | "downtime-exceeded"
  /** The guest writes faster than the link carries, and may not be slowed down. */
  | "not-converging"
  | "cancelled"
  /** The guest ended meanwhile. */
  | "guest-ended"
  /** The peer failed at its end. */
  | "peer-failed"
  /** The link broke at the last step: whether the VM runs at the target cannot be known here. It is paused. */
  | "undecided"
  | "bad-option"
  | "bad-state";

/** A reason against a migration, in words. `code` is stable. */
export interface MigrationObstacle {
  readonly code:
    | "engine"
    | "version"
    | "spec"
    | "cpu-feature"
    | "memory"
    | "device"
    | "clock"
    | "recording"
    | "session"
    /** Its disks: what is written to an ephemeral one is nowhere else. */
    | "disk"
    | "busy"
    /** The target's policy does not take it. */
    | "policy"
    | "state";
  readonly message: string;
}

export class MigrationError extends Error {
  override readonly name = "MigrationError";
  readonly code: MigrationErrorCode;
  readonly obstacles: readonly MigrationObstacle[];

  constructor(
    code: MigrationErrorCode,
    message: string,
    options: { cause?: unknown; obstacles?: readonly MigrationObstacle[] } = {},
  ) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.obstacles = options.obstacles ?? [];
  }
}
