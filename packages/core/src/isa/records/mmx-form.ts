/**
 * What MMX records share (SDM vol. 1, 9.5 and 9.6): the check for a pending x87 exception, the change of the x87
 * state, and MMX values as the low half of a vector.
 */
import * as L from "../../cpu/layout.ts";
import { type Expr, i32, op, opWith } from "../../ir/builder.ts";
import type { Semantics } from "../semantics.ts";
import { checkPending } from "./x87-form.ts";

/** The x87 state becomes MMX state: TOP 0, all registers in use. Comes after loads, which can fault. */
export function enterMmx(s: Semantics): void {
  s.b.put(L.FTOP, 0);
  s.b.put(L.FTAG, 0xff);
}

/** Writes operand `i`: an MMX register's upper 16 bits become ones. TOP is 0 even if the store faults, as on processors. */
export function writeMmx(s: Semantics, i: number, value: Expr): void {
  const kept = s.b.keep(value);
  s.b.put(L.FTOP, 0);
  s.write(i, kept);
  enterMmx(s);
  if (s.operand(i).kind === "p") s.b.store("i32.store16", "cpu", s.register(i), i32(0xffff), 8);
}

/** A 64-bit value in both halves of a vector. */
export const vector = (value: Expr): Expr => op("i64x2.splat", value);
/** `low` and `high` as the halves of a vector. */
export const joined = (low: Expr, high: Expr): Expr => opWith("i64x2.replace_lane", 1, op("i64x2.splat", low), high);
export const lowHalf = (v: Expr): Expr => opWith("i64x2.extract_lane", 0, v);

/** Semantics of destination = f(destination, source), both 64 bits. */
export function combine(f: (target: Expr, source: Expr, s: Semantics) => Expr): (s: Semantics) => void {
  return (s) => {
    checkPending(s);
    const source = s.read(1);
    writeMmx(s, 0, f(s.read(0), source.u64(), s));
  };
}
