/**
 * Looking an image through: do the reference counts say how often each cluster is referred to, and the COPIED flags
 * whether it is once? A count that is too high is a leak: space lost, nothing else, and what a crash leaves of an image that
 * this package writes. One that is too low, a wrong flag, or a table out of place is an error.
 *
 * Repair: "leaks" lowers counts; "all" raises them too and sets the flags right, which is what an image with lazy reference
 * counts needs after a crash. What refers to impossible places is reported and not repaired: only a copy helps.
 */
import { viewOf } from "./big-endian.ts";
import { COMPRESSED_HIGH } from "./cluster-map.ts";
import { bytesOf, COPIED_HIGH, entryOffset, type Qcow2Image } from "./image.ts";
import { Refcounts } from "./refcounts.ts";
import { type Counted, countReferences } from "./reference-count.ts";

export type Repair = "none" | "leaks" | "all";

export interface CheckOptions {
  readonly repair?: Repair;
  readonly onProgress?: (fraction: number) => void;
}

export interface CheckResult {
  /** What is wrong now, after repairs. */
  readonly errorCount: number;
  readonly leakCount: number;
  readonly repairedErrors: number;
  readonly repairedLeaks: number;
  /** The first of the errors, in words. */
  readonly errors: readonly string[];
  readonly allocatedClusters: number;
  readonly compressedClusters: number;
  readonly zeroClusters: number;
  readonly clusterBytes: number;
  /** Where the last cluster in use ends. */
  readonly imageEndBytes: number;
}

const MAX_ERRORS_KEPT = 20;
const CACHE_BYTES = 1 << 20;

/** Nobody else uses the image meanwhile. To repair, the file has to be open for writing. */
export async function checkQcow2(image: Qcow2Image, options: CheckOptions = {}): Promise<CheckResult> {
  const { repair = "none", onProgress } = options;
  const errors: string[] = [];
  let lasting = 0;
  const onError = (what: string) => {
    lasting++;
    if (errors.length < MAX_ERRORS_KEPT) errors.push(what);
  };
  if (image.isMarkedCorrupt) onError("the image is marked as corrupt");
  const counted = await countReferences(image, { onError, onProgress });
  const comparison = new Comparison(image, counted, repair);
  await comparison.run();
  const mayMark = repair !== "none" && lasting + comparison.errors + comparison.leaks === 0;
  if (repair !== "none") {
    await image.flush();
    if (image.isMarkedDirty && mayMark) await image.setDirtyBit(false);
  }
  if (comparison.errors > 0) errors.push(...comparison.words.slice(0, MAX_ERRORS_KEPT - errors.length));
  const { allocatedClusters, compressedClusters, zeroClusters, counts } = counted;
  return {
    errorCount: lasting + comparison.errors,
    leakCount: comparison.leaks,
    repairedErrors: comparison.repairedErrors,
    repairedLeaks: comparison.repairedLeaks,
    errors,
    allocatedClusters,
    compressedClusters,
    zeroClusters,
    clusterBytes: image.clusterBytes,
    imageEndBytes: counts.end * image.clusterBytes,
  };
}

class Comparison {
  errors = 0;
  leaks = 0;
  repairedErrors = 0;
  repairedLeaks = 0;
  readonly words: string[] = [];
  readonly #image: Qcow2Image;
  readonly #counted: Counted;
  readonly #repair: Repair;
  readonly #refcounts: Refcounts;

  constructor(image: Qcow2Image, counted: Counted, repair: Repair) {
    this.#image = image;
    this.#counted = counted;
    this.#repair = repair;
    this.#refcounts = new Refcounts(image, CACHE_BYTES);
  }

  /**
   * Raises counts first, then sets flags, then lowers counts: a crash in between makes nothing worse. What bitmaps refer to is not
   * known here, so an image that has them has no leaks.
   */
  async run(): Promise<void> {
    await this.#compareUsed();
    if (this.#repair === "all") await this.#writeOut();
    await this.#compareFlags();
    if (!this.#image.header.hasBitmaps) await this.#compareUnused();
    if (this.#repair !== "none") await this.#writeOut();
  }

  async #writeOut(): Promise<void> {
    await this.#refcounts.cache.writeDirty();
    await this.#image.writeDirtyL1();
    await this.#image.flush();
  }

  async #compareUsed(): Promise<void> {
    const { counts } = this.#counted;
    const { clusterBytes } = this.#image;
    for (const cluster of counts.used()) {
      const wanted = counts.get(cluster);
      const found = await this.#refcounts.get(cluster * clusterBytes);
      if (found >= wanted) continue;
      const what = `the cluster at ${cluster * clusterBytes} has ${wanted} references and counts ${found}`;
      if (this.#repair !== "all" || !(await this.#raise(cluster, wanted))) this.#error(what);
      else this.repairedErrors++;
    }
  }

  async #raise(cluster: number, wanted: number): Promise<boolean> {
    const isFree = (other: number) => this.#counted.counts.get(other) === 0;
    const block = await this.#refcounts.ensureBlock(cluster, isFree);
    if (block === undefined) return false;
    if (block !== "there") this.#counted.counts.add(block / this.#image.clusterBytes, 1);
    await this.#refcounts.set(cluster * this.#image.clusterBytes, wanted);
    return true;
  }

  async #compareUnused(): Promise<void> {
    const { clusterBytes, refcountTable } = this.#image;
    const { counts } = this.#counted;
    const perBlock = this.#refcounts.perBlock;
    const end = Math.max(counts.end, Math.ceil(this.#image.fileBytes / clusterBytes));
    const seen = new Set<number>();
    for (let block = 0; block < refcountTable.byteLength / 8 && block * perBlock < end; block++) {
      const offset = this.#image.refcountBlockOffset(block);
      if (offset === 0 || seen.has(offset)) continue;
      seen.add(offset);
      for (let cluster = block * perBlock; cluster < (block + 1) * perBlock; cluster++) {
        const peeked = this.#refcounts.peek(cluster);
        const found = peeked ?? (await this.#refcounts.get(cluster * clusterBytes));
        const wanted = counts.get(cluster);
        if (found <= wanted) continue;
        if (this.#repair === "none") {
          this.leaks++;
        } else {
          await this.#refcounts.set(cluster * clusterBytes, wanted);
          this.repairedLeaks++;
        }
      }
    }
  }

  async #compareFlags(): Promise<void> {
    const image = this.#image;
    const table = new Uint8Array(image.clusterBytes);
    for (let index = 0; index < image.header.l1Size; index++) {
      if (!this.#isPossible(image.l1, index * 8)) continue;
      const offset = image.l2Offset(index);
      if (offset === 0) continue;
      this.#compareFlag(image.l1, index * 8, offset, () => image.setL2Flag(index));
      await image.read(offset, table);
      const view = viewOf(table);
      let isChanged = false;
      for (let at = 0; at < table.length; at += 8) {
        const high = view.getUint32(at);
        if ((high & COMPRESSED_HIGH) !== 0 || !this.#isPossible(view, at)) continue;
        const host = entryOffset(high, view.getUint32(at + 4));
        if (host === 0) continue;
        this.#compareFlag(view, at, host, () => {
          isChanged = true;
        });
      }
      if (isChanged) await image.write(offset, bytesOf(view, 0, table.length));
    }
  }

  /** What has been reported as impossible already. */
  #isPossible(table: DataView, at: number): boolean {
    const offset = entryOffset(table.getUint32(at), table.getUint32(at + 4));
    return offset % this.#image.clusterBytes === 0 && offset < this.#image.fileBytes;
  }

  #compareFlag(view: DataView, at: number, host: number, onChange: () => void): void {
    const high = view.getUint32(at);
    const isOnly = this.#counted.counts.get(host / this.#image.clusterBytes) === 1;
    if (isOnly === high >= COPIED_HIGH) return;
    if (this.#repair === "all") {
      view.setUint32(at, isOnly ? (high | COPIED_HIGH) >>> 0 : high & ~COPIED_HIGH);
      this.repairedErrors++;
      onChange();
    } else if (!isOnly) {
      this.#error(`the cluster at ${host} is shared and marked as not shared`);
    }
  }

  #error(what: string): void {
    this.errors++;
    if (this.words.length < MAX_ERRORS_KEPT) this.words.push(what);
  }
}
