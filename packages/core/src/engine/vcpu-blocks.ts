/**
 * The state blocks of several vCPUs that take turns on one core module. The core and all translated code work on the block
 * at CPU_BASE; the others are parked (cpu/layout.ts, parkedBlock) and exchanged for it, 3 KiB each way. Each vCPU has a TLB
 * of its own, which stays where it is; decoded blocks, translations and JUMP_CACHE are everybody's.
 *
 * What one vCPU's TLB has to lose for something that another did, it loses when its turn comes: write tags of pages in
 * which code was decoded meanwhile. What the guest has to flush by itself (SDM vol. 3, 4.10.5) is never flushed here.
 */
import * as L from "../cpu/layout.ts";
import type { Core } from "../interp/core.ts";
import { StateBlock } from "./vcpu-state-block.ts";

/** With more, the whole TLB goes: to look through it for one page costs about as much as to fill some hundred entries. */
const MAX_PROTECTED = 16;

export class VcpuBlocks {
  readonly #core: Core;
  readonly #bytes: Uint8Array;
  readonly #blocks: readonly StateBlock[];
  /** Pages that hold code since the vCPU ran last; undefined: too many. */
  readonly #protected: (Set<number> | undefined)[];
  #running = 0;
  /** How often another vCPU's turn came. */
  switches = 0;

  constructor(core: Core) {
    const { map, view, decoder, exports } = core;
    this.#core = core;
    this.#bytes = new Uint8Array(view.buffer);
    this.#blocks = Array.from(
      { length: map.vcpus },
      (_, vcpu) => new StateBlock(view, vcpu === 0 ? L.CPU_BASE : L.parkedBlock(map, vcpu)),
    );
    this.#protected = this.#blocks.map(() => new Set());
    if (map.vcpus === 1) return;
    decoder.onProtect((page) => {
      exports.protect_page(page);
      this.#protect(page);
    });
  }

  /** Where the vCPU's state is now. */
  of(vcpu: number): StateBlock {
    return this.#blocks[vcpu]!;
  }

  get all(): readonly StateBlock[] {
    return this.#blocks;
  }

  get running(): number {
    return this.#running;
  }

  /** The vCPU that runs, or would: the one that the core module has. */
  get live(): StateBlock {
    return this.#blocks[this.#running]!;
  }

  /** The core module has this vCPU from here on. Precondition: not within a run. */
  bring(vcpu: number): void {
    if (vcpu === this.#running) return;
    const { map, exports } = this.#core;
    const before = this.live;
    const next = this.of(vcpu);
    const generations = [L.JUMP_GENERATION, L.JUMP_GLOBAL_GENERATION].map(
      (field) => [field, before.get(field)] as const,
    );
    before.base = L.parkedBlock(map, this.#running);
    this.#bytes.copyWithin(before.base, L.CPU_BASE, L.CPU_BASE + L.CPU_BYTES);
    this.#bytes.copyWithin(L.CPU_BASE, next.base, next.base + L.CPU_BYTES);
    next.base = L.CPU_BASE;
    this.#running = vcpu;
    this.switches++;
    for (const [field, generation] of generations) next.put(field, generation);
    // `forgetJumps` clears RELIED_PAGES, which this one's page was in.
    next.put64(L.STACK_LIMIT, 0n);
    const pages = this.#protected[vcpu];
    if (!pages) exports.flush_tlb_all();
    else for (const page of pages) exports.protect_page(page);
    if (pages?.size !== 0) this.#protected[vcpu] = new Set();
    exports.update_events();
  }

  #protect(page: number): void {
    for (const [vcpu, pages] of this.#protected.entries()) {
      if (vcpu === this.#running || !pages) continue;
      pages.add(page);
      if (pages.size > MAX_PROTECTED) this.#protected[vcpu] = undefined;
    }
  }
}
