/** The operating system's errors as the ones of `storage`: what happened to which file, and what to do next. */
import { StorageError, type StorageErrorCode } from "@twinmetal/storage";

interface Translation {
  readonly code: StorageErrorCode;
  readonly next: string;
}

const NO_SPACE: Translation = { code: "no-space", next: "Free some space on that disk and try again." };
const NOT_ALLOWED: Translation = { code: "permission", next: "Check the file's owner and mode." };

const TRANSLATIONS: Readonly<Record<string, Translation>> = {
  ENOSPC: NO_SPACE,
  EDQUOT: NO_SPACE,
  EFBIG: { code: "no-space", next: "The file system cannot hold a file of this size: use another one." },
  EACCES: NOT_ALLOWED,
  EPERM: NOT_ALLOWED,
  EROFS: { code: "permission", next: "The file system is mounted for reading only: open the image with `readonly`." },
  ENOENT: { code: "not-found", next: "Check the path." },
  ENOTDIR: { code: "not-found", next: "Check the path." },
  ELOOP: { code: "not-found", next: "Symbolic links lead in a circle: check the path." },
  EEXIST: { code: "exists", next: "Choose another name, or remove it first." },
  EISDIR: { code: "io", next: "It is a directory: name a file." },
};

/** `what` is a verb's past participle: "read", "written". A StorageError is given back as it is. */
export function fileError(error: unknown, path: string, what: string): StorageError {
  if (error instanceof StorageError) return error;
  const name = (error as NodeJS.ErrnoException | null)?.code ?? "unknown error";
  const known = TRANSLATIONS[name];
  const next = known?.next ?? "Look into the system's log for the disk's own errors.";
  return new StorageError(known?.code ?? "io", `${path} cannot be ${what} (${name}). ${next}`, { cause: error });
}
