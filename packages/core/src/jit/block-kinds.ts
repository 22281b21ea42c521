/** What the blocks of a region tell before code is made of them: what they call, load, and rely on. */
import * as L from "../cpu/layout.ts";
import type { FlowGraph } from "./flow-graph.ts";
import type { Instruction } from "./instruction.ts";
import type { Block, Region } from "./region.ts";
import { UNBASED } from "./region-builder.ts";
import { ENTRIES, isResumption } from "./resumptions.ts";

/** Instructions that end regions, and that STI may stand before in one: they neither store nor start a shadow of their own. */
const ENDS_SHADOW: ReadonlySet<string> = new Set(["sysexit", "sysret", "iret"]);

/** Whether a region can go on through the instruction when it stands behind an STI. */
export const endsShadow = ({ flow, handler }: Instruction): boolean =>
  flow !== "leave" &&
  flow !== "repeat" &&
  flow !== "through" &&
  (flow !== "end" || ENDS_SHADOW.has(handler.record.name));

/** Its last instruction calls another region. */
export const callsOutside = ({ instructions, callsInside }: Block): boolean =>
  instructions.at(-1)?.flow === "call" && !callsInside;

/** And not, where it is an indirect one, a function of the region. */
const alwaysCallsOutside = (block: Block): boolean => callsOutside(block) && block.successors.length <= 1;

/** Registers are loaded where control goes on from it, and in the block itself nowhere before. */
export const loadsBehind = (block: Block): boolean =>
  alwaysCallsOutside(block) ||
  block.instructions.at(-1)?.flow === "through" ||
  isResumption(block) ||
  block.id === ENTRIES;

/** Loops without calls: control stays for long, so registers are stored behind them only. */
export function isLoopOfItsOwn(graph: FlowGraph): boolean {
  return !graph.order.some(callsOutside) && graph.order.some(({ id }) => graph.isHeader(id));
}

/**
 * Bits of SEGMENT_CHECKS for the segments that a region outside 64-bit mode reaches data through: it makes no checks of
 * limits and types. Under MODE_FLAT those of ES, SS and DS are never set.
 */
export function segmentsOf({ blocks, mode }: Region): number {
  if (mode & L.MODE_64) return 0;
  let all = (1 << L.SS) | (1 << L.DS);
  for (const { instructions } of blocks.values())
    for (const { microOp, flow, handler } of instructions) {
      if (flow === "leave") continue;
      all |= 1 << microOp.getUint8(L.UOP_SEGMENT);
      if (handler.record.uses?.includes("rep")) all |= 1 << L.ES;
    }
  return mode & L.MODE_FLAT ? all & ~UNBASED.reduce((bits, segment) => bits | (1 << segment), 0) : all;
}
