/**
 * Reads .xz files (XZ file format 1.1.0): streams of blocks with the one filter LZMA2, as Debian's packages and
 * kernel modules are written. For hosts without the xz program. Input is hostile: window and output are bounded.
 * Left out: the other filters; the integrity checks and the index, since packages are checked by SHA-256 before.
 */

import { Lzma2Decoder, Lzma2Error } from "./lzma2-decoder.ts";

const HEADER_MAGIC = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);
const FOOTER_MAGIC = Buffer.from("YZ", "latin1");
const STREAM_HEADER_SIZE = 12;
const FILTER_LZMA2 = 0x21;
/** Sizes of the check field by type (section 2.1.1.2). */
const CHECK_SIZES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
/** What the highest preset of xz takes. */
const MAX_DICTIONARY_BYTES = 64 * 1024 * 1024;

/** The decoded bytes in pieces; a piece is valid until the next one is asked for. */
export function* decodeXz(input: Uint8Array): Generator<Uint8Array> {
  let offset = 0;
  while (offset < input.length) {
    if (isZero(input, offset, 4)) offset += 4;
    else offset = yield* decodeStream(input, offset);
  }
}

function* decodeStream(input: Uint8Array, start: number): Generator<Uint8Array, number> {
  let offset = start;
  if (
    offset + STREAM_HEADER_SIZE > input.length ||
    !Buffer.from(input.subarray(offset, offset + 6)).equals(HEADER_MAGIC)
  ) {
    throw new Lzma2Error("it is not an .xz file");
  }
  const checkType = input[offset + 7]!;
  if (input[offset + 6] !== 0 || checkType > 15) throw new Lzma2Error("unknown stream flags");
  const checkSize = CHECK_SIZES[checkType]!;
  offset += STREAM_HEADER_SIZE;
  while (byteAt(input, offset) !== 0) {
    const { dictionaryBytes, headerSize } = readBlockHeader(input, offset);
    offset += headerSize;
    const dataStart = offset;
    offset = yield* new Lzma2Decoder(dictionaryBytes).decode(input, offset);
    offset += -(offset - dataStart) & 3;
    offset += checkSize;
  }
  return skipIndexAndFooter(input, offset);
}

function readBlockHeader(input: Uint8Array, start: number): { dictionaryBytes: number; headerSize: number } {
  const headerSize = (input[start]! + 1) * 4;
  const end = start + headerSize - 4;
  if (start + headerSize > input.length) throw new Lzma2Error("it ends too early");
  const flags = input[start + 1]!;
  if ((flags & 0x3f) !== 0) throw new Lzma2Error("it needs a filter that is not supported");
  let offset = start + 2;
  if ((flags & 0x40) !== 0) offset = readVariableInteger(input, offset, end).next;
  if ((flags & 0x80) !== 0) offset = readVariableInteger(input, offset, end).next;
  const filter = readVariableInteger(input, offset, end);
  const properties = readVariableInteger(input, filter.next, end);
  if (filter.value !== FILTER_LZMA2 || properties.value !== 1 || properties.next >= end) {
    throw new Lzma2Error("it needs a filter that is not supported");
  }
  const bits = input[properties.next]!;
  if (bits > 40) throw new Lzma2Error("bad dictionary size");
  const dictionaryBytes = bits === 40 ? 0xffff_ffff : (2 | (bits & 1)) * 2 ** ((bits >> 1) + 11);
  if (dictionaryBytes > MAX_DICTIONARY_BYTES) throw new Lzma2Error("its dictionary is over 64 MiB");
  return { dictionaryBytes, headerSize };
}

function skipIndexAndFooter(input: Uint8Array, start: number): number {
  let offset = start + 1;
  const records = readVariableInteger(input, offset, input.length);
  offset = records.next;
  for (let index = 0; index < records.value * 2; index++) {
    offset = readVariableInteger(input, offset, input.length).next;
  }
  offset += -(offset - start) & 3;
  offset += 4; // CRC-32 of the index
  const footerEnd = offset + STREAM_HEADER_SIZE;
  if (footerEnd > input.length || !Buffer.from(input.subarray(footerEnd - 2, footerEnd)).equals(FOOTER_MAGIC)) {
    throw new Lzma2Error("it has no footer");
  }
  return footerEnd;
}

function readVariableInteger(input: Uint8Array, start: number, end: number): { value: number; next: number } {
  let value = 0;
  for (let index = 0; index < 7; index++) {
    if (start + index >= end) throw new Lzma2Error("it ends too early");
    const byte = input[start + index]!;
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return { value, next: start + index + 1 };
  }
  throw new Lzma2Error("a number is too large");
}

function byteAt(input: Uint8Array, offset: number): number {
  const byte = input[offset];
  if (byte === undefined) throw new Lzma2Error("it ends too early");
  return byte;
}

function isZero(input: Uint8Array, offset: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (input[offset + index] !== 0) return false;
  return true;
}
