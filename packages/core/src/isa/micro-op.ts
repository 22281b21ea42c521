/** Writes a decoded instruction as a micro-op (layout: UOP_* in cpu/layout.ts). */
import * as L from "../cpu/layout.ts";
import { type Decoder, RIP_REGISTER } from "./decoder.ts";
import type { Form } from "./form.ts";

const OPERANDS = 3;
/** Those that MODE_FLAT lets be accessed without a check. */
const FLAT_SEGMENTS: ReadonlySet<number> = new Set([L.ES, L.SS, L.DS]);

/** The handler that stands in line for an instruction as it is encoded, or -1. `isFlat`: it runs under MODE_FLAT only. */
function hotHandler(d: Decoder, form: Form, isFlat: boolean): number {
  const shape = d.shape();
  if (!d.memory || d.asz === 2) {
    const hot = form.hotHandlers[shape] ?? -1;
    if (hot >= 0) return hot;
  }
  if (!isFlat || (d.memory && (d.asz !== 1 || !FLAT_SEGMENTS.has(d.segment)))) return -1;
  return form.flatHandlers[shape] ?? -1;
}

/** Writes the decoder's last result. `start`: of the instruction in its block; `left`: instructions after it. */
export function encodeMicroOp(
  d: Decoder,
  out: DataView,
  at: number,
  start: number,
  left: number,
  isFlat = false,
): void {
  const form = d.form;
  if (!form) throw new Error("nothing decoded");
  const { plan } = form;
  const hot = hotHandler(d, form, isFlat);
  out.setUint16(at + L.UOP_HANDLER, hot >= 0 ? hot : (form.handlers[d.shape()] ?? 0), true);
  const where = d.memory ? 1 : 0;
  for (let i = 0; i < OPERANDS; i++) {
    const operand = plan[i];
    let offset = 0;
    if (operand) offset = operand.first[where] + (d.registers[i] ?? 0) * operand.stride[where] + (d.high[i] ?? 0);
    out.setUint16(at + L.UOP_OPERAND + 2 * i, offset, true);
  }
  const legacySegment = L.SEGMENTS + d.segment * 32 + 8;
  const segmentBase = d.mode64 ? (d.segment >= L.FS && d.segmentPrefix ? legacySegment : L.ZERO) : legacySegment;
  out.setUint8(at + L.UOP_SEGMENT, d.segment);
  const how = (d.asz === 1 ? L.ADDRESS_32 : d.asz === 0 ? L.ADDRESS_16 : 0) | (d.mode64 ? 0 : L.ADDRESS_LEGACY);
  let { scale, displacement } = d;
  const relative = d.base === RIP_REGISTER;
  out.setUint16(at + L.UOP_BASE, relative ? L.BLOCK_RIP.offset : d.base < 0 ? L.ZERO : L.GPR + d.base * 8, true);
  let index = d.index < 0 ? L.ZERO : L.GPR + d.index * 8;
  out.setUint16(at + L.UOP_SEGMENT_BASE, segmentBase, true);
  if (relative) {
    // Counted from the block's start; the sum may have 33 bits.
    displacement += start + d.length;
    if (displacement > 0x7fff_ffff) {
      displacement -= 2 ** 31;
      index = L.QUARTER_GIB.offset;
      scale = 3;
    }
  }
  out.setUint8(at + L.UOP_ADDRESS, scale | how);
  out.setUint16(at + L.UOP_INDEX, index, true);
  out.setInt32(at + L.UOP_DISPLACEMENT, displacement, true);
  out.setUint16(at + L.UOP_START, start, true);
  out.setUint8(at + L.UOP_LEFT, left);
  out.setUint8(at + L.UOP_LENGTH, d.length);
  let low = d.immediateLow;
  let high = d.immediateHigh;
  if (form.relative) {
    const target = low + start + d.length;
    low = target | 0;
    high = target < 0 ? -1 : 0;
  }
  out.setInt32(at + L.UOP_IMMEDIATE, low, true);
  out.setInt32(at + L.UOP_IMMEDIATE + 4, high, true);
}
