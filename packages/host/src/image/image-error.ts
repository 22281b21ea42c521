/**
 * The errors of image assembly. `code` is stable and meant for programs; `message` says what happened and why,
 * `nextStep` what a person can do about it (it is also the last sentence of `message`).
 */

export type ImageErrorCode =
  | "IMAGE_NETWORK"
  | "IMAGE_NOT_FOUND"
  | "IMAGE_UNTRUSTED"
  | "IMAGE_MALFORMED"
  | "IMAGE_NO_SOURCE"
  | "IMAGE_NO_SPACE"
  | "IMAGE_NOT_WRITABLE"
  | "IMAGE_LOCK_TIMEOUT"
  | "IMAGE_BAD_OPTION"
  | "IMAGE_TOOL";

export class ImageError extends Error {
  readonly code: ImageErrorCode;
  readonly nextStep: string;

  constructor(code: ImageErrorCode, what: string, nextStep: string, options?: { cause?: unknown }) {
    super(`${what} ${nextStep}`, options);
    this.name = "ImageError";
    this.code = code;
    this.nextStep = nextStep;
  }
}

/** Turns an operating-system error met while writing `path` into one with a cause and a next step. */
export function describeWriteError(error: unknown, path: string): Error {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new ImageError(
      "IMAGE_NO_SPACE",
      `The disk is full: ${path} cannot be written.`,
      "Free some space, or set XDG_CACHE_HOME to a directory on another disk.",
      { cause: error },
    );
  }
  if (code === "EACCES" || code === "EROFS" || code === "EPERM" || code === "ENOTDIR" || code === "ENOENT") {
    return new ImageError(
      "IMAGE_NOT_WRITABLE",
      `${path} cannot be written (${code}).`,
      "Set XDG_CACHE_HOME to a directory you can write to.",
      { cause: error },
    );
  }
  return error instanceof Error ? error : new Error(String(error));
}
