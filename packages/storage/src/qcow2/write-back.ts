/**
 * In which order an image's metadata reaches the file. Data is written at once, so what is left for a flush is:
 *
 *   1  refcount blocks (counts only rise before this)          4  flush
 *   2  flush: data and counts are durable                      5  references that were given up are taken off the counts;
 *   3  L2 pages and L1 entries that refer to them                 clusters nobody refers to may be used again
 *
 * A loss of power between any two leaves counts that are too high, never too low. Every step may fail (a full disk) and be
 * tried again: what has not reached the file is still marked.
 */
import type { ClusterMap } from "./cluster-map.ts";
import type { CompressedReader } from "./compressed.ts";
import type { Qcow2Image } from "./image.ts";
import type { Refcounts } from "./refcounts.ts";
import type { Passage } from "./turns.ts";

const MAX_RELEASES = 1 << 16;
const NO_PUNCH = 0;
const PUNCH = 1;

export class WriteBack {
  readonly #image: Qcow2Image;
  readonly #map: ClusterMap;
  readonly #refcounts: Refcounts;
  readonly #passage: Passage;
  readonly #compressed: CompressedReader;
  /** Offsets of clusters, each followed by PUNCH or NO_PUNCH. */
  #releases: number[] = [];

  constructor(
    image: Qcow2Image,
    map: ClusterMap,
    refcounts: Refcounts,
    passage: Passage,
    compressed: CompressedReader,
  ) {
    this.#image = image;
    this.#map = map;
    this.#refcounts = refcounts;
    this.#passage = passage;
    this.#compressed = compressed;
  }

  get isNeeded(): boolean {
    const { cache } = this.#refcounts;
    return cache.dirtyPages > 0 || this.#areLinksDirty || this.#releases.length > 0;
  }

  /** With `punch` the cluster's space goes back to the host when nobody else has it. */
  releaseLater(clusterOffset: number, punch: boolean): void {
    this.#releases.push(clusterOffset, punch ? PUNCH : NO_PUNCH);
  }

  /** Before a change of metadata: keeps what waits bounded. */
  async makeRoom(): Promise<void> {
    if (this.#map.cache.isFull || this.#releases.length > 2 * MAX_RELEASES) await this.run();
  }

  /** All five steps. In turn. */
  async run(): Promise<void> {
    if (this.#refcounts.cache.dirtyPages > 0 || this.#areLinksDirty) await this.#image.setDirtyBit(true);
    await this.#refcounts.cache.writeDirty();
    if (this.#areLinksDirty) {
      await this.#image.flush();
      await this.#map.cache.writeDirty();
      await this.#image.writeDirtyL1();
    }
    await this.#image.flush();
    if (this.#releases.length > 0) await this.#passage.whileEmpty(() => this.#release());
  }

  get #areLinksDirty(): boolean {
    return this.#map.cache.dirtyPages > 0 || this.#image.hasDirtyL1;
  }

  async #release(): Promise<void> {
    const releases = this.#releases;
    const { clusterBytes, tableClusters } = this.#image;
    this.#compressed.forget();
    let done = 0;
    try {
      for (; done < releases.length; done += 2) {
        const offset = releases[done]!;
        const isLast = await this.#refcounts.release(offset);
        if (!isLast) continue;
        tableClusters.delete(offset);
        this.#map.cache.drop(offset, clusterBytes);
      }
    } finally {
      this.#releases = releases.slice(done);
    }
    await this.#punch(releases);
  }

  async #punch(releases: readonly number[]): Promise<void> {
    const { clusterBytes, file, fileBytes } = this.#image;
    const offsets: number[] = [];
    for (let at = 0; at < releases.length; at += 2) {
      const offset = releases[at]!;
      if (releases[at + 1] === PUNCH && (await this.#refcounts.get(offset)) === 0) offsets.push(offset);
    }
    offsets.sort((a, b) => a - b);
    for (let first = 0; first < offsets.length; ) {
      let end = first + 1;
      while (end < offsets.length && offsets[end] === offsets[end - 1]! + clusterBytes) end++;
      const start = offsets[first]!;
      const length = Math.min((end - first) * clusterBytes, fileBytes - start);
      if (length > 0 && !(await file.discard(start, length))) return;
      first = end;
    }
  }
}
