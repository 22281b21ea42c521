/**
 * The operators of the intermediate language: WebAssembly's (core specification 2.0, sections 4.3 and 5.4), each with
 * its encoding, its type and its meaning for the reference evaluator, in one row.
 *
 * Values in the evaluator: i32 a number (any sign, taken modulo 2^32), i64 an unsigned bigint, f32 its bits as a
 * number, f64 its bits as a bigint, v128 an unsigned bigint, lane 0 lowest. Floating point follows what this project
 * relies on from its hosts' WebAssembly: x86's NaN rule (the first NaN operand, quieted; else the default NaN).
 */
import { type Evaluate, type OpSpec, row } from "./op-row.ts";
import { FLOAT_OPS } from "./ops-float.ts";
import { VECTOR_OPS } from "./ops-vector.ts";

export type { OpSpec };

const M64 = (1n << 64n) - 1n;
const s64 = (a: bigint): bigint => BigInt.asIntN(64, a);
const u32 = (a: number): number => a >>> 0;
const bool = (x: boolean): number => (x ? 1 : 0);

const clz64 = (a: bigint): bigint => (a === 0n ? 64n : BigInt(64 - a.toString(2).length));
const ctz32 = (a: number): number => (a === 0 ? 32 : 31 - Math.clz32(a & -a));
const ctz64 = (a: bigint): bigint =>
  a === 0n
    ? 64n
    : a & 0xffffffffn
      ? BigInt(ctz32(Number(BigInt.asIntN(32, a))))
      : 32n + BigInt(ctz32(Number(BigInt.asIntN(32, a >> 32n))));
const pop32 = (a: number): number => {
  let n = 0;
  for (let x = u32(a); x; x &= x - 1) n++;
  return n;
};
const divisor = <V extends number | bigint>(d: V): V => {
  if (!d) throw new RangeError("integer divide by zero");
  return d;
};

function integers(): Record<string, OpSpec> {
  const t: Record<string, OpSpec> = {
    "i32.eqz": row([0x45], "i>i", (a: number) => bool((a | 0) === 0)),
    "i64.eqz": row([0x50], "l>i", (a: bigint) => bool(a === 0n)),
    "i32.clz": row([0x67], "i>i", (a: number) => Math.clz32(a)),
    "i32.ctz": row([0x68], "i>i", (a: number) => ctz32(a | 0)),
    "i32.popcnt": row([0x69], "i>i", pop32 as Evaluate),
    "i64.clz": row([0x79], "l>l", clz64 as Evaluate),
    "i64.ctz": row([0x7a], "l>l", ctz64 as Evaluate),
    "i64.popcnt": row([0x7b], "l>l", (a: bigint) => BigInt(pop32(Number(a & 0xffffffffn)) + pop32(Number(a >> 32n)))),
    "i32.wrap_i64": row([0xa7], "l>i", (a: bigint) => Number(BigInt.asIntN(32, a))),
    "i64.extend_i32_s": row([0xac], "i>l", (a: number) => BigInt(a | 0) & M64),
    "i64.extend_i32_u": row([0xad], "i>l", (a: number) => BigInt(u32(a))),
    "i32.extend8_s": row([0xc0], "i>i", (a: number) => (a << 24) >> 24),
    "i32.extend16_s": row([0xc1], "i>i", (a: number) => (a << 16) >> 16),
    "i64.extend8_s": row([0xc2], "l>l", (a: bigint) => BigInt.asIntN(8, a) & M64),
    "i64.extend16_s": row([0xc3], "l>l", (a: bigint) => BigInt.asIntN(16, a) & M64),
    "i64.extend32_s": row([0xc4], "l>l", (a: bigint) => BigInt.asIntN(32, a) & M64),
  };
  const compare: [string, (a: number | bigint, b: number | bigint) => boolean, boolean][] = [
    ["eq", (a, b) => a === b, false],
    ["ne", (a, b) => a !== b, false],
    ["lt_s", (a, b) => a < b, true],
    ["lt_u", (a, b) => a < b, false],
    ["gt_s", (a, b) => a > b, true],
    ["gt_u", (a, b) => a > b, false],
    ["le_s", (a, b) => a <= b, true],
    ["le_u", (a, b) => a <= b, false],
    ["ge_s", (a, b) => a >= b, true],
    ["ge_u", (a, b) => a >= b, false],
  ];
  compare.forEach(([name, f, signed], i) => {
    t[`i32.${name}`] = row([0x46 + i], "ii>i", (a: number, b: number) =>
      bool(signed ? f(a | 0, b | 0) : f(u32(a), u32(b))),
    );
    t[`i64.${name}`] = row([0x51 + i], "ll>i", (a: bigint, b: bigint) => bool(signed ? f(s64(a), s64(b)) : f(a, b)));
  });
  const arith: [string, (a: number, b: number) => number, (a: bigint, b: bigint) => bigint, trapping?: boolean][] = [
    ["add", (a, b) => a + b, (a, b) => a + b],
    ["sub", (a, b) => a - b, (a, b) => a - b],
    ["mul", (a, b) => Math.imul(a, b), (a, b) => a * b],
    ["div_s", (a, b) => ((a | 0) / divisor(b | 0)) | 0, (a, b) => s64(a) / divisor(s64(b)), true],
    ["div_u", (a, b) => Math.floor(u32(a) / divisor(u32(b))), (a, b) => a / divisor(b), true],
    ["rem_s", (a, b) => (a | 0) % divisor(b | 0), (a, b) => s64(a) % divisor(s64(b)), true],
    ["rem_u", (a, b) => u32(a) % divisor(u32(b)), (a, b) => a % divisor(b), true],
    ["and", (a, b) => a & b, (a, b) => a & b],
    ["or", (a, b) => a | b, (a, b) => a | b],
    ["xor", (a, b) => a ^ b, (a, b) => a ^ b],
    ["shl", (a, b) => a << b, (a, b) => a << (b & 63n)],
    ["shr_s", (a, b) => (a | 0) >> b, (a, b) => s64(a) >> (b & 63n)],
    ["shr_u", (a, b) => u32(a) >>> b, (a, b) => a >> (b & 63n)],
    [
      "rotl",
      (a, b) => (a << (b & 31)) | (b & 31 ? u32(a) >>> (32 - (b & 31)) : 0),
      (a, b) => (a << (b & 63n)) | (a >> (64n - (b & 63n))),
    ],
    [
      "rotr",
      (a, b) => (u32(a) >>> (b & 31)) | (b & 31 ? a << (32 - (b & 31)) : 0),
      (a, b) => (a >> (b & 63n)) | (a << (64n - (b & 63n))),
    ],
  ];
  arith.forEach(([name, f32, f64, trapping], i) => {
    const a32 = row([0x6a + i], "ii>i", (a: number, b: number) => f32(a, b) | 0);
    const a64 = row([0x7c + i], "ll>l", (a: bigint, b: bigint) => f64(a, b) & M64);
    t[`i32.${name}`] = trapping ? { ...a32, foldable: false } : a32;
    t[`i64.${name}`] = trapping ? { ...a64, foldable: false } : a64;
  });
  return t;
}

function memory(): Record<string, OpSpec> {
  const loads: [string, number, string, number][] = [
    ["i32.load", 0x28, "i", 2],
    ["i64.load", 0x29, "l", 3],
    ["f32.load", 0x2a, "f", 2],
    ["f64.load", 0x2b, "d", 3],
    ["i32.load8_s", 0x2c, "i", 0],
    ["i32.load8_u", 0x2d, "i", 0],
    ["i32.load16_s", 0x2e, "i", 1],
    ["i32.load16_u", 0x2f, "i", 1],
    ["i64.load8_s", 0x30, "l", 0],
    ["i64.load8_u", 0x31, "l", 0],
    ["i64.load16_s", 0x32, "l", 1],
    ["i64.load16_u", 0x33, "l", 1],
    ["i64.load32_s", 0x34, "l", 2],
    ["i64.load32_u", 0x35, "l", 2],
  ];
  const stores: [string, number, string, number][] = [
    ["i32.store", 0x36, "i", 2],
    ["i64.store", 0x37, "l", 3],
    ["f32.store", 0x38, "f", 2],
    ["f64.store", 0x39, "d", 3],
    ["i32.store8", 0x3a, "i", 0],
    ["i32.store16", 0x3b, "i", 1],
    ["i64.store8", 0x3c, "l", 0],
    ["i64.store16", 0x3d, "l", 1],
    ["i64.store32", 0x3e, "l", 2],
  ];
  const t: Record<string, OpSpec> = {};
  for (const [name, code, type, align] of loads) t[name] = row([code], `i>${type}`, undefined, "memory", align);
  for (const [name, code, type, align] of stores) t[name] = row([code], `i${type}>i`, undefined, "memory", align);
  t["v128.load"] = row([0xfd, 0x00], "i>v", undefined, "memory", 4);
  t["v128.store"] = row([0xfd, 0x0b], "iv>i", undefined, "memory", 4);
  return t;
}

export const OPS: Readonly<Record<string, OpSpec | undefined>> = Object.assign(
  Object.create(null),
  integers(),
  memory(),
  FLOAT_OPS,
  VECTOR_OPS,
);
