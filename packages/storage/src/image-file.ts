/**
 * What holds an image's bytes: a file of the host, memory, whatever has these eight. Formats know nothing else of a host,
 * so they run where there are no files at all, and under a layer that loses power.
 */

export interface ImageFile {
  readonly isReadOnly: boolean;
  /** Fills `into`; what lies behind the end of the file reads as zeroes. */
  read(offset: number, into: Uint8Array): Promise<void>;
  /** Writes all of `bytes` or fails; the file grows as needed. `bytes` must not change until the answer. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
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
