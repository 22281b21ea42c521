/**
 * Write tags of all software TLBs of an engine, to be dropped at once: the next store to each page then takes the slow path.
 * Invisible to the guest, as an entry that lost its tag is found again by the same walk.
 */
import * as L from "../cpu/layout.ts";

const SETS = [L.TLB_SUPERVISOR, L.TLB_USER, L.TLB_SUPERVISOR_AC];
const NEVER = 0xffff_ffff;

export class WriteTags {
  readonly #view: DataView;
  readonly #sets: readonly number[];
  readonly #blocks: readonly number[];

  /** `parallel`: the maps of vCPUs in parallel. */
  constructor(view: DataView, map: L.MemoryMap, parallel?: readonly L.MemoryMap[]) {
    this.#view = view;
    const inTurn = Array.from({ length: map.vcpus }, (_, vcpu) => L.tlbShift(map, vcpu));
    const vcpus = parallel?.map(({ ownShift }) => ownShift) ?? inTurn;
    this.#blocks = parallel?.map(L.cpuBase) ?? [L.CPU_BASE];
    this.#sets = vcpus.flatMap((shift) => SETS.map((set) => set + shift));
  }

  /** Also the page of the stack that translated code keeps, which it takes from the TLB again; others have none (vcpu-blocks.ts). */
  drop(): void {
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
