/**
 * Pages of an image's tables (L2 tables, refcount blocks) in memory: at most so many, written back when told to. A page is
 * a part of a table, 4 KiB or a cluster, so that one entry's change does not cost a write of 2 MiB.
 *
 * Clean pages give way to others, by second chance. Dirty ones stay until `writeDirty`: in which order tables may reach the
 * file is for the caller to know, who therefore looks at `dirtyPages`.
 */
import type { ImageFile } from "../image-file.ts";
import { viewOf } from "./big-endian.ts";

export interface TablePage {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  isDirty: boolean;
  wasUsed: boolean;
}

/** What of a file a cache needs. */
export type TableFile = Pick<ImageFile, "read" | "write">;

interface Loading {
  readonly page: Promise<TablePage>;
}

export class TableCache {
  readonly pageBytes: number;
  readonly maxPages: number;
  readonly #file: TableFile;
  readonly #pages = new Map<number, TablePage>();
  readonly #loading = new Map<number, Loading>();
  readonly #dirty = new Set<TablePage>();

  constructor(file: TableFile, pageBytes: number, maxBytes: number) {
    this.#file = file;
    this.pageBytes = pageBytes;
    this.maxPages = Math.max(8, Math.floor(maxBytes / pageBytes));
  }

  get dirtyPages(): number {
    return this.#dirty.size;
  }

  /** Dirty pages are as many as may be: time to write back. */
  get isFull(): boolean {
    return this.#dirty.size >= this.maxPages >> 1;
  }

  peek(offset: number): TablePage | undefined {
    const page = this.#pages.get(offset);
    if (page !== undefined) page.wasUsed = true;
    return page;
  }

  async load(offset: number): Promise<TablePage> {
    const page = this.peek(offset);
    if (page !== undefined) return page;
    const underWay = this.#loading.get(offset);
    if (underWay !== undefined) return underWay.page;
    const loading: Loading = { page: Promise.resolve().then(() => this.#read(offset, loading)) };
    this.#loading.set(offset, loading);
    return loading.page;
  }

  /**
   * The page has just been changed, by the one who may. It may have given way to others since it was loaded, and the file's
   * old bytes may be on their way: it takes its place again, and they are not taken.
   */
  markDirty(page: TablePage): void {
    page.isDirty = true;
    page.wasUsed = true;
    this.#dirty.add(page);
    this.#loading.delete(page.offset);
    this.#pages.set(page.offset, page);
  }

  /** Pages whose write fails stay dirty. Nobody changes pages meanwhile. */
  async writeDirty(): Promise<void> {
    for (const page of [...this.#dirty].sort((a, b) => a.offset - b.offset)) {
      await this.#file.write(page.offset, page.bytes);
      page.isDirty = false;
      this.#dirty.delete(page);
    }
  }

  /** Forgets what is known of the range, changes too: it holds no table any more, or was written around the cache. */
  drop(offset: number, length: number): void {
    for (let at = offset; at < offset + length; at += this.pageBytes) {
      this.#loading.delete(at);
      const page = this.#pages.get(at);
      if (page === undefined) continue;
      this.#pages.delete(at);
      this.#dirty.delete(page);
    }
  }

  async #read(offset: number, loading: Loading): Promise<TablePage> {
    const bytes = new Uint8Array(this.pageBytes);
    try {
      await this.#file.read(offset, bytes);
    } catch (error) {
      if (this.#loading.get(offset) === loading) this.#loading.delete(offset);
      throw error;
    }
    if (this.#loading.get(offset) !== loading) return this.load(offset); // What was read is old.
    this.#loading.delete(offset);
    const page: TablePage = { offset, bytes, view: viewOf(bytes), isDirty: false, wasUsed: true };
    this.#makeRoom();
    this.#pages.set(offset, page);
    return page;
  }

  #makeRoom(): void {
    let tries = this.#pages.size * 2;
    for (const [offset, page] of this.#pages) {
      if (this.#pages.size < this.maxPages || tries-- <= 0) return;
      if (!page.isDirty && !page.wasUsed) {
        this.#pages.delete(offset);
      } else {
        page.wasUsed = false;
        this.#pages.delete(offset);
        this.#pages.set(offset, page);
      }
    }
  }
}
