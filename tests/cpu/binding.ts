// Where the CPU meets the rig: the one file here that names the CPU's own modules.
//
// `features` are the CPUID features, in iced's names, whose instructions the CPU has; what it lacks of them, because no
// record stands for it, is in `without`, by iced's Code name, and must be #UD. A tier is an entry of `subjects`.

import { type CodeSize, Decoder } from "../../packages/core/src/isa/decoder.ts";
import { disassemble } from "../../packages/core/src/isa/disassembler.ts";
import "../../packages/core/src/isa/records/index.ts";
import { RECORDS } from "../../packages/core/src/isa/record.ts";
import { codesWithout } from "./coverage.ts";
import type { DecodeFunction } from "./decoder.ts";
import type { FormFilter } from "./forms.ts";
import type { Mutation } from "./mutate.ts";
import { MUTATIONS, plantedRecords } from "./mutations.ts";
import type { CpuSubject } from "./subject.ts";
import { evaluator, interpreter, translated } from "./tiers.ts";

export interface CpuBinding {
  readonly features: ReadonlySet<string>;
  /** Matched against iced's Code names, for example /^Fsin/. */
  readonly without: readonly RegExp[];
  /** Names of the tiers; each is built when its test runs. */
  readonly subjects: Readonly<Record<string, () => CpuSubject | Promise<CpuSubject>>>;
  readonly decode: DecodeFunction | null;
  /** Planted bugs, and the tier to build after each was planted. */
  readonly mutations: readonly Mutation[];
  readonly buildMutated: (() => CpuSubject | Promise<CpuSubject>) | null;
}

const decoder = new Decoder(RECORDS);

const decode: DecodeFunction = (bytes, mode, ip) => {
  if (decoder.decode(bytes, 0, bytes.length, mode satisfies CodeSize) !== "ok") return null;
  return { length: decoder.length, text: disassemble(decoder, ip) };
};

export const BINDING: CpuBinding = {
  features: new Set([
    "INTEL8086",
    "INTEL186",
    "INTEL286",
    "INTEL386",
    "INTEL486",
    "X64",
    "CMOV",
    "CPUID",
    "TSC",
    "MSR",
    "CX8",
    "CMPXCHG16B",
    "SEP",
    "SYSCALL",
    "RDTSCP",
    "SMAP",
    "FPU",
    "FPU287",
    "FPU387",
    "MMX",
    "FXSR",
    "XSAVE",
    "SSE",
    "SSE2",
    "SSE3",
    "SSSE3",
    "SSE4_1",
    "SSE4_2",
    "AES",
    "PCLMULQDQ",
    "SHA",
    "INVPCID",
    "RDPMC",
    "POPCNT",
    "LZCNT",
    "BMI1",
    "BMI2",
    "MOVBE",
    "ADX",
    "RDRAND",
    "RDSEED",
    "RDPID",
    "FSGSBASE",
    "XSAVEOPT",
    "MONITOR",
    "CLFLUSHOPT",
    "CLFSH",
    "PAUSE",
    "MULTIBYTENOP",
  ]),
  without: [codesWithout(RECORDS)],
  subjects: { interpreter: () => interpreter(), evaluator: () => evaluator(), translated },
  decode,
  mutations: MUTATIONS,
  buildMutated: () => interpreter(plantedRecords()),
};

/** Forms to compare with the host. */
export function boundForms(): FormFilter {
  return { features: BINDING.features, without: BINDING.without };
}
