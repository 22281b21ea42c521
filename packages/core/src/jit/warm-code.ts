/**
 * Code that was not hot enough to be translated while its guest ran, for translation afterwards (translation-cache.ts):
 * windows around the entries, their pages each once. Little-endian, i32 words:
 *
 *   windows, pages, { mode, entry, page before, page, page behind (-1: not known), offsets reached (-1: not known) },
 *   pages of 4096 bytes, offsets reached as u16
 */
import { largeBytes } from "../memory/large-bytes.ts";
import { type CodeWindow, PAGE_BYTES, WINDOW_BYTES } from "./region.ts";
import type { Pages } from "./translations.ts";

const HEAD_BYTES = 8;
const WORDS = 6;

export interface WarmEntry {
  readonly mode: number;
  readonly host: number;
  readonly pages: Pages;
  /** As a window has them. */
  readonly reached: Uint16Array | undefined;
}

export function writeWarm(memory: Uint8Array, entries: readonly WarmEntry[]): Uint8Array<ArrayBuffer> {
  const places = new Map<number, number>();
  for (const { pages } of entries)
    for (const page of pages) if (page && !places.has(page)) places.set(page, places.size);
  const head = HEAD_BYTES + entries.length * WORDS * 4;
  const reachedCount = entries.reduce((sum, { reached }) => sum + (reached?.length ?? 0), 0);
  let at = head + places.size * PAGE_BYTES;
  const out = largeBytes(at + 2 * reachedCount);
  const view = new DataView(out.buffer);
  view.setInt32(0, entries.length, true);
  view.setInt32(4, places.size, true);
  for (const [i, { mode, host, pages, reached }] of entries.entries()) {
    const numbers = pages.map((page) => places.get(page) ?? -1);
    const words = [mode, PAGE_BYTES + (host % PAGE_BYTES), ...numbers, reached?.length ?? -1];
    for (const [j, word] of words.entries()) view.setInt32(HEAD_BYTES + (i * WORDS + j) * 4, word, true);
    for (const offset of reached ?? []) {
      view.setUint16(at, offset, true);
      at += 2;
    }
  }
  for (const [page, place] of places) out.set(memory.subarray(page, page + PAGE_BYTES), head + place * PAGE_BYTES);
  return out;
}

/** Windows, and for each a number of its entry's page. Throws RangeError. */
export function* readWarm(bytes: Uint8Array): Iterable<{ readonly window: CodeWindow; readonly page: number }> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = view.getInt32(0, true);
  const pageCount = view.getInt32(4, true);
  const head = HEAD_BYTES + count * WORDS * 4;
  let at = head + pageCount * PAGE_BYTES;
  if (count < 0 || pageCount < 0 || at > bytes.length) throw new RangeError("a count beyond the end");
  for (let i = 0; i < count; i++) {
    const word = (j: number): number => view.getInt32(HEAD_BYTES + (i * WORDS + j) * 4, true);
    const [mode, entry, reachedCount] = [word(0), word(1), word(5)];
    const places = [word(2), word(3), word(4)];
    const isInPage = entry >= PAGE_BYTES && entry < 2 * PAGE_BYTES;
    if (!isInPage || places.some((p, j) => p >= pageCount || p < (j === 1 ? 0 : -1))) throw new RangeError("no entry");
    if (reachedCount < -1 || at + 2 * reachedCount > bytes.length) throw new RangeError("a count beyond the end");
    const first = at;
    const reached = Uint16Array.from({ length: Math.max(0, reachedCount) }, (_, j) =>
      view.getUint16(first + 2 * j, true),
    );
    at += 2 * reached.length;
    const window = new Uint8Array(WINDOW_BYTES);
    for (const [j, place] of places.entries())
      if (place >= 0)
        window.set(bytes.subarray(head + place * PAGE_BYTES, head + (place + 1) * PAGE_BYTES), j * PAGE_BYTES);
    const [before = -1, page = 0, after = -1] = places;
    const known = reachedCount < 0 ? {} : { reached };
    yield { window: { bytes: window, entry, hasBefore: before >= 0, hasAfter: after >= 0, mode, ...known }, page };
  }
}
