/**
 * One decoded instruction of a region: its handler, its micro-op as constants, and where control goes from it.
 * Offsets count from the region's base (jit/region.ts), which is what RIP-relative fields count from, too.
 */
import * as L from "../cpu/layout.ts";
import type { CodeSize } from "../isa/decoder.ts";
import { type Handler, type HandlerSet, handlerOf } from "../isa/handlers.ts";
import { encodeMicroOp } from "../isa/micro-op.ts";
import { placeOf } from "./translatable.ts";

/**
 * How control leaves an instruction: to the next one; there or to a target; to a target; there or to itself again; to
 * another function and, by its return, to the next; by a return; to an address known at run time; to wherever the state
 * says, the region being over; to the next one, unless what the region relies on is no longer so (jit/world.ts); not by
 * translated code.
 */
export type Flow = "next" | "branch" | "jump" | "repeat" | "call" | "return" | "indirect" | "end" | "through" | "leave";

/** Of those that work on the state block: control stays where it is. */
const THROUGH: ReadonlySet<string> = new Set([
  ...["popf", "mov_sreg", "pop_sreg", "lfs", "lgs"],
  ...["invlpg", "invpcid", "mov_to_cr", "clts", "lmsw", "rdmsr", "wrmsr"],
]);

export interface Instruction {
  readonly offset: number;
  readonly length: number;
  readonly flow: Flow;
  /** Offset of a direct branch's target; may lie outside the region's bytes. */
  readonly target: number | undefined;
  readonly handler: Handler;
  /** 32 bytes, laid out as UOP_*. */
  readonly microOp: DataView;
}

/**
 * Loads of segment registers that leave everything as it is for the code behind them. SS holds back interrupts; whether FS and
 * GS can be used is looked at where a region is entered, in legacy code, and what stands before the load need not use them.
 */
function keepsSegments(handler: Handler, microOp: DataView): boolean {
  if (handler.record.name !== "mov_sreg" && handler.record.name !== "pop_sreg") return true;
  const segment = (microOp.getUint16(L.UOP_OPERAND, true) - L.SEGMENTS) >> 5;
  return segment === L.ES || segment === L.DS || (handler.shape.mode64 && segment !== L.SS);
}

function flowOf(handler: Handler, microOp: DataView): Flow {
  const { name, ends } = handler.record;
  const place = placeOf(handler);
  if (place === "end") return THROUGH.has(name) && keepsSegments(handler, microOp) ? "through" : "end";
  if (place !== "inside") return "leave";
  if (!ends) return "next";
  const isDirect = handler.shape.operands[0]?.kind === "j";
  if (name === "jmp") return isDirect ? "jump" : "indirect";
  if (name === "call" || name === "ret") return name === "call" ? "call" : "return";
  if (isDirect) return "branch";
  return handler.shape.rep ? "repeat" : "next";
}

/**
 * Decodes at `offset` of `bytes`; undefined where no instruction ends before `end` or none can be decoded. `isFlat`: under
 * MODE_FLAT.
 */
export function decodeInstruction(
  handlers: HandlerSet,
  bytes: Uint8Array,
  offset: number,
  end: number,
  size: CodeSize,
  isFlat = false,
): Instruction | undefined {
  const { decoder } = handlers;
  if (decoder.decode(bytes, offset, end, size, true) !== "ok" || !decoder.form) return undefined;
  const microOp = new DataView(new ArrayBuffer(L.UOP_BYTES));
  encodeMicroOp(decoder, microOp, 0, offset, 0);
  const handler = handlerOf(handlers, microOp.getUint16(L.UOP_HANDLER, true));
  const isRelative = decoder.form.relative;
  // Outside 64-bit mode an access through CS has checks that a region does not make, and a branch of 16-bit operand size
  // goes to the first 64 KiB.
  const isThroughCode = size !== 64 && microOp.getUint8(L.UOP_SEGMENT) === L.CS;
  const isCutOff = size !== 64 && isRelative && decoder.osz === 0;
  const flow = isThroughCode || isCutOff ? "leave" : flowOf(handler, microOp);
  // A handler that depends on the mode: in flat code alone (jit/translatable.ts).
  const isLegacyEnd = (flow === "end" || flow === "through") && !handler.shape.mode64 && !isFlat;
  return {
    offset,
    length: decoder.length,
    flow: isLegacyEnd ? "leave" : flow,
    target: isRelative ? microOp.getInt32(L.UOP_IMMEDIATE, true) : undefined,
    handler,
    microOp,
  };
}
