/**
 * Code in guest memory as translations need it: which pages lie around it, what they hold, and where in them control has
 * been.
 */
import * as L from "../cpu/layout.ts";
import type { Core } from "../interp/core.ts";
import { type CodeWindow, PAGE_BYTES, WINDOW_BYTES } from "./region.ts";
import { SeenTargets } from "./seen-targets.ts";
import type { Pages } from "./translations.ts";

/** How often a block has to have run for the region of another one to include it: of that one's runs, and at least. */
const REACHED = 1 / 62;
const LEAST_REACHED = 8;

export class CodeAround {
  readonly #core: Core;
  readonly #bytes: Uint8Array;

  readonly seen: SeenTargets;

  constructor(core: Core) {
    this.#core = core;
    this.seen = new SeenTargets(core.view, L.cpuBase(core.map));
    this.#bytes = new Uint8Array(core.memory.buffer);
  }

  /** Pages around the code at RIP, which is at `host`. */
  pagesOf(host: number): Pages {
    const { view, map } = this.#core;
    const rip = view.getBigUint64(L.cpuBase(map) + L.RIP.offset, true);
    const page = (rip + view.getBigUint64(L.cpuBase(map) + L.CODE_BASE.offset, true)) & ~0xfffn;
    return [this.#codePage(page - 4096n), (host & ~0xfff) >>> 0, this.#codePage(page + 4096n)];
  }

  /** Host address of a linear page of code, if the TLB has it. */
  #codePage(linear: bigint): number {
    const { view, map } = this.#core;
    const va = BigInt.asUintN(64, linear);
    const set = view.getUint32(L.cpuBase(map) + L.TLB_CURRENT.offset, true);
    const entry = set + (Number((va >> 7n) & 0xffffffffn) & ((L.TLB_ENTRIES - 1) * L.TLB_ENTRY_BYTES));
    if (view.getBigUint64(entry + L.TLB_EXECUTE, true) !== va >> 12n) return 0;
    return (Number(va & 0xffffffffn) + view.getInt32(entry + L.TLB_ADDEND, true)) >>> 0;
  }

  /** Notes what ran behind blocks in `pages`, the middle one that of the block that ran last. */
  look(pages: Pages): void {
    this.seen.look(pages);
  }

  /**
   * The code in `pages` for a region from the block at `host` on, which ran so often. `heat`: of blocks that have not run, or
   * all may be reached.
   */
  window(host: number, mode: number, pages: Pages, heat: number | undefined, runs: number): CodeWindow {
    const bytes = new Uint8Array(WINDOW_BYTES);
    for (const [i, page] of pages.entries())
      if (page) bytes.set(this.#bytes.subarray(page, page + PAGE_BYTES), i * PAGE_BYTES);
    return {
      bytes,
      entry: PAGE_BYTES + (host % PAGE_BYTES),
      hasBefore: pages[0] !== 0,
      hasAfter: pages[2] !== 0,
      mode,
      ...(heat === undefined ? {} : { reached: this.reached(pages, mode, heat, runs), seen: this.seen.pairs(pages) }),
    };
  }

  /** Blocks that start in the page at `page`. */
  *blocksIn(page: number, mode: number): Iterable<number> {
    const { view, map } = this.#core;
    const ram = view.getUint32(L.cpuBase(map) + L.RAM_HOST.offset, true);
    const lists = view.getUint32(L.cpuBase(map) + L.PAGE_LISTS.offset, true);
    let at = view.getUint32(lists + ((page - ram) >>> 12) * 4, true);
    for (; at; at = view.getUint32(at + L.BLOCK_NEXT, true))
      if (view.getInt32(at + L.BLOCK_MODE, true) === mode && view.getUint32(at + L.BLOCK_ALIAS, true) === at) yield at;
  }

  /** Offsets in a window of the blocks that a region includes whose entry ran so often. */
  reached(pages: Pages, mode: number, heat: number, runs: number = heat): Uint16Array {
    return inWindow(pages, (page) => this.#reachedIn(page, mode, heat, runs));
  }

  /** `reached` of many entries that are hot: each page is looked at once. */
  reachedByHot(heat: number): (pages: Pages, mode: number) => Uint16Array {
    const known = new Map<number, readonly number[]>();
    return (pages, mode) =>
      inWindow(pages, (page) => {
        const key = page + (mode & (PAGE_BYTES - 1));
        const offsets = known.get(key) ?? this.#reachedIn(page, mode, heat, heat);
        known.set(key, offsets);
        return offsets;
      });
  }

  #reachedIn(page: number, mode: number, heat: number, runs: number): readonly number[] {
    const { view } = this.#core;
    const least = Math.max(LEAST_REACHED, Math.floor(runs * REACHED));
    const offsets: number[] = [];
    for (const at of this.blocksIn(page, mode)) {
      const left = view.getInt32(at + L.BLOCK_HEAT, true);
      if (left <= heat - least || left > heat) offsets.push(view.getUint32(at + L.BLOCK_HOST, true) % PAGE_BYTES);
    }
    return offsets;
  }
}

function inWindow(pages: Pages, reachedIn: (page: number) => readonly number[]): Uint16Array {
  const each = pages.map((page) => (page ? reachedIn(page) : []));
  const out = new Uint16Array(each.reduce((sum, { length }) => sum + length, 0));
  let next = 0;
  for (const [i, offsets] of each.entries()) for (const offset of offsets) out[next++] = i * PAGE_BYTES + offset;
  return out;
}
