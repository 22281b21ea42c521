/**
 * The one error class of the VM object. `code` is stable and meant for programs; `message` says what happened, why, and
 * what to do next. Errors of the guest's agent (AgentError) and of image assembly (ImageError) pass through as they are.
 */
import {
  LinuxBootError,
  type LinuxBootErrorCode,
  ReplayError,
  type ReplayErrorCode,
  SpecError,
  type SpecErrorCode,
  StateError,
  type StateErrorCode,
} from "@twinmetal/core";
import { StorageError, type StorageErrorCode } from "@twinmetal/storage";

/** Which file an error is about. */
export type VmFileRole = "kernel" | "initrd" | "module" | "firmware" | "state" | "recording";

export type VmErrorCode =
  | LinuxBootErrorCode
  | `spec-${SpecErrorCode}`
  | `state-${StateErrorCode}`
  | `replay-${ReplayErrorCode}`
  /** A disk's image. */
  | `disk-${StorageErrorCode}`
  /** A folder that cannot be shared. */
  | "share-unusable"
  /** There is no such file. */
  | `${VmFileRole}-missing`
  /** It is there and cannot be read: a directory, no permission, a failing disk. */
  | `${VmFileRole}-unreadable`
  /** The machine's files are known by hash only, and none of the given ones has it. */
  | `${"kernel" | "initrd" | "firmware"}-unknown`
  /** A socket that a network card leads to cannot be made. */
  | "network-socket"
  /** The VM is on no user network, or has no such network card. */
  | "no-network"
  /** A file that was to be written cannot be. */
  | "not-writable"
  | "disk-full"
  /** The firmware's variables that a VM of this name keeps are another running VM's. */
  | "locked"
  /** An option has a value that makes no sense. */
  | "bad-option"
  /** The kvm engine was asked for and cannot run this VM here. */
  | "kvm-unavailable"
  /** The host could not give the memory. */
  | "memory-unavailable"
  /** The VM is in a state in which this cannot be done. */
  | "bad-state"
  /** A debugger asked for memory where there is none. */
  | "no-memory"
  /** The guest has locked the tray of the drive. */
  | "tray-locked"
  /** The VM has neither screen nor keyboard. */
  | "no-screen"
  /** The VM has no balloon in its memory. */
  | "no-balloon"
  /** The VM was made without room for more memory. */
  | "no-hot-memory"
  /** The VM was made without room for more processors. */
  | "no-hot-cpus"
  /** The VM has no sockets to its host. */
  | "no-vsock"
  /** Nobody in the guest takes the connection. */
  | "refused"
  /** A text or a key that the keyboard has not. */
  | "bad-key"
  /** The guest ended before what was waited for. */
  | "guest-ended"
  | "timeout"
  /** The VM object was closed. */
  | "closed"
  /** A fault of Twinmetal itself. */
  | "internal";

export class VmError extends Error {
  override readonly name = "VmError";
  readonly code: VmErrorCode;
  /** Of "memory-too-small" and "initrd-too-large": how much memory would do. */
  readonly neededBytes: number | undefined;

  constructor(code: VmErrorCode, message: string, options: { cause?: unknown; neededBytes?: number } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.neededBytes = options.neededBytes;
  }
}

/** Turns the core's errors into VmErrors; lets everything else through. */
export function asVmError(error: unknown): unknown {
  const { message } = error as Error;
  if (error instanceof LinuxBootError) {
    return new VmError(error.code, message, { cause: error, neededBytes: error.neededBytes });
  }
  if (error instanceof SpecError) return new VmError(`spec-${error.code}`, message, { cause: error });
  if (error instanceof StateError) return new VmError(`state-${error.code}`, message, { cause: error });
  if (error instanceof ReplayError) return new VmError(`replay-${error.code}`, message, { cause: error });
  if (error instanceof StorageError) return new VmError(`disk-${error.code}`, message, { cause: error });
  return error;
}

/** An error on its way between two threads. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
  readonly neededBytes: number | undefined;
  readonly stack: string | undefined;
}

export function plainError(given: unknown): PlainError {
  const error = asVmError(given);
  if (!(error instanceof Error)) {
    return { name: "Error", message: String(error), code: undefined, neededBytes: undefined, stack: undefined };
  }
  const { name, message, stack } = error;
  const { code, neededBytes } = error as { code?: unknown; neededBytes?: unknown };
  return {
    name,
    message,
    code: typeof code === "string" ? code : undefined,
    neededBytes: typeof neededBytes === "number" ? neededBytes : undefined,
    stack,
  };
}

export function errorFromPlain(plain: PlainError): VmError {
  const code = plain.name === "VmError" && plain.code !== undefined ? (plain.code as VmErrorCode) : "internal";
  const message = code === "internal" ? `Twinmetal's machine failed: ${plain.message}` : plain.message;
  const error = new VmError(code, message, { neededBytes: plain.neededBytes });
  if (code === "internal" && plain.stack !== undefined) error.stack = plain.stack;
  return error;
}
