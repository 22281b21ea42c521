/**
 * The record of one instruction: everything this project knows about it, in one place. Decoder, interpreter,
 * evaluator, disassembler, CPUID and the support table are made from records.
 *
 * A form is "ENCODING | OPERANDS | ATTRIBUTES" in the manual's notation (SDM vol. 2, 3.1.1 and appendix A):
 *   encoding   VEX (a VEX prefix with L = 0), mandatory prefix NP 66 F3 F2 (none: any; NFx: neither F2 nor F3), W0 W1 (REX.W), opcode bytes, then /r (ModRM), /0../7 (ModRM
 *              with that reg field), =C8 (this ModRM byte), +r (register in the opcode's low three bits)
 *   operands   type letter and size, comma separated
 *     E G M R   ModRM r/m (register or memory), ModRM reg, memory only, r/m register only: general registers
 *     B         general register in VEX.vvvv
 *     V W U     XMM: ModRM reg, r/m, r/m register only          P Q N   MMX likewise
 *     S C D     segment, control, debug register in ModRM reg    Z      general register in the opcode
 *     I J O A   immediate, relative branch, absolute offset (moffs), far pointer     F  ST(i) in r/m
 *     sizes     b w d q v(16/32/64) z(16/32) y(32/64) x(128) t(80) s(512 and other areas: no size)
 *     Ibs       an 8-bit immediate, sign-extended; Ib zero-extended; Iz sign-extended to the operand size
 *     fixed     AL CL AX DX rAX(v) 1 and ES CS SS DS FS GS
 *   attributes  o64 only in 64-bit mode, i64 invalid there, d64 operand size 64 by default there (66 gives 16),
 *               f64 always 64 there, lock LOCK allowed with a memory destination, locks as if it were always there with
 *               one, nob only without REX.B
 */
import type { Feature } from "../cpu/features.ts";
import type { Semantics } from "./semantics.ts";

export type { Feature } from "../cpu/features.ts";

export interface InstructionRecord {
  /** Lower case, as the manual's mnemonic. */
  readonly name: string;
  readonly forms: readonly string[];
  readonly feature: Feature;
  /** What the instruction does, built once for each shape of operands. */
  readonly semantics: (s: Semantics) => void;
  /** Ends a block: the semantics set RIP by `jump`, `fallThrough` or a routine, in every path that does not fault. */
  readonly ends?: boolean;
  /** Properties besides the operands that the semantics depend on: a handler is made for each value. */
  readonly uses?: readonly ("osz" | "asz" | "mode" | "rep")[];
  /** With no operand in memory its micro-ops hold an address all the same, or a second immediate. */
  readonly isLong?: boolean;
  /** What is missing, one sentence, for docs/reference/instructions.md. */
  readonly partly?: string;
  /** Mnemonic by operand size 16, 32, 64, where it differs (e.g. movsw, movsd, movsq). */
  readonly names?: readonly [string, string, string];
}

export const RECORDS: InstructionRecord[] = [];

/** Registers an instruction. Order does not matter; two forms must not claim the same encoding. */
export function define(record: InstructionRecord): void {
  RECORDS.push(record);
}
