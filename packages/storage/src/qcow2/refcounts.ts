/**
 * Reference counts and the search for free clusters ("Host cluster management" in the specification). One change at a time
 * (turns.ts).
 *
 * Order: a cluster's count reaches the file before anything refers to the cluster, and falls only after nothing does any
 * more. A new refcount block is durable before the table points to it, a new table before the header does. So a crash
 * leaks clusters and does nothing worse.
 */
import { StorageError } from "../storage-error.ts";
import { corrupt, setU64, viewOf } from "./big-endian.ts";
import { MAX_REFCOUNT_TABLE_BYTES } from "./header.ts";
import { bytesOf, type Qcow2Image } from "./image.ts";
import { largestRefcount, readRefcount, writeRefcount } from "./refcount-width.ts";
import { TableCache, type TablePage } from "./table-cache.ts";

export interface ClusterRun {
  readonly offset: number;
  readonly count: number;
}

export class Refcounts {
  readonly cache: TableCache;
  readonly #image: Qcow2Image;
  readonly #order: number;
  readonly perBlock: number;
  readonly #perPage: number;
  /** No cluster before this index is free. */
  #hint = 0;

  constructor(image: Qcow2Image, cacheBytes: number) {
    this.#image = image;
    this.#order = image.header.refcountOrder;
    this.perBlock = (image.clusterBytes * 8) >> this.#order;
    this.#perPage = (image.pageBytes * 8) >> this.#order;
    this.cache = new TableCache(image, image.pageBytes, cacheBytes);
  }

  async get(offset: number): Promise<number> {
    const { page, index } = await this.#locate(offset / this.#image.clusterBytes);
    return page === undefined ? 0 : readRefcount(page.view, index, this.#order);
  }

  /** Sets the count of a cluster, making a refcount block for it where there is none. For repairs. */
  async set(offset: number, count: number): Promise<void> {
    const cluster = offset / this.#image.clusterBytes;
    if (count === 0) this.#hint = Math.min(this.#hint, cluster);
    let { page, index } = await this.#locate(cluster);
    if (page === undefined) {
      if (count === 0) return;
      throw corrupt("clusters are in use that no refcount block describes");
    }
    await this.#beforeChange();
    ({ page, index } = await this.#locate(cluster));
    if (page === undefined) return;
    writeRefcount(page.view, index, this.#order, Math.min(count, largestRefcount(this.#order)));
    this.cache.markDirty(page);
  }

  /** The count when the page with it is in memory. */
  peek(cluster: number): number | undefined {
    const blockOffset = this.#image.refcountBlockOffset(Math.floor(cluster / this.perBlock));
    if (blockOffset === 0) return 0;
    const inBlock = cluster % this.perBlock;
    const page = this.cache.peek(blockOffset + Math.floor(inBlock / this.#perPage) * this.#image.pageBytes);
    return page === undefined ? undefined : readRefcount(page.view, inBlock % this.#perPage, this.#order);
  }

  /**
   * For repairs: sees to it that there is a refcount block for the cluster, in a cluster of the same region that `isFree`.
   * The offset of a block that was made; undefined when there is no place for one.
   */
  async ensureBlock(cluster: number, isFree: (cluster: number) => boolean): Promise<number | "there" | undefined> {
    const block = Math.floor(cluster / this.perBlock);
    if (this.#image.refcountBlockOffset(block) !== 0) return "there";
    if (block * 8 >= this.#image.refcountTable.byteLength) return undefined;
    for (let place = block * this.perBlock; place < (block + 1) * this.perBlock; place++) {
      if (!isFree(place)) continue;
      await this.#addBlock(block, place);
      return place * this.#image.clusterBytes;
    }
    return undefined;
  }

  /** Takes one reference from the cluster. True when none is left. A count of 0 (a damaged image) stays. */
  async release(offset: number): Promise<boolean> {
    const count = await this.get(offset);
    if (count > 0) await this.set(offset, count - 1);
    return count === 1;
  }

  /** Between 1 and `wanted` clusters in a row, with one reference each. */
  async allocate(wanted: number): Promise<ClusterRun> {
    await this.#beforeChange();
    for (;;) {
      const block = Math.floor(this.#hint / this.perBlock);
      if (block * 8 >= this.#image.refcountTable.byteLength) {
        await this.#growTable();
      } else if (this.#image.refcountBlockOffset(block) === 0) {
        await this.#addBlock(block, this.#hint);
      } else {
        const { page, index } = await this.#locate(this.#hint);
        const run = this.#take(page!, index, wanted);
        if (run !== undefined) return run;
        this.#hint += this.#perPage - index;
      }
    }
  }

  /** From the hint on within the page. */
  #take(page: TablePage, from: number, wanted: number): ClusterRun | undefined {
    const { clusterBytes } = this.#image;
    let start = from;
    while (start < this.#perPage && readRefcount(page.view, start, this.#order) !== 0) start++;
    let end = start;
    const first = this.#hint - from;
    while (end < this.#perPage && end - start < wanted && readRefcount(page.view, end, this.#order) === 0) {
      if (this.#image.isMetadata((first + end) * clusterBytes))
        throw corrupt("a table lies in a cluster that counts as free");
      end++;
    }
    if (end === start) return undefined;
    for (let index = start; index < end; index++) writeRefcount(page.view, index, this.#order, 1);
    this.cache.markDirty(page);
    this.#hint = first + end;
    return { offset: (first + start) * clusterBytes, count: end - start };
  }

  /** Gives back what `allocate` gave and nothing has referred to yet. */
  async undo(run: ClusterRun): Promise<void> {
    for (let index = 0; index < run.count; index++) await this.set(run.offset + index * this.#image.clusterBytes, 0);
  }

  /** Counts may reach the file at any time after they rose, and fall only when the caller says so. */
  async #beforeChange(): Promise<void> {
    await this.#image.setDirtyBit(true);
    if (this.cache.isFull) await this.cache.writeDirty();
  }

  async #locate(cluster: number): Promise<{ page: TablePage | undefined; index: number }> {
    const blockOffset = this.#image.refcountBlockOffset(Math.floor(cluster / this.perBlock));
    if (blockOffset === 0) return { page: undefined, index: 0 };
    const inBlock = cluster % this.perBlock;
    const page = await this.cache.load(blockOffset + Math.floor(inBlock / this.#perPage) * this.#image.pageBytes);
    return { page, index: inBlock % this.#perPage };
  }

  /** The block of a region that has none lies in the region's first cluster and counts itself. */
  async #addBlock(block: number, cluster: number): Promise<void> {
    const image = this.#image;
    const offset = cluster * image.clusterBytes;
    if (image.isMetadata(offset)) throw corrupt("a table lies in a cluster that counts as free");
    const bytes = new Uint8Array(image.clusterBytes);
    writeRefcount(viewOf(bytes), cluster % this.perBlock, this.#order, 1);
    await image.write(offset, bytes);
    await image.flush();
    this.cache.drop(offset, image.clusterBytes);
    const entry = new Uint8Array(8);
    setU64(viewOf(entry), 0, offset);
    await image.write(image.header.refcountTableOffset + block * 8, entry);
    bytesOf(image.refcountTable, block * 8, 8).set(entry);
    image.tableClusters.add(offset);
  }

  /** A table half as large again, behind all that the present one reaches, with the blocks that count it and themselves. */
  async #growTable(): Promise<void> {
    const image = this.#image;
    const { clusterBytes } = image;
    const oldEntries = image.refcountTable.byteLength / 8;
    const first = oldEntries * this.perBlock;
    let blocks = 1;
    let tableClusters = 0;
    for (let previous = 0; previous !== blocks; ) {
      previous = blocks;
      const entries = Math.max(Math.ceil(oldEntries * 1.5), oldEntries + blocks + 1);
      tableClusters = Math.ceil((entries * 8) / clusterBytes);
      blocks = Math.ceil((blocks + tableClusters) / this.perBlock);
    }
    if (tableClusters * clusterBytes > MAX_REFCOUNT_TABLE_BYTES) {
      const what = "The qcow2 image cannot grow further: its refcount table has its largest size.";
      throw new StorageError("no-space", `${what} Convert it to an image with larger clusters.`);
    }
    const table = new Uint8Array(tableClusters * clusterBytes);
    table.set(bytesOf(image.refcountTable, 0, image.refcountTable.byteLength));
    for (let block = 0; block < blocks; block++) {
      const offset = (first + block) * clusterBytes;
      const bytes = new Uint8Array(clusterBytes);
      const counted = Math.min(this.perBlock, blocks + tableClusters - block * this.perBlock);
      for (let index = 0; index < counted; index++) writeRefcount(viewOf(bytes), index, this.#order, 1);
      await image.write(offset, bytes);
      setU64(viewOf(table), (oldEntries + block) * 8, offset);
    }
    const tableOffset = (first + blocks) * clusterBytes;
    await image.write(tableOffset, table);
    await image.flush();
    const old = { offset: image.header.refcountTableOffset, count: image.header.refcountTableClusters };
    await image.useRefcountTable(tableOffset, table);
    for (let block = 0; block < blocks; block++) image.tableClusters.add((first + block) * clusterBytes);
    await image.flush();
    for (let index = 0; index < old.count; index++) await this.release(old.offset + index * clusterBytes);
  }
}
