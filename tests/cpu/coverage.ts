// What of iced's instructions the CPU has, read off its records: a new record is tested as soon as it exists.
//
// Only the mnemonic and the register file count. A form that is missing in a record, or too much in it, is a
// difference that the rigs show.

import * as iced from "iced-x86";
import { parseForm } from "../../packages/core/src/isa/form.ts";
import { mnemonicsOf } from "../../packages/core/src/isa/notation.ts";
import type { InstructionRecord } from "../../packages/core/src/isa/record.ts";
import { intelMnemonic } from "./disassembly.ts";

const { Code, CodeExt, CpuidFeature, EncodingKind, Instruction, Mnemonic } = iced;
type RegisterFile = "xmm" | "mm" | "other";

function keyOfCode(name: string, code: number): string {
  const info = CodeExt.opCode(code);
  const mnemonic = intelMnemonic((Mnemonic[info.mnemonic] ?? "").toLowerCase());
  info.free();
  const file: RegisterFile = /xmm/.test(name) ? "xmm" : /_mm/.test(name) ? "mm" : "other";
  return `${mnemonic === "reservednop" ? "nop" : mnemonic} ${file}`;
}

function keysOfRecord(record: InstructionRecord): string[] {
  const files = record.forms.map((text): RegisterFile => {
    const types = parseForm(record, text).operands.map(({ type }) => type);
    if (types.some((type) => "VWU".includes(type))) return "xmm";
    return types.some((type) => "PQN".includes(type)) ? "mm" : "other";
  });
  return mnemonicsOf(record).flatMap((mnemonic) => files.map((file) => `${mnemonic} ${file}`));
}

export interface MissingInstruction {
  /** iced's Code name. */
  readonly code: string;
  readonly mnemonic: string;
  readonly features: readonly string[];
}

/** The instructions with legacy or VEX encoding, as iced knows them, that none of the records stands for. */
export function missingInstructions(records: readonly InstructionRecord[]): MissingInstruction[] {
  const known = new Set(records.flatMap(keysOfRecord));
  return Object.entries(Code)
    .filter((entry): entry is [string, number] => typeof entry[1] === "number" && entry[1] !== Code.INVALID)
    .filter(([name, code]) => !known.has(keyOfCode(name, code)))
    .map(([name, code]) => {
      const instruction = Instruction.create(code);
      const info = CodeExt.opCode(code);
      // iced's names for data, and for the x87 instructions that are WAIT and another one.
      const isOne = info.isInstruction && !info.fwait;
      info.free();
      const features = Array.from(instruction.cpuidFeatures(), (feature) => CpuidFeature[feature] ?? "?");
      const { encoding } = instruction;
      const isLegacy = encoding === EncodingKind.Legacy || encoding === EncodingKind.VEX;
      instruction.free();
      return {
        code: name,
        mnemonic: keyOfCode(name, code).split(" ", 1)[0] ?? "",
        features: isLegacy && isOne ? features : [],
      };
    })
    .filter(({ features }) => features.length > 0);
}

/** iced's Code names that none of the records stands for, as one pattern. */
export function codesWithout(records: readonly InstructionRecord[]): RegExp {
  const missing = missingInstructions(records).map(({ code }) => code);
  return new RegExp(`^(${missing.join("|")})$`);
}
