// What the manual leaves undefined, and so cannot be compared: one record per mnemonic and field, each with the
// sentence of the Intel SDM (volume 2 unless named) that makes it so. A mask holds only for instructions that
// complete: one that faults has changed nothing. Where a bound exists instead of a value, `accept` checks the bound.

import type { Instruction } from "iced-x86";
import type { CpuCase, CpuResult } from "./subject.ts";
import { X87_MASKS } from "./x87-masks.ts";

/** One instruction of a case, decoded as far as masks need it. */
export interface MaskContext {
  readonly mnemonic: string;
  /** iced's Code name. */
  readonly codeName: string;
  readonly input: CpuCase;
  readonly host: CpuResult;
  /** What `read` finds in the decoded instruction. */
  readonly decoded: <T>(read: (instruction: Instruction) => T) => T;
  /** Width of the first operand in bits. */
  readonly operandBits: () => number;
  /** Shift or rotate count before masking: the immediate or CL. */
  readonly count: () => number;
  /** Name of the field that operand `n` is, when it is a whole register. */
  readonly operandField: (n: number) => string | null;
}

export interface Mask {
  readonly mnemonics: readonly string[] | RegExp;
  /** Names from fields.ts; "operand 0" stands for the register that the first operand names. */
  readonly fields: readonly string[];
  readonly sentence: string;
  readonly when?: (context: MaskContext) => boolean;
  /** The values must still satisfy this. */
  readonly accept?: (host: bigint | string, subject: bigint | string, context: MaskContext) => boolean;
}

const maskedCount = (context: MaskContext): number => context.count() & (context.operandBits() === 64 ? 63 : 31);

/** 1.5 * 2^-12, the bound of RCPPS and RSQRTPS; both sides may err in opposite directions. */
const APPROXIMATION_ERROR = 2 * 1.5 * 2 ** -12;

function lanesAreClose(host: bigint | string, subject: bigint | string): boolean {
  const words = new Uint32Array(2);
  const floats = new Float32Array(words.buffer);
  for (let lane = 0n; lane < 4n; lane++) {
    words[0] = Number((BigInt(host) >> (lane * 32n)) & 0xffff_ffffn);
    words[1] = Number((BigInt(subject) >> (lane * 32n)) & 0xffff_ffffn);
    const [a, b] = [floats[0]!, floats[1]!];
    const isSpecial = !Number.isFinite(a) || a === 0;
    if (isSpecial ? words[0] !== words[1] : !(Math.abs(a - b) <= Math.abs(a) * APPROXIMATION_ERROR)) return false;
  }
  return true;
}

/** x87 instructions that are not "control" ones: those that may move the operand pointer and the opcode. */
const X87_NON_CONTROL = /^f(?!xsave|xrstor|n(?!op)|ldcw|ldenv|rstor)/;

export const MASKS: readonly Mask[] = [
  {
    mnemonics: ["and", "or", "xor", "test"],
    fields: ["AF"],
    sentence: "The state of the AF flag is undefined.",
  },
  {
    mnemonics: ["shl", "sal", "shr", "sar"],
    fields: ["AF"],
    sentence: "For a non-zero count, the AF flag is undefined.",
    when: (context) => maskedCount(context) !== 0,
  },
  {
    mnemonics: ["shl", "sal", "shr", "sar"],
    fields: ["OF"],
    sentence: "The OF flag is affected only for 1-bit shifts (see 'Description' above); otherwise, it is undefined.",
    when: (context) => maskedCount(context) > 1,
  },
  {
    mnemonics: ["shl", "sal", "shr"],
    fields: ["CF"],
    sentence:
      "The CF flag contains the value of the last bit shifted out of the destination operand; it is undefined for SHL and SHR instructions where the count is greater than or equal to the size (in bits) of the destination operand.",
    when: (context) => maskedCount(context) >= context.operandBits(),
  },
  {
    mnemonics: ["rol", "ror", "rcl", "rcr"],
    fields: ["OF"],
    sentence:
      "The OF flag is defined only for the 1-bit rotates; it is undefined in all other cases (except that a zero-bit rotate does nothing, that is affects no flags).",
    when: (context) => maskedCount(context) > 1,
  },
  {
    mnemonics: ["shld", "shrd"],
    fields: ["AF"],
    sentence: "If a shift occurs, the AF flag is undefined.",
    when: (context) => maskedCount(context) !== 0,
  },
  {
    mnemonics: ["shld", "shrd"],
    fields: ["OF"],
    sentence: "For shifts greater than 1 bit, the OF flag is undefined.",
    when: (context) => maskedCount(context) > 1,
  },
  {
    mnemonics: ["shld", "shrd"],
    fields: ["operand 0", "memory", "CF", "PF", "AF", "ZF", "SF", "OF"],
    sentence: "If the count is greater than the operand size, the result is undefined.",
    when: (context) => maskedCount(context) > context.operandBits(),
  },
  {
    mnemonics: ["mul", "imul"],
    fields: ["SF", "ZF", "AF", "PF"],
    sentence: "The SF, ZF, AF, and PF flags are undefined.",
  },
  {
    mnemonics: ["div", "idiv"],
    fields: ["CF", "OF", "SF", "ZF", "AF", "PF"],
    sentence: "The CF, OF, SF, ZF, AF, and PF flags are undefined.",
  },
  {
    mnemonics: ["bt", "bts", "btr", "btc"],
    fields: ["OF", "SF", "AF", "PF"],
    sentence: "The OF, SF, AF, and PF flags are undefined.",
  },
  {
    mnemonics: ["bsf", "bsr"],
    fields: ["CF", "OF", "SF", "AF", "PF"],
    sentence: "The CF, OF, SF, AF, and PF flags are undefined.",
  },
  {
    mnemonics: ["bsf", "bsr"],
    fields: ["operand 0"],
    sentence: "If the content of the source operand is 0, the content of the destination operand is undefined.",
    when: ({ host }) => (host.rflags & 0x40n) !== 0n,
  },
  {
    mnemonics: ["andn", "blsi", "blsmsk", "blsr", "bzhi"],
    fields: ["AF", "PF"],
    sentence: "AF and PF flags are undefined.",
  },
  {
    mnemonics: ["bextr"],
    fields: ["AF", "SF", "PF"],
    sentence: "AF, SF, and PF are undefined.",
  },
  {
    mnemonics: ["tzcnt", "lzcnt"],
    fields: ["OF", "SF", "PF", "AF"],
    sentence: "OF, SF, PF, and AF flags are undefined.",
  },
  {
    mnemonics: ["bswap"],
    fields: ["operand 0"],
    sentence: "When the BSWAP instruction references a 16-bit register, the result is undefined.",
    when: ({ codeName }) => codeName === "Bswap_r16",
  },
  {
    mnemonics: ["rcpps", "rcpss", "rsqrtps", "rsqrtss"],
    fields: ["operand 0"],
    sentence: "The relative error for this approximation is: |Relative Error| <= 1.5 * 2^-12.",
    accept: lanesAreClose,
  },
  {
    mnemonics: X87_NON_CONTROL,
    fields: ["FOP"],
    sentence:
      "If FOP code compatibility mode is disabled (default), FOP is only valid if the last non-transparent FP instruction executed before a FSAVE/FSTENV/FXSAVE had an unmasked exception (volume 1, 8.1.9.1).",
  },
  {
    mnemonics: X87_NON_CONTROL,
    fields: ["FDP"],
    sentence:
      "FDP_EXCPTN_ONLY. x87 FPU Data Pointer updated only on x87 exceptions if 1 (CPUID leaf 7, EBX bit 6; the host's, or the model's).",
  },
  {
    mnemonics: ["lar"],
    fields: ["operand 0"],
    sentence:
      "The access rights are masked with 00FxFF00H, where x indicates that the four corresponding bits are undefined.",
    accept: (host, subject) =>
      (BigInt(host) ^ BigInt(subject)) >> 20n === 0n && (BigInt(host) ^ BigInt(subject)) % 0x1_0000n === 0n,
  },
  ...X87_MASKS,
];

export function masksOf(mnemonic: string): readonly Mask[] {
  return MASKS.filter(({ mnemonics }) =>
    mnemonics instanceof RegExp ? mnemonics.test(mnemonic) : mnemonics.includes(mnemonic),
  );
}
