// What the x87's transcendental functions truly are, to 300 bits, in floating point on big integers. Nothing here is
// shared with the CPU's code; pi comes from Machin's formula, arctangents from angles halved four times.

/** m * 2^e. */
export interface Big {
  readonly m: bigint;
  readonly e: number;
}
const PRECISION = 320;

const bitLength = (m: bigint): number => (m === 0n ? 0 : (m < 0n ? -m : m).toString(2).length);
const shifted = (m: bigint, by: number): bigint => (by >= 0 ? m << BigInt(by) : m >> BigInt(-by));
function big(m: bigint, e: number): Big {
  const over = bitLength(m) - PRECISION;
  return over > 64 ? { m: shifted(m, -over), e: e + over } : { m, e };
}
export const of = (m: bigint | number, e = 0): Big => big(BigInt(m), e);
export const negated = (x: Big): Big => ({ m: -x.m, e: x.e });
export const times = (x: Big, y: Big): Big => big(x.m * y.m, x.e + y.e);
export function plus(x: Big, y: Big): Big {
  if (x.m === 0n) return y;
  if (y.m === 0n) return x;
  const [a, b] = x.e >= y.e ? [x, y] : [y, x];
  const gap = a.e - b.e;
  // What is far below the other's last bit does not count.
  if (gap > 3 * PRECISION) {
    return a.e + bitLength(a.m) > b.e + bitLength(b.m) + 2 * PRECISION ? a : big((a.m << BigInt(gap)) + b.m, b.e);
  }
  return big((a.m << BigInt(gap)) + b.m, b.e);
}
export const minus = (x: Big, y: Big): Big => plus(x, negated(y));
export function over(x: Big, y: Big): Big {
  const up = Math.max(0, PRECISION + bitLength(y.m) - bitLength(x.m));
  return big((x.m << BigInt(up)) / y.m, x.e - y.e - up);
}
export const magnitude = (x: Big): number => (x.m === 0n ? Number.NEGATIVE_INFINITY : bitLength(x.m) + x.e);
/** To 256 bits, to nearest. */
export function rounded(x: Big): Big {
  const over = bitLength(x.m) - 256;
  return over <= 0 ? x : { m: (x.m + (1n << BigInt(over - 1))) >> BigInt(over), e: x.e + over };
}
const half = (x: Big, times = 1): Big => ({ m: x.m, e: x.e - times });

/** Sum of the terms that `next` makes of the one before, until they no longer count. */
function sum(first: Big, next: (term: Big, k: bigint) => Big): Big {
  let [total, term] = [first, first];
  for (let k = 1n; term.m !== 0n && magnitude(term) > magnitude(first) - PRECISION; k++) {
    term = next(term, k);
    total = plus(total, term);
  }
  return total;
}

/** arctan(1 / n) * 2^bits */
function inverseArctangent(n: bigint, bits: bigint): bigint {
  let [total, term] = [0n, (1n << bits) / n];
  for (let k = 0n; term !== 0n; k++) {
    total += (k % 2n === 0n ? term : -term) / (2n * k + 1n);
    term /= n * n;
  }
  return total;
}
/** Machin's formula. */
export const PI: Big = of((16n * inverseArctangent(5n, 400n) - 4n * inverseArctangent(239n, 400n)) >> 16n, -384);
/** ln 2 = sum of 1 / (k 2^k). */
const LN_2: Big = of(
  Array.from({ length: 400 }, (_, k) => (1n << BigInt(400 - k - 1)) / BigInt(k + 1)).reduce((a, b) => a + b) >> 8n,
  -392,
);

/** e^x - 1 for |x| < 1. */
const exponentialLessOne = (x: Big): Big => sum(x, (term, k) => over(times(term, x), of(k + 1n)));
export const powerOfTwoLessOne = (x: Big): Big => exponentialLessOne(times(x, LN_2));

/** ln(1 + x), |x| < 1/2: of z = x / (2 + x). */
function naturalNearOne(x: Big): Big {
  const z = over(x, plus(of(2), x));
  const square = times(z, z);
  const series = sum(of(1n << BigInt(PRECISION), -PRECISION), (term, k) => {
    const scaled = times(term, of(2n * k - 1n));
    return over(times(scaled, square), of(2n * k + 1n));
  });
  return half(times(z, series), -1);
}
export const logarithmOfSum = (x: Big): Big => over(naturalNearOne(x), LN_2);
/** log2 of x > 0. */
export function logarithm(x: Big): Big {
  let power = magnitude(x);
  let m: Big = { m: x.m, e: x.e - power };
  // m is from 1/2 to 1: to 3/4 at least, so that the series converges.
  if (minus(m, of(3, -2)).m < 0n) [m, power] = [half(m, -1), power - 1];
  return plus(of(power), logarithmOfSum(minus(m, of(1))));
}

/** Sine and cosine of at most 1. */
export function sineAndCosine(x: Big): { readonly sine: Big; readonly cosine: Big } {
  const square = times(x, x);
  const alternate =
    (from: bigint) =>
    (term: Big, k: bigint): Big =>
      negated(over(times(term, square), of((2n * k + from) * (2n * k + from + 1n))));
  if (x.m === 0n) return { sine: x, cosine: of(1) };
  const sine = sum(x, alternate(0n));
  const cosine = plus(of(1), sum(negated(half(square)), alternate(1n)));
  return { sine, cosine };
}

function squareRoot(x: Big): Big {
  const up = 2 * PRECISION + (x.e % 2 === 0 ? 0 : 1);
  const m = x.m << BigInt(up);
  let root = 1n << BigInt((bitLength(m) >> 1) + 1);
  for (let next = (root + m / root) >> 1n; next < root; next = (root + m / root) >> 1n) root = next;
  return big(root, (x.e - up) / 2);
}

/** Arctangent of t, 0 < t <= 1: of a quarter of the angle four times. */
export function arctangent(t: Big): Big {
  let x = t;
  for (let i = 0; i < 4; i++) x = over(x, plus(of(1), squareRoot(plus(of(1), times(x, x)))));
  const square = times(x, x);
  const quarter = sum(x, (term, k) => {
    const scaled = times(term, of(2n * k - 1n));
    return negated(over(times(scaled, square), of(2n * k + 1n)));
  });
  return half(quarter, -4);
}
