/**
 * What the threads of a VM get of earlier runs: the core module and modules of regions, with V8's own optimised code in
 * them. Files in the store of translations (translation-store.ts), written by native-keeper.ts:
 *
 *   c-TAG-CORE-..     the core module
 *   n-TAG-POOL-..     regions: a linked piece of a pool (core's jit/linked-regions.ts)
 *
 * Whatever is not there, or not ours, or not this V8's, is done without.
 */
import { type BlobStore, coreImage, type KeptTranslations, poolNames, readLinked } from "@twinmetal/core";
import { deserialize, nativeTag } from "./native-code.ts";
import type { TranslationSettings } from "./translation-settings.ts";
import { openTranslationStore } from "./translation-store.ts";

/** Of all modules of regions that a VM begins with, without V8's code. */
const MAX_REGION_BYTES = 16 << 20;

export interface KeptRegions {
  readonly modules: readonly KeptTranslations[];
  /** The pieces that they hold. */
  readonly sources: readonly string[];
}

/** What names of the core's files begin with. Undefined where no core was built. */
export function corePrefix(tag: string): string | undefined {
  const image = coreImage();
  return image && `c-${tag}-${image.name}-`;
}
export function regionsPrefix(tag: string, pool: string): string {
  return `n-${tag}-${pool}-`;
}

export class KeptCode {
  readonly #settings: TranslationSettings;
  readonly #store: BlobStore | undefined;
  readonly #tag: string;

  constructor(settings: TranslationSettings) {
    this.#settings = settings;
    this.#store = openTranslationStore(settings.directory);
    this.#tag = nativeTag();
  }

  core(): WebAssembly.Module | undefined {
    const prefix = corePrefix(this.#tag);
    if (prefix === undefined) return undefined;
    for (const name of this.#store?.list(prefix) ?? []) {
      const module = this.#module(name)?.module;
      if (module) return module;
    }
    return undefined;
  }

  regions(): KeptRegions {
    const modules: KeptTranslations[] = [];
    const sources: string[] = [];
    let left = MAX_REGION_BYTES;
    for (const pool of Object.values(poolNames(this.#settings))) {
      for (const name of this.#store?.list(regionsPrefix(this.#tag, pool)) ?? []) {
        const found = this.#module(name, left);
        if (!found) continue;
        left -= found.moduleBytes;
        modules.push(found);
        sources.push(found.source);
      }
    }
    return { modules, sources };
  }

  #module(name: string, most = MAX_REGION_BYTES): (KeptTranslations & { readonly source: string }) | undefined {
    const bytes = this.#store?.read(name);
    if (!bytes) return undefined;
    try {
      const { source, index, wire, native } = readLinked(bytes);
      if (wire.length > most) return undefined;
      const module = deserialize(native, wire);
      if (module) return { module, moduleBytes: wire.length, isCompiled: true, index: index.slice(), source };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    this.#store?.remove(name);
    return undefined;
  }
}
