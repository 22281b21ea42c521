/**
 * What of the state block a region keeps in WebAssembly locals: general registers, XMM registers and flags. Numbers of
 * fields: 0-15 RAX to R15, 16-31 XMM0 to XMM15, 32 FLAG_RESULT with FLAG_AUX. A set of fields is a bigint.
 */
import * as L from "../cpu/layout.ts";
import type { ValueType } from "../ir/types.ts";

export const FLAGS_FIELD = 32;
export const FIELDS = 33;
export type FieldSet = bigint;
export const ALL_FIELDS: FieldSet = (1n << BigInt(FIELDS)) - 1n;

/** General registers: their locals are copies of what is in the state block. */
export const GENERAL_FIELDS: FieldSet = 0xffffn;

const BITS: readonly FieldSet[] = Array.from({ length: FIELDS }, (_, field) => 1n << BigInt(field));
export const fieldBit = (field: number): FieldSet => BITS[field] ?? 0n;

/** The field that a place in the state block belongs to. */
export function fieldAt(offset: number): number | undefined {
  if (offset >= L.GPR && offset < L.GPR + 128) return (offset - L.GPR) >> 3;
  if (offset >= L.XMM && offset < L.XMM + 256) return 16 + ((offset - L.XMM) >> 4);
  if (offset === L.FLAG_RESULT.offset || offset === L.FLAG_AUX.offset) return FLAGS_FIELD;
  return undefined;
}

/** Offset in the state block; of FLAG_RESULT for the flags. */
export function offsetOf(field: number): number {
  if (field < 16) return L.GPR + field * 8;
  return field < 32 ? L.XMM + (field - 16) * 16 : L.FLAG_RESULT.offset;
}

export const typeOf = (field: number): ValueType => (field >= 16 && field < 32 ? "v128" : "i64");

export function fieldsOf(set: FieldSet): number[] {
  const fields: number[] = [];
  const [low, high] = [Number(set & 0xffffffffn), Number(set >> 32n)];
  for (let field = 0; field < 32; field++) if (low & (1 << field)) fields.push(field);
  if (high) fields.push(32);
  return fields;
}
