// Cases in compatibility mode. Most are 64-bit cases whose bytes are the same instruction there: without REX, at the
// same addresses, since the window is below 4 GiB. The others are instructions that 64-bit mode does not have.

import * as iced from "iced-x86";
import { decodeCase } from "./decoded.ts";
import { whyNotComparable } from "./forms.ts";
import type { CaseAdapter, GeneratedCase } from "./generate.ts";
import { prepareUndecodable } from "./prepare.ts";
import { Random } from "./random.ts";
import { CODE_END, DATA_BASE, DATA_SIZE } from "./subject.ts";

const { Code, Decoder, DecoderOptions, Mnemonic, Register } = iced;

const STATES_PER_ENCODING = 40;
const EAX = 0;
const ESP = 4;
/** An address in the middle of the window, as bytes of an instruction: BOUND reads there. */
const IN_WINDOW = [0x08, 0x08, 0x00, 0x30];

/** Encodings that 64-bit mode does not have: decimal adjustment, PUSHA, POPA, INC, PUSH ES, ARPL, BOUND and so on. */
const LEGACY_ENCODINGS: readonly (readonly number[])[] = [
  ...[0x27, 0x2f, 0x37, 0x3f, 0xd6, 0xce].map((opcode) => [opcode]),
  ...[0, 1, 9, 10, 16, 255].flatMap((base) => [
    [0xd4, base],
    [0xd5, base],
  ]),
  ...[0x60, 0x61, 0x06, 0x0e, 0x16, 0x1e].flatMap((opcode) => [[opcode], [0x66, opcode]]),
  ...Array.from({ length: 16 }, (_, i) => [0x40 + i]),
  ...[0x43, 0x4d].map((opcode) => [0x66, opcode]),
  ...[0xd8, 0xd1, 0xc7, 0xfe].map((modrm) => [0x63, modrm]),
  [0x62, 0x05, ...IN_WINDOW],
  [0x66, 0x62, 0x05, ...IN_WINDOW],
  [0x82, 0xc0, 0x7f],
];

/** The cases among `cases` that can be tried in compatibility mode, and then those that only it has, all adapted. */
export function* compatibilityCases(
  cases: Iterable<GeneratedCase>,
  seed: number | string,
  adapt: CaseAdapter,
): Generator<GeneratedCase> {
  for (const made of everyCase(cases, seed)) {
    const adapted = adapt(made);
    if (adapted !== null) yield adapted;
  }
}

function* everyCase(cases: Iterable<GeneratedCase>, seed: number | string): Generator<GeneratedCase> {
  for (const made of cases) {
    if (made.form === null || !isSameIn32Bit(made)) continue;
    // Where the operand is then, nobody knows: 67h makes addresses 16 bits wide here, RIP-relative ones are absolute.
    const moves = made.input.code.includes(0x67) || decodeCase(made.input, (each) => each.isIpRelMemoryOperand);
    const operand = moves ? null : made.operand;
    yield { ...made, operand, input: { ...made.input, codeSize: 32 } };
  }
  yield* legacyCases(new Random(`${seed} legacy`), String(seed));
}

function isSameIn32Bit({ form, input }: GeneratedCase): boolean {
  const decoder = new Decoder(32, input.code, DecoderOptions.NoMPFX_0FBC | DecoderOptions.NoMPFX_0FBD);
  const instruction = decoder.decode();
  const { segmentPrefix } = instruction;
  // FS and GS have null selectors, which 64-bit mode alone can use; that CS cannot be written to is not modelled.
  const isSame =
    !instruction.isInvalid &&
    // With 16-bit addresses, hosts now and then report the second half's address for a fault of the first, and operands
    // are misaligned (prepare.ts).
    !(/^(maskmov|sha\d)/.test(form?.mnemonic ?? "") && input.code.includes(0x67)) &&
    instruction.length === input.code.length &&
    (Mnemonic[instruction.mnemonic] ?? "").toLowerCase() === form?.mnemonic &&
    !namesUpperRegisters(form, input.code) &&
    segmentPrefix !== Register.CS &&
    segmentPrefix !== Register.FS &&
    segmentPrefix !== Register.GS &&
    whyNotComparable(Code[instruction.code] ?? "") === null;
  instruction.free();
  decoder.free();
  return isSame;
}

/** A VEX prefix there whose B and vvvv name registers that 32-bit code does not have, and ignores. */
function namesUpperRegisters(form: GeneratedCase["form"], code: Uint8Array): boolean {
  if (form === null || form.vexW === null) return false;
  const at = code.indexOf(0xc4);
  return (code[at + 1] ?? 0) < 0xe0 || ((code[at + 2] ?? 0) & 0x40) === 0;
}

function* legacyCases(random: Random, seed: string): Generator<GeneratedCase> {
  let serial = 0;
  for (const bytes of LEGACY_ENCODINGS) {
    const code = Uint8Array.from(bytes);
    for (let i = 0; i < STATES_PER_ENCODING; i++) {
      const { rflags, gpr, fxsave } = prepareUndecodable(random);
      gpr[ESP] = DATA_BASE + BigInt(random.below(DATA_SIZE));
      gpr[EAX] = random.uint64();
      const origin = `seed ${seed} legacy case ${serial++}`;
      const rip = CODE_END - BigInt(code.length);
      yield {
        form: null,
        operand: null,
        input: { origin, code, rip, untilDone: false, codeSize: 32, rflags, gpr, fxsave, patches: [] },
      };
    }
  }
}
