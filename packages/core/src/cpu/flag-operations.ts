/**
 * What the flags of an operation are, from its operands (SDM vol. 1, 3.4.3.1, and vol. 2 on each instruction), and the
 * two words that it takes to find them later: translated code keeps those instead of flags (jit/lazy-flags.ts).
 * Values are of the operation's width, without bits above it; 64-bit ones are i64, the others i32. Counts of shifts are
 * i32, masked, not zero.
 */
import { type Builder, type Expr, i32, i64, op, select } from "../ir/builder.ts";

export type Width = 8 | 16 | 32 | 64;

/** "carries": an operation whose carry-out vector is kept; "float": UCOMISD and its like, operands as bits. The order numbers them. */
export const FLAG_OPERATIONS = [
  "add",
  "sub",
  "cmp",
  "logic",
  "inc",
  "dec",
  "carries",
  "shl",
  "shr",
  "sar",
  "mul",
  "imul",
  "float",
] as const;
export type FlagOperation = (typeof FLAG_OPERATIONS)[number];
export const FLAG_WIDTHS: readonly Width[] = [8, 16, 32, 64];

/**
 * `a`: first operand, the value that is shifted; `c`: second operand, count, the CF that INC and DEC keep (i32), or the
 * carry-out vector.
 */
export interface FlagOperands {
  readonly a?: Expr;
  readonly c?: Expr;
  readonly result?: Expr;
}

const need = (value: Expr | undefined): Expr => {
  if (!value) throw new Error("flags without their operands");
  return value;
};
export function maskTo(w: Width, value: Expr): Expr {
  return w === 8 ? value.and(0xff) : w === 16 ? value.and(0xffff) : value;
}
/** Bit `index` of a value, as i32. */
export function bit(value: Expr, index: Expr | number): Expr {
  if (value.type === "i64")
    return value
      .shrU(typeof index === "number" ? index : index.u64())
      .lo32()
      .and(1);
  return value.shrU(index).and(1);
}
const top = (w: Width, value: Expr): Expr =>
  w === 64 ? value.shrU(63).lo32() : w === 32 ? value.shrU(31) : bit(value, w - 1);
const signedOf = (w: Width, value: Expr): Expr => (w === 8 ? value.extend8S() : w === 16 ? value.extend16S() : value);
const wide = (w: Width, count: Expr): Expr => (w === 64 ? count.u64() : count);

export function shiftedBy(w: Width, operation: "shl" | "shr" | "sar", value: Expr, count: Expr): Expr {
  if (operation === "shl") return maskTo(w, value.shl(wide(w, count)));
  if (operation === "shr") return value.shrU(wide(w, count));
  return maskTo(w, signedOf(w, value).shrS(wide(w, count)));
}

/** High half of an unsigned or signed 64 x 64 product of kept values. In line: where nobody asks, nothing is left of it. */
export function mulHigh(b: Builder, isSigned: boolean, x: Expr, y: Expr): Expr {
  const half = (v: Expr): Expr => (isSigned ? v.shrS(32) : v.shrU(32));
  const x0 = b.keep(x.and(0xffffffffn));
  const x1 = b.keep(half(x));
  const y0 = b.keep(y.and(0xffffffffn));
  const y1 = b.keep(half(y));
  const middle = b.keep(x0.mul(y0).shrU(32).add(x1.mul(y0)));
  const cross = b.keep(middle.and(0xffffffffn).add(x0.mul(y1)));
  return x1.mul(y1).add(half(middle)).add(half(cross));
}

/** i32: whether a product does not fit its width. */
function productLost(b: Builder, w: Width, isSigned: boolean, a: Expr, c: Expr): Expr {
  if (w === 64) {
    const high = mulHigh(b, isSigned, a, c);
    return isSigned ? high.ne(a.mul(c).shrS(63)) : high.nez();
  }
  if (!isSigned) return a.u64().mul(c.u64()).shrU(w).nez();
  const product = b.keep(signedOf(w, a).s64().mul(signedOf(w, c).s64()));
  const low = w === 32 ? product.extend32S() : w === 16 ? product.extend16S() : product.extend8S();
  return product.ne(low);
}

/** i32: a relation of the operands of "float", by WebAssembly's name for it. */
export function relationOf(w: Width, o: FlagOperands, relation: "lt" | "gt" | "le" | "ge"): Expr {
  const [x, y] = [need(o.a), need(o.c)];
  if (w === 64) return op(`f64.${relation}`, op("f64.reinterpret_i64", x), op("f64.reinterpret_i64", y));
  return op(`f32.${relation}`, op("f32.reinterpret_i32", x), op("f32.reinterpret_i32", y));
}
/** PF of "float". ZF and CF are set as well. */
export const isUnordered = (w: Width, o: FlagOperands): Expr =>
  relationOf(w, o, "le")
    .or(relationOf(w, o, "ge"))
    .eqz();

export function resultOf(b: Builder, operation: FlagOperation, w: Width, o: FlagOperands): Expr {
  if (o.result) return o.result;
  const [x, y] = [need(o.a), need(o.c)];
  switch (operation) {
    case "float": {
      const differs = b.keep(relationOf(w, o, "lt").or(relationOf(w, o, "gt")));
      return b.keep(w === 64 ? differs.u64().shl(8) : differs.shl(8));
    }
    case "cmp":
      return b.keep(maskTo(w, x.sub(y)));
    case "shl":
    case "shr":
    case "sar":
      return b.keep(shiftedBy(w, operation, x, y));
    default:
      return b.keep(maskTo(w, x.mul(y)));
  }
}
function firstOf(b: Builder, operation: FlagOperation, w: Width, o: FlagOperands): Expr {
  if (o.a) return o.a;
  const [r, c] = [need(o.result), need(o.c)];
  return b.keep(maskTo(w, operation === "add" ? r.sub(c) : r.add(c)));
}

export function carryOf(b: Builder, operation: FlagOperation, w: Width, o: FlagOperands): Expr {
  switch (operation) {
    case "add":
      return need(o.result).ltU(need(o.c));
    case "sub":
    case "cmp":
      return firstOf(b, operation, w, o).ltU(need(o.c));
    case "logic":
      return i32(0);
    case "float":
      return relationOf(w, o, "ge").eqz();
    case "inc":
    case "dec":
      return need(o.c);
    case "carries":
      return top(w, need(o.c));
    case "shl": {
      const [value, count] = [need(o.a), need(o.c)];
      // Counts up to 31 on 8 and 16 bits: the i32 holds the bits shifted out.
      return w >= 32 ? bit(value, b.keep(i32(w).sub(count))) : bit(value.shl(count), w);
    }
    case "shr":
      return bit(need(o.a), b.keep(need(o.c).sub(1)));
    case "sar":
      return bit(signedOf(w, need(o.a)).shrS(wide(w, need(o.c).sub(1))), 0);
    default:
      return productLost(b, w, operation === "imul", need(o.a), need(o.c));
  }
}

export function overflowOf(b: Builder, operation: FlagOperation, w: Width, o: FlagOperands): Expr {
  switch (operation) {
    case "add": {
      const [a, c, r] = [firstOf(b, operation, w, o), need(o.c), need(o.result)];
      return top(w, a.xor(r).and(c.xor(r)));
    }
    case "sub":
    case "cmp": {
      const [a, c, r] = [firstOf(b, operation, w, o), need(o.c), resultOf(b, operation, w, o)];
      return top(w, a.xor(c).and(a.xor(r)));
    }
    case "inc":
    case "dec": {
      const least = 1n << BigInt(w - 1);
      return need(o.result).eq(operation === "inc" ? least : least - 1n);
    }
    case "carries":
      return top(w, need(o.c).xor(need(o.c).shl(1)));
    case "shl":
      return carryOf(b, operation, w, o).xor(top(w, resultOf(b, operation, w, o)));
    case "shr":
      // The old top bit for a count of 1; undefined else, where processors give 0.
      return select(need(o.c).eq(1), top(w, need(o.a)), i32(0));
    case "sar":
    case "logic":
    case "float":
      return i32(0);
    default:
      return carryOf(b, operation, w, o);
  }
}

/** Bits CF, CF^OF and AF of the auxiliary word, from a carry-out vector of `width` bits. */
export function auxOfCarries(b: Builder, width: Width, carries: Expr): Expr {
  const c = b.keep(carries);
  switch (width) {
    case 64:
      return c.shrU(32).lo32().and(0xc0000000).or(c.lo32().and(8));
    case 32:
      return c.and(0xc0000008 | 0);
    default:
      return c
        .shl(32 - width)
        .and(0xc0000000)
        .or(c.and(8));
  }
}
export const addCarries = (a: Expr, c: Expr, r: Expr): Expr => a.and(c).or(a.or(c).and(r.not()));
export const subCarries = (a: Expr, c: Expr, r: Expr): Expr => a.not().and(c).or(a.xor(c).not().and(r));

/** The auxiliary word (FLAG_AUX) of an operation. */
export function auxOf(b: Builder, operation: FlagOperation, w: Width, o: FlagOperands): Expr {
  switch (operation) {
    case "logic":
      return i32(0);
    case "float": {
      // PF is of the result's low byte and of bits 8 to 15 here.
      const ordered = select(isUnordered(w, o), i32(0), i32(0x100));
      return select(carryOf(b, operation, w, o), i32(0xc0000000), i32(0)).or(ordered);
    }
    case "add":
    case "sub":
    case "cmp": {
      const [a, c, r] = [firstOf(b, operation, w, o), need(o.c), resultOf(b, operation, w, o)];
      return auxOfCarries(b, w, operation === "add" ? addCarries(a, c, r) : subCarries(a, c, r));
    }
    case "carries":
      return auxOfCarries(b, w, need(o.c));
    case "inc":
    case "dec": {
      const carry = b.keep(need(o.c));
      const low = need(o.result).lo32().and(15);
      const adjust = low.eq(operation === "inc" ? 0 : 15).shl(3);
      return auxOfFlags(carry, overflowOf(b, operation, w, o)).or(adjust);
    }
    default: {
      const carry = b.keep(carryOf(b, operation, w, o));
      const isProduct = operation === "mul" || operation === "imul";
      return auxOfFlags(carry, isProduct ? carry : overflowOf(b, operation, w, o));
    }
  }
}
/** CF and OF as given, AF 0. `carry` is a kept value. */
export const auxOfFlags = (carry: Expr, overflow: Expr): Expr => carry.shl(31).or(carry.xor(overflow).shl(30));

/** The two words of an operation, i64. */
export function wordsOf(operation: FlagOperation, o: FlagOperands): readonly [Expr, Expr] {
  const second = o.c?.u64() ?? i64(0);
  switch (operation) {
    case "cmp":
    case "shl":
    case "shr":
    case "sar":
    case "mul":
    case "imul":
    case "float":
      return [need(o.a).u64(), second];
    default:
      return [need(o.result).u64(), second];
  }
}
/** Operands from the words: kept values. */
export function operandsOf(b: Builder, operation: FlagOperation, w: Width, x: Expr, y: Expr): FlagOperands {
  const narrow = (v: Expr): Expr => (w === 64 ? v : b.keep(v.lo32()));
  switch (operation) {
    case "cmp":
    case "mul":
    case "imul":
    case "float":
      return { a: narrow(x), c: narrow(y) };
    case "shl":
    case "shr":
    case "sar":
      return { a: narrow(x), c: b.keep(y.lo32()) };
    case "inc":
    case "dec":
      return { result: narrow(x), c: b.keep(y.lo32()) };
    default:
      return { result: narrow(x), c: narrow(y) };
  }
}
