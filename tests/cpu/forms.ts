// The instruction forms to test: iced's Code values that exist in 64-bit mode with legacy encoding, or with VEX and
// on general registers, each split into its register and its memory variant, less the forms that a process cannot try on the host with a comparable result.
//
// A filter narrows the list to what is implemented: by CPUID feature (iced's names), by mnemonic, by Code name, or
// by asking a decoder whether it accepts the bytes.

import * as iced from "iced-x86";
import { sampleBytes } from "./encode.ts";

const { Code, CodeExt, CpuidFeature, EncodingKind, Instruction, Mnemonic, OpCodeOperandKind: Kind } = iced;

export type FormVariant = "plain" | "register" | "memory";

/** What encode.ts needs to know, copied out of iced's OpCodeInfo. */
export interface Form {
  readonly code: number;
  /** iced's Code name, for example "Add_rm32_r32". */
  readonly name: string;
  readonly mnemonic: string;
  readonly variant: FormVariant;
  readonly features: readonly string[];
  readonly table: number;
  readonly opCode: number;
  readonly opCodeLength: number;
  readonly groupIndex: number;
  readonly rmGroupIndex: number;
  readonly mandatoryPrefix: number;
  /** VEX.W, with VEX encoding; null: legacy encoding. */
  readonly vexW: 0 | 1 | null;
  readonly needsOperandSizePrefix: boolean;
  readonly needsRexW: boolean;
  readonly needsAddressSizePrefix: boolean;
  readonly canLock: boolean;
  readonly isString: boolean;
  readonly opKinds: readonly number[];
}

export interface FormFilter {
  /** CPUID features as iced names them; a form needs all of its own in here. */
  readonly features: ReadonlySet<string>;
  readonly mnemonics?: ReadonlySet<string>;
  readonly codes?: ReadonlySet<string>;
  /** Code names to leave out although their features are there. */
  readonly without?: readonly RegExp[];
  /** True when the CPU under test has the form whose encoding is `bytes`. */
  readonly implemented?: (bytes: Uint8Array) => boolean;
}

/** Forms, by the start of their Code name, that are left out, and why. */
export const NOT_COMPARABLE: readonly (readonly [RegExp, string])[] = [
  [/^(Syscall|Sysenter)/, "would enter the host's kernel"],
  [/^(Int1)$/, "raises the same vector as the single step"],
  [/^(Iret|Retf|Call_m16|Jmp_m16)/, "loads segment registers from the host's descriptor tables"],
  [
    /^(Mov_Sreg|Pop_?[FG]S|Popw_[FG]S|Popq_[FG]S|L[fgs]s_)/,
    "loads segment registers from the host's descriptor tables",
  ],
  [/^(Lar|Lsl|Verr|Verw)_/, "reads the host's descriptor tables"],
  [/^(Sgdt|Sidt|Sldt|Str|Smsw)/, "kernels emulate it under CR4.UMIP"],
  [/^(Cpuid|Xgetbv|Rdtscp?|Rdpmc|Rdpid|Rdrand|Rdseed|Rdpru)/, "its value is the host's own"],
  [
    /^(Monitor|Mwait|Umonitor|Umwait|Tpause|Vm|Invept|Invvpid|Getsec|Encl|Xabort|Xbegin|Xend|Xtest)/,
    "leaves the process",
  ],
  [/^Invpcid_/, "is #UD on the model and #GP on the host: the model has it only where it was asked for"],
  [/^(Xsave|Xrstor)/, "depends on the features that the host enabled in XCR0"],
  [/^(Rdfsbase|Rdgsbase|Wrfsbase|Wrgsbase)/, "the harness keeps FS and GS bases constant"],
  [
    /^(Rsm|Rdudbg|Wrudbg|Skinit|Clgi|Stgi|Invlpga|Pconfig|Xstore|Xcrypt|Xsha|Montmul)/,
    "not an instruction of the model",
  ],
  [/^Reservednop_.*_0F0D/, "the prefetch instructions of AMD's 3DNow!, which are #UD there with a register"],
  [/^(Endbr|Rdssp|Incssp|Cldemote|Prefetchit)/, "reserved NOP space, which newer hosts gave a meaning"],
];

export function whyNotComparable(codeName: string): string | null {
  return NOT_COMPARABLE.find(([pattern]) => pattern.test(codeName))?.[1] ?? null;
}

const MEMORY_OR_REGISTER: ReadonlySet<number> = new Set([
  Kind.r8_or_mem,
  Kind.r16_or_mem,
  Kind.r32_or_mem,
  Kind.r64_or_mem,
  Kind.mm_or_mem,
  Kind.xmm_or_mem,
]);

let everyForm: readonly Form[] | null = null;

/** General registers alone, without AVX. */
const VEX_FEATURES: ReadonlySet<string> = new Set(["BMI1", "BMI2"]);

/** All legacy-encoded 64-bit forms that iced knows, comparable or not. */
export function allForms(): readonly Form[] {
  everyForm ??= Object.keys(Code)
    .filter((key) => Number.isNaN(Number(key)))
    .flatMap((name) => formsOfCode(name, Code[name as keyof typeof Code]));
  return everyForm;
}

function formsOfCode(name: string, code: number): Form[] {
  const info = CodeExt.opCode(code);
  try {
    if (
      !info.isInstruction ||
      !info.intelDecoder64 ||
      (info.encoding !== EncodingKind.Legacy && info.encoding !== EncodingKind.VEX) ||
      info.decoderOption !== 0 ||
      info.fwait
    )
      return [];
    const opKinds = Array.from({ length: info.opCount }, (_, i) => info.opKind(i));
    const instruction = Instruction.create(code);
    const features = Array.from(instruction.cpuidFeatures(), (feature) => CpuidFeature[feature]!);
    const isVex = info.encoding === EncodingKind.VEX;
    if (isVex && !features.every((feature) => VEX_FEATURES.has(feature))) return [];
    const isString = instruction.isStringInstruction;
    instruction.free();
    const form = {
      code,
      name,
      mnemonic: Mnemonic[info.mnemonic]!.toLowerCase(),
      features,
      table: info.table,
      opCode: info.opCode,
      opCodeLength: info.opCodeLength,
      groupIndex: info.groupIndex,
      rmGroupIndex: info.rmGroupIndex,
      mandatoryPrefix: info.mandatoryPrefix,
      vexW: isVex ? (/_r64/.test(name) ? (1 as const) : (0 as const)) : null,
      needsOperandSizePrefix: info.operandSize === 16,
      needsRexW: info.operandSize === 64 && !info.defaultOpSize64 && !info.forceOpSize64,
      needsAddressSizePrefix: info.addressSize === 32,
      canLock: info.canUseLockPrefix,
      isString,
      opKinds,
    };
    if (opKinds.some((kind) => MEMORY_OR_REGISTER.has(kind))) {
      return [
        { ...form, variant: "register" },
        { ...form, variant: "memory" },
      ];
    }
    return [{ ...form, variant: opKinds.includes(Kind.mem) ? "memory" : "plain" }];
  } finally {
    info.free();
  }
}

/** The forms to test under a filter. */
export function selectForms(filter: FormFilter): Form[] {
  return allForms().filter(
    (form) =>
      whyNotComparable(form.name) === null &&
      form.features.every((feature) => filter.features.has(feature)) &&
      (filter.mnemonics?.has(form.mnemonic) ?? true) &&
      (filter.codes?.has(form.name) ?? true) &&
      !(filter.without?.some((pattern) => pattern.test(form.name)) ?? false) &&
      (filter.implemented?.(sampleBytes(form)) ?? true),
  );
}

/** /proc/cpuinfo's flag for the features a host may lack; the others belong to every x86-64 CPU. */
export const HOST_FLAG_OF_FEATURE: Readonly<Record<string, string>> = {
  SSE3: "pni",
  SSSE3: "ssse3",
  SSE4_1: "sse4_1",
  SSE4_2: "sse4_2",
  POPCNT: "popcnt",
  CMPXCHG16B: "cx16",
  MOVBE: "movbe",
  AES: "aes",
  PCLMULQDQ: "pclmulqdq",
  SHA: "sha_ni",
  ADX: "adx",
  CLFLUSHOPT: "clflushopt",
  BMI1: "bmi1",
  BMI2: "bmi2",
  LZCNT: "abm",
};
