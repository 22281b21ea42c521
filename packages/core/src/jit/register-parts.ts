/**
 * Parts of registers that regions keep in locals: what a load or store at a place inside of the register's bytes in the
 * state block reads or writes.
 */
import { type Expr, opWith, type Variable } from "../ir/builder.ts";
import { Untranslatable } from "./untranslatable.ts";

function lane(at: number, bytes: number): number {
  if (at % bytes) throw new Untranslatable("a part of an XMM register that is no lane");
  return at / bytes;
}

/** Part of a general register that starts at byte `at`. */
export function partOf(whole: Expr, load: string, at: number): Expr {
  const moved = whole.shrU(8 * at);
  switch (load) {
    case "i64.load":
      if (at) break;
      return whole;
    case "i32.load":
      return moved.lo32();
    case "i32.load16_u":
      return moved.lo32().and(0xffff);
    case "i32.load8_u":
      return moved.lo32().and(0xff);
    case "i64.load8_u":
      return moved.and(0xff);
    case "i64.load16_u":
      return moved.and(0xffff);
    case "i64.load32_u":
      return moved.and(0xffffffffn);
    case "i64.load32_s":
      return moved.extend32S();
    default:
  }
  throw new Untranslatable(`${load} of a general register`);
}

/** A general register with `value` in its bytes from `at` on. */
export function withPart(register: Variable, store: string, at: number, value: Expr): Expr {
  if (store === "i64.store" && at === 0) return value;
  const bits = { store: 32, store8: 8, store16: 16, store32: 32 }[store.slice(4)];
  if (!bits || store === "i64.store") throw new Untranslatable(`${store} to a general register`);
  const mask = ((1n << BigInt(bits)) - 1n) << BigInt(8 * at);
  const part = value
    .u64()
    .shl(8 * at)
    .and(mask);
  return register.get().and(~mask).or(part);
}

/** Part of an XMM register that starts at byte `at`. */
export function laneOf(whole: Expr, load: string, at: number): Expr {
  switch (load) {
    case "v128.load":
      return whole;
    case "i64.load":
      return opWith("i64x2.extract_lane", lane(at, 8), whole);
    case "f64.load":
      return opWith("f64x2.extract_lane", lane(at, 8), whole);
    case "f32.load":
      return opWith("f32x4.extract_lane", lane(at, 4), whole);
    case "i32.load":
      return opWith("i32x4.extract_lane", lane(at, 4), whole);
    case "i32.load16_u":
      return opWith("i16x8.extract_lane_u", lane(at, 2), whole);
    case "i32.load8_u":
      return opWith("i8x16.extract_lane_u", at, whole);
    case "i64.load32_u":
      return opWith("i32x4.extract_lane", lane(at, 4), whole).u64();
    default:
      throw new Untranslatable(`${load} of an XMM register`);
  }
}

/** An XMM register with `value` in its bytes from `at` on. */
export function withLane(register: Variable, store: string, at: number, value: Expr): Expr {
  const whole = register.get();
  switch (store) {
    case "v128.store":
      return value;
    case "i64.store":
      return opWith("i64x2.replace_lane", lane(at, 8), whole, value);
    case "f64.store":
      return opWith("f64x2.replace_lane", lane(at, 8), whole, value);
    case "f32.store":
      return opWith("f32x4.replace_lane", lane(at, 4), whole, value);
    case "i32.store":
      return opWith("i32x4.replace_lane", lane(at, 4), whole, value);
    case "i32.store16":
      return opWith("i16x8.replace_lane", lane(at, 2), whole, value);
    case "i32.store8":
      return opWith("i8x16.replace_lane", at, whole, value);
    default:
      throw new Untranslatable(`${store} to an XMM register`);
  }
}
