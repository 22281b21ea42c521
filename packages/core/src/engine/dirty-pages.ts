/**
 * Which pages a guest of the jit engine writes, by way of the software TLB: a page that was not written since the last
 * look (PAGE_UNWRITTEN, cpu/layout.ts) has no write tag, so its next store takes the slow path, which notes it. DMA and
 * the page walk's A and D flags note theirs. Reads never do.
 *
 * Invisible to the guest: an entry that lost its write tag is found again by the same walk. While nobody tracks, the
 * map is all zero and every store is as fast as ever.
 */
import type * as L from "../cpu/layout.ts";
import type { DirtyTracking } from "./engine.ts";
import type { WriteTags } from "./write-tags.ts";

export class TlbDirtyTracking implements DirtyTracking {
  readonly #unwritten: Uint8Array;
  readonly #writeTags: WriteTags;
  #isOn = false;

  constructor(view: DataView, map: L.MemoryMap, writeTags: WriteTags) {
    this.#unwritten = new Uint8Array(view.buffer, map.pageUnwritten, map.ramBytes / 4096);
    this.#writeTags = writeTags;
  }

  start(): void {
    this.#isOn = true;
    this.#unwritten.fill(1);
    this.#writeTags.drop();
  }

  take(into: Uint8Array): number {
    const unwritten = this.#unwritten;
    if (into.length < unwritten.length) throw new RangeError(`${into.length} bytes for ${unwritten.length} pages`);
    if (!this.#isOn) throw new Error("dirty pages are taken only while they are tracked");
    let count = 0;
    for (let page = unwritten.indexOf(0); page >= 0; page = unwritten.indexOf(0, page + 1)) {
      unwritten[page] = 1;
      into[page] = 1;
      count++;
    }
    this.#writeTags.drop();
    return count;
  }

  stop(): void {
    this.#isOn = false;
    this.#unwritten.fill(0);
  }
}
