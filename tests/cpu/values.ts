// Operand values where instructions break: zeros, ones, sign bits, powers of two and their neighbours, shift counts
// around the widths; for floating point zeros, denormals, the largest and smallest normals, infinities, quiet and
// signalling NaNs, halves for the rounding modes and the limits of the integer conversions.

import type { Random } from "./random.ts";

const MASK64 = (1n << 64n) - 1n;
const INTEGERS: readonly bigint[] = [
  0n,
  1n,
  2n,
  3n,
  0x7fn,
  0x80n,
  0x81n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x1_0000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0x8000_0000_0000_0001n,
  MASK64 - 1n,
  MASK64,
  0x0f0f_0f0f_0f0f_0f0fn,
  0x8080_8080_8080_8080n,
  0x7f7f_7f7f_7f7f_7f7fn,
  0x8000_8000_8000_8000n,
  0x7fff_7fff_7fff_7fffn,
  0x8000_0000_8000_0000n,
  0x7fff_ffff_7fff_ffffn,
  0x9999_9999_9999_9999n,
];

export function integer64(random: Random): bigint {
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2:
      return random.pick(INTEGERS);
    case 3: {
      const power = 1n << BigInt(random.below(64));
      return BigInt.asUintN(64, power + BigInt(random.below(3) - 1));
    }
    case 4:
      return BigInt(random.below(100));
    case 5:
      return BigInt.asUintN(64, BigInt(random.uint32() | 0));
    default:
      return random.uint64();
  }
}

export const SHIFT_COUNTS: readonly number[] = [
  0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 18, 24, 31, 32, 33, 34, 47, 48, 63, 64, 65, 96, 127, 128, 129, 255,
];

const FLOAT32: readonly number[] = [
  0x0000_0000, 0x8000_0000, 0x0000_0001, 0x8000_0001, 0x007f_ffff, 0x807f_ffff, 0x0080_0000, 0x8080_0000, 0x7f7f_ffff,
  0xff7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7fc1_2345, 0x7f80_0001, 0xff80_0001, 0x7fbf_ffff,
  0x3f80_0000, 0xbf80_0000, 0x3f00_0000, 0xbf00_0000, 0x3fc0_0000, 0x4020_0000, 0x3f7f_ffff, 0x3f80_0001, 0x4f00_0000,
  0xcf00_0000, 0x4eff_ffff, 0x4f00_0001, 0x5f00_0000, 0xdf00_0000, 0x5eff_ffff, 0x4b00_0000, 0x4b00_0001, 0x3380_0000,
];

const FLOAT64: readonly bigint[] = [
  0x0000_0000_0000_0000n,
  0x8000_0000_0000_0000n,
  0x0000_0000_0000_0001n,
  0x800f_ffff_ffff_ffffn,
  0x0010_0000_0000_0000n,
  0x8010_0000_0000_0000n,
  0x7fef_ffff_ffff_ffffn,
  0xffef_ffff_ffff_ffffn,
  0x7ff0_0000_0000_0000n,
  0xfff0_0000_0000_0000n,
  0x7ff8_0000_0000_0000n,
  0xfff8_0000_0000_0000n,
  0x7ff8_1234_5678_9abcn,
  0x7ff0_0000_0000_0001n,
  0xfff7_ffff_ffff_ffffn,
  0x3ff0_0000_0000_0000n,
  0xbff0_0000_0000_0000n,
  0x3fe0_0000_0000_0000n,
  0xbfe0_0000_0000_0000n,
  0x3ff8_0000_0000_0000n,
  0x4004_0000_0000_0000n,
  0x3fef_ffff_ffff_ffffn,
  0x41df_ffff_ffc0_0000n,
  0x41df_ffff_ffe0_0000n,
  0x41e0_0000_0000_0000n,
  0xc1e0_0000_0000_0000n,
  0xc1e0_0000_0010_0000n,
  0x43df_ffff_ffff_ffffn,
  0x43e0_0000_0000_0000n,
  0xc3e0_0000_0000_0000n,
  0x36a0_0000_0000_0000n,
  0x380f_ffff_ffff_ffffn,
  0x47ef_ffff_f000_0000n,
  0x4330_0000_0000_0001n,
];

/** Sign and exponent, significand. */
const FLOAT80: readonly (readonly [number, bigint])[] = [
  [0x0000, 0n],
  [0x8000, 0n],
  [0x0000, 1n],
  [0x8000, 0x7fff_ffff_ffff_ffffn],
  [0x0000, 0x8000_0000_0000_0000n],
  [0x0001, 0x8000_0000_0000_0000n],
  [0x7ffe, MASK64],
  [0x7fff, 0x8000_0000_0000_0000n],
  [0xffff, 0x8000_0000_0000_0000n],
  [0x7fff, 0xc000_0000_0000_0000n],
  [0xffff, 0xc000_0000_0000_0000n],
  [0x7fff, 0x8000_0000_0000_0001n],
  [0x7fff, 0xdead_beef_0000_0001n],
  [0x3fff, 0x8000_0000_0000_0000n],
  [0xbfff, 0x8000_0000_0000_0000n],
  [0x3ffe, 0x8000_0000_0000_0000n],
  [0x3fff, 0x8000_0000_0000_0001n],
  [0x3ffe, MASK64],
  [0x401e, 0x8000_0000_0000_0000n],
  [0xc03e, 0x8000_0000_0000_0000n],
  [0x403d, MASK64],
  [0x4000, 0xc90f_daa2_2168_c235n],
  [0x3ffe, 0x8000_0000_0000_0001n],
  [0xbffe, 0xb504_f333_f9de_6485n],
  [0x3ffd, 0xd413_cccf_e779_9211n],
  [0x403e, 0x8000_0000_0000_0000n],
  [0xc03d, 0x8000_0000_0000_0001n],
  [0x0001, MASK64],
  [0x8001, 0x8000_0000_0000_0001n],
  [0x3fbe, 0x8000_0000_0000_0000n],
  [0x7fff, 0x9fff_ffff_ffff_ffffn],
];
/** Encodings that only the 8087 and 287 knew: unnormals, pseudo-infinities, pseudo-NaNs; and pseudo-denormals. */
const FLOAT80_UNSUPPORTED: readonly (readonly [number, bigint])[] = [
  [0x3fff, 0x4000_0000_0000_0000n],
  [0xbfff, 0x0000_0000_0000_0001n],
  [0x4004, 0n],
  [0x0001, 0x7fff_ffff_ffff_ffffn],
  [0x7fff, 0n],
  [0xffff, 0n],
  [0x7fff, 0x4000_0000_0000_0001n],
  [0xffff, 0x3fff_ffff_ffff_ffffn],
  [0x8000, 0x8000_0000_0000_0001n],
  [0x0000, 0xc000_0000_0000_0000n],
];

export type ElementType = "int8" | "int16" | "int32" | "int64" | "float32" | "float64" | "float80" | "bcd80" | "raw";

/** Fills `target` with elements of a type; vectors get equal neighbours now and then. */
export function fillElements(target: Uint8Array, type: ElementType, random: Random): void {
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  const length = target.length;
  if (type === "raw") {
    for (let i = 0; i < length; i++) target[i] = random.below(256);
  } else if (type === "float80" || type === "bcd80") {
    for (let at = 0; at + 10 <= length; at += 10) {
      if (type === "float80") setFloat80(view, at, random);
      else setBcd80(target, at, random);
    }
  } else {
    const size = { int8: 1, int16: 2, int32: 4, int64: 8, float32: 4, float64: 8 }[type];
    for (let at = 0; at + size <= length; at += size) {
      if (size === 4)
        view.setUint32(at, type === "float32" ? float32(random) : Number(integer64(random) & 0xffff_ffffn), true);
      else if (size === 8) view.setBigUint64(at, type === "float64" ? float64(random) : integer64(random), true);
      else if (size === 2) view.setUint16(at, Number(integer64(random) & 0xffffn), true);
      else target[at] = Number(integer64(random) & 0xffn);
    }
    for (let at = length & ~(size - 1); at < length; at++) target[at] = random.below(256);
  }
}

export function float32(random: Random): number {
  switch (random.below(4)) {
    case 0:
    case 1:
      return random.pick(FLOAT32);
    case 2:
      // Near one another, so that sums cancel and products stay in range.
      return ((random.below(2) << 31) | ((117 + random.below(20)) << 23) | (random.uint32() >>> 9)) >>> 0;
    default:
      return random.uint32();
  }
}

export function float64(random: Random): bigint {
  switch (random.below(4)) {
    case 0:
    case 1:
      return random.pick(FLOAT64);
    case 2:
      return (BigInt(random.below(2)) << 63n) | (BigInt(1013 + random.below(20)) << 52n) | (random.uint64() >> 12n);
    default:
      return random.uint64();
  }
}

export function setFloat80(view: DataView, at: number, random: Random): void {
  let [exponent, significand] = random.oneIn(25) ? random.pick(FLOAT80_UNSUPPORTED) : random.pick(FLOAT80);
  if (random.oneIn(3)) {
    exponent = (random.below(2) << 15) | (16373 + random.below(20));
    significand = random.uint64() | (1n << 63n);
  } else if (random.oneIn(5)) {
    exponent = random.below(0x1_0000);
    significand = random.uint64() | ((exponent & 0x7fff) === 0 ? 0n : 1n << 63n);
  } else if (random.oneIn(8)) {
    // An integer or a half, or a significand of 24 or 53 bits and what is around its halves.
    exponent = (random.below(2) << 15) | (16382 + random.below(66));
    significand = (1n << 63n) | (random.uint64() << BigInt(random.pick([63, 62, 48, 40, 39, 11, 10])));
    significand = BigInt.asUintN(64, significand + BigInt(random.below(3) - 1)) | (1n << 63n);
  }
  view.setBigUint64(at, significand, true);
  view.setUint16(at + 8, exponent, true);
}

function setBcd80(target: Uint8Array, at: number, random: Random): void {
  const digits = 1 + random.below(9);
  for (let i = 0; i < 9; i++) target[at + i] = i < digits ? (random.below(10) << 4) | random.below(10) : 0;
  target[at + 9] = random.below(2) << 7;
}
