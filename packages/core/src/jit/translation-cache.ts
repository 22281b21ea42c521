/**
 * Translations that outlive their process. What a run translated is kept in pieces: code of ring 3 for every guest of the
 * domain, other code for guests of the same kernel. A later run, of any initrd, gets all that is there as one module
 * before its guest has come far, and knows its code again by content (jit/translations.ts).
 *
 * Names begin with a key over all that a translation depends on beside the code: this program's build, the CPU's
 * features, the format. Whether a piece is whole and one's own is for the store to know: what it gives is run.
 */

import { BUILD } from "../interp/prebuilt-image.ts";
import { linkFunctions } from "../ir/compile.ts";
import { sha256, toHex } from "../state/sha256.ts";
import { readRegions, type SavedRegion, writeRegions } from "./saved-regions.ts";
import type { KeptTranslations } from "./translator.ts";

/** Named bytes. Nothing here throws: what cannot be had is not there, what cannot be kept is lost. */
export interface BlobStore {
  /** Names that begin so, those used last first. */
  list(prefix: string): readonly string[];
  read(name: string): Uint8Array | undefined;
  /** Under a name of its own that begins so. Whole or not at all. Undefined: it could not be kept. */
  add(prefix: string, bytes: Uint8Array): string | undefined;
  remove(name: string): void;
}

export interface TranslationCacheOptions {
  /** Names the kernel: a digest of it. */
  readonly kernel: string;
  readonly cpuFeatures: readonly string[];
  readonly sharedMemory: boolean;
}

const FORMAT = 1;
/** So many pieces in a pool are put together to one. */
const MAX_PIECES = 4;
/** Of one pool, in memory and in the store. */
const MAX_POOL_BYTES = 16 << 20;

class Pool {
  readonly #store: BlobStore;
  readonly #prefix: string;
  readonly #known = new Set<string>();
  #fresh: SavedRegion[] = [];
  /** What this run has added. */
  #own: string | undefined;

  constructor(store: BlobStore, prefix: string) {
    this.#store = store;
    this.#prefix = prefix;
  }

  load(): SavedRegion[] {
    const regions: SavedRegion[] = [];
    let left = MAX_POOL_BYTES;
    for (const name of this.#store.list(this.#prefix)) {
      const bytes = this.#store.read(name);
      if (!bytes || bytes.length > left) continue;
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
    if (this.#isNew(region)) this.#fresh.push(region);
  }
  get freshCount(): number {
    return this.#fresh.length;
  }

  /** What came since `load`. A second time, the first time's piece is replaced. */
  save(): void {
    if (this.#fresh.length === 0) return;
    const store = this.#store;
    const names = store.list(this.#prefix).filter((name) => name !== this.#own);
    const isMerge = names.length >= MAX_PIECES;
    let regions = this.#fresh;
    if (isMerge) {
      const others = new Pool(store, this.#prefix);
      regions = [...regions, ...others.load().filter((region) => !this.#freshHas(region))];
    }
    let bytes = writeRegions(regions);
    if (bytes.length > MAX_POOL_BYTES) bytes = writeRegions(this.#fresh);
    if (bytes.length > MAX_POOL_BYTES) return;
    const added = store.add(this.#prefix, bytes);
    if (added === undefined) return;
    for (const name of [...(isMerge ? names : []), this.#own]) if (name && name !== added) store.remove(name);
    this.#own = added;
  }
  #freshHas(region: SavedRegion): boolean {
    const key = identityOf(region);
    return this.#fresh.some((other) => other.mode === region.mode && identityOf(other) === key);
  }
}

/** Equal for the same code at the same place of a page. */
function identityOf({ mode, entry, ranges, code }: SavedRegion): string {
  return `${mode} ${entry} ${ranges.join()} ${code.map((bytes) => String.fromCharCode(...bytes)).join("")}`;
}

export class TranslationCache {
  readonly #sharedMemory: boolean;
  readonly #kernel: Pool;
  readonly #user: Pool;
  #savedCount = 0;

  constructor(store: BlobStore, { kernel, cpuFeatures, sharedMemory }: TranslationCacheOptions) {
    this.#sharedMemory = sharedMemory;
    const text = [FORMAT, BUILD, ...cpuFeatures].join();
    const key = digest(text);
    this.#kernel = new Pool(store, `${key}-${digest(kernel)}-`);
    this.#user = new Pool(store, `${key}-user-`);
  }

  /** Without a build there is nothing by which two programs could be known to translate alike. */
  static get isUsable(): boolean {
    return BUILD !== "";
  }

  load(): KeptTranslations | undefined {
    const all = [...this.#kernel.load(), ...this.#user.load()];
    if (all.length === 0) return undefined;
    const bytes = linkFunctions(
      all.map((region) => region.compiled),
      this.#sharedMemory,
    );
    const regions = all.map(({ mode, entry, ranges, code }) => ({ mode, entry, ranges, code }));
    return { module: new WebAssembly.Module(bytes), moduleBytes: bytes.length, regions };
  }

  keep(region: SavedRegion, isUser: boolean): void {
    (isUser ? this.#user : this.#kernel).keep(region);
  }

  save(): void {
    const count = this.#kernel.freshCount + this.#user.freshCount;
    if (count === this.#savedCount) return;
    this.#savedCount = count;
    this.#kernel.save();
    this.#user.save();
  }
}

function digest(text: string): string {
  return toHex(sha256(Uint8Array.from(text, (c) => c.charCodeAt(0) & 0xff))).slice(0, 16);
}
