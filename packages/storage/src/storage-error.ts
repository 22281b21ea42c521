/**
 * The errors of disks and their images. `code` is stable and meant for programs; `message` says what happened, why, and
 * what to do next. Whatever a damaged or hostile image holds ends in one of these, never in another exception.
 *
 * A failed request has changed nothing but the bytes it was about: after "no-space" the same request may be made again.
 */

export type StorageErrorCode =
  /** The host's disk or quota is full; nothing acknowledged is lost. */
  | "no-space"
  /** A write to what was opened for reading only. */
  | "read-only"
  /** The image contradicts itself or its format. */
  | "corrupt"
  /** Another process, or another disk of this one, uses the image. */
  | "locked"
  /** The image needs something that is not there: a feature, a compression, encryption. */
  | "unsupported"
  /** A request outside the disk, not in whole sectors, or a size that no image can have. */
  | "out-of-range"
  /** A file, or a backing file, that does not exist. */
  | "not-found"
  /** A file to create that is there already. */
  | "exists"
  /** The host's system does not allow it. */
  | "permission"
  /** A request to a disk that has been closed. */
  | "closed"
  /** Whatever else the host's system reports. */
  | "io";

export class StorageError extends Error {
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "StorageError";
    this.code = code;
  }
}
