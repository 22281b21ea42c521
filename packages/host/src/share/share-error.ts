/** What can be wrong with a folder that is to be shared, in words. */
import { VmError } from "../vm/vm-error.ts";

export function shareError(error: unknown, path: string): VmError {
  const { code } = error as { code?: string };
  const why =
    code === "ENOENT"
      ? "it is not there"
      : code === "ENOTDIR"
        ? "it is no folder"
        : code === "EACCES" || code === "EPERM"
          ? "it may not be opened"
          : (error as Error).message;
  return new VmError("share-unusable", `${path} cannot be shared: ${why}. Name a folder that you can use.`, {
    cause: error,
  });
}
