/**
 * Code that vCPUs in parallel decode, each for itself, in one memory. The bitmap of granules is everybody's, and only grows
 * outside of exclusive sections; lists of blocks and TLBs are each one's own.
 *
 *   claim   the first code in a page: in an exclusive section its first granule is marked, and each vCPU loses its write
 *           tags before it runs on. From then on every store to the page is looked at behind it.
 *   cover   further granules, by an atomic OR; the decoder then looks whether the bytes are still the same. A store and
 *           that look cannot both miss each other: the store is followed by a fence and a look at the granules.
 *   change  a store into a covered granule: in an exclusive section the page's granules are cleared, and each vCPU drops its
 *           blocks before it runs on.
 */
import * as L from "../../cpu/layout.ts";
import { type CodeSharing, shadowPages } from "../../interp/block-decoder.ts";
import type { ParallelCells } from "./cells.ts";
import type { Gate } from "./gate.ts";

/** Beside a page's address in the list: it is changed, not claimed. */
const CHANGED = 1;

/** Bits `first` to `last`, of 0 to 31. */
function bits(first: number, last: number): number {
  return (-1 << first) & (-1 >>> (31 - last));
}

export interface SharedCodeOptions {
  readonly cells: ParallelCells;
  readonly gate: Gate;
  readonly memory: SharedArrayBuffer;
  readonly map: L.MemoryMap;
  readonly vcpu: number;
  readonly vcpus: number;
  readonly core: { readonly protect: (page: number) => void; readonly drop: (page: number) => void };
  /** Everything that the vCPU knows of code and of writable pages goes. */
  readonly dropAll: () => void;
}

export class SharedCode implements CodeSharing {
  readonly #options: SharedCodeOptions;
  readonly #words: Int32Array;

  constructor(options: SharedCodeOptions) {
    this.#options = options;
    this.#words = new Int32Array(options.memory);
  }

  /** Index of a page's granules in words, or -1 outside RAM. */
  #granulesOf(page: number): number {
    const { map } = this.#options;
    const index = (page - map.ram) / 4096;
    return index < 0 || index >= map.ramBytes / 4096 ? -1 : (map.pageGranules + index * 8) / 4;
  }

  claim(page: number, offset: number): void {
    const at = this.#granulesOf(page);
    if (at < 0 || this.#isClaimed(at)) return;
    this.#options.gate.exclusive(() => {
      if (this.#isClaimed(at)) return;
      const granule = offset >> 6;
      Atomics.or(this.#words, at + (granule >> 5), 1 << (granule & 31));
      this.#options.core.protect(page);
      this.#tell(page);
    });
  }
  #isClaimed(at: number): boolean {
    return (Atomics.load(this.#words, at) | Atomics.load(this.#words, at + 1)) !== 0;
  }

  cover(page: number, first: number, last: number): void {
    const at = this.#granulesOf(page);
    if (at < 0) return;
    this.claim(page, first << 6);
    if (first < 32) Atomics.or(this.#words, at, bits(first, Math.min(31, last)));
    if (last >= 32) Atomics.or(this.#words, at + 1, bits(Math.max(32, first) - 32, last - 32));
  }

  forget(page: number): void {
    this.#options.core.drop(page);
  }

  /** Code in the page was overwritten. */
  changed(page: number): void {
    const at = this.#granulesOf(page);
    if (at < 0) return;
    this.#options.gate.exclusive(() => {
      const isLookedAt = this.#isProtected(page);
      Atomics.store(this.#words, at, isLookedAt ? -1 : 0);
      Atomics.store(this.#words, at + 1, isLookedAt ? -1 : 0);
      this.#options.core.drop(page);
      this.#tell(page | CHANGED);
    });
  }

  #isProtected(page: number): boolean {
    const { map } = this.#options;
    return shadowPages(map, this.#words[L.SHADOW_PROTECTED / 4]!).includes((page - map.ram) / 4096);
  }

  #tell(entry: number): void {
    const { cells, vcpu, vcpus } = this.#options;
    for (let other = 0; other < vcpus; other++) if (other !== vcpu) cells.list(other, entry);
  }

  /** What others have told. */
  catchUp(): void {
    const { cells, vcpu, core, dropAll } = this.#options;
    cells.takeList(
      vcpu,
      (entry) => {
        const page = (entry & ~0xfff) >>> 0;
        if (entry & CHANGED) core.drop(page);
        else core.protect(page);
      },
      dropAll,
    );
  }
}
