/**
 * Decompression for qcow2 by node:zlib: raw deflate in any Node, Zstandard from 22.15 on. A qcow2 cluster's compressed
 * bytes are followed by whatever fills their last sector; Zstandard's are cut to their frame (RFC 8878, 3.1.1) first.
 */
import * as zlib from "node:zlib";
import type { Decoders } from "@twinmetal/storage";

type Decompress = (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;

const zstdDecompress = (zlib as unknown as { zstdDecompressSync?: Decompress }).zstdDecompressSync;

export const nodeDecoders: Decoders = {
  inflateRaw: (bytes, into) => decode(zlib.inflateRawSync, bytes, into),
  zstd: zstdDecompress && ((bytes, into) => decode(zstdDecompress, bytes.subarray(0, zstdFrameBytes(bytes)), into)),
};

function decode(decompress: Decompress, bytes: Uint8Array, into: Uint8Array): number | undefined {
  try {
    const decoded = decompress(bytes, { maxOutputLength: into.length });
    into.set(decoded);
    return decoded.length;
  } catch {
    return undefined; // Not compressed data, or more of it than a cluster.
  }
}

const BLOCK_HEADER_BYTES = 3;
const RLE_BLOCK = 1;
const CHECKSUM_BYTES = 4;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];

/** The length of the frame at the beginning; of all bytes where that cannot be told. */
export function zstdFrameBytes(bytes: Uint8Array): number {
  const descriptor = bytes[4] ?? 0;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const contentSize = descriptor >> 6 === 0 && isSingleSegment ? 1 : CONTENT_SIZE_BYTES[descriptor >> 6]!;
  let at = 5 + (isSingleSegment ? 0 : 1) + DICTIONARY_ID_BYTES[descriptor & 3]! + contentSize;
  for (let isLast = false; !isLast; ) {
    if (at + BLOCK_HEADER_BYTES > bytes.length) return bytes.length;
    const header = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
    isLast = (header & 1) !== 0;
    at += BLOCK_HEADER_BYTES + (((header >> 1) & 3) === RLE_BLOCK ? 1 : header >> 3);
  }
  return Math.min(bytes.length, at + ((descriptor & 4) !== 0 ? CHECKSUM_BYTES : 0));
}
