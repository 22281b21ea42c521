/** The error class of copies between host and guest. `code` is stable; `message` says what happened, why, and what to do next. */
export type CopyErrorCode =
  /** Of the source or the target, on the host: it is not there, or cannot be read or written. */
  | "host-file"
  /** A folder would replace a file, or a file a folder. */
  | "conflict"
  /** More than may come, or than the host has room for. */
  | "too-large"
  /** What the guest sends is no archive of what was asked for. */
  | "bad-archive";

export class CopyError extends Error {
  override readonly name = "CopyError";
  readonly code: CopyErrorCode;

  constructor(code: CopyErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The operating system's, of a file of the host. */
export function hostFileError(error: unknown, path: string, what: "read" | "written"): Error {
  if (error instanceof CopyError) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return error as Error;
  const next =
    code === "ENOSPC" || code === "EDQUOT"
      ? "Free some space on that disk."
      : "Check the path, its owner and its mode.";
  return new CopyError("host-file", `${path} cannot be ${what} (${code}). ${next}`, { cause: error });
}
