/**
 * The second tier: blocks that the interpreter found hot are made regions, translated, and entered in the core's table.
 */
import * as L from "../cpu/layout.ts";
import { type Core, NEVER_HOT } from "../interp/core.ts";
import { type CodeWindow, findRegion, PAGE_BYTES, type Region, WINDOW_BYTES } from "./region.ts";
import { regionModule } from "./region-module.ts";

export interface TierOptions {
  /** How often a block runs before it is translated. */
  readonly heat: number;
  /** Translate at once, one region at a time. */
  readonly isSynchronous: boolean;
}

/** How often a block runs until it is looked at again after its region could not be made. */
const RETRY = 200_000;

interface Request {
  readonly block: number;
  readonly host: number;
  readonly mode: number;
  /** Host addresses of the pages before and behind, 0: not known. */
  readonly before: number;
  readonly after: number;
}

export class RegionTier {
  readonly #core: Core;
  readonly #regions: NonNullable<Core["regions"]>;
  readonly #options: TierOptions;
  readonly #bytes: Uint8Array;
  readonly #first: number;
  readonly #queue: Request[] = [];
  #next: number;
  readonly counters = { regions: 0, instructions: 0, bytes: 0, refused: 0 };

  constructor(core: Core, options: TierOptions) {
    if (!core.regions) throw new Error("this core runs no regions");
    this.#core = core;
    this.#regions = core.regions;
    this.#options = options;
    this.#bytes = new Uint8Array(core.memory.buffer);
    this.#first = core.handlers.table.length;
    this.#next = this.#first;
    core.decoder.heat = options.heat;
    core.decoder.onHot = (block) => this.#onHot(block);
    core.decoder.onFlush = () => this.#onFlush();
  }

  #onFlush(): void {
    this.#queue.length = 0;
    this.#next = this.#first;
  }

  #onHot(block: number): void {
    const { view } = this.#core;
    view.setInt32(block + L.BLOCK_HEAT, RETRY, true);
    const host = view.getUint32(block + L.BLOCK_HOST, true);
    const linear = BigInt.asUintN(
      64,
      view.getBigUint64(L.CPU_BASE + L.RIP.offset, true) + view.getBigUint64(L.CPU_BASE + L.CODE_BASE.offset, true),
    );
    const page = linear & ~0xfffn;
    this.#queue.push({
      block,
      host,
      mode: view.getInt32(block + L.BLOCK_MODE, true),
      before: this.#codePage(page - 4096n),
      after: this.#codePage(page + 4096n),
    });
    if (this.#options.isSynchronous) this.translateQueue();
  }

  /** Host address of a linear page of code, if the TLB has it. */
  #codePage(linear: bigint): number {
    const { view } = this.#core;
    const va = BigInt.asUintN(64, linear);
    const set = view.getUint32(L.CPU_BASE + L.TLB_CURRENT.offset, true);
    const entry = set + (Number((va >> 7n) & 0xffffffffn) & ((L.TLB_ENTRIES - 1) * L.TLB_ENTRY_BYTES));
    if (view.getBigUint64(entry + L.TLB_EXECUTE, true) !== va >> 12n) return 0;
    return (Number(va & 0xffffffffn) + view.getInt32(entry + L.TLB_ADDEND, true)) >>> 0;
  }

  #window(request: Request): CodeWindow {
    const bytes = new Uint8Array(WINDOW_BYTES);
    const page = (request.host & ~0xfff) >>> 0;
    const put = (host: number, at: number): void => bytes.set(this.#bytes.subarray(host, host + PAGE_BYTES), at);
    put(page, PAGE_BYTES);
    if (request.before) put(request.before, 0);
    if (request.after) put(request.after, 2 * PAGE_BYTES);
    return {
      bytes,
      entry: PAGE_BYTES + (request.host & 0xfff),
      hasBefore: request.before !== 0,
      hasAfter: request.after !== 0,
      mode: request.mode,
    };
  }

  /** Translates what is asked for, as one module. */
  translateQueue(): void {
    const wanted: { request: Request; region: Region }[] = [];
    for (const request of this.#queue.splice(0)) {
      if (this.#core.view.getUint32(request.block + L.BLOCK_HOST, true) !== request.host) continue;
      const region = findRegion(this.#core.handlers, this.#window(request));
      if (region) wanted.push({ request, region });
      else {
        this.counters.refused++;
        this.#core.view.setInt32(request.block + L.BLOCK_HEAT, NEVER_HOT, true);
      }
    }
    if (wanted.length === 0) return;
    const isShared = !(this.#core.memory.buffer instanceof ArrayBuffer);
    const bytes = regionModule(
      wanted.map((w) => w.region),
      isShared,
    );
    this.counters.bytes += bytes.length;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), this.#regions.imports);
    for (const [i, { request, region }] of wanted.entries())
      this.#install(request, region, instance.exports[i] as (depth: number) => number);
  }

  #install(request: Request, region: Region, run: (depth: number) => number): void {
    const { view, decoder } = this.#core;
    if (!decoder.canAttach) return;
    const { table } = this.#regions;
    const index = this.#next++;
    if (index >= table.length) table.grow(Math.max(256, table.length));
    table.set(index, run);
    const page = (request.host & ~0xfff) >>> 0;
    for (const [from, to] of region.ranges)
      for (let at = from; at < to; ) {
        const end = Math.min(to, (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES);
        const which = Math.floor(at / PAGE_BYTES);
        const base = which === 0 ? request.before : which === 1 ? page : request.after;
        decoder.attach(request.block, base + (at % PAGE_BYTES), end - at);
        if (which === 0) view.setUint32(request.block + L.BLOCK_PAGE_BEFORE, base, true);
        if (which === 2) view.setUint32(request.block + L.BLOCK_PAGE_AFTER, base, true);
        at = end;
      }
    view.setInt32(request.block + L.BLOCK_HEAT, ~index, true);
    this.counters.regions++;
    this.counters.instructions += region.instructionCount;
  }
}
