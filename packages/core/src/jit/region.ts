/**
 * A region: the code that one WebAssembly function will stand for. It grows from its entry along direct branches, through
 * the entry's page and the two pages beside it, as far as their bytes are known and where control has been before. Calls
 * go to other regions and come back; indirect jumps and returns leave.
 */
import * as L from "../cpu/layout.ts";
import type { CodeSize } from "../isa/decoder.ts";
import type { HandlerSet } from "../isa/handlers.ts";
import { decodeInstruction, type Instruction } from "./instruction.ts";

export const PAGE_BYTES = 4096;
/** Bytes that a region can reach: the page before its entry's, the entry's, the page behind. */
export const WINDOW_BYTES: number = 3 * PAGE_BYTES;
const MAX_INSTRUCTIONS = 300;
/** With straight-line code to its end: a loop whose body is longer than all else still is one. */
export const MAX_STRAIGHT = 1500;

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
}

export interface Block {
  readonly offset: number;
  readonly instructions: readonly Instruction[];
  /** Offset behind the last instruction that belongs to it. */
  readonly end: number;
  /** Blocks of the region that control can go to. */
  readonly successors: readonly number[];
  /** Instructions that count, when all of them run. */
  readonly count: number;
}

export interface Region {
  readonly entry: number;
  readonly mode: number;
  readonly blocks: ReadonlyMap<number, Block>;
  /** Offsets [from, to) of the bytes that it was made from, in order, without overlap. */
  readonly ranges: readonly (readonly [number, number])[];
  readonly instructionCount: number;
}

export function codeSize(mode: number): CodeSize {
  return mode & L.MODE_64 ? 64 : mode & L.MODE_32 ? 32 : 16;
}

/** Everything that can be reached, up to the limit, nearest first. */
function decodeReachable(handlers: HandlerSet, window: CodeWindow): Map<number, Instruction> {
  const begin = window.hasBefore ? 0 : PAGE_BYTES;
  const end = window.hasAfter ? WINDOW_BYTES : 2 * PAGE_BYTES;
  const size = codeSize(window.mode);
  const isFlat = (window.mode & L.MODE_FLAT) !== 0;
  const found = new Map<number, Instruction>();
  const reached = window.reached && new Set(window.reached);
  const isTaken = (offset: number): boolean => !reached || reached.has(offset);
  const pending = [window.entry];
  for (let i = 0; i < pending.length; i++) {
    let at = pending[i] ?? 0;
    let limit = MAX_INSTRUCTIONS;
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
      if (flow === "call" && !isTaken(next)) break;
      if (flow === "jump" || flow === "return" || flow === "indirect") break;
      if (flow === "end" || flow === "leave") break;
      limit = flow === "next" ? MAX_STRAIGHT : MAX_INSTRUCTIONS;
      at = next;
    }
  }
  return found;
}

function successorsOf(last: Instruction, found: ReadonlyMap<number, Instruction>): number[] {
  const next = last.offset + last.length;
  const all = {
    next: [next],
    call: [next],
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
  const found = decodeReachable(handlers, window);
  const first = found.get(window.entry);
  if (!first || first.flow === "leave") return undefined;
  const leaders = new Set([window.entry]);
  for (const instruction of found.values()) {
    const { flow, offset, target } = instruction;
    if (flow === "next") continue;
    leaders.add(offset + instruction.length);
    if (target !== undefined && flow !== "call") leaders.add(target);
    if (flow === "repeat") leaders.add(offset);
  }
  const blocks = new Map<number, Block>();
  const pending = [window.entry];
  let instructionCount = 0;
  for (let i = 0; i < pending.length; i++) {
    const offset = pending[i] ?? 0;
    if (blocks.has(offset)) continue;
    const instructions: Instruction[] = [];
    let at = offset;
    for (let next = found.get(at); next; next = leaders.has(at) ? undefined : found.get(at)) {
      instructions.push(next);
      at += next.length;
      if (next.flow !== "next") break;
    }
    const last = instructions.at(-1);
    if (!last) continue;
    const successors = successorsOf(last, found);
    const count = instructions.length - (last.flow === "leave" ? 1 : 0);
    blocks.set(offset, { offset, instructions, end: at, successors, count });
    instructionCount += count;
    pending.push(...successors);
  }
  return { entry: window.entry, mode: window.mode, blocks, ranges: rangesOf(blocks.values()), instructionCount };
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
