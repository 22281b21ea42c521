/**
 * The big-endian numbers of qcow2. Offsets and sizes have 64 bits in the format and 53 here: a file that needs more does
 * not exist, so a larger number is a damaged one.
 */
import { StorageError } from "../storage-error.ts";

export const TWO_32 = 2 ** 32;

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** `what` names the field in the error. */
export function getU64(view: DataView, at: number, what: string): number {
  const value = view.getUint32(at) * TWO_32 + view.getUint32(at + 4);
  if (value > Number.MAX_SAFE_INTEGER) throw corrupt(`${what} is larger than any file`);
  return value;
}

export function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / TWO_32));
  view.setUint32(at + 4, value % TWO_32);
}

export function corrupt(what: string): StorageError {
  return new StorageError(
    "corrupt",
    `The qcow2 image is damaged: ${what}. \`twinmetal image check FILE\` says more; restore it from a copy.`,
  );
}
