/**
 * Which pages a guest of the jit engine writes, by way of the software TLB: a page that was not written since the last
 * look (PAGE_UNWRITTEN, cpu/layout.ts) has no write tag, so its next store takes the slow path, which notes it. DMA and
 * the page walk's A and D flags note theirs. Reads never do.
 *
 * Invisible to the guest: an entry that lost its write tag is found again by the same walk. While nobody tracks, the
 * map is all zero and every store is as fast as ever.
 */
import * as L from "../cpu/layout.ts";
import type { DirtyTracking } from "./engine.ts";

const SETS = [L.TLB_SUPERVISOR, L.TLB_USER, L.TLB_SUPERVISOR_AC];
const NEVER = 0xffff_ffff;

export class TlbDirtyTracking implements DirtyTracking {
  readonly #view: DataView;
  readonly #unwritten: Uint8Array;
  readonly #sets: readonly number[];
  readonly #blocks: readonly number[];
  #isOn = false;

  /** `parallel`: the maps of vCPUs in parallel. */
  constructor(view: DataView, map: L.MemoryMap, parallel?: readonly L.MemoryMap[]) {
    this.#view = view;
    this.#unwritten = new Uint8Array(view.buffer, map.pageUnwritten, map.ramBytes / 4096);
    const inTurn = Array.from({ length: map.vcpus }, (_, vcpu) => L.tlbShift(map, vcpu));
    const vcpus = parallel?.map(({ ownShift }) => ownShift) ?? inTurn;
    this.#blocks = parallel?.map(L.cpuBase) ?? [L.CPU_BASE];
    this.#sets = vcpus.flatMap((shift) => SETS.map((set) => set + shift));
  }

  start(): void {
    this.#isOn = true;
    this.#unwritten.fill(1);
    this.#dropWriteTags();
  }

  take(into: Uint8Array): number {
    const unwritten = this.#unwritten;
    if (into.length < unwritten.length) throw new RangeError(`${into.length} bytes for ${unwritten.length} pages`);
    if (!this.#isOn) throw new Error("dirty pages are taken only while they are tracked");
    let count = 0;
    for (let page = unwritten.indexOf(0); page >= 0; page = unwritten.indexOf(0, page + 1)) {
      unwritten[page] = 1;
      into[page] = 1;
      count++;
    }
    this.#dropWriteTags();
    return count;
  }

  stop(): void {
    this.#isOn = false;
    this.#unwritten.fill(0);
  }

  /** Also the page of the stack that translated code keeps, which it takes from the TLB again; others have none (vcpu-blocks.ts). */
  #dropWriteTags(): void {
    const view = this.#view;
    for (const set of this.#sets) {
      for (let at = set + L.TLB_WRITE; at < set + L.TLB_SET_BYTES; at += L.TLB_ENTRY_BYTES) {
        view.setUint32(at, NEVER, true);
        view.setUint32(at + 4, NEVER, true);
      }
    }
    for (const block of this.#blocks) view.setBigUint64(block + L.STACK_LIMIT.offset, 0n, true);
  }
}
