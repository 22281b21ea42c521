// Masks of the x87's transcendental instructions, whose last bit the manual leaves to the processor, and whose result is
// undefined outside their domain.

import type { Mask, MaskContext } from "./masks.ts";
import { FXSAVE } from "./subject.ts";

const TRANSCENDENTAL = ["fsin", "fcos", "fsincos", "fptan", "fpatan", "f2xm1", "fyl2x", "fyl2xp1"];

/** Neighbours among 80-bit numbers of one sign. */
function areNeighbours(host: bigint | string, subject: bigint | string): boolean {
  const [a, b] = [host, subject].map((value) => {
    const bits = BigInt(value);
    const exponent = (bits >> 64n) & 0x7fffn;
    // Counted without the integer bit, significands follow one another.
    return { sign: bits >> 79n, exponent, count: (exponent << 63n) | (bits & ((1n << 63n) - 1n)) };
  });
  const distance = a!.count - b!.count;
  return a!.sign === b!.sign && a!.exponent !== 0x7fffn && b!.exponent !== 0x7fffn && distance >= -1n && distance <= 1n;
}

/** ST(0) of the input beyond a bound. */
const isBeyond =
  (limits: { readonly positive: readonly [bigint, bigint]; readonly negative: readonly [bigint, bigint] }) =>
  ({ input }: MaskContext): boolean => {
    const view = new DataView(input.fxsave.buffer, input.fxsave.byteOffset, 512);
    const signExponent = BigInt(view.getUint16(FXSAVE.ST + 8, true));
    const [exponent, significand] = signExponent & 0x8000n ? limits.negative : limits.positive;
    const magnitude = ((signExponent & 0x7fffn) << 64n) | view.getBigUint64(FXSAVE.ST, true);
    return magnitude > ((exponent << 64n) | significand);
  };

export const X87_MASKS: readonly Mask[] = [
  {
    mnemonics: TRANSCENDENTAL,
    fields: ["ST0", "ST1"],
    sentence:
      "With the Pentium processor and later, the worst case error on transcendental functions is less than 1 ulp when rounding to the nearest (even) and less than 1.5 ulps when rounding in other modes (volume 1, 8.3.10).",
    accept: areNeighbours,
  },
  {
    mnemonics: TRANSCENDENTAL,
    fields: ["C1"],
    sentence: "C1: Set if result was rounded up; cleared otherwise. (Of two results one ulp apart one is.)",
  },
  {
    mnemonics: ["f2xm1"],
    fields: ["ST0", "FSW", "C1"],
    sentence:
      "The source operand is located in register ST(0) and the result is also stored in ST(0). The value of the source operand must lie in the range -1.0 to +1.0. If the source value is outside this range, the result is undefined.",
    when: isBeyond({ positive: [0x3fffn, 1n << 63n], negative: [0x3fffn, 1n << 63n] }),
  },
  {
    mnemonics: ["fyl2xp1"],
    fields: ["ST0", "FSW", "C1"],
    sentence:
      "If the ST(0) operand is outside its acceptable range, the result is undefined and software should not rely on an exception being generated.",
    // 1 - sqrt(2) / 2 on the negative side, sqrt(2) - 1 on the other.
    when: isBeyond({ positive: [0x3ffdn, 0xd413cccfe7799211n], negative: [0x3ffdn, 0x95f619980c4336f7n] }),
  },
];
