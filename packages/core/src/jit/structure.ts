/**
 * Puts the code of a region's blocks together: WebAssembly's blocks and loops from the dominator tree (jit/flow-graph.ts).
 * A block's code stands where control comes to it from its only predecessor; what several come to, behind a WebAssembly
 * block that they branch out of.
 */
import type { Label, Statement } from "../ir/types.ts";
import type { FlowGraph } from "./flow-graph.ts";
import type { Block } from "./region.ts";

/** A block's statements. Each edge is an isolated block among them that is filled here. */
export interface BlockCode {
  readonly statements: Statement[];
  readonly edges: { readonly to: number; readonly body: Statement[] }[];
}

export function putTogether(graph: FlowGraph, code: ReadonlyMap<number, BlockCode>): Statement[] {
  const labels = new Map<number, { behind?: Label; loop?: Label }>();
  const labelsOf = (offset: number): { behind?: Label; loop?: Label } => {
    const found = labels.get(offset) ?? {};
    labels.set(offset, found);
    return found;
  };
  const blocks = new Map<number, Block>(graph.order.map((block) => [block.id, block]));

  // An instruction can go to one block in several ways.
  const arrivals = new Map<number, number>();
  for (const [from, { edges }] of code)
    for (const { to } of edges) if (!graph.isBackEdge(from, to)) arrivals.set(to, (arrivals.get(to) ?? 0) + 1);
  const isMerge = (offset: number): boolean => (arrivals.get(offset) ?? 0) > 1;

  const isolated = (body: Statement[]): Statement => ({
    kind: "block",
    label: { kind: "block" },
    body,
    isIsolated: true,
  });
  const branch = (label: Label | undefined): Statement => {
    if (!label) throw new Error("a branch to a block that is not around");
    return { kind: "br", label, condition: undefined };
  };

  const goTo = (from: number, to: number): Statement[] => {
    if (graph.isBackEdge(from, to)) return [branch(labelsOf(to).loop)];
    if (isMerge(to)) return [branch(labelsOf(to).behind)];
    const block = blocks.get(to);
    return block ? tree(block) : [];
  };
  const within = (block: Block, merges: readonly Block[]): Statement[] => {
    const [last, ...others] = merges;
    if (!last) {
      const own = code.get(block.id);
      for (const edge of own?.edges ?? []) edge.body.push(...goTo(block.id, edge.to));
      return own?.statements ?? [];
    }
    const label: Label = { kind: "block" };
    labelsOf(last.id).behind = label;
    return [{ kind: "block", label, body: within(block, others) }, isolated(tree(last))];
  };
  const tree = (block: Block): Statement[] => {
    const merges = graph.dominated(block.id).filter((b) => isMerge(b.id));
    // The last one in order stands outermost.
    merges.reverse();
    if (!graph.isHeader(block.id)) return within(block, merges);
    const label: Label = { kind: "loop" };
    labelsOf(block.id).loop = label;
    return [{ kind: "block", label, body: within(block, merges) }];
  };
  const [entry] = graph.order;
  return entry ? tree(entry) : [];
}
