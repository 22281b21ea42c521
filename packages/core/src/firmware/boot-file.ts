/**
 * A file that a machine starts from: its bytes, or a way to read them. A kernel and an initrd have tens of megabytes that
 * are needed once, in guest memory; what reads them in pieces never has them twice.
 */

/** A file that is read where it lies. */
export interface FileReader {
  readonly length: number;
  /** Fills `into` from `offset` on; the precondition is that the file reaches that far. Throws if it cannot be read. */
  readAt(offset: number, into: Uint8Array): void;
}

export type BootFile = Uint8Array | FileReader;

/** Enough of a file to say what it is: firmware/file-kind.ts looks furthest. */
const HEAD_BYTES = 0x9000;
/** No larger: memory that is freed in big pieces makes some hosts' allocators keep more of it. */
const PIECE_BYTES = 64 * 1024;

/** The file's first bytes: all of them if it is short. */
export function headOf(file: BootFile): Uint8Array {
  const bytes = Math.min(file.length, HEAD_BYTES);
  if (file instanceof Uint8Array) return file.subarray(0, bytes);
  const head = new Uint8Array(bytes);
  file.readAt(0, head);
  return head;
}

/** Part of a file in order, in pieces that are only lent. */
export function* piecesOf(file: BootFile, from: number, length: number): Iterable<Uint8Array> {
  if (file instanceof Uint8Array) {
    yield file.subarray(from, from + length);
    return;
  }
  const piece = new Uint8Array(Math.min(PIECE_BYTES, length));
  for (let done = 0; done < length; done += piece.length) {
    const part = piece.subarray(0, length - done);
    file.readAt(from + done, part);
    yield part;
  }
}
