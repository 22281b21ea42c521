/**
 * What translations are kept by, apart from the cache itself (translation-cache.ts): who only looks for them needs no
 * translator. Names begin with a key over all that a translation depends on beside the code: this program's build, the CPU's
 * features, the format.
 */
import { BUILD } from "../interp/prebuilt-image.ts";
import { sha256, toHex } from "../state/sha256.ts";

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

export type PoolName = "kernel" | "user";

const FORMAT = 2;

/** What names of anything that is made from a pool's pieces begin with. */
export function poolNames({ kernel, cpuFeatures }: TranslationCacheOptions): Readonly<Record<PoolName, string>> {
  const key = digest([FORMAT, BUILD, ...cpuFeatures].join());
  return { kernel: `${key}-${digest(kernel)}`, user: `${key}-user` };
}

function digest(text: string): string {
  return toHex(sha256(Uint8Array.from(text, (c) => c.charCodeAt(0) & 0xff))).slice(0, 24);
}
