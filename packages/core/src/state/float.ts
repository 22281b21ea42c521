/**
 * Floating-point numbers in CBOR's three widths (RFC 8949, 3.3 and appendix D): the shortest that holds a value exactly.
 * NaN is one value, the half-precision 0x7E00.
 */

const HALF = 0xf9;
const SINGLE = 0xfa;
const DOUBLE = 0xfb;

/** The initial byte and the value. */
export function shortestFloat(value: number): Uint8Array {
  const half = encodeHalf(value);
  if (half !== undefined) return Uint8Array.of(HALF, half >> 8, half & 0xff);
  const single = Math.fround(value) === value;
  const out = new Uint8Array(single ? 5 : 9);
  const view = new DataView(out.buffer);
  out[0] = single ? SINGLE : DOUBLE;
  if (single) view.setFloat32(1, value);
  else view.setFloat64(1, value);
  return out;
}

export function decodeHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function encodeHalf(value: number): number | undefined {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude === 0) return sign;
  if (magnitude === Number.POSITIVE_INFINITY) return sign | 0x7c00;
  if (magnitude > 65504) return undefined;
  let exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  if (2 ** exponent > magnitude && exponent > -14) exponent--;
  const significand = magnitude * 2 ** (10 - exponent);
  if (!Number.isInteger(significand) || significand >= 2048) return undefined;
  return sign | (significand < 1024 ? significand : ((exponent + 15) << 10) | (significand - 1024));
}
