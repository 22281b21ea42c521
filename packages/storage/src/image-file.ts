/**
 * What holds an image's bytes: a file of the host, memory, whatever has these. Formats know nothing else of a host,
 * so they run where there are no files at all, and under a layer that loses power.
 */
import { joinParts, type Parts } from "./parts.ts";

export interface ImageFile {
  readonly isReadOnly: boolean;
  /** Fills `into`; what lies behind the end of the file reads as zeroes. */
  read(offset: number, into: Uint8Array): Promise<void>;
  /** Writes all of `bytes` or fails; the file grows as needed. `bytes` must not change until the answer. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** As `read` and `write` of all parts, one behind the other. Not every host can. */
  readParts?(offset: number, parts: Parts): Promise<void>;
  writeParts?(offset: number, parts: Parts): Promise<void>;
  /** Everything acknowledged before this call, the file's size too, is durable once it is answered. */
  flush(): Promise<void>;
  /** Sets the size: bytes that appear are zeroes. */
  truncate(sizeBytes: number): Promise<void>;
  /**
   * Gives the range's space back, so that it reads zeroes; the size stays. False: cannot be done here, nothing changed.
   */
  discard(offset: number, length: number): Promise<boolean>;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** One after the other where the host cannot otherwise. */
export async function readFileParts(file: ImageFile, offset: number, parts: Parts): Promise<void> {
  if (file.readParts) return await file.readParts(offset, parts);
  let at = offset;
  for (const part of parts) {
    await file.read(at, part);
    at += part.length;
  }
}

export async function writeFileParts(file: ImageFile, offset: number, parts: Parts): Promise<void> {
  if (file.writeParts) await file.writeParts(offset, parts);
  else await file.write(offset, joinParts(parts));
}

/** Zeroes to write where there is nothing better. Never written to. */
export const ZEROES: Uint8Array = new Uint8Array(1 << 16);

/** Writes zeroes over the range, piece by piece. */
export async function writeZeroBytes(file: Pick<ImageFile, "write">, offset: number, length: number): Promise<void> {
  for (let done = 0; done < length; ) {
    const piece = Math.min(length - done, ZEROES.length);
    await file.write(offset + done, piece === ZEROES.length ? ZEROES : ZEROES.subarray(0, piece));
    done += piece;
  }
}
