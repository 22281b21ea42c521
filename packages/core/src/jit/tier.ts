/**
 * The second tier of one machine: blocks that the interpreter finds hot are sent to be translated, and what comes back
 * is entered in the core's table and in the blocks. A translation stays when its block is dropped: the same code
 * elsewhere, or later, gets it again.
 *
 * Bounds: where modules are many, those that no block got a function of for a while are dropped (jit/region-modules.ts);
 * past DEFAULT_BOUNDS everything is, blocks too, and starts again.
 */
import * as L from "../cpu/layout.ts";
import { type Core, NEVER_HOT } from "../interp/core.ts";
import { CodeAround } from "./code-around.ts";
import { Haste } from "./haste.ts";
import { keptRegions } from "./kept-regions.ts";
import { type CodeWindow, PAGE_BYTES } from "./region.ts";
import { RegionModules, type TierBounds } from "./region-modules.ts";
import { RETRY, type Request, Requests } from "./requests.ts";
import { type Found, type Pages, pieces, type Translation, Translations } from "./translations.ts";
import type { TranslatedBatch, TranslatedRegion, Translator } from "./translator.ts";
import { warmBlocks } from "./warm-blocks.ts";
import { writeWarm } from "./warm-code.ts";

export interface TierOptions {
  readonly bounds?: TierBounds;
  /** How often a block runs before it is translated. */
  readonly heat: number;
  /** Translate at once, one region at a time, and wait for it: for tests. */
  readonly isImmediate?: boolean;
  readonly cpuFeatures: readonly string[];
  readonly translator: Translator;
  /** Told when modules were dropped, which may be much to collect. */
  readonly onDropped?: (() => void) | undefined;
}

/** How often a block runs until its neighbouring pages are looked for again, where kept code needs them. */
const SOON = 32;
/** How often a block runs until it gets a kept translation that has to be compiled first, as a fraction of `heat`. */
const KEPT_HEAT = 1 / 8;
/** How often a block of a region must be entered from outside to get one of its own, as a multiple of `heat`. */
const COVERED_HEAT = 4;
/** Versions of the code at one place that are translated; what changes on and on is interpreted. */
const MAX_VERSIONS = 16;
/** So many other places later all are forgiven: a page of memory holds many programs in its life. */
const MAX_PLACES = 4096;
const MAX_WARM_KEPT = 4;
const MAX_COVERED = 1 << 18;
/** What one batch covers is not asked for with the next: with two on their way a third of the code was translated twice. */
const MAX_IN_FLIGHT = 1;
const DEFAULT_BOUNDS: TierBounds = { modules: 2000, bytes: 32 << 20 };

export class RegionTier {
  readonly #core: Core;
  readonly #regions: NonNullable<Core["regions"]>;
  readonly #options: TierOptions;
  readonly #bytes: Uint8Array;
  readonly #code: CodeAround;
  readonly #modules: RegionModules;
  readonly #translations: Translations;
  readonly #haste: Haste | undefined;
  readonly #requests: Requests;
  /** Host addresses of blocks that are part of a region, and were not asked for again. */
  readonly #covered = new Set<number>();
  /** How often code that starts at a host address was asked for. */
  readonly #asked = new Map<number, number>();
  /** Host addresses of blocks for which a kept translation may be found as soon as the pages beside theirs are known. */
  readonly #awaited = new Set<number>();
  #expectsKept: boolean;
  readonly #inFlight = new Map<number, { requests: readonly Request[]; windows: readonly CodeWindow[] }>();
  #warmKept = 0;
  #nextBatch = 1;
  readonly counters = {
    regionsTranslated: 0,
    regionsRefused: 0,
    regionsReused: 0,
    regionInstructions: 0,
    regionBytes: 0,
    regionModules: 0,
    regionModulesDropped: 0,
    regionResets: 0,
    /** The most that ever waited. */
    regionsQueuedMost: 0,
    translatorMs: 0,
    regionsKept: 0,
    regionsKeptUsed: 0,
    regionBytesKept: 0,
  };

  constructor(core: Core, options: TierOptions) {
    if (!core.regions) throw new Error("this core runs no regions");
    this.#core = core;
    this.#regions = core.regions;
    this.#options = options;
    this.#bytes = new Uint8Array(core.memory.buffer);
    this.#code = new CodeAround(core);
    this.#requests = new Requests(core.view);
    this.#translations = new Translations(this.#bytes);
    this.#modules = new RegionModules(core.regions.table, core.handlers.table.length, options.bounds ?? DEFAULT_BOUNDS);
    this.#haste = options.translator.isBeside ? new Haste(core.view, options.heat, L.cpuBase(core.map)) : undefined;
    this.#expectsKept = options.translator.takeKept !== undefined;
    core.decoder.heat = options.heat;
    core.decoder.onHot = (block) => this.#onHot(block);
    core.decoder.onBlock = (block, host) => {
      if (this.#reuse(block, true) || !this.#translations.wasPageMissing) return;
      if (this.#awaited.size > MAX_COVERED) this.#awaited.clear();
      this.#awaited.add(host);
      core.view.setInt32(block + L.BLOCK_HEAT, SOON, true);
    };
    core.decoder.onFlush = () => {
      this.keepWarm();
      this.#requests.forget();
      this.#covered.clear();
      this.#awaited.clear();
      this.#code.seen.forget();
    };
  }

  /** Between two slices: takes what was translated, sends what is asked for. */
  poll(): void {
    const { translator } = this.#options;
    if (this.#expectsKept) this.#takeKept();
    if (this.#inFlight.size > 0)
      for (let batch = translator.take(); batch; batch = translator.take()) this.#receive(batch);
    if (this.#modules.isCrowded) this.#dropOld();
    if (this.#modules.isOverBounds) this.#reset();
    if (this.#requests.count > this.counters.regionsQueuedMost) this.counters.regionsQueuedMost = this.#requests.count;
    const isHeldBack = this.#inFlight.size === 0 && this.#haste?.holdsBack(this.#requests.count);
    while (!isHeldBack && this.#requests.count > 0 && this.#inFlight.size < MAX_IN_FLIGHT) this.#send();
    this.#haste?.look(this.#requests.count, this.#inFlight.size > 0);
  }

  /** Blocks that are there already are decoded again, and then find theirs. */
  #takeKept(): void {
    const { translator } = this.#options;
    for (let kept = translator.takeKept?.(); kept; kept = translator.takeKept?.()) {
      if (kept === "none") {
        this.#expectsKept = false;
        return;
      }
      const { imports } = this.#regions;
      for (const translation of keptRegions(kept, imports, this.#modules, this.counters))
        this.#translations.add(translation);
      if (this.#core.decoder.blocks > 0) this.#core.decoder.flush();
    }
  }

  /** Waiting to be sent, and sent. */
  get queued(): number {
    let count = this.#requests.count;
    for (const { requests } of this.#inFlight.values()) count += requests.length;
    return count;
  }

  /** Blocks find their translations again, and those that none finds until the next time are old. */
  #dropOld(): void {
    const old = this.#modules.dropOld();
    this.#core.decoder.flush();
    if (old.size === 0) return;
    this.#translations.drop((translation) => old.has(translation.home));
    this.#asked.clear();
    this.counters.regionModulesDropped += old.size;
    this.#options.onDropped?.();
  }

  #reset(): void {
    this.#core.decoder.flush();
    this.#translations.drop(() => true);
    this.#asked.clear();
    this.#modules.dropAll();
    this.counters.regionResets++;
    this.#options.onDropped?.();
  }

  /**
   * At the machine's end, and when its blocks are dropped: hands over code that ran often enough to be worth translating
   * for a later run.
   */
  keepWarm(): void {
    const { translator, heat } = this.#options;
    if (!translator.keepWarm || this.#warmKept >= MAX_WARM_KEPT) return;
    const warm = warmBlocks(this.#core, this.#code, this.#requests, heat, (host) => this.#covered.has(host));
    if (warm.length === 0) return;
    this.#warmKept++;
    translator.keepWarm(writeWarm(this.#bytes, warm));
  }

  #onHot(block: number): void {
    const { view } = this.#core;
    const runs = this.#options.heat - view.getInt32(block + L.BLOCK_HEAT, true);
    view.setInt32(block + L.BLOCK_HEAT, RETRY, true);
    const host = view.getUint32(block + L.BLOCK_HOST, true);
    const pages = this.#code.pagesOf(host);
    this.#code.look(pages);
    if (this.#reuse(block)) return;
    if (this.#awaited.delete(host)) {
      view.setInt32(block + L.BLOCK_HEAT, this.#options.heat, true);
      return;
    }
    if (this.#isCovered(block, host)) return;
    if (this.#changesTooOften(host)) {
      view.setInt32(block + L.BLOCK_HEAT, NEVER_HOT, true);
      return;
    }
    const mode = view.getInt32(block + L.BLOCK_MODE, true);
    const isUser = view.getInt32(L.cpuBase(this.#core.map) + L.CPL.offset, true) === 3;
    this.#requests.add({ block, host, mode, pages, isUser, runs });
    this.#haste?.asked(this.#requests.count, runs);
    if (!this.#options.isImmediate) return;
    this.#send();
    const batch = this.#options.translator.take();
    if (batch) this.#receive(batch);
  }

  /** Code at this place was asked for again and again, each time another one. */
  #changesTooOften(host: number): boolean {
    const count = (this.#asked.get(host) ?? 0) + 1;
    if (this.#asked.size > MAX_PLACES) this.#asked.clear();
    this.#asked.set(host, count);
    return count > MAX_VERSIONS;
  }

  /** A block of another block's region: has to be hot for longer. True once for each. */
  #isCovered(block: number, host: number): boolean {
    if (!this.#covered.delete(host)) return false;
    this.#core.view.setInt32(block + L.BLOCK_HEAT, COVERED_HEAT * this.#options.heat, true);
    return true;
  }

  /** Gives a block of the code at RIP a translation that is there already; a new block only what is ready. */
  #reuse(block: number, isNew = false): boolean {
    this.#translations.wasPageMissing = false;
    if (this.#translations.count === 0) return false;
    const { view } = this.#core;
    const host = view.getUint32(block + L.BLOCK_HOST, true);
    const mode = view.getInt32(block + L.BLOCK_MODE, true);
    const found = this.#translations.find(host, mode, () => this.#code.pagesOf(host));
    if (found && isNew && !found.translation.isReady) {
      view.setInt32(block + L.BLOCK_HEAT, Math.ceil(KEPT_HEAT * this.#options.heat), true);
      return false;
    }
    if (!found || !this.#install(block, found.translation, found.pages)) return false;
    this.counters.regionsReused++;
    return true;
  }

  #send(): void {
    const requests = this.#requests.take((r) => this.#isCovered(r.block, r.host));
    if (requests.length === 0) return;
    const id = this.#nextBatch++;
    const heat = this.#options.isImmediate ? undefined : this.#options.heat;
    const windows = requests.map(({ host, mode, pages, runs }) => this.#code.window(host, mode, pages, heat, runs));
    this.#inFlight.set(id, { requests, windows });
    const sharedMemory = !(this.#core.memory.buffer instanceof ArrayBuffer);
    const { cpuFeatures, translator } = this.#options;
    const pages = requests.map((request) => request.pages[1]);
    const isUser = requests.map((request) => request.isUser);
    const { ownShift } = this.#core.map;
    translator.request({ id, cpuFeatures, sharedMemory, windows, pages, isUser, ownShift });
  }

  #receive(batch: TranslatedBatch): void {
    const sent = this.#inFlight.get(batch.id);
    if (!sent) return;
    this.#inFlight.delete(batch.id);
    const { counters } = this;
    counters.translatorMs += batch.busyMs ?? 0;
    const instance = batch.module && new WebAssembly.Instance(batch.module, this.#regions.imports);
    const home = batch.module && this.#modules.add(batch.moduleBytes);
    if (home) {
      counters.regionModules++;
      counters.regionBytes += batch.moduleBytes;
    }
    for (const [i, request] of sent.requests.entries()) {
      const region = batch.regions[i];
      const window = sent.windows[i];
      const isAlive = this.#requests.isAlive(request);
      if (region === "covered") {
        if (this.#requests.isWaiting(request))
          this.#core.view.setInt32(request.block + L.BLOCK_HEAT, COVERED_HEAT * this.#options.heat, true);
        continue;
      }
      if (!region || !instance || !home || !window) {
        counters.regionsRefused++;
        if (isAlive) this.#core.view.setInt32(request.block + L.BLOCK_HEAT, NEVER_HOT, true);
        continue;
      }
      counters.regionsTranslated++;
      counters.regionInstructions += region.instructionCount;
      const translation: Translation = {
        index: this.#modules.enter(home, instance.exports[region.name] as () => number),
        home,
        mode: request.mode,
        entry: window.entry,
        ranges: region.ranges,
        code: region.ranges.map(([from, to]) => window.bytes.slice(from, to)),
        isReady: true,
      };
      for (const entry of [window.entry, ...region.resumptions]) this.#translations.add({ ...translation, entry });
      if (this.#covered.size > MAX_COVERED) this.#covered.clear();
      if (!this.#options.isImmediate)
        for (const offset of region.blocks) this.#covered.add(request.pages[1] - PAGE_BYTES + offset);
      // The code may have changed meanwhile.
      const found = isAlive && this.#translations.find(request.host, request.mode, () => request.pages);
      if (!found) continue;
      this.#install(request.block, found.translation, found.pages);
      if (found.translation.index === translation.index) this.#installResumptions(request, region, found);
    }
  }
  /** Blocks at a new region's further entries get it, too, unless they have another one. */
  #installResumptions({ mode, pages }: Request, { resumptions }: TranslatedRegion, found: Found): void {
    if (resumptions.length === 0) return;
    const { view } = this.#core;
    const hosts = new Set(resumptions.map((offset) => pages[1] - PAGE_BYTES + offset));
    for (const block of this.#code.blocksIn(pages[1], mode)) {
      if (!hosts.has(view.getUint32(block + L.BLOCK_HOST, true))) continue;
      if (view.getInt32(block + L.BLOCK_HEAT, true) > 0) this.#install(block, found.translation, found.pages);
    }
  }

  /** The pages' mapping is looked at when the block is entered (jit/routines.ts, pagesHold). */
  #install(block: number, translation: Translation, pages: Pages): boolean {
    const { view, decoder } = this.#core;
    if (!decoder.canAttach) return false;
    for (const piece of pieces(translation.ranges)) {
      const page = pages[piece.page];
      decoder.attach(block, page + piece.offset, piece.bytes);
      if (piece.page === 0) view.setUint32(block + L.BLOCK_PAGE_BEFORE, page, true);
      if (piece.page === 2) view.setUint32(block + L.BLOCK_PAGE_AFTER, page, true);
    }
    // Another vCPU may have written before it knew of the code.
    if (decoder.isShared && !this.#translations.matches(translation, pages)) return false;
    view.setInt32(block + L.BLOCK_HEAT, ~translation.index, true);
    this.#modules.use(translation.home);
    return true;
  }
}
