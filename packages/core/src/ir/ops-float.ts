/** Scalar floating-point operators (see ops.ts). Rounding is to nearest, ties to even, as in WebAssembly. */
import { type OpSpec, row } from "./op-row.ts";

const view = new DataView(new ArrayBuffer(8));

/** Bits of an f64 to a number. */
export const f64Of = (bits: bigint): number => {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
};
const bits64 = (x: number): bigint => {
  view.setFloat64(0, x);
  return view.getBigUint64(0);
};
export const f32Of = (bits: number): number => {
  view.setUint32(0, bits);
  return view.getFloat32(0);
};
const bits32 = (x: number): number => {
  view.setFloat32(0, x);
  return view.getUint32(0);
};

const QUIET64 = 1n << 51n;
const QUIET32 = 1 << 22;
export const DEFAULT_NAN64 = 0xfff8000000000000n;
export const DEFAULT_NAN32 = 0xffc00000;
const isNan64 = (b: bigint): boolean => (b & 0x7fffffffffffffffn) > 0x7ff0000000000000n;
const isNan32 = (b: number): boolean => (b & 0x7fffffff) > 0x7f800000;

/** x86's rule for the NaN result of an operation; undefined if no operand is a NaN. */
const nan64 = (...args: bigint[]): bigint | undefined => {
  const first = args.find(isNan64);
  return first === undefined ? undefined : first | QUIET64;
};
const nan32 = (...args: number[]): number | undefined => {
  const first = args.find(isNan32);
  return first === undefined ? undefined : (first | QUIET32) >>> 0;
};
export const arith64 =
  (f: (...v: number[]) => number) =>
  (...args: bigint[]): bigint => {
    const nan = nan64(...args);
    if (nan !== undefined) return nan;
    const r = f(...args.map(f64Of));
    return Number.isNaN(r) ? DEFAULT_NAN64 : bits64(r);
  };
export const arith32 =
  (f: (...v: number[]) => number) =>
  (...args: number[]): number => {
    const nan = nan32(...args);
    if (nan !== undefined) return nan;
    const r = f(...args.map(f32Of));
    return Number.isNaN(r) ? DEFAULT_NAN32 : bits32(Math.fround(r));
  };

/** Round to nearest integer, ties to even, keeping the sign of zero. */
export const nearest = (x: number): number => {
  if (!Number.isFinite(x) || Math.abs(x) >= 4503599627370496) return x;
  const down = Math.floor(x);
  const fraction = x - down;
  const r = fraction < 0.5 ? down : fraction > 0.5 ? down + 1 : down % 2 === 0 ? down : down + 1;
  return r === 0 && (x < 0 || Object.is(x, -0)) ? -0 : r;
};

const saturate = (x: number, low: bigint, high: bigint): bigint => {
  if (Number.isNaN(x)) return 0n;
  if (x <= Number(low)) return low;
  if (x >= Number(high)) return high;
  return BigInt(Math.trunc(x));
};
/** A correctly rounded i64 to f32 conversion: going through a double would round twice. */
const i64ToF32 = (v: bigint): number => {
  const negative = v < 0n;
  let m = negative ? -v : v;
  const extra = m.toString(2).length - 26;
  if (extra > 0) {
    const sticky = m & ((1n << BigInt(extra)) - 1n) ? 1n : 0n;
    m = ((m >> BigInt(extra)) | sticky) << BigInt(extra);
  }
  return bits32(Math.fround(negative ? -Number(m) : Number(m)));
};

const compare: readonly [string, (a: number, b: number) => boolean][] = [
  ["eq", (a, b) => a === b],
  ["ne", (a, b) => a !== b],
  ["lt", (a, b) => a < b],
  ["gt", (a, b) => a > b],
  ["le", (a, b) => a <= b],
  ["ge", (a, b) => a >= b],
];
/** In the order of WebAssembly's opcodes; its min and max are left out, since their NaNs are not those of x86. */
const binary: readonly [string, (a: number, b: number) => number][] = [
  ["add", (a, b) => a + b],
  ["sub", (a, b) => a - b],
  ["mul", (a, b) => a * b],
  ["div", (a, b) => a / b],
];
const unary: readonly [string, (a: number) => number][] = [
  ["ceil", Math.ceil],
  ["floor", Math.floor],
  ["trunc", Math.trunc],
  ["nearest", nearest],
  ["sqrt", Math.sqrt],
];

function table(): Record<string, OpSpec> {
  const t: Record<string, OpSpec> = {};
  compare.forEach(([name, f], i) => {
    t[`f32.${name}`] = row([0x5b + i], "ff>i", (a: number, b: number) => (f(f32Of(a), f32Of(b)) ? 1 : 0));
    t[`f64.${name}`] = row([0x61 + i], "dd>i", (a: bigint, b: bigint) => (f(f64Of(a), f64Of(b)) ? 1 : 0));
  });
  t["f32.abs"] = row([0x8b], "f>f", (a: number) => a & 0x7fffffff);
  t["f32.neg"] = row([0x8c], "f>f", (a: number) => (a ^ 0x80000000) >>> 0);
  t["f64.abs"] = row([0x99], "d>d", (a: bigint) => a & 0x7fffffffffffffffn);
  t["f64.neg"] = row([0x9a], "d>d", (a: bigint) => a ^ (1n << 63n));
  unary.forEach(([name, f], i) => {
    t[`f32.${name}`] = row([0x8d + i], "f>f", arith32(f) as never);
    t[`f64.${name}`] = row([0x9b + i], "d>d", arith64(f) as never);
  });
  binary.forEach(([name, f], i) => {
    t[`f32.${name}`] = row([0x92 + i], "ff>f", arith32(f as never) as never);
    t[`f64.${name}`] = row([0xa0 + i], "dd>d", arith64(f as never) as never);
  });
  const i32Low = -(2n ** 31n);
  const i64Low = -(2n ** 63n);
  t["i32.trunc_sat_f32_s"] = row([0xfc, 0], "f>i", (a: number) => Number(saturate(f32Of(a), i32Low, 2n ** 31n - 1n)));
  t["i32.trunc_sat_f64_s"] = row([0xfc, 2], "d>i", (a: bigint) => Number(saturate(f64Of(a), i32Low, 2n ** 31n - 1n)));
  t["i64.trunc_sat_f32_s"] = row([0xfc, 4], "f>l", (a: number) =>
    BigInt.asUintN(64, saturate(f32Of(a), i64Low, 2n ** 63n - 1n)),
  );
  t["i64.trunc_sat_f64_s"] = row([0xfc, 6], "d>l", (a: bigint) =>
    BigInt.asUintN(64, saturate(f64Of(a), i64Low, 2n ** 63n - 1n)),
  );
  t["f32.convert_i32_s"] = row([0xb2], "i>f", (a: number) => bits32(Math.fround(a | 0)));
  t["f32.convert_i64_s"] = row([0xb4], "l>f", (a: bigint) => i64ToF32(BigInt.asIntN(64, a)));
  t["f64.convert_i32_s"] = row([0xb7], "i>d", (a: number) => bits64(a | 0));
  t["f64.convert_i64_s"] = row([0xb9], "l>d", (a: bigint) => bits64(Number(BigInt.asIntN(64, a))));
  t["f64.convert_i64_u"] = row([0xba], "l>d", (a: bigint) => bits64(Number(a)));
  t["f32.demote_f64"] = row([0xb6], "d>f", (a: bigint) => {
    if (isNan64(a)) return Number((a >> 32n) & 0x80000000n) + 0x7fc00000 + Number((a >> 29n) & 0x3fffffn);
    return bits32(Math.fround(f64Of(a)));
  });
  t["f64.promote_f32"] = row([0xbb], "f>d", (a: number) => {
    if (isNan32(a))
      return ((BigInt(a >>> 0) & 0x80000000n) << 32n) | 0x7ff8000000000000n | (BigInt(a & 0x3fffff) << 29n);
    return bits64(f32Of(a));
  });
  t["i32.reinterpret_f32"] = row([0xbc], "f>i", (a: number) => a | 0);
  t["i64.reinterpret_f64"] = row([0xbd], "d>l", (a: bigint) => a);
  t["f32.reinterpret_i32"] = row([0xbe], "i>f", (a: number) => a >>> 0);
  t["f64.reinterpret_i64"] = row([0xbf], "l>d", (a: bigint) => a);
  return t;
}

export const FLOAT_OPS: Readonly<Record<string, OpSpec>> = table();
