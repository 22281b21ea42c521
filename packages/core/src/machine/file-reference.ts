/** A file that a machine needs, known by its content; its bytes are handed over beside the spec. */
import type { StateValue } from "../devices/device.ts";
import type { StateReader } from "../state/reader.ts";
import { isWhole, SpecError, type SpecErrorCode } from "./spec-error.ts";

const MAX_FILE_BYTES = 2 ** 32;

export interface FileReference {
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

export function fileFields({ sha256, sizeBytes }: FileReference): { readonly [key: string]: StateValue } {
  return { sha256, sizeBytes };
}

export function fileFromState(reader: StateReader): FileReference {
  const reference = { sha256: reader.text("sha256", 64), sizeBytes: reader.int("sizeBytes", 0, MAX_FILE_BYTES) };
  reader.end();
  return reference;
}

/** Throws SpecError. `role`: what it is, in a sentence. */
export function checkFile(code: SpecErrorCode, role: string, file: FileReference): void {
  if (/^[0-9a-f]{64}$/.test(file.sha256) && isWhole(file.sizeBytes, 0, MAX_FILE_BYTES)) return;
  throw new SpecError(code, `The ${role} is not named by a SHA-256 of 64 lower-case hexadecimal digits and its size.`);
}
