/**
 * The AES round's steps on a state of 16 bytes (FIPS 197, sections 5.1 and 5.3; byte order as in SDM vol. 1, 12.13.4):
 * substitution, row shifts and column mixing. Substitutions look bytes up with vector shuffles, a sixteenth of the table
 * at a time, so that no memory is read and the time does not depend on the data.
 */
import { type Builder, type Expr, op, opWith, v128 } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";

/** Multiplication by x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
const timesX = (a: number): number => ((a << 1) ^ (a & 0x80 ? 0x1b : 0)) & 0xff;

function multiply(a: number, b: number): number {
  let product = 0;
  let power = a;
  for (let bit = 0; bit < 8; bit++) {
    if (b & (1 << bit)) product ^= power;
    power = timesX(power);
  }
  return product;
}

/** S-box: the inverse (of 0: 0), then an affine map. */
function makeSubstitution(): number[] {
  return Array.from({ length: 256 }, (_, a) => {
    let inverse = a;
    // a^254 by squares and multiplications.
    for (let i = 0; i < 6; i++) inverse = multiply(multiply(inverse, inverse), a);
    inverse = multiply(inverse, inverse);
    let mapped = 0x63;
    for (let turn = 0; turn < 5; turn++) mapped ^= ((inverse << turn) | (inverse >> (8 - turn))) & 0xff;
    return mapped;
  });
}
const SUBSTITUTION = makeSubstitution();
const INVERSE = SUBSTITUTION.reduce<number[]>((table, to, from) => {
  table[to] = from;
  return table;
}, []);

const bytesOf = (values: readonly number[]): bigint =>
  values.reduce((all, value, i) => all | (BigInt(value) << BigInt(8 * i)), 0n);

function makeLookup(name: string, table: readonly number[]): Routine {
  return routine(name, ["v128"], "v128", (b, state) => {
    let result: Expr = v128(0n);
    for (let row = 0; row < 256; row += 16) {
      // Only numbers of this row are below 16; a swizzle gives zero for the others.
      const numbers = op("v128.xor", state, v128(BigInt(row) * 0x01010101_01010101_01010101_01010101n));
      const values = op("i8x16.swizzle", v128(bytesOf(table.slice(row, row + 16))), numbers);
      result = b.keep(op("v128.or", result, values));
    }
    b.return(result);
  });
}
export const substituteBytes: Routine = makeLookup("aes_substitute", SUBSTITUTION);
export const restoreBytes: Routine = makeLookup("aes_restore", INVERSE);

const permute = (x: Expr, from: (i: number) => number): Expr =>
  opWith("i8x16.shuffle", bytesOf(Array.from({ length: 16 }, (_, i) => from(i))), x, x);

/** Byte i is row i % 4 of column i / 4; row r moves by r columns. `x` is a kept value. */
export const shiftRows = (x: Expr): Expr => permute(x, (i) => (i + 4 * (i % 4)) % 16);
export const restoreRows = (x: Expr): Expr => permute(x, (i) => (i + 12 * (i % 4)) % 16);

/** Each column's bytes moved up by `by` rows. */
const turn = (x: Expr, by: number): Expr => permute(x, (i) => (i & ~3) | ((i + by) & 3));
const timesXLanes = (x: Expr): Expr =>
  op(
    "v128.xor",
    op("i8x16.shl", x, 1),
    op("v128.and", op("i8x16.shr_s", x, 7), v128(0x1b1b1b1b_1b1b1b1b_1b1b1b1b_1b1b1b1bn)),
  );
const xor = (x: Expr, y: Expr): Expr => op("v128.xor", x, y);

/** 2 a + 3 b + c + d, for each byte a of a column and the following b, c, d. */
function mixed(b: Builder, x: Expr): Expr {
  const next = b.keep(turn(x, 1));
  const doubled = timesXLanes(b.keep(xor(x, next)));
  return xor(xor(doubled, next), xor(turn(x, 2), turn(x, 3)));
}
export const mixColumns: Routine = routine("aes_mix", ["v128"], "v128", (b, x) => b.return(mixed(b, x)));
/** The inverse is the same after 4 (a + c) was added to each byte. */
export const restoreColumns: Routine = routine("aes_restore_columns", ["v128"], "v128", (b, x) => {
  const sum = b.keep(xor(x, turn(x, 2)));
  const four = timesXLanes(b.keep(timesXLanes(sum)));
  b.return(mixed(b, b.keep(xor(x, four))));
});
