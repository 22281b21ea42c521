/** The error class of named VMs. `code` is stable; `message` says what happened, why, and what to do next. */
export type LifecycleErrorCode =
  | "bad-name"
  | "name-in-use"
  | "no-such-vm"
  /** The VM is in a state in which this cannot be done. */
  | "bad-state"
  /** The policy does not take it (../policy/policy.ts). */
  | "refused"
  /** Its time to live is over. */
  | "expired"
  /** Its spec file is not readable as one. */
  | "bad-spec"
  /** Another command holds the VM for too long. */
  | "busy"
  /** Its folder cannot be read, written or removed. */
  | "folder"
  /** Its process ended before it ran. */
  | "start-failed"
  /** Its process is there and says nothing. */
  | "no-answer";

export class LifecycleError extends Error {
  override readonly name = "LifecycleError";
  readonly code: LifecycleErrorCode;

  constructor(code: LifecycleErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
