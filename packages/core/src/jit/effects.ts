/**
 * What a routine does to the state that regions keep in locals, and whether translated code may call it at all: found by
 * walking its statements and those of everything it calls, once.
 */
import * as L from "../cpu/layout.ts";
import type { Node, Routine, Statement } from "../ir/types.ts";
import { walk } from "../ir/walk.ts";
import { ALL_FIELDS, type FieldSet, fieldAt, fieldBit } from "./registers.ts";

export interface Effects {
  readonly reads: FieldSet;
  readonly writes: FieldSet;
  /** Calls the host, or changes state that a region relies on (modes, translations, pending events). */
  readonly isForbidden: boolean;
  /** Reads or writes x87 state that regions know better while a block runs (jit/x87-block.ts): all but FCW. */
  readonly touchesX87: boolean;
}

/** Whether x87 state that a block may know better is at this offset. */
export const isX87State = (offset: number): boolean =>
  offset >= L.X87 && offset < L.MXCSR.offset && offset !== L.FCW.offset;

/** Places that translated code may change, besides the fields in locals: [from, to). */
const FREE: readonly (readonly [number, number])[] = [
  [L.SYSTEM_FLAGS.offset, L.SYSTEM_FLAGS.offset + 4],
  [L.segBase(L.FS).offset, L.segBase(L.FS).offset + 8],
  [L.segBase(L.GS).offset, L.segBase(L.GS).offset + 8],
  [L.KERNEL_GS_BASE.offset, L.KERNEL_GS_BASE.offset + 8],
  [L.EXC_VECTOR.offset, L.EXC_ERROR.offset + 4],
  [L.XLATE_HOST.offset, L.XLATE_FLAGS.offset + 4],
  [L.CURRENT_UOP.offset, L.CURRENT_UOP.offset + 4],
  [L.X87, L.MXCSR.offset + 4],
  [L.SCRATCH_READ, L.SCRATCH_UOP],
  [L.result(0).offset, L.FERR.offset],
];

export function mayWrite(offset: number): boolean {
  return fieldAt(offset) !== undefined || FREE.some(([from, to]) => offset >= from && offset < to);
}

const known = new Map<Routine, Effects>();
const NONE: Effects = { reads: 0n, writes: 0n, isForbidden: false, touchesX87: false };

/** The constant part of an address: what a register number or an index is added to. */
function constantPart(node: Node): number {
  if (node.kind === "const") return Number(node.value);
  if (node.kind !== "op" || node.op !== "i32.add") return 0;
  return node.args.reduce((sum, arg) => sum + constantPart(arg), 0);
}

/** Sums up what statements do, one after the other. */
class EffectSum {
  reads: FieldSet = 0n;
  writes: FieldSet = 0n;
  isForbidden = false;
  touchesX87 = false;

  add(s: Statement): void {
    if (s.kind === "load" || s.kind === "store") {
      if (s.space === "cpu") this.#access(s.address, s.offset, s.kind === "store");
    } else if (s.kind === "call") {
      const of = effectsOf(s.routine);
      this.reads |= of.reads;
      this.writes |= of.writes;
      this.isForbidden ||= of.isForbidden;
      this.touchesX87 ||= of.touchesX87;
    } else if (s.kind === "callTable") this.isForbidden = true;
  }
  #access(address: Node, offset: number, isWrite: boolean): void {
    const at = constantPart(address) + offset;
    const isX87 = at >= L.X87 && at < L.MXCSR.offset;
    this.touchesX87 ||= isX87State(at);
    // A register that is not known here could be any.
    if (address.kind !== "const" && !isX87) {
      this.reads |= ALL_FIELDS;
      if (isWrite) this.isForbidden = true;
      return;
    }
    const field = fieldAt(at);
    if (field !== undefined && isWrite) this.writes |= fieldBit(field);
    else if (field !== undefined) this.reads |= fieldBit(field);
    if (isWrite && !mayWrite(at)) this.isForbidden = true;
  }
}

export function effectsOf(routine: Routine): Effects {
  const found = known.get(routine);
  if (found) return found;
  if (!routine.body) {
    const host: Effects = { reads: ALL_FIELDS, writes: ALL_FIELDS, isForbidden: true, touchesX87: true };
    known.set(routine, host);
    return host;
  }
  // A routine that calls itself adds nothing new.
  known.set(routine, NONE);
  const sum = new EffectSum();
  walk(routine.body().statements, (s) => sum.add(s));
  const { reads, writes, isForbidden, touchesX87 } = sum;
  const effects: Effects = { reads, writes, isForbidden, touchesX87 };
  known.set(routine, effects);
  return effects;
}
