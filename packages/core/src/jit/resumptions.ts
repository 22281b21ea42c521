/**
 * Further entries of a region: where control comes back to it when a call was left by way of the dispatcher, or the thread
 * was switched, in the middle of what it covers. Without them the interpreter goes on from there to the next block that
 * is a region's entry. They stand behind calls of other regions and behind instructions on the state block, where
 * everything is in the state block anyway: so a further entry is one more way to the place where registers are loaded.
 *
 * Only in the entry's page, which is what a region knows by the place of RIP in its page, and not in a loop: the flow
 * graph would no longer be one of loops. And not where the flow graph leaves out the way from there on: control would
 * leave the region at the same place, without an instruction having run, and come in again for ever.
 */
import { FlowGraph } from "./flow-graph.ts";
import { type Block, idInContext, isInPage, RESUMING, type Region } from "./region.ts";

/** Id and offset of the block in front of all entries. No code lies there. */
export const ENTRIES = 0x3ffe;
const MAX_RESUMPTIONS = 24;

export const resumptionAt = (offset: number): number => idInContext(RESUMING, offset);
/** Registers are loaded there, and control may come from outside. */
export const isResumption = ({ id, offset }: Block): boolean => id === resumptionAt(offset);

const nothing = { instructions: [], count: 0, callsInside: false, returnsTo: undefined };

/** Ids of the blocks of each loop, by its header's. */
function loopsOf(graph: FlowGraph): Map<number, Set<number>> {
  const predecessors = new Map<number, number[]>();
  for (const block of graph.order)
    for (const to of graph.successors(block)) predecessors.set(to, [...(predecessors.get(to) ?? []), block.id]);
  const loops = new Map<number, Set<number>>();
  for (const { id: header } of graph.order) {
    if (!graph.isHeader(header)) continue;
    const body = new Set([header]);
    const pending = (predecessors.get(header) ?? []).filter((from) => graph.isBackEdge(from, header));
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      if (body.has(at)) continue;
      body.add(at);
      pending.push(...(predecessors.get(at) ?? []));
    }
    loops.set(header, body);
  }
  return loops;
}

/** The region with as many further entries as it can have. */
export function withResumptions(region: Region): Region {
  const isCandidate = (block: Block): boolean => {
    const flow = block.instructions.at(-1)?.flow;
    const behind = region.blocks.get(block.end);
    if ((flow !== "call" && flow !== "through") || block.callsInside || !behind) return false;
    return block.id === block.offset && isInPage(block.end) && block.end !== region.entry;
  };
  const candidates = [...region.blocks.values()].filter(isCandidate);
  if (candidates.length === 0) return region;
  const graph = new FlowGraph(region);
  const loops = loopsOf(graph);
  const isInLoop = (block: Block): boolean =>
    [...loops].some(([header, body]) => body.has(block.end) && (header !== block.end || body.has(block.id)));
  let chosen = candidates.filter((block) => !isInLoop(block)).slice(0, MAX_RESUMPTIONS);
  while (chosen.length > 0) {
    const entered = enteredBehind(region, chosen);
    const after = new FlowGraph(entered);
    const goesOn = ({ end }: Block): boolean => after.successors(entered.blocks.get(resumptionAt(end))!).includes(end);
    if (chosen.every(goesOn)) return entered;
    chosen = chosen.filter(goesOn);
  }
  return region;
}

/** The region with further entries behind these blocks. */
function enteredBehind(region: Region, chosen: readonly Block[]): Region {
  const blocks = new Map(region.blocks);
  for (const block of chosen) {
    const offset = block.end;
    const id = resumptionAt(offset);
    blocks.set(block.id, { ...block, successors: block.successors.map((to) => (to === offset ? id : to)) });
    blocks.set(id, { ...nothing, id, offset, end: offset, successors: [offset] });
  }
  const resumptions = chosen.map(({ end }) => end);
  const successors = [region.entry, ...resumptions.map(resumptionAt)];
  blocks.set(ENTRIES, { ...nothing, id: ENTRIES, offset: ENTRIES, end: ENTRIES, successors });
  return { ...region, start: ENTRIES, blocks, resumptions };
}
