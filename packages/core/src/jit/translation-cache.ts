/**
 * Translations that outlive their process. What a run translated is kept in pieces, in two pools: code of ring 3 for every
 * guest, other code for guests of the same kernel. Between runs many pieces become one (`condense`), and the host may keep
 * beside each piece a linked module with its own compiler's code (jit/linked-regions.ts). A later run, of any initrd,
 * gets all that is there before its guest has come far, and knows its code again by content (jit/translations.ts).
 * Whether a piece is whole and one's own is for the store to know: what it gives is run.
 */

import { BUILD } from "../interp/prebuilt-image.ts";
import { linkFunctions } from "../ir/compile.ts";
import type { BlobStore, PoolName, TranslationCacheOptions } from "./pool-names.ts";
import { poolNames } from "./pool-names.ts";
import { type CodeWindow, PAGE_BYTES } from "./region.ts";
import {
  type RegionOrigin,
  RegionWriter,
  readRegions,
  type SavedRegion,
  writeOrigins,
  writeRegions,
} from "./saved-regions.ts";
import { type KeptTranslations, translateRegions } from "./translator.ts";
import { readWarm } from "./warm-code.ts";

/** Of one pool's pieces, in memory and in the store. */
const MAX_POOL_BYTES = 16 << 20;
/** A run's pieces are not larger: they wait in memory until they are full. */
const FULL_PIECE_BYTES = 1 << 19;
/** What a piece is larger than its regions are taken for. */
const SLACK_BYTES = 4 << 20;
/** Of one pool's functions, when pieces are put together: the host's code is twice as much. */
const MAX_LINKED_BYTES = 12 << 20;

/** So many pieces of a pool are put together to one. */
const MAX_PIECES = 4;

/** A piece as a module. */
export interface LinkedPiece {
  readonly source: string;
  /** What `wire`'s functions were made from, as writeOrigins has it. */
  readonly index: Uint8Array;
  readonly wire: Uint8Array<ArrayBuffer>;
}

class Pool {
  readonly #store: BlobStore;
  readonly #prefix: string;
  readonly #known = new Set<string>();
  #fresh = new RegionWriter();
  /** The piece that `#fresh` is in the store as. */
  #own: string | undefined;
  /** Of this run, in pieces that are full, and in all. */
  #fullBytes = 0;
  #fullCount = 0;

  constructor(store: BlobStore, prefix: string) {
    this.#store = store;
    this.#prefix = prefix;
  }

  get names(): readonly string[] {
    return this.#store.list(this.#prefix);
  }

  load(sources: readonly string[]): SavedRegion[] {
    const regions: SavedRegion[] = [];
    let left = MAX_POOL_BYTES;
    for (const name of sources) {
      const bytes = this.#store.read(name);
      if (!bytes || bytes.length > left + SLACK_BYTES) continue;
      left -= bytes.length;
      try {
        for (const region of readRegions(bytes)) if (this.#isNew(region)) regions.push(region);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        this.#store.remove(name);
      }
    }
    return regions;
  }
  #isNew(region: SavedRegion): boolean {
    const key = identityOf(region);
    if (this.#known.has(key)) return false;
    this.#known.add(key);
    return true;
  }

  keep(region: SavedRegion): void {
    if (this.#fullBytes + this.#fresh.length + sizeOf(region) > MAX_POOL_BYTES || !this.#isNew(region)) return;
    this.#fresh.add(region);
    if (this.#fresh.length < FULL_PIECE_BYTES) return;
    this.save();
    this.#fullBytes += this.#fresh.length;
    this.#fullCount += this.#own === undefined ? 0 : this.#fresh.count;
    this.#fresh = new RegionWriter();
    this.#own = undefined;
  }

  /** What came since `load`. The piece that is not full yet is replaced. */
  save(): number {
    const { count } = this.#fresh;
    if (count === 0) return this.#fullCount;
    const added = this.#store.add(this.#prefix, this.#fresh.take());
    if (added === undefined) return this.#fullCount;
    if (this.#own !== undefined && this.#own !== added) this.#store.remove(this.#own);
    this.#own = added;
    return this.#fullCount + count;
  }

  condense(): void {
    const sources = this.names;
    if (sources.length <= MAX_PIECES) return;
    const regions: SavedRegion[] = [];
    let bytes = 0;
    for (const region of this.load(sources)) {
      bytes += region.compiled.code.length;
      if (bytes > MAX_LINKED_BYTES) break;
      regions.push(region);
    }
    const merged = this.#store.add(this.#prefix, writeRegions(regions));
    if (merged !== undefined) for (const name of sources) if (name !== merged) this.#store.remove(name);
  }

  link(source: string): LinkedPiece | undefined {
    const regions = new Pool(this.#store, this.#prefix).load([source]);
    return regions.length === 0 ? undefined : { source, index: writeOrigins(regions), wire: link(regions, true) };
  }
}

/** In a piece, at least. */
function sizeOf({ code, compiled }: SavedRegion): number {
  return code.reduce((sum, bytes) => sum + bytes.length, 64) + compiled.code.length + 8 * compiled.calls.length;
}

/** Equal for the same code at the same place of a page. */
function identityOf({ mode, entry, ranges, code }: RegionOrigin): string {
  return `${mode} ${entry} ${ranges.join()} ${code.map((bytes) => String.fromCharCode(...bytes)).join("")}`;
}

function link(regions: readonly SavedRegion[], sharedMemory: boolean): Uint8Array<ArrayBuffer> {
  return linkFunctions(
    regions.map((region) => region.compiled),
    sharedMemory,
  );
}

export class TranslationCache {
  readonly #options: TranslationCacheOptions;
  readonly #store: BlobStore;
  readonly #warm: string;
  readonly #pools: Readonly<Record<PoolName, Pool>>;

  constructor(store: BlobStore, options: TranslationCacheOptions) {
    this.#options = options;
    this.#store = store;
    const { kernel, user } = poolNames(options);
    this.#warm = `w-${kernel}-`;
    this.#pools = { kernel: new Pool(store, `p-${kernel}-`), user: new Pool(store, `p-${user}-`) };
  }

  /** Without a build there is nothing by which two programs could be known to translate alike. */
  static get isUsable(): boolean {
    return BUILD !== "";
  }

  /** All but what is in pieces that the caller has, as one module, whose functions are compiled when they first run. */
  load(known: ReadonlySet<string>): KeptTranslations | undefined {
    const all = Object.values(this.#pools).flatMap((pool) => pool.load(pool.names.filter((name) => !known.has(name))));
    if (all.length === 0) return undefined;
    const bytes = link(all, this.#options.sharedMemory);
    const module = new WebAssembly.Module(bytes);
    return { module, moduleBytes: bytes.length, isCompiled: false, index: writeOrigins(all) };
  }

  keep(region: SavedRegion, isUser: boolean): void {
    this.#pools[isUser ? "user" : "kernel"].keep(region);
  }

  /** Code to be translated between runs, as writeWarm has it. */
  keepWarm(code: Uint8Array): void {
    if (code.length <= MAX_POOL_BYTES) this.#store.add(this.#warm, code);
  }
  get hasWarm(): boolean {
    return this.#store.list(this.#warm).length > 0;
  }
  /** For between runs: makes a piece of the code that is waiting for it. */
  translateWarm(): void {
    const names = this.#store.list(this.#warm);
    for (const name of names.slice(0, MAX_PIECES)) {
      const bytes = this.#store.read(name);
      if (bytes) this.#translate(bytes);
    }
    for (const name of names) this.#store.remove(name);
    this.save();
  }
  #translate(bytes: Uint8Array): void {
    const { cpuFeatures, sharedMemory } = this.#options;
    const windows: CodeWindow[] = [];
    const pages: number[] = [];
    try {
      for (const { window, page } of readWarm(bytes)) {
        windows.push(window);
        pages.push(page * PAGE_BYTES);
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    const isUser = windows.map(() => false);
    translateRegions({ id: 0, cpuFeatures, sharedMemory, windows, pages, isUser }, (region) =>
      this.keep(region, false),
    );
  }

  /** How many translations of this run are in the store now. */
  save(): number {
    return this.#pools.kernel.save() + this.#pools.user.save();
  }

  /** Names of a pool's pieces, those used last first. */
  pieces(pool: PoolName): readonly string[] {
    return this.#pools[pool].names;
  }

  /** For between runs, by a process of its own: takes as long as reading and writing everything. */
  condense(pool: PoolName): void {
    this.#pools[pool].condense();
  }

  /** For shared memory. Undefined if the piece is gone. */
  link(pool: PoolName, piece: string): LinkedPiece | undefined {
    return this.#pools[pool].link(piece);
  }
}
