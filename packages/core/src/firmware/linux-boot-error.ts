/** Why a kernel cannot be started directly. `code` is stable for programs; the message is for the user. */
export type LinuxBootErrorCode =
  /** The kernel file has no bytes. */
  | "kernel-empty"
  /** The file ends before what its own header announces. */
  | "kernel-truncated"
  /** Something else than an x86 bzImage; the message says what it looks like. */
  | "not-a-bzimage"
  /** A bzImage without the 64-bit entry point. */
  /** The boot protocol is older than 2.12 and cannot say whether there is a 64-bit entry. */
  | "protocol-too-old"
  /** The header contradicts itself. */
  | "kernel-malformed"
  | "command-line-too-long"
  | "command-line-invalid"
  /** `neededBytes` says how much RAM it takes. */
  | "memory-too-small"
  /** The file given as initrd has no bytes. */
  | "initrd-empty"
  /** `roomBytes` says how large it may be in this much RAM. */
  | "initrd-too-large";

export interface LinuxBootErrorDetails {
  readonly neededBytes?: number;
  readonly roomBytes?: number;
}

export class LinuxBootError extends Error {
  override readonly name = "LinuxBootError";
  readonly code: LinuxBootErrorCode;
  readonly neededBytes: number | undefined;
  readonly roomBytes: number | undefined;

  constructor(code: LinuxBootErrorCode, message: string, details: LinuxBootErrorDetails = {}) {
    super(message);
    this.code = code;
    this.neededBytes = details.neededBytes;
    this.roomBytes = details.roomBytes;
  }
}
