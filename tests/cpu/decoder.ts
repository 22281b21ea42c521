// Compares a decoder with iced: is it an instruction, how long, which mnemonic and operands.
//
// Byte strings are half uniformly random, half valid encodings with a byte or two changed. iced knows every
// instruction there is; one whose CPUID features the model lacks must be invalid, unless older CPUs gave its bytes
// another meaning (a reserved NOP, BSF for TZCNT), which is then what is expected.

import * as iced from "iced-x86";
import { type CpuMode, formatInstruction } from "./disassembly.ts";
import { encodeForm } from "./encode.ts";
import { allForms } from "./forms.ts";
import { Random } from "./random.ts";

const { Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, Instruction } = iced;

export const STRING_LENGTH = 16;
const MAX_LENGTH = 15;
/** Where strings are decoded: the relative branches' base. */
export const DECODE_IP = 0x1234_5678n;

export interface Decoded {
  readonly length: number;
  /** In the format of disassembly.ts. */
  readonly text: string;
}

/** The decoder under test; null where the bytes raise #UD. `bytes` holds 16, `ip` is the first one's address. */
export type DecodeFunction = (bytes: Uint8Array, mode: CpuMode, ip: bigint) => Decoded | null;

/** `count` strings of STRING_LENGTH bytes each, one after the other. */
export function randomStrings(seed: number | string, count: number): Uint8Array {
  const random = new Random(seed);
  const forms = allForms();
  const strings = random.bytes(count * STRING_LENGTH);
  for (let i = 0; i < count; i += 2) {
    const code = encodeForm(random.pick(forms), random, { prefixes: random.oneIn(2) });
    const string = strings.subarray(i * STRING_LENGTH, (i + 1) * STRING_LENGTH);
    string.set(code.subarray(0, STRING_LENGTH));
    for (let change = random.below(3); change > 0; change--)
      string[random.below(Math.min(6, code.length))] = random.below(256);
  }
  return strings;
}

/** What iced says about each string, for a model with these features. */
export class DecoderOracle {
  private readonly features: ReadonlySet<string>;
  private readonly instruction = new Instruction();
  private readonly without: readonly RegExp[];
  private readonly known = new Map<number, boolean>();

  /** `without`: iced's Code names that the model lacks although it has their features. */
  constructor(features: ReadonlySet<string>, without: readonly RegExp[] = []) {
    this.features = features;
    this.without = without;
  }

  *expectations(strings: Uint8Array, mode: CpuMode): Generator<Decoded | null> {
    const options =
      (this.features.has("BMI1") ? 0 : DecoderOptions.NoMPFX_0FBC) |
      (this.features.has("LZCNT") ? 0 : DecoderOptions.NoMPFX_0FBD) |
      (this.features.has("WBNOINVD") ? 0 : DecoderOptions.NoWbnoinvd);
    // The decoder may look at 15 bytes of the last string, and no further.
    const decoder = new Decoder(mode, strings, options);
    const older = new Decoder(mode, strings, options | DecoderOptions.ForceReservedNop);
    try {
      for (let at = 0; at < strings.length; at += STRING_LENGTH) {
        yield this.decode(decoder, at, mode) ?? this.decodeReservedNop(older, at, mode);
      }
    } finally {
      decoder.free();
      older.free();
    }
  }

  private decode(decoder: iced.Decoder, at: number, mode: CpuMode): Decoded | null {
    const { instruction } = this;
    decoder.position = at;
    decoder.ip = DECODE_IP;
    decoder.decodeOut(instruction);
    if (instruction.isInvalid || instruction.length > MAX_LENGTH || !this.isImplemented(instruction)) return null;
    return { length: instruction.length, text: formatInstruction(instruction, mode) };
  }

  private decodeReservedNop(decoder: iced.Decoder, at: number, mode: CpuMode): Decoded | null {
    const decoded = this.decode(decoder, at, mode);
    return decoded !== null && Code[this.instruction.code]!.startsWith("Reservednop") ? decoded : null;
  }

  private isImplemented(instruction: iced.Instruction): boolean {
    const { code } = instruction;
    let isKnown = this.known.get(code);
    if (isKnown === undefined) {
      isKnown =
        (instruction.encoding === EncodingKind.Legacy || instruction.encoding === EncodingKind.VEX) &&
        Array.from(instruction.cpuidFeatures()).every((feature) => this.features.has(CpuidFeature[feature]!)) &&
        !this.without.some((pattern) => pattern.test(Code[code]!));
      this.known.set(code, isKnown);
    }
    return isKnown;
  }
}

export interface DecoderReport {
  readonly strings: number;
  readonly valid: number;
  readonly mismatches: number;
  readonly details: readonly string[];
}

const DETAILED_MISMATCHES = 40;

/** Decodes `count` strings both ways. `features` are iced's names of what the model has. */
export function compareDecoders(options: {
  readonly decode: DecodeFunction;
  readonly features: ReadonlySet<string>;
  readonly without?: readonly RegExp[];
  readonly mode: CpuMode;
  readonly seed: number | string;
  readonly count: number;
}): DecoderReport {
  const { decode, mode } = options;
  const strings = randomStrings(`${options.seed} ${mode}`, options.count);
  const details: string[] = [];
  const seen = new Map<string, number>();
  let valid = 0;
  let mismatches = 0;
  let at = 0;
  for (const expected of new DecoderOracle(options.features, options.without).expectations(strings, mode)) {
    const bytes = strings.subarray(at, at + STRING_LENGTH);
    at += STRING_LENGTH;
    const actual = decode(bytes, mode, DECODE_IP);
    if (expected !== null) valid++;
    if (expected?.length === actual?.length && expected?.text === actual?.text) continue;
    mismatches++;
    // One of a kind is enough to look at.
    const kind = `${firstWord(expected)} ${firstWord(actual)}`;
    const count = (seen.get(kind) ?? 0) + 1;
    seen.set(kind, count);
    if (count === 1 && details.length < DETAILED_MISMATCHES) details.push(describe(bytes, mode, expected, actual));
  }
  return { strings: options.count, valid, mismatches, details };
}

function firstWord(decoded: Decoded | null): string {
  return decoded === null ? "(invalid)" : (decoded.text.split(" ", 1)[0] ?? "");
}

function describe(bytes: Uint8Array, mode: CpuMode, expected: Decoded | null, actual: Decoded | null): string {
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const show = (decoded: Decoded | null): string =>
    decoded === null ? "invalid" : `${decoded.length} bytes: ${decoded.text}`;
  return `${mode} bit  ${hex}\n  iced  ${show(expected)}\n  ours  ${show(actual)}`;
}
