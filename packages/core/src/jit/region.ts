/**
 * A region: the code that one WebAssembly function will stand for. It grows from its entry along direct branches, through
 * the entry's page and the two pages beside it, as far as their bytes are known and where control has been before. Small
 * functions are part of the region at each of their calls (a _context_); other calls go to other regions and come back.
 * Indirect jumps and returns leave.
 */
import * as L from "../cpu/layout.ts";
import { MAX_BLOCK_INSTRUCTIONS } from "../interp/block-decoder.ts";
import type { CodeSize } from "../isa/decoder.ts";
import type { HandlerSet } from "../isa/handlers.ts";
import { DISPATCH, isIndirect, targetsOf } from "./indirect.ts";
import { decodeInstruction, type Instruction } from "./instruction.ts";

export const PAGE_BYTES = 4096;
/** Bytes that a region can reach: the page before its entry's, the entry's, the page behind. */
export const WINDOW_BYTES: number = 3 * PAGE_BYTES;
const MAX_INSTRUCTIONS = 300;
/** With straight-line code to its end: a loop whose body is longer than all else still is one. */
export const MAX_STRAIGHT = 1500;
/** Of a function that is part of another's region; of all of them in one region; how deep they are in one another. */
const MAX_FUNCTION = 32;
const MAX_INSIDE = 100;
const MAX_INSIDE_DEPTH = 3;
/** Of one indirect call. */
const MAX_SEEN_FUNCTIONS = 8;

/** The code around an entry, as it was when the region was asked for. Offsets count from the page before the entry's. */
export interface CodeWindow {
  readonly bytes: Uint8Array;
  readonly entry: number;
  /** Whether the page before and the page behind are there. */
  readonly hasBefore: boolean;
  readonly hasAfter: boolean;
  /** MODE_* of the code. */
  readonly mode: number;
  /** Offsets that control has come to more than now and then. Without them every way counts. */
  readonly reached?: Uint16Array;
  /** Pairs of offsets: where a block starts, and what was seen to run behind it. */
  readonly seen?: Uint16Array;
}

export interface Block {
  /** Its own in the region: the offset, and the context. */
  readonly id: number;
  readonly offset: number;
  readonly instructions: readonly Instruction[];
  /** Offset behind the last instruction that belongs to it. */
  readonly end: number;
  /** Ids of blocks of the region that control can go to. */
  readonly successors: readonly number[];
  /** Instructions that count, when all of them run. */
  readonly count: number;
  /** It ends with a call whose function is part of the region. */
  readonly callsInside: boolean;
  /** Where a return goes, from a function that is part of the region. */
  readonly returnsTo: number | undefined;
}

/** Id of the block at an offset, outside of the functions that are part of the region: the same number. */
const CONTEXT_SHIFT = 14;
export const idInContext = (context: number, offset: number): number => (context << CONTEXT_SHIFT) + offset;
/** No function's: of blocks that only load registers (jit/resumptions.ts). */
export const RESUMING = 0x3ff;
export const isOutermost = ({ id, offset }: Block): boolean => id === offset && offset < WINDOW_BYTES;
/** The page that the entry is in. */
export const isInPage = (offset: number): boolean => offset >= PAGE_BYTES && offset < 2 * PAGE_BYTES;

export interface Region {
  readonly entry: number;
  /** Id of the block that control comes in by. */
  readonly start: number;
  /** Offsets of further entries: in the entry's page. */
  readonly resumptions: readonly number[];
  readonly mode: number;
  /** By id. */
  readonly blocks: ReadonlyMap<number, Block>;
  /** Offsets [from, to) of the bytes that it was made from, in order, without overlap. */
  readonly ranges: readonly (readonly [number, number])[];
  readonly instructionCount: number;
}

export function codeSize(mode: number): CodeSize {
  return mode & L.MODE_64 ? 64 : mode & L.MODE_32 ? 32 : 16;
}

/** Everything that can be reached from `entry`, up to the limits, nearest first. */
function decodeReachable(
  handlers: HandlerSet,
  window: CodeWindow,
  entry: number,
  most = MAX_INSTRUCTIONS,
  straight = MAX_STRAIGHT,
  more: (found: ReadonlyMap<number, Instruction>) => readonly number[] = () => [],
): Map<number, Instruction> {
  const begin = window.hasBefore ? 0 : PAGE_BYTES;
  const end = window.hasAfter ? WINDOW_BYTES : 2 * PAGE_BYTES;
  const size = codeSize(window.mode);
  const isFlat = (window.mode & L.MODE_FLAT) !== 0;
  const found = new Map<number, Instruction>();
  const reached = window.reached && new Set(window.reached);
  const isTaken = (offset: number): boolean => !reached || reached.has(offset);
  const pending = [entry];
  for (let i = 0; i < pending.length; i++) {
    let at = pending[i] ?? 0;
    let limit = most;
    while (!found.has(at) && at >= begin && at < end && found.size < limit) {
      const instruction = decodeInstruction(handlers, window.bytes, at, end, size, isFlat);
      if (!instruction) break;
      found.set(at, instruction);
      const { flow, target } = instruction;
      const next = at + instruction.length;
      if (flow === "jump" && target !== undefined) pending.push(target);
      if (flow === "branch" && target !== undefined) {
        // Where neither is known to be taken, both may be.
        const isKnown = isTaken(next) || isTaken(target);
        if (!isKnown || isTaken(target)) pending.push(target);
        if (isKnown && !isTaken(next)) break;
      }
      if ((flow === "call" || flow === "through") && !isTaken(next)) break;
      if (flow === "jump" || flow === "return" || flow === "indirect") break;
      if (flow === "end" || flow === "leave") break;
      limit = flow === "next" ? straight : most;
      at = next;
    }
    // Each once: there may be nothing to decode.
    if (i === pending.length - 1 && found.size < most)
      pending.push(...more(found).filter((to) => !pending.includes(to)));
  }
  return found;
}

function successorsOf(last: Instruction, found: ReadonlyMap<number, Instruction>): number[] {
  const next = last.offset + last.length;
  const all = {
    next: [next],
    call: [next],
    through: [next],
    branch: [next, last.target ?? next],
    jump: [last.target ?? next],
    repeat: [next, last.offset],
    return: [],
    indirect: [],
    end: [],
    leave: [],
  }[last.flow];
  return [...new Set(all)].filter((offset) => found.has(offset));
}

/** Undefined if nothing at the entry can be translated. */
export function findRegion(handlers: HandlerSet, window: CodeWindow): Region | undefined {
  const { seen = new Uint16Array() } = window;
  const jumpTargets = (soFar: ReadonlyMap<number, Instruction>): number[] =>
    [...targetsOf(soFar, seen)].flatMap(([{ flow }, targets]) => (flow === "indirect" ? [...targets] : []));
  const found = decodeReachable(handlers, window, window.entry, MAX_INSTRUCTIONS, MAX_STRAIGHT, jumpTargets);
  const first = found.get(window.entry);
  if (!first || first.flow === "leave") return undefined;
  const blocks = new RegionBlocks(handlers, window, targetsOf(found, seen));
  const dispatched = new Set(jumpTargets(found).filter((offset) => found.has(offset)));
  blocks.add(found, window.entry, 0, [], undefined, dispatched);
  const { all, instructionCount } = blocks;
  return {
    entry: window.entry,
    start: window.entry,
    resumptions: [],
    mode: window.mode,
    blocks: all,
    ranges: rangesOf([...all.values()].filter(({ end }) => end !== DISPATCH)),
    instructionCount,
  };
}

/** Puts instructions together to blocks, in one context after another. */
class RegionBlocks {
  readonly #handlers: HandlerSet;
  readonly #window: CodeWindow;
  /** What indirect calls were seen to call. */
  readonly #seen: ReadonlyMap<Instruction, ReadonlySet<number>>;
  readonly #functions = new Map<number, ReadonlyMap<number, Instruction> | undefined>();
  readonly all = new Map<number, Block>();
  instructionCount = 0;
  #contexts = 1;
  #inside = 0;

  constructor(handlers: HandlerSet, window: CodeWindow, seen: ReadonlyMap<Instruction, ReadonlySet<number>>) {
    this.#handlers = handlers;
    this.#window = window;
    this.#seen = seen;
  }

  /** `dispatched`: what indirect jumps lead to. `around`: entries of the functions that this one is in. `returnsTo`: id of the block behind its call. */
  add(
    found: ReadonlyMap<number, Instruction>,
    entry: number,
    context: number,
    around: readonly number[],
    returnsTo: number | undefined,
    dispatched: ReadonlySet<number> = new Set(),
  ): void {
    const leaders = leadersOf(found, entry, dispatched);
    const idOf = (offset: number): number => idInContext(context, offset);
    const pending = [entry];
    for (let i = 0; i < pending.length; i++) {
      const offset = pending[i] ?? 0;
      const id = idOf(offset);
      if (this.all.has(id)) continue;
      const instructions: Instruction[] = [];
      let at = offset;
      for (let next = found.get(at); next; next = leaders.has(at) ? undefined : found.get(at)) {
        instructions.push(next);
        at += next.length;
        if (next.flow !== "next") break;
      }
      const last = instructions.at(-1);
      if (!last) continue;
      const inContext = successorsOf(last, found);
      const behind = inContext.includes(at) ? idOf(at) : undefined;
      const count = instructions.length - (last.flow === "leave" ? 1 : 0);
      const block = { id, offset, instructions, end: at, count, callsInside: false, returnsTo: undefined };
      this.instructionCount += count;
      pending.push(...inContext);
      if (last.flow === "indirect" && dispatched.size > 0) {
        this.all.set(id, { ...block, successors: [DISPATCH] });
        pending.push(...dispatched);
        continue;
      }
      const inside = last.flow === "call" && behind !== undefined ? this.#functionAt(last.target, around) : undefined;
      if (inside && last.target !== undefined) {
        const callee = this.#contexts++;
        const successors = [idInContext(callee, last.target)];
        this.all.set(id, { ...block, callsInside: true, successors });
        this.add(inside, last.target, callee, [...around, last.target], behind);
      } else if (last.flow === "return" && returnsTo !== undefined)
        this.all.set(id, { ...block, returnsTo, successors: [returnsTo] });
      else if (isIndirect(last) && behind !== undefined)
        this.all.set(id, { ...block, successors: [behind, ...this.#seenFunctions(last, around, behind)] });
      else this.all.set(id, { ...block, successors: inContext.map(idOf) });
    }
    if (dispatched.size === 0) return;
    const nothing = { instructions: [], end: DISPATCH, count: 0, callsInside: false, returnsTo: undefined };
    const successors = [...dispatched].filter((offset) => this.all.has(offset));
    this.all.set(DISPATCH, { ...nothing, id: DISPATCH, offset: DISPATCH, successors });
  }

  /** Ids of where the functions start that an indirect call was seen to call, and that are to be part of the region. */
  #seenFunctions(last: Instruction, around: readonly number[], behind: number): number[] {
    return [...(this.#seen.get(last) ?? [])].slice(0, MAX_SEEN_FUNCTIONS).flatMap((target) => {
      const found = this.#functionAt(target, around);
      if (!found) return [];
      const callee = this.#contexts++;
      this.add(found, target, callee, [...around, target], behind);
      return [idInContext(callee, target)];
    });
  }

  /** The function at `target` if it is to be part of the region. */
  #functionAt(target: number | undefined, around: readonly number[]): ReadonlyMap<number, Instruction> | undefined {
    const { reached } = this.#window;
    if (target === undefined || target < 0 || target >= WINDOW_BYTES || around.length >= MAX_INSIDE_DEPTH)
      return undefined;
    if (reached && !reached.includes(target)) return undefined;
    if (!this.#functions.has(target)) {
      const found = decodeReachable(this.#handlers, this.#window, target, MAX_FUNCTION, MAX_FUNCTION);
      const flows = [...found.values()].map(({ flow }) => flow);
      const returns = flows.includes("return");
      const isWhole = found.size < MAX_FUNCTION && !flows.some((flow) => flow === "end" || flow === "indirect");
      this.#functions.set(target, returns && isWhole ? found : undefined);
    }
    const found = this.#functions.get(target);
    if (!found || this.#inside + found.size > MAX_INSIDE) return undefined;
    this.#inside += found.size;
    return found;
  }
}

/**
 * Offsets where the interpreter starts blocks of a region's code: where the region's do, and in long straight lines wherever one of
 * its own is full or a page ends.
 */
export function interpretedBlocks({ blocks }: Region): number[] {
  const starts = new Set<number>();
  for (const first of [...blocks.values()].filter(isOutermost)) {
    starts.add(first.offset);
    let count = 0;
    let page = Math.floor(first.offset / PAGE_BYTES);
    for (let block: Block | undefined = first; block; ) {
      for (const { offset } of block.instructions) {
        const at = Math.floor(offset / PAGE_BYTES);
        if (count === MAX_BLOCK_INSTRUCTIONS || at !== page) {
          starts.add(offset);
          count = 0;
          page = at;
        }
        count++;
      }
      block = block.instructions.at(-1)?.flow === "next" ? blocks.get(block.end) : undefined;
    }
  }
  return [...starts];
}

/** Where blocks start. */
function leadersOf(
  found: ReadonlyMap<number, Instruction>,
  entry: number,
  dispatched: ReadonlySet<number>,
): Set<number> {
  const leaders = new Set([entry, ...dispatched]);
  for (const { flow, offset, length, target } of found.values()) {
    if (flow === "next") continue;
    leaders.add(offset + length);
    if (target !== undefined && flow !== "call") leaders.add(target);
    if (flow === "repeat") leaders.add(offset);
  }
  return leaders;
}

function rangesOf(blocks: Iterable<Block>): [number, number][] {
  const sorted = [...blocks].map((b): [number, number] => [b.offset, b.end]).sort((a, b) => a[0] - b[0]);
  const ranges: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = ranges.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else ranges.push([from, to]);
  }
  return ranges;
}
