/**
 * The translations that a machine has, found by content: the same bytes at the same place of a page, in the same mode,
 * are the same code, wherever the page lies. A key finds candidates, a comparison of all their bytes decides.
 */
import { PAGE_BYTES } from "./region.ts";
import type { RegionModule } from "./region-modules.ts";

/** Host addresses of the page before an entry's, the entry's own, and the page behind; 0: not known. */
export type Pages = readonly [number, number, number];

export interface Translation {
  /** Its function's place in the core's table. */
  readonly index: number;
  readonly home: RegionModule;
  /** MODE_* of the code. */
  readonly mode: number;
  /** Offset of the entry in its window (jit/region.ts). */
  readonly entry: number;
  readonly ranges: readonly (readonly [number, number])[];
  /** The code, one array for each range. */
  readonly code: readonly Uint8Array[];
  /** Whether to run it costs nothing but running it. */
  readonly isReady: boolean;
}

/** And where its window's pages are. */
export interface Found {
  readonly translation: Translation;
  readonly pages: Pages;
}

/** Parts of a range that lie in one page: index of the page in Pages, place in it, length. */
export function* pieces(
  ranges: Translation["ranges"],
): Iterable<{ readonly page: 0 | 1 | 2; readonly offset: number; readonly bytes: number; readonly range: number }> {
  for (const [range, [from, to]] of ranges.entries())
    for (let at = from; at < to; ) {
      const page = Math.floor(at / PAGE_BYTES) as 0 | 1 | 2;
      const end = Math.min(to, (page + 1) * PAGE_BYTES);
      yield { page, offset: at - page * PAGE_BYTES, bytes: end - at, range };
      at = end;
    }
}

export class Translations {
  readonly #memory: Uint8Array;
  readonly #byKey = new Map<number, Translation[]>();
  /** By `placeOf`: whether code that starts like this was ever added. Nearly all code that is looked for was not. */
  readonly #places = new Uint8Array(PLACES);
  count = 0;
  /** Set by `find`, when a candidate was not looked at to its end because it needs a page that is not known. */
  wasPageMissing = false;

  constructor(memory: Uint8Array) {
    this.#memory = memory;
  }

  drop(isDropped: (translation: Translation) => boolean): void {
    for (const [key, list] of this.#byKey) {
      const left = list.filter((translation) => !isDropped(translation));
      this.count -= list.length - left.length;
      if (left.length === 0) this.#byKey.delete(key);
      else if (left.length < list.length) this.#byKey.set(key, left);
    }
  }

  add(translation: Translation): void {
    const at = translation.ranges.findIndex(([from, to]) => translation.entry >= from && translation.entry < to);
    const first = translation.ranges[at]?.[0] ?? 0;
    const code = translation.code[at] ?? new Uint8Array(0);
    const start = translation.entry - first;
    const key = keyOf(code, start, translation.mode, translation.entry % PAGE_BYTES, code.length - start);
    const list = this.#byKey.get(key) ?? [];
    this.#byKey.set(key, list);
    list.push(translation);
    this.#places[placeOf(code[start] ?? 0, translation.mode, translation.entry % PAGE_BYTES)] = 1;
    this.count++;
  }

  /** The translation of the code at `host`; `pagesOf` is asked only when a candidate is there. */
  find(host: number, mode: number, pagesOf: () => Pages): Found | undefined {
    if (!this.#places[placeOf(this.#memory[host] ?? 0, mode, host % PAGE_BYTES)]) return undefined;
    for (const bytes of [KEY_BYTES, 1]) {
      const candidates = this.#byKey.get(keyOf(this.#memory, host, mode, host % PAGE_BYTES, bytes));
      if (!candidates) continue;
      const pages = pagesOf();
      const translation = candidates.find((t) => t.mode === mode && this.#matches(t, pages));
      if (translation) return { translation, pages };
    }
    return undefined;
  }

  /** Whether the code is what the translation was made from. */
  matches(translation: Translation, pages: Pages): boolean {
    return this.#matches(translation, pages);
  }

  #matches(translation: Translation, pages: Pages): boolean {
    for (const piece of pieces(translation.ranges)) {
      const page = pages[piece.page];
      const code = translation.code[piece.range];
      const from = translation.ranges[piece.range]?.[0] ?? 0;
      if (!page || !code) {
        this.wasPageMissing = true;
        return false;
      }
      const start = piece.page * PAGE_BYTES + piece.offset - from;
      for (let i = 0; i < piece.bytes; i++) if (this.#memory[page + piece.offset + i] !== code[start + i]) return false;
    }
    return true;
  }
}

const KEY_BYTES = 4;
const PLACES = 1 << 17;

/** Of code's first byte, mode and place in the page; several share one. */
function placeOf(first: number, mode: number, inPage: number): number {
  return ((first * 0x155 + (mode & 31) * 0x2f) ^ (inPage * 0x1f)) & (PLACES - 1);
}

/**
 * The first bytes of the code, its place in the page, and its mode, as one number. `bytes`: how many there are. Shorter
 * code, such as a single return, goes by the first one alone, since what follows it may be anything.
 */
function keyOf(code: Uint8Array, at: number, mode: number, inPage: number, bytes: number): number {
  const isWhole = bytes >= Math.min(KEY_BYTES, PAGE_BYTES - inPage);
  const used = isWhole ? Math.min(KEY_BYTES, PAGE_BYTES - inPage) : 1;
  let start = 0;
  for (let i = 0; i < used; i++) start = start * 256 + (code[at + i] ?? 0);
  return (((isWhole ? 0 : 32) + (mode & 31)) * PAGE_BYTES + inPage) * 2 ** 32 + start;
}
