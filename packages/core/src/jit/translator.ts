/**
 * Translation as a service: windows of code in, a module out. It needs nothing of the machine, so it runs in a thread of
 * its own where there is one.
 */
import { featureSet, PARALLEL } from "../cpu/features.ts";
import { handlerSet } from "../interp/core.ts";
import type { CompiledFunction } from "../ir/function-emitter.ts";
import { inVariant } from "../ir/routine.ts";
import { type HandlerSet, limitHandlers } from "../isa/handlers.ts";
import { type CodeWindow, findRegion, interpretedBlocks, PAGE_BYTES } from "./region.ts";
import { regionFunction, regionModule } from "./region-module.ts";
import { withResumptions } from "./resumptions.ts";
import type { SavedRegion } from "./saved-regions.ts";

export interface TranslationBatch {
  readonly id: number;
  /** The machine's CPU features, as in its spec. */
  readonly cpuFeatures: readonly string[];
  readonly sharedMemory: boolean;
  readonly windows: readonly CodeWindow[];
  /** Where each window's entry page lies: equal numbers are the same page. */
  readonly pages: readonly number[];
  /** Whether each window's code runs in ring 3. */
  readonly isUser: readonly boolean[];
  /** Where the tables of the vCPU lie that the code is for, against the first one's. Default: 0. */
  readonly ownShift?: number;
}

export interface TranslatedRegion {
  /** The module's export. */
  readonly name: string;
  /** Offsets [from, to) in the window of the bytes that it was made from. */
  readonly ranges: readonly (readonly [number, number])[];
  /** Offsets in the window of further entries, in the same page. */
  readonly resumptions: readonly number[];
  /** Offsets in the window where the interpreter starts blocks of its code. */
  readonly blocks: readonly number[];
  readonly instructionCount: number;
}

/** The window's entry is a block of the region of another one of the batch. */
export type Covered = "covered";
/** The window's region has come with an earlier answer. */
export type Answered = "answered";
/** The window's region comes with an answer of its own. */
export interface LaterRegion extends Pick<TranslatedRegion, "blocks"> {
  readonly isLater: true;
}

export interface TranslatedBatch {
  readonly id: number;
  /** One for each window; undefined: nothing there can be translated. */
  readonly regions: readonly (TranslatedRegion | LaterRegion | Covered | Answered | undefined)[];
  /** Undefined if no region was made. */
  readonly module: WebAssembly.Module | undefined;
  readonly moduleBytes: number;
  /** How long the thread of its own took, where there is one. */
  readonly busyMs?: number;
}

export function isLater(region: TranslatedBatch["regions"][number]): region is LaterRegion {
  return typeof region === "object" && "isLater" in region;
}

/** Translations of earlier runs, as one module. */
export interface KeptTranslations {
  readonly module: WebAssembly.Module;
  readonly moduleBytes: number;
  /** Its functions are optimised code already. Others cost the host's first compiler, when they first run. */
  readonly isCompiled: boolean;
  /** What its functions were made from, as writeOrigins has it; each is exported by its place in that. */
  readonly index: Uint8Array;
}

/** Where the machine sends code to be translated. Answers come in any order, of one batch there may be several. */
export interface Translator {
  /** It works beside the machine's thread: what is asked of it while it is idle takes no time of that. */
  readonly isBeside?: boolean;
  request(batch: TranslationBatch): void;
  /** What earlier runs have left, as it comes; "none": and nothing more will. Never waits. */
  takeKept?(): KeptTranslations | "none" | undefined;
  /** Code that was not hot enough, or whose turn did not come, at the machine's end: as writeWarm has it. */
  keepWarm?(code: Uint8Array<ArrayBuffer>): void;
  /** An answer, if one is there. Never waits. */
  take(): TranslatedBatch | undefined;
}

const handlersOf = new Map<string, HandlerSet>();

function handlersFor(cpuFeatures: readonly string[]): HandlerSet {
  const key = cpuFeatures.join();
  const found = handlersOf.get(key);
  if (found) return found;
  const variant = cpuFeatures.includes(PARALLEL) ? "parallel" : "one";
  const made = limitHandlers(handlerSet(variant), featureSet(cpuFeatures));
  handlersOf.set(key, made);
  return made;
}

/** A region for each window that has one and is in no earlier window's region; `keep` is given each. */
export function translateRegions(
  batch: TranslationBatch,
  keep: (region: SavedRegion, isUser: boolean) => void,
): readonly (TranslatedRegion | Covered | undefined)[] {
  const handlers = handlersFor(batch.cpuFeatures);
  return inVariant(handlers.variant, () => translateWith(handlers, batch, keep));
}

function translateWith(
  handlers: HandlerSet,
  batch: TranslationBatch,
  keep: (region: SavedRegion, isUser: boolean) => void,
): readonly (TranslatedRegion | Covered | undefined)[] {
  const covered = new Set<number>();
  let made = 0;
  return batch.windows.map((window, i): TranslatedRegion | Covered | undefined => {
    const base = (batch.pages[i] ?? 0) - PAGE_BYTES;
    if (covered.has(base + window.entry)) return "covered";
    const found = findRegion(handlers, window);
    if (!found) return undefined;
    const region = withResumptions(found);
    const blocks = interpretedBlocks(region);
    const { mode, ranges, resumptions } = region;
    const code = ranges.map(([from, to]) => window.bytes.slice(from, to));
    const compiled = regionFunction(region, batch.ownShift);
    keep({ mode, entry: window.entry, resumptions, ranges, code, compiled }, batch.isUser[i] ?? false);
    for (const offset of blocks) covered.add(base + offset);
    return { name: String(made++), ranges, resumptions, blocks, instructionCount: region.instructionCount };
  });
}

/** `keep` is given what was made, for other processes. */
export function translateBatch(
  batch: TranslationBatch,
  keep: (region: SavedRegion, isUser: boolean) => void = () => {},
): TranslatedBatch {
  return translateApart(batch, keep, Number.POSITIVE_INFINITY)[0];
}

/** The first answer has all regions but those of more code than `largeBytes`, each of which has an answer of its own. */
export function translateApart(
  batch: TranslationBatch,
  keep: (region: SavedRegion, isUser: boolean) => void,
  largeBytes: number,
): readonly [TranslatedBatch, ...TranslatedBatch[]] {
  const made: CompiledFunction[] = [];
  const all = translateRegions(batch, (region, isUser) => {
    made.push(region.compiled);
    keep(region, isUser);
  });
  const functionOf = (region: (typeof all)[number]): CompiledFunction | undefined =>
    typeof region === "object" ? made[Number(region.name)] : undefined;
  const isLarge = (region: (typeof all)[number]): boolean => (functionOf(region)?.code.length ?? 0) > largeBytes;
  const answer = (regions: TranslatedBatch["regions"], functions: readonly CompiledFunction[]): TranslatedBatch => {
    if (functions.length === 0) return { id: batch.id, regions, module: undefined, moduleBytes: 0 };
    const bytes = regionModule(functions, batch.sharedMemory);
    return { id: batch.id, regions, module: new WebAssembly.Module(bytes), moduleBytes: bytes.length };
  };
  let small = 0;
  const first = all.map((region) => {
    if (typeof region !== "object") return region;
    return isLarge(region) ? { isLater: true as const, blocks: region.blocks } : { ...region, name: String(small++) };
  });
  const apart = all.filter(isLarge).map((large) => {
    const regions = all.map((region) =>
      region === large ? { ...(large as TranslatedRegion), name: "0" } : ("answered" as const),
    );
    return answer(regions, [functionOf(large)!]);
  });
  return [
    answer(
      first,
      made.filter((compiled) => compiled.code.length <= largeBytes),
    ),
    ...apart,
  ];
}

/** Translates in the caller's thread, when it asks. */
export class LocalTranslator implements Translator {
  readonly #batches: TranslationBatch[] = [];

  request(batch: TranslationBatch): void {
    this.#batches.push(batch);
  }
  take(): TranslatedBatch | undefined {
    const batch = this.#batches.shift();
    return batch && translateBatch(batch);
  }
}
