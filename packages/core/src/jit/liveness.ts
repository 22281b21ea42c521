/** Which fields hold values at the start of a block that are read later in the region before they are written. */
import type { FlowGraph } from "./flow-graph.ts";
import type { FieldSet } from "./registers.ts";

export interface BlockFields {
  /** Read before they are written in the block. */
  readonly needed: FieldSet;
  /** Written, whatever way control takes through the block. */
  readonly defined: FieldSet;
}

/** By block id. */
export function liveFields(graph: FlowGraph, fields: ReadonlyMap<number, BlockFields>): ReadonlyMap<number, FieldSet> {
  const live = new Map<number, FieldSet>();
  const backwards = [...graph.order].reverse();
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of backwards) {
      const own = fields.get(block.id) ?? { needed: 0n, defined: 0n };
      let behind = 0n;
      for (const to of graph.successors(block)) behind |= live.get(to) ?? 0n;
      const now = own.needed | (behind & ~own.defined);
      if (now === (live.get(block.id) ?? 0n)) continue;
      live.set(block.id, now);
      changed = true;
    }
  }
  return live;
}
