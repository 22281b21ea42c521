// Cases for the CPU rig, form by form, from a seed: the same seed, count and filter give the same cases anywhere.
//
// Every selected form gets at least CASES_PER_FORM cases that decode to exactly it; the rest is shared out evenly.
// Prefixes may turn an encoding into another form, or into none (LOCK where it is not allowed, more than 15 bytes):
// those cases run too, but do not count for the form. What iced decodes to a form outside the filter is dropped,
// since the host may know instructions that the model does not have.

import * as iced from "iced-x86";
import { encodeForm, MAX_LENGTH } from "./encode.ts";
import { type Form, type FormFilter, selectForms, whyNotComparable } from "./forms.ts";
import { prepare, prepareUndecodable } from "./prepare.ts";
import { Random } from "./random.ts";
import { CODE_END, type CpuCase } from "./subject.ts";

const { Code, Decoder, DecoderOptions, Instruction } = iced;
export const CASES_PER_FORM = 10;
const MAX_ATTEMPTS = 200;

export interface GeneratedCase {
  readonly input: CpuCase;
  /** The form that the bytes are; null when they are none (an invalid encoding, a truncated one). */
  readonly form: Form | null;
  /** Where the explicit memory operand is; null without one. */
  readonly operand: { readonly address: bigint; readonly sizeBytes: number } | null;
}

export type CaseAdapter = (made: GeneratedCase) => GeneratedCase | null;

function operandSize({ memorySize }: iced.Instruction): number {
  return memorySize === iced.MemorySize.Unknown ? 1 : Math.max(1, iced.MemorySizeExt.size(memorySize));
}

/** A form of the filter for which no case could be made: a mistake in the rig or in the filter. */
export class FormNotReachable extends Error {
  readonly code = "FORM_NOT_REACHABLE";
}

export class CaseGenerator {
  readonly forms: readonly Form[];
  private readonly random: Random;
  private readonly seed: string;
  private readonly formOf = new Map<string, Form>();
  private readonly instruction = new Instruction();
  private readonly adapt: CaseAdapter;
  private readonly decoderOptions: number;
  private serial = 0;

  /** `adapt` changes a case, or drops it, so that another one is made. */
  constructor(seed: number | string, filter: FormFilter, adapt: CaseAdapter = (made) => made) {
    this.adapt = adapt;
    this.seed = String(seed);
    this.random = new Random(seed);
    this.forms = selectForms(filter);
    for (const form of this.forms) this.formOf.set(`${form.code} ${form.variant === "memory"}`, form);
    this.decoderOptions =
      (filter.features.has("BMI1") ? 0 : DecoderOptions.NoMPFX_0FBC) |
      (filter.features.has("LZCNT") ? 0 : DecoderOptions.NoMPFX_0FBD);
  }

  /** At least `count` cases, in an order that spreads the forms. */
  *cases(count: number): Generator<GeneratedCase> {
    const perForm = Math.max(CASES_PER_FORM, Math.ceil(count / Math.max(1, this.forms.length)));
    for (let round = 0; round < perForm; round++) {
      for (const form of this.forms) {
        for (let attempt = 0; ; attempt++) {
          if (attempt === MAX_ATTEMPTS)
            throw new FormNotReachable(`${form.name} (${form.variant}): no case could be made`);
          const tried = this.tryCase(form, round >= 2 && attempt < MAX_ATTEMPTS / 2);
          const made = tried && this.adapt(tried);
          if (made === null) continue;
          yield made;
          if (made.form === form) break;
        }
      }
    }
  }

  private tryCase(form: Form, withPrefixes: boolean): GeneratedCase | null {
    const { random, instruction } = this;
    let code = encodeForm(form, random, { prefixes: withPrefixes });
    if (code.length > MAX_LENGTH + 1) return null;
    const isReserved = form.mnemonic === "reservednop";
    const decoder = new Decoder(64, code, this.decoderOptions | (isReserved ? DecoderOptions.ForceReservedNop : 0));
    try {
      decoder.ip = CODE_END - BigInt(code.length);
      decoder.decodeOut(instruction);
      if (instruction.isInvalid) return withPrefixes ? this.undecodable(code) : null;
      const decoded = this.comparableForm(form);
      if (decoded === null || instruction.length !== code.length) return null;
      // TZCNT or LZCNT on a host that has them.
      if (/^Bs[fr]_/.test(decoded.name) && instruction.hasRepPrefix) return null;
      const constants = decoder.getConstantOffsets(instruction);
      const offsets = { at: constants.displacementOffset, size: constants.displacementSize };
      constants.free();
      const state = prepare(instruction, offsets, code, random);
      if (state === null) return null;
      const isTruncated = withPrefixes && code.length > 1 && random.oneIn(250);
      if (isTruncated) code = code.subarray(0, 1 + random.below(code.length - 1));
      if (isTruncated && !this.needsMoreBytes(code)) return null;
      const { rflags, gpr, fxsave, patches, untilDone } = state;
      return {
        input: this.finish({ code, rflags, gpr, fxsave, patches, untilDone }),
        form: isTruncated ? null : decoded,
        operand: state.memory && { address: state.memory.address, sizeBytes: operandSize(instruction) },
      };
    } finally {
      decoder.free();
    }
  }

  private needsMoreBytes(code: Uint8Array): boolean {
    const decoder = new Decoder(64, code, this.decoderOptions);
    decoder.decode().free();
    const error = decoder.lastError;
    decoder.free();
    return error === iced.DecoderError.NoMoreBytes;
  }

  /** The form in `instruction`, when it is one to test. */
  private comparableForm(wanted: Form): Form | null {
    const code = this.instruction.code;
    const hasMemory = wanted.variant === "memory";
    if (code === wanted.code) return wanted;
    if (whyNotComparable(Code[code]!) !== null) return null;
    return this.formOf.get(`${code} ${hasMemory}`) ?? null;
  }

  private undecodable(code: Uint8Array): GeneratedCase | null {
    // A redundant REX.W can ask for a longer immediate than the form has: what is left are LOCK and the length limit.
    if (this.needsMoreBytes(code)) return null;
    const state = prepareUndecodable(this.random);
    return { input: this.finish({ ...state, code, patches: [], untilDone: false }), form: null, operand: null };
  }

  private finish(parts: Omit<CpuCase, "origin" | "rip">): CpuCase {
    const { code } = parts;
    return { origin: `seed ${this.seed} case ${this.serial++}`, ...parts, rip: CODE_END - BigInt(code.length) };
  }
}
