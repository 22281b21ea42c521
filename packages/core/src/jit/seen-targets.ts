/**
 * Where control went from blocks, as far as it was seen: the interpreter keeps the last blocks that it ran in a ring
 * (BRANCH_RING), which is looked at when a block gets hot. Regions take from it what indirect jumps and calls are likely
 * to lead to (jit/indirect.ts); what is wrong or missing costs time only.
 */
import * as L from "../cpu/layout.ts";
import type { Pages } from "./translations.ts";

const PAGE_BYTES = 4096;
const MAX_PAGES = 4096;
const MAX_TARGETS = 24;
const MAX_PAIRS = 1024;

export class SeenTargets {
  readonly #view: DataView;
  /** By host address of the page of a block: its offset there, and host addresses of the blocks that ran behind it. */
  readonly #pages = new Map<number, Map<number, Set<number>>>();

  readonly #cpuBase: number;

  constructor(view: DataView, cpuBase: number) {
    this.#view = view;
    this.#cpuBase = cpuBase;
  }

  /** What the ring shows of code in `pages`, of which the middle one is that of the block that ran last. */
  look(pages: Pages): void {
    const view = this.#view;
    const next = view.getInt32(this.#cpuBase + L.BRANCH_NEXT.offset, true);
    const ringBytes = L.BRANCH_RING_ENTRIES * 8;
    const at = (i: number): bigint =>
      view.getBigUint64(this.#cpuBase + L.BRANCH_RING + ((next + i * 8) % ringBytes), true);
    const first = (at(L.BRANCH_RING_ENTRIES - 1) & ~0xfffn) - 4096n;
    let before = -1;
    for (let i = 0; i < L.BRANCH_RING_ENTRIES; i++) {
      const offset = at(i) - first;
      const page = offset >= 0n && offset < 3n * 4096n ? pages[Number(offset >> 12n)] : 0;
      const host = page ? page + Number(offset & 0xfffn) : -1;
      if (before >= 0 && host >= 0) this.#note(before, host);
      before = host;
    }
  }
  #note(from: number, to: number): void {
    const page = from - (from % PAGE_BYTES);
    if (this.#pages.size > MAX_PAGES) this.#pages.clear();
    const blocks = this.#pages.get(page) ?? new Map<number, Set<number>>();
    this.#pages.set(page, blocks);
    const targets = blocks.get(from - page) ?? new Set<number>();
    blocks.set(from - page, targets);
    if (targets.size < MAX_TARGETS) targets.add(to);
  }

  forget(): void {
    this.#pages.clear();
  }

  /** Pairs of offsets in a window of `pages`: a block's, and that of one that ran behind it. */
  pairs(pages: Pages): Uint16Array {
    const found: number[] = [];
    for (const [i, page] of pages.entries())
      for (const [offset, targets] of this.#pages.get(page) ?? []) {
        if (found.length >= 2 * MAX_PAIRS) break;
        for (const target of targets) {
          const place = pages.indexOf(target - (target % PAGE_BYTES));
          if (place >= 0) found.push(i * PAGE_BYTES + offset, place * PAGE_BYTES + (target % PAGE_BYTES));
        }
      }
    return Uint16Array.from(found);
  }
}
