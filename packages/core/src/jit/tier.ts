/**
 * The second tier of one machine: blocks that the interpreter finds hot are sent to be translated, and what comes back
 * is entered in the core's table and in the blocks. A translation stays when its block is dropped: the same code
 * elsewhere, or later, gets it again.
 *
 * Bounds: where modules are many, those that no block got a function of for a while are dropped (jit/region-modules.ts);
 * past DEFAULT_BOUNDS everything is, blocks too, and starts again.
 */
import * as L from "../cpu/layout.ts";
import { NEVER_HOT } from "../interp/block-decoder.ts";
import type { Core } from "../interp/core.ts";
import { CodeAround } from "./code-around.ts";
import { Haste } from "./haste.ts";
import { type CodeWindow, PAGE_BYTES } from "./region.ts";
import { RegionModules, type TierBounds } from "./region-modules.ts";
import { readOrigins } from "./saved-regions.ts";
import { type Found, type Pages, pieces, type Translation, Translations } from "./translations.ts";
import {
  isLater,
  type KeptTranslations,
  type TranslatedBatch,
  type TranslatedRegion,
  type Translator,
} from "./translator.ts";
import { type WarmEntry, writeWarm } from "./warm-code.ts";

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

/** How often a block runs until it is looked at again while its translation is on its way. */
const RETRY = 1_000_000;
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
/** How often a block has to have run by the machine's end to be translated for later ones. */
const WARM_ROUNDS = 200;
const MAX_WARM = 2048;
const MAX_WARM_KEPT = 4;
/** For fewer it is not worth while. */
const FEW_WARM = 32;
const MAX_QUEUE = 4096;
const MAX_COVERED = 1 << 18;
const MAX_BATCH = 12;
/** What one batch covers is not asked for with the next: with two on their way a third of the code was translated twice. */
const MAX_IN_FLIGHT = 1;
const DEFAULT_BOUNDS: TierBounds = { modules: 2000, bytes: 32 << 20 };

interface Request {
  readonly block: number;
  readonly host: number;
  readonly mode: number;
  readonly pages: Pages;
  /** #epoch when it was made. */
  readonly epoch: number;
  readonly isUser: boolean;
  /** How often the block had run by then. */
  readonly runs: number;
}

interface SentBatch {
  readonly requests: readonly Request[];
  readonly windows: readonly CodeWindow[];
  /** Regions that come with answers of their own. */
  later: number;
}

export class RegionTier {
  readonly #core: Core;
  readonly #regions: NonNullable<Core["regions"]>;
  readonly #options: TierOptions;
  readonly #bytes: Uint8Array;
  readonly #code: CodeAround;
  readonly #modules: RegionModules;
  readonly #translations: Translations;
  readonly #haste: Haste | undefined;
  #queue: Request[] = [];
  /** Host addresses of blocks that are part of a region, and were not asked for again. */
  readonly #covered = new Set<number>();
  /** How often code that starts at a host address was asked for. */
  readonly #asked = new Map<number, number>();
  /** Host addresses of blocks for which a kept translation may be found as soon as the pages beside theirs are known. */
  readonly #awaited = new Set<number>();
  #expectsKept: boolean;
  readonly #inFlight = new Map<number, SentBatch>();
  /** Batches of which some regions are still to come, of code so large that others are translated meanwhile. */
  readonly #unfinished = new Map<number, SentBatch>();
  /** Counts how often all blocks were dropped: what lies at a block's address since then is anything. */
  #epoch = 0;
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
      // Those that are kept are asked for anew, when they run again.
      for (const request of this.#queue)
        if (this.#isWaiting(request)) core.view.setInt32(request.block + L.BLOCK_HEAT, 1, true);
      this.#epoch++;
      this.#queue = [];
      this.#awaited.clear();
      this.#code.seen.forget();
    };
  }

  /** Between two slices: takes what was translated, sends what is asked for. */
  poll(): void {
    const { translator } = this.#options;
    if (this.#expectsKept) this.#takeKept();
    if (this.#inFlight.size > 0 || this.#unfinished.size > 0)
      for (let batch = translator.take(); batch; batch = translator.take()) this.#receive(batch);
    if (this.#modules.isCrowded) this.#dropOld();
    if (this.#modules.isOverBounds) this.#reset();
    if (this.#queue.length > this.counters.regionsQueuedMost) this.counters.regionsQueuedMost = this.#queue.length;
    const isHeldBack = this.#inFlight.size === 0 && this.#haste?.holdsBack(this.#queue.length);
    while (!isHeldBack && this.#queue.length > 0 && this.#inFlight.size < MAX_IN_FLIGHT) this.#send();
    this.#haste?.look(this.#queue.length, this.#inFlight.size > 0);
  }

  /** Blocks that are there already are decoded again, and then find theirs. */
  #takeKept(): void {
    const { translator } = this.#options;
    for (let kept = translator.takeKept?.(); kept; kept = translator.takeKept?.()) {
      if (kept === "none") {
        this.#expectsKept = false;
        return;
      }
      this.#register(kept);
      if (this.#core.decoder.blocks > 0) this.#core.decoder.flush();
    }
  }
  #register({ module, moduleBytes, isCompiled, index }: KeptTranslations): void {
    const origins = readOrigins(index);
    const instance = new WebAssembly.Instance(module, this.#regions.imports);
    const { counters } = this;
    counters.regionBytesKept += moduleBytes;
    counters.regionsKept += origins.length;
    const home = this.#modules.add(moduleBytes, true);
    for (const [i, origin] of origins.entries()) {
      let index = 0;
      const enter = (): number => {
        counters.regionsKeptUsed++;
        return this.#modules.enter(home, instance.exports[String(i)] as () => number);
      };
      for (const entry of [origin.entry, ...origin.resumptions])
        this.#translations.add({
          ...origin,
          entry,
          home,
          get index() {
            index ||= enter();
            return index;
          },
          get isReady() {
            return isCompiled || index > 0;
          },
        });
    }
  }

  /** Waiting to be sent, and sent. */
  get queued(): number {
    let count = this.#queue.length;
    for (const { requests } of this.#inFlight.values()) count += requests.length;
    for (const { later } of this.#unfinished.values()) count += later;
    return count;
  }

  /** Blocks find their translations again, and those that none finds until the next time are old. */
  #dropOld(): void {
    const old = this.#modules.dropOld();
    this.#core.decoder.flush();
    this.#covered.clear();
    if (old.size === 0) return;
    this.#translations.drop((translation) => old.has(translation.home));
    this.#asked.clear();
    this.counters.regionModulesDropped += old.size;
    this.#options.onDropped?.();
  }

  #reset(): void {
    this.#core.decoder.flush();
    this.#covered.clear();
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
    const { view, decoder } = this.#core;
    const found: { readonly entry: Omit<WarmEntry, "reached">; readonly rounds: number }[] = [];
    const waiting = new Set<number>();
    for (const request of this.#queue) {
      if (!this.#isAlive(request)) continue;
      waiting.add(request.block);
      const { mode, host, pages } = request;
      found.push({
        entry: { mode, host, pages },
        rounds: heat + RETRY - view.getInt32(request.block + L.BLOCK_HEAT, true),
      });
    }
    for (const block of decoder.known()) {
      const left = view.getInt32(block + L.BLOCK_HEAT, true);
      const host = view.getUint32(block + L.BLOCK_HOST, true);
      if (left <= 0 || left > heat - WARM_ROUNDS || waiting.has(block) || this.#covered.has(host)) continue;
      const page = (host & ~0xfff) >>> 0;
      // Beside it in memory, which is what lies beside it for the guest as well where it matters most: in a kernel.
      const pages: Pages = [decoder.holdsCode(page - PAGE_BYTES), page, decoder.holdsCode(page + PAGE_BYTES)];
      const mode = view.getInt32(block + L.BLOCK_MODE, true);
      found.push({ entry: { mode, host, pages }, rounds: heat - left });
    }
    found.sort((a, c) => c.rounds - a.rounds);
    if (found.length < FEW_WARM) return;
    const hottest = found.slice(0, MAX_WARM);
    const reached = this.#code.reachedByHot(heat);
    const entries = hottest.map(({ entry }) => ({ ...entry, reached: reached(entry.pages, entry.mode) }));
    this.#warmKept++;
    translator.keepWarm(writeWarm(this.#bytes, entries));
  }

  #isAlive({ block, host, epoch }: Request): boolean {
    return epoch === this.#epoch && this.#core.view.getUint32(block + L.BLOCK_HOST, true) === host;
  }

  /** And its block is no further entry of a region that came meanwhile. */
  #isWaiting(request: Request): boolean {
    return this.#isAlive(request) && this.#core.view.getInt32(request.block + L.BLOCK_HEAT, true) >= 0;
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
    this.#queue.push({ block, host, mode, pages, epoch: this.#epoch, isUser, runs });
    // Of a guest that changes its code faster than it is translated.
    if (this.#queue.length > MAX_QUEUE) this.#queue = this.#queue.filter((r) => this.#isAlive(r)).slice(-MAX_QUEUE / 2);
    this.#haste?.asked(this.#queue.length, runs);
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

  /** The hottest first: those that ran most since they were asked for. */
  #send(): void {
    const { view } = this.#core;
    const rounds = (r: Request): number => RETRY - view.getInt32(r.block + L.BLOCK_HEAT, true);
    this.#queue = this.#queue.filter((r) => this.#isWaiting(r) && !this.#isCovered(r.block, r.host));
    if (this.#queue.length > MAX_BATCH) this.#queue.sort((a, c) => rounds(c) - rounds(a));
    const requests = this.#queue.splice(0, MAX_BATCH);
    if (requests.length === 0) return;
    const id = this.#nextBatch++;
    const heat = this.#options.isImmediate ? undefined : this.#options.heat;
    const windows = requests.map(({ host, mode, pages, runs }) => this.#code.window(host, mode, pages, heat, runs));
    this.#inFlight.set(id, { requests, windows, later: 0 });
    const sharedMemory = !(this.#core.memory.buffer instanceof ArrayBuffer);
    const { cpuFeatures, translator } = this.#options;
    const pages = requests.map((request) => request.pages[1]);
    const isUser = requests.map((request) => request.isUser);
    const { ownShift } = this.#core.map;
    translator.request({ id, cpuFeatures, sharedMemory, windows, pages, isUser, ownShift });
  }

  #receive(batch: TranslatedBatch): void {
    const sent = this.#inFlight.get(batch.id) ?? this.#unfinished.get(batch.id);
    if (!sent) return;
    if (this.#inFlight.delete(batch.id)) {
      this.#unfinished.set(batch.id, sent);
      sent.later = batch.regions.filter(isLater).length;
    } else sent.later--;
    if (sent.later === 0) this.#unfinished.delete(batch.id);
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
      const isAlive = this.#isAlive(request);
      if (region === "answered") continue;
      if (isLater(region)) {
        this.#cover(request, region.blocks);
        continue;
      }
      if (region === "covered") {
        if (this.#isWaiting(request))
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
      this.#cover(request, region.blocks);
      // The code may have changed meanwhile.
      const found = isAlive && this.#translations.find(request.host, request.mode, () => request.pages);
      if (!found) continue;
      this.#install(request.block, found.translation, found.pages);
      if (found.translation.index === translation.index) this.#installResumptions(request, region, found);
    }
  }

  /** What is part of a region is not asked for soon. */
  #cover({ pages }: Request, blocks: readonly number[]): void {
    if (this.#covered.size > MAX_COVERED) this.#covered.clear();
    if (!this.#options.isImmediate) for (const offset of blocks) this.#covered.add(pages[1] - PAGE_BYTES + offset);
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
