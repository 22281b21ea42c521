/** Files of the host that a VM is made from: opened and read whole, with errors that say which file it was and what for. */
import { constants, openSync, readSync } from "node:fs";
import { VmError, type VmFileRole } from "./vm-error.ts";

/** Throws VmError. A pipe that nobody writes to is not waited for. */
export function openForReading(path: string, role: VmFileRole): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw describeReadError(error, path, role);
  }
}

/** Fills `into` from `offset` on. Throws VmError, also where the file ends before. */
export function readFully(descriptor: number, offset: number, into: Uint8Array, path: string, role: VmFileRole): void {
  try {
    for (let at = 0; at < into.length; ) {
      const got = readSync(descriptor, into, at, into.length - at, offset + at);
      if (got === 0) throw new Error("it became shorter while it was read");
      at += got;
    }
  } catch (error) {
    throw describeReadError(error, path, role);
  }
}

export function describeReadError(error: unknown, path: string, role: VmFileRole): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof VmError) return error;
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new VmError(`${role}-missing`, `There is no ${role} file ${path}. Check the path.`, { cause: error });
  }
  const why = code === "EACCES" || code === "EPERM" ? "it is not yours to read" : message;
  return new VmError(`${role}-unreadable`, `The ${role} file ${path} cannot be read: ${why}.`, { cause: error });
}
