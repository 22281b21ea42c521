/**
 * Pages on their way: a directory with number and CRC-32C of each, then their bytes, raw or deflated; or numbers only,
 * for pages of zeros.
 *
 *   0  u8   encoding: 0 raw, 1 deflated, 2 zeros
 *   1  u8   0
 *   2  u16  how many pages
 *   4  u32  0
 *   8  {u32 page, u32 CRC-32C} for each
 */
import { crc32c } from "../state/crc32c.ts";
import { MigrationError } from "./errors.ts";
import type { PageCompressor } from "./link.ts";

export const PAGE_BYTES = 4096;
/** Of one frame. */
export const MAX_PAGES = 64;
/** Of one frame of zeros. */
export const MAX_ZERO_PAGES = 1024;
const HEAD_BYTES = 8;
const ENTRY_BYTES = 8;
const RAW = 0;
const DEFLATED = 1;
const ZEROS = 2;
/** Less of a gain is not worth unpacking. */
const WORTH_IT = 0.9;
export const ZERO_PAGE_CRC: number = crc32c(new Uint8Array(PAGE_BYTES));

export interface PageEntry {
  readonly page: number;
  readonly crc: number;
}

export interface PageBatch {
  readonly entries: readonly PageEntry[];
  /** Undefined: zeros. */
  readonly bytes: Uint8Array | undefined;
}

export interface EncodedBatch {
  readonly payload: Uint8Array;
  readonly directoryBytes: number;
}

/** `compressor`: undefined for pages that are to go as they are. */
export async function encodePages(batch: PageBatch, compressor: PageCompressor | undefined): Promise<EncodedBatch> {
  const { entries, bytes } = batch;
  let body = bytes ?? new Uint8Array(0);
  let encoding = bytes ? RAW : ZEROS;
  if (bytes && compressor) {
    const deflated = await compressor.compress(bytes);
    if (deflated.length < bytes.length * WORTH_IT) {
      body = deflated;
      encoding = DEFLATED;
    }
  }
  const directoryBytes = HEAD_BYTES + entries.length * ENTRY_BYTES;
  const payload = new Uint8Array(directoryBytes + body.length);
  const view = new DataView(payload.buffer);
  view.setUint8(0, encoding);
  view.setUint16(2, entries.length, true);
  for (const [i, { page, crc }] of entries.entries()) {
    view.setUint32(HEAD_BYTES + i * ENTRY_BYTES, page, true);
    view.setUint32(HEAD_BYTES + i * ENTRY_BYTES + 4, crc, true);
  }
  payload.set(body, directoryBytes);
  return { payload, directoryBytes };
}

/** Checks everything, each page's checksum too. Throws MigrationError. */
export async function decodePages(
  payload: Uint8Array,
  ramPages: number,
  compressor: PageCompressor,
): Promise<PageBatch> {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const encoding = payload.length < HEAD_BYTES ? -1 : view.getUint8(0);
  const count = encoding < 0 ? 0 : view.getUint16(2, true);
  const most = encoding === ZEROS ? MAX_ZERO_PAGES : MAX_PAGES;
  const directoryBytes = HEAD_BYTES + count * ENTRY_BYTES;
  if (encoding < 0 || encoding > ZEROS || count === 0 || count > most || directoryBytes > payload.length)
    throw malformed();
  const entries = Array.from({ length: count }, (_, i): PageEntry => {
    const page = view.getUint32(HEAD_BYTES + i * ENTRY_BYTES, true);
    if (page >= ramPages) throw malformed();
    return { page, crc: view.getUint32(HEAD_BYTES + i * ENTRY_BYTES + 4, true) };
  });
  const body = payload.subarray(directoryBytes);
  if (encoding === ZEROS) {
    if (body.length > 0 || entries.some(({ crc }) => crc !== ZERO_PAGE_CRC)) throw malformed();
    return { entries, bytes: undefined };
  }
  const bytes = encoding === RAW ? body : await inflated(body, count * PAGE_BYTES, compressor);
  if (bytes.length !== count * PAGE_BYTES) throw encoding === RAW ? malformed() : damaged();
  for (const [i, { crc }] of entries.entries()) {
    if (crc32c(bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES)) !== crc) throw damaged();
  }
  return { entries, bytes };
}

async function inflated(body: Uint8Array, maxBytes: number, compressor: PageCompressor): Promise<Uint8Array> {
  try {
    return await compressor.decompress(body, maxBytes);
  } catch (error) {
    throw new MigrationError("corrupt", "Pages arrived damaged: they cannot be unpacked.", { cause: error });
  }
}

function malformed(): MigrationError {
  return new MigrationError("bad-peer", "The other side sent pages that cannot be.");
}

function damaged(): MigrationError {
  return new MigrationError("corrupt", "A page arrived damaged: its checksum does not match.");
}
