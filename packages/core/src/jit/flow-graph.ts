/**
 * The flow graph of a region: order, dominators, loops, and how many instructions can run before the budget is looked at
 * again. Structured code is made from it after N. Ramsey, "Beyond Relooper" (ICFP 2022): every block's code lies within
 * its immediate dominator's; loop headers become loops, blocks that control joins in follow a WebAssembly block.
 * Edges into the middle of a loop, which that cannot express, are left out: control leaves the region there.
 */
import type { Block, Region } from "./region.ts";

export class FlowGraph {
  /** Blocks in reverse postorder; the entry is first. */
  order: readonly Block[] = [];
  readonly #region: Region;
  readonly #position = new Map<number, number>();
  readonly #dominator = new Map<number, number>();
  readonly #headers = new Set<number>();
  readonly #children = new Map<number, Block[]>();
  /** Edges that are left out. */
  readonly #cut = new Set<number>();

  constructor(region: Region) {
    this.#region = region;
    do {
      this.order = this.#reversePostorder();
      this.#position.clear();
      for (const [i, block] of this.order.entries()) this.#position.set(block.id, i);
      this.#findDominators();
    } while (this.#cutIrreducible());
    for (const block of this.order)
      for (const to of this.successors(block)) if (this.isBackEdge(block.id, to)) this.#headers.add(to);
    for (const block of this.order.slice(1)) {
      const parent = this.#dominator.get(block.id) ?? 0;
      const list = this.#children.get(parent) ?? [];
      this.#children.set(parent, list);
      list.push(block);
    }
  }

  /** Where control goes from a block without leaving the region. */
  successors(block: Block): number[] {
    return block.successors.filter((to) => !this.#cut.has(edgeKey(block.id, to)));
  }

  /** Cuts edges that go back to a block that does not dominate where they come from. True if there were any. */
  #cutIrreducible(): boolean {
    const before = this.#cut.size;
    for (const { id, successors } of this.order)
      for (const to of successors)
        if (this.position(to) <= this.position(id) && !this.dominates(to, id)) this.#cut.add(edgeKey(id, to));
    return this.#cut.size > before;
  }

  /** Immediate dominators (Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm"). */
  #findDominators(): void {
    this.#dominator.clear();
    const predecessors = new Map<number, number[]>();
    for (const block of this.order)
      for (const to of this.successors(block)) predecessors.set(to, [...(predecessors.get(to) ?? []), block.id]);
    const entry = this.order[0]?.id ?? 0;
    this.#dominator.set(entry, entry);
    const meet = (a: number, b: number): number => {
      let [x, y] = [a, b];
      while (x !== y) {
        while (this.position(x) > this.position(y)) x = this.#dominator.get(x) ?? entry;
        while (this.position(y) > this.position(x)) y = this.#dominator.get(y) ?? entry;
      }
      return x;
    };
    for (let changed = true; changed; ) {
      changed = false;
      for (const block of this.order.slice(1)) {
        let found: number | undefined;
        for (const from of predecessors.get(block.id) ?? [])
          if (this.#dominator.has(from)) found = found === undefined ? from : meet(found, from);
        if (found !== undefined && this.#dominator.get(block.id) !== found) {
          this.#dominator.set(block.id, found);
          changed = true;
        }
      }
    }
  }

  #reversePostorder(): Block[] {
    const done = new Set<number>();
    const order: Block[] = [];
    // An explicit stack: code chooses how deep this goes.
    const stack: { block: Block; to: number[] }[] = [];
    const enter = (offset: number): void => {
      const block = this.#region.blocks.get(offset);
      if (!block || done.has(offset)) return;
      done.add(offset);
      stack.push({ block, to: this.successors(block) });
    };
    enter(this.#region.start);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const to = top.to.shift();
      if (to !== undefined) enter(to);
      else {
        order.push(top.block);
        stack.pop();
      }
    }
    return order.reverse();
  }

  position(offset: number): number {
    return this.#position.get(offset) ?? 0;
  }
  dominates(a: number, b: number): boolean {
    let at = b;
    while (this.position(at) > this.position(a)) at = this.#dominator.get(at) ?? a;
    return at === a;
  }
  isBackEdge(from: number, to: number): boolean {
    return this.position(to) <= this.position(from) && this.dominates(to, from);
  }
  isHeader(offset: number): boolean {
    return this.#headers.has(offset);
  }
  /** Blocks whose immediate dominator this is, in reverse postorder. */
  dominated(offset: number): readonly Block[] {
    return this.#children.get(offset) ?? [];
  }

  /** The most instructions that run from a block on until the budget is looked at again, by block. */
  longestPaths(isChecked: (offset: number) => boolean): ReadonlyMap<number, number> {
    const longest = new Map<number, number>();
    for (const block of [...this.order].reverse()) {
      let most = 0;
      for (const to of this.successors(block))
        if (!isChecked(to) && this.position(to) > this.position(block.id)) most = Math.max(most, longest.get(to) ?? 0);
      longest.set(block.id, block.count + most);
    }
    return longest;
  }
}

const edgeKey = (from: number, to: number): number => from * 2 ** 24 + to;
