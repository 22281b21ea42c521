// Where CPUs of other vendors do otherwise than Intel's, which the model follows.
//
// Two kinds of entries, used only when the host's vendor is the one they are listed under. An adaptation changes a
// case, or drops it, so that both vendors agree; it is the first choice. A difference masks single fields, and still
// holds the host's value and the model's to what either must be. Each names the vendor's manual (APM: AMD64
// Architecture Programmer's Manual, publications 24592 to 24594, 26568, 26569), or says "observed" and on which CPU
// where the manual is silent. What is adapted or masked here is tested without the host in intel.test.ts.

import * as iced from "iced-x86";
import { decodeCase } from "./decoded.ts";
import type { GeneratedCase } from "./generate.ts";
import type { MaskContext } from "./masks.ts";
import { segmentBase } from "./memory-operand.ts";
import { extentOf } from "./segments.ts";
import { type CpuCase, DATA_BASE, DATA_SIZE, FLAG, FXSAVE } from "./subject.ts";

const { Mnemonic, OpKind, RegisterExt } = iced;

export type FieldValue = bigint | string;

export interface VendorDifference {
  readonly mnemonics: readonly string[] | RegExp;
  /** Names from fields.ts. */
  readonly fields: readonly string[];
  readonly source: string;
  readonly when: (context: MaskContext) => boolean;
  /** What still has to hold of the two values. */
  readonly accept: (host: FieldValue, subject: FieldValue, context: MaskContext, field: string) => boolean;
}

export interface VendorAdaptation {
  readonly source: string;
  /** The case itself when there is nothing to change; null when it cannot be compared. */
  readonly adapt: (made: GeneratedCase) => GeneratedCase | null;
}

export interface Vendor {
  readonly name: string;
  readonly adaptations: readonly VendorAdaptation[];
  readonly differences: readonly VendorDifference[];
}

const STATUS_FLAGS = ["CF", "PF", "AF", "ZF", "SF", "OF"];
const STACK_REGISTERS = Array.from({ length: 8 }, (_, i) => `ST${i}`);
const FSW_ES = 0x80;
const FCW_EXCEPTION_MASKS = 0x3f;
const GENERAL_PROTECTION = 13;
const PAGE_FAULT = 14;
const USER_READ_OF_ABSENT = 4n;
const REX_B: ReadonlySet<number> = new Set([0x41, 0x43, 0x45, 0x47, 0x49, 0x4b, 0x4d, 0x4f]);
const MEMORY_FAULTS: ReadonlySet<number> = new Set([12, 13, 14, 17]);
const USER_CODE_64 = 0x33;
const TRANSFER_FAULTS: ReadonlySet<number> = new Set([11, ...MEMORY_FAULTS]);
const REP_STRING = /^(movs|cmps|scas|stos|lods)[bwdq]$/;
/** In the middle of bytes that decode to nothing, prefixes before it. */
const NEAR_BRANCH_OPCODE = /^((?:[2346][0-9a-f]|f[023]) )*(e[0-389ab]|7.|c[23]|ff|0f 8.)( |$)/;
const X87_STORES = /^(fst|fstp|fist|fistp|fisttp|fbstp)$/;

const low32 = (value: FieldValue): bigint => BigInt(value) & 0xffff_ffffn;

const isRepeated = (context: MaskContext): boolean =>
  context.decoded((instruction) => instruction.hasRepPrefix || instruction.hasRepnePrefix);

/** Whether a fault's address can be that of a string operand, whose segment's base may be anything in 64-bit mode. */
function isWithinOperand(cr2: FieldValue, register: bigint, { decoded }: MaskContext): boolean {
  const [bits, bases] = decoded((instruction) => {
    const is64 = instruction.op0Kind === OpKind.MemorySegRSI || instruction.op1Kind === OpKind.MemorySegRSI;
    const is16 = instruction.op0Kind === OpKind.MemorySegSI || instruction.op1Kind === OpKind.MemorySegSI;
    return [is64 ? 64 : is16 ? 16 : 32, [0n, segmentBase(instruction.memorySegment)]];
  });
  return bases.some((base) => BigInt.asUintN(64, BigInt(cr2) - base - BigInt.asUintN(bits, register)) < 8n);
}

/** Two addresses in one frame of a far transfer. */
const isNear = (a: FieldValue, b: FieldValue): boolean => BigInt.asIntN(64, BigInt(a) - BigInt(b) + 16n) < 32n;

/** The host stopped in the middle of a repeated string instruction: by the single step, or by a fault. */
const isBetweenIterations = ({ input, host }: MaskContext): boolean =>
  host.exception !== null ? MEMORY_FAULTS.has(host.exception.vector) : host.rip === input.rip;

const hasPendingException = (fxsave: Uint8Array): boolean => (fxsave[FXSAVE.FSW]! & FSW_ES) !== 0;

/** A copy of a case with some parts of its input replaced. */
const withInput = (made: GeneratedCase, parts: Partial<CpuCase>): GeneratedCase => ({
  ...made,
  input: { ...made.input, ...parts },
});

const hasTransferFault = ({ input, host }: MaskContext): boolean =>
  input.selectors !== undefined && TRANSFER_FAULTS.has(host.exception?.vector ?? -1);

/** In cases with segments, for every vendor: what the manuals leave open about transfers that fault. */
const SEGMENT_DIFFERENCES: readonly VendorDifference[] = [
  {
    mnemonics: ["call"],
    fields: ["memory"],
    source:
      "A call that faults may have pushed as much of its return address as it could before it looks at the target's offset (observed on family 19h for far ones).",
    when: hasTransferFault,
    accept: (_host, subject) => subject === "",
  },
  {
    mnemonics: ["call", "retf", "iret", "iretd"],
    fields: ["vector", "error code", "CR2"],
    source:
      "Which fault of a far transfer that has several comes first, and which word of a frame is read first (observed on family 19h: the stack's, and CS).",
    when: hasTransferFault,
    accept: (host, subject, _context, field) =>
      field === "vector"
        ? TRANSFER_FAULTS.has(Number(host)) && TRANSFER_FAULTS.has(Number(subject))
        : field === "error code" || host === 0n || subject === 0n || isNear(host, subject),
  },
  {
    mnemonics: ["retf", "iret", "iretd"],
    fields: ["RSP"],
    source:
      "A return into 64-bit code moves a 16-bit stack pointer by the old stack's width or by the new one's (observed on family 19h).",
    when: ({ input, host }) => input.selectors !== undefined && host.selectors?.[0] === USER_CODE_64,
    accept: (host, subject) => BigInt(host) % 0x1_0000n === BigInt(subject) % 0x1_0000n,
  },
];

const AMD_DIFFERENCES: readonly VendorDifference[] = [
  ...SEGMENT_DIFFERENCES,
  {
    mnemonics: /^f/,
    fields: ["FIP", "FDP", "FOP"],
    source:
      "APM volume 5, FXSAVE: the x87 error pointers are saved only while an unmasked exception is pending. XSAVE, which fills the signal frame, stores zeros (observed on family 19h).",
    when: ({ host }) => !hasPendingException(host.fxsave),
    accept: (host) => host === 0n,
  },
  {
    mnemonics: ["fxrstor", "fxrstor64"],
    fields: ["FIP", "FDP"],
    source: "Observed on family 19h: pointers are sign-extended from the linear address's width when they are loaded.",
    when: ({ host }) => host.exception === null && hasPendingException(host.fxsave),
    accept: (host, subject) =>
      [48, 57].some((bits) => host === BigInt.asUintN(64, BigInt.asIntN(bits, BigInt(subject)))),
  },
  {
    mnemonics: ["fxsave", "fxsave64"],
    fields: ["memory"],
    source:
      "APM volume 2, 11.3: MXCSR has a bit 17, MM, where CPUID shows misaligned SSE mode, so MXCSR_MASK is 2FFFFh.",
    when: ({ host }) => host.exception === null,
    accept: (host, subject) => String(host).replace(/=0002ffff/, "=0000ffff") === subject,
  },
  {
    mnemonics: REP_STRING,
    fields: ["RF"],
    source:
      "Observed on family 19h: the single step between two iterations pushes RF clear. Intel SDM volume 3, 17.3.1.1: set.",
    when: (context) => context.host.exception === null && isRepeated(context) && isBetweenIterations(context),
    accept: (host) => host === 0n,
  },
  {
    mnemonics: /^(cmps|scas)[bwdq]$/,
    fields: STATUS_FLAGS,
    source:
      "Observed on family 19h: flags are those of the last iteration. Intel SDM volume 2, REP: EFLAGS is restored to the state prior to the execution of the instruction.",
    when: (context) => isRepeated(context) && isBetweenIterations(context),
    accept: (_host, subject, { input }, field) =>
      (subject !== 0n) === ((input.rflags & FLAG[field as keyof typeof FLAG]) !== 0n),
  },
  {
    mnemonics: REP_STRING,
    fields: ["RCX", "RSI", "RDI"],
    source:
      "Observed on family 19h: a repeated string instruction with 32-bit addresses that completes no iteration leaves the registers' upper halves.",
    when: (context) => context.input.code.includes(0x67) && isRepeated(context),
    accept: (host, subject) => low32(host) === low32(subject),
  },
  {
    mnemonics: /^cmps[bwdq]$/,
    fields: ["vector", "error code", "CR2"],
    source: "Observed on family 19h: of two operands that fault, DS:SI is first. Intel's report ES:DI.",
    when: ({ host }) => MEMORY_FAULTS.has(host.exception?.vector ?? -1),
    accept: (host, subject, context, field) => {
      const [source, target] = [context.host.gpr[6]!, context.host.gpr[7]!];
      if (field === "vector") return MEMORY_FAULTS.has(Number(host)) && MEMORY_FAULTS.has(Number(subject));
      if (field === "error code") return [host, subject].every((code) => code === 0n || code === USER_READ_OF_ABSENT);
      return (
        (host === 0n || isWithinOperand(host, source, context)) &&
        (subject === 0n || isWithinOperand(subject, target, context))
      );
    },
  },
  {
    mnemonics: ["fstp", "fbstp"],
    fields: ["memory"],
    source:
      "Observed on family 19h: a 10-byte store that runs into a missing page stores nothing. Intel's have stored the first 8 bytes.",
    when: ({ host }) => host.exception?.vector === PAGE_FAULT,
    accept: (host) => host === "",
  },
  {
    mnemonics: /^sha(1|256)/,
    fields: ["vector", "error code", "CR2"],
    source: "Observed on family 19h: SHA instructions find a missing page before an operand that is not aligned.",
    when: ({ host }) => host.exception?.vector === PAGE_FAULT,
    accept: (_host, subject, _context, field) => subject === (field === "vector" ? BigInt(GENERAL_PROTECTION) : 0n),
  },
  {
    mnemonics: ["call"],
    fields: ["memory"],
    source:
      "APM volume 3, CALL (near): the target is checked before the return address is pushed. Intel's have pushed it when the target is not canonical.",
    when: ({ input, host }) => input.selectors === undefined && host.exception?.vector === GENERAL_PROTECTION,
    accept: (host) => host === "",
  },
  {
    mnemonics: /^(movd|movq|movntq)$/,
    fields: ["FSW", "FTW", ...STACK_REGISTERS],
    source:
      "APM volume 2, 8.2: a fault leaves no trace of the instruction. Intel's have entered MMX state (TOP and tags) when the store of an MMX register faults.",
    when: ({ host, codeName }) => codeName.includes("_mm") && MEMORY_FAULTS.has(host.exception?.vector ?? -1),
    accept: (host, _subject, { input }, field) => host === readInput(input, field),
  },
  {
    mnemonics: ["daa", "das"],
    fields: ["OF"],
    source: "APM volume 3, DAA and DAS: OF is undefined.",
    when: ({ host }) => host.exception === null,
    accept: () => true,
  },
  {
    mnemonics: ["aaa", "aas"],
    fields: ["OF", "SF", "ZF", "PF"],
    source: "APM volume 3, AAA and AAS: OF, SF, ZF and PF are undefined.",
    when: ({ host }) => host.exception === null,
    accept: () => true,
  },
];

function readInput({ fxsave }: CpuCase, field: string): bigint {
  const at = field === "FSW" ? FXSAVE.FSW : field === "FTW" ? FXSAVE.FTW : FXSAVE.ST + 16 * Number(field.slice(2));
  const size = field === "FSW" ? 2 : field === "FTW" ? 1 : 10;
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(fxsave[at + i]!);
  return field === "FSW" ? value & ~0x4700n : value;
}

const AMD_ADAPTATIONS: readonly VendorAdaptation[] = [
  {
    source:
      "APM volume 3, 1.2.7 and Jcc, JMP, CALL, RET (near): 66h makes near branches 16 bits wide in 64-bit mode. Intel SDM volume 2: it is ignored.",
    adapt: (made) => {
      if (made.input.codeSize !== undefined || !made.input.code.includes(0x66)) return made;
      if (made.form === null) return NEAR_BRANCH_OPCODE.test(hexOf(made.input.code)) ? null : made;
      const isNearBranch = decodeCase(
        made.input,
        (instruction) =>
          instruction.isJccShortOrNear ||
          instruction.isJmpShortOrNear ||
          instruction.isJmpNearIndirect ||
          instruction.isCallNear ||
          instruction.isCallNearIndirect ||
          /^(loop|loope|loopne|jcxz|jecxz|jrcxz|ret)$/.test((Mnemonic[instruction.mnemonic] ?? "").toLowerCase()),
      );
      return isNearBranch ? null : made;
    },
  },
  {
    source: "APM volume 3, UD0 and UD1: no ModRM byte is fetched. Intel SDM volume 2, UD: UD1 has one, UD0 on most.",
    adapt: (made) => (made.form === null && /(^| )0f (ff|b9)( |$)/.test(hexOf(made.input.code)) ? null : made),
  },
  {
    source: "APM volume 3, MOV CRn: LOCK selects CR8, so that CPL 3 is what is wrong. Intel SDM volume 2: LOCK is #UD.",
    adapt: (made) => (made.form === null && /(^| )f0 (.. )*0f 2[02] /.test(hexOf(made.input.code)) ? null : made),
  },
  {
    source:
      "Observed on family 19h: MOVSXD with 66h reads 32 bits. APM volume 3, MOVSXD: the source is reg/mem32. Intel SDM volume 2: r/m16.",
    adapt: (made) => {
      if (made.form?.name !== "Movsxd_r16_rm16" || made.operand === null) return made;
      if (!operandIsInWindow({ ...made, operand: { ...made.operand, sizeBytes: 4 } })) return null;
      return withInput(made, { rflags: made.input.rflags & ~FLAG.AC });
    },
  },
  {
    source: "Observed on family 19h: F3 90 with REX.B exchanges R8 and RAX. On Intel's it is PAUSE.",
    adapt: (made) => (made.form?.mnemonic === "pause" && made.input.code.some((byte) => REX_B.has(byte)) ? null : made),
  },
  {
    source: "Observed on family 19h: F3 makes LOOPNE loop as LOOPE does. APM volume 3, 1.2.6: REP is reserved there.",
    adapt: (made) =>
      /^loop/.test(made.form?.mnemonic ?? "") && made.input.code.some((byte) => byte === 0xf2 || byte === 0xf3)
        ? null
        : made,
  },
  {
    source:
      "APM volume 3, SYSRET: valid in legacy and compatibility mode, where CPL 3 is #GP. Intel SDM volume 2: #UD.",
    adapt: (made) => (made.input.codeSize !== undefined && /0f 07$/.test(hexOf(made.input.code)) ? null : made),
  },
  {
    source:
      "APM volume 5, FXRSTOR: error pointers are restored only while an exception is pending, except on CPUs that say otherwise; a case without one has zeros.",
    adapt: (made) => {
      const { fxsave } = made.input;
      if (hasPendingException(fxsave) || fxsave.subarray(FXSAVE.FOP, FXSAVE.MXCSR).every((byte) => byte === 0))
        return made;
      return withInput(made, { fxsave: fxsave.slice().fill(0, FXSAVE.FOP, FXSAVE.MXCSR) });
    },
  },
  {
    source:
      "Observed on family 19h: x87 stores find faults of the address before unmasked numeric exceptions. Intel SDM volume 1, 8.7: numeric faults keep the store from being tried.",
    adapt: (made) => {
      if (made.form === null || made.form.variant !== "memory" || !X87_STORES.test(made.form.mnemonic)) return made;
      if ((made.input.fxsave[FXSAVE.FCW]! & FCW_EXCEPTION_MASKS) === FCW_EXCEPTION_MASKS) return made;
      if (operandIsInWindow(made)) return withInput(made, { rflags: made.input.rflags & ~FLAG.AC });
      const fxsave = made.input.fxsave.slice();
      fxsave[FXSAVE.FCW]! |= FCW_EXCEPTION_MASKS;
      fxsave[FXSAVE.FSW]! &= ~(FSW_ES & 0xff);
      fxsave[FXSAVE.FSW + 1]! &= 0x7f;
      return withInput(made, { fxsave });
    },
  },
  {
    source:
      "APM volume 2, 8.2.18: every unaligned access with alignment checking is #AC. Intel SDM volume 3, 6.15, #AC: operands of 16 bytes and more vary with the implementation.",
    adapt: (made) => {
      if ((made.input.rflags & FLAG.AC) === 0n || made.operand === null || made.operand.sizeBytes < 16) return made;
      const isAligned = made.operand.address % 16n === 0n;
      return isAligned ? made : withInput(made, { rflags: made.input.rflags & ~FLAG.AC });
    },
  },
  {
    source:
      "APM volume 2, table 8-8: alignment is checked together with the address. Intel SDM volume 3, table 6-2, leaves open which of #AC and #PF comes first for an operand that runs into a missing page.",
    adapt: (made) => {
      if ((made.input.rflags & FLAG.AC) === 0n || made.form?.variant !== "memory" || operandIsInWindow(made))
        return made;
      return withInput(made, { rflags: made.input.rflags & ~FLAG.AC });
    },
  },
  {
    source:
      "APM volume 3, PUSH: a segment selector is zero-extended to the operand size. Intel SDM volume 2, PUSH: recent processors write its 16 bits only. With zeros below the stack pointer both leave the same.",
    adapt: (made) => {
      if (made.input.codeSize === undefined) return made;
      const isPush = decodeCase(
        made.input,
        (instruction) =>
          instruction.mnemonic === Mnemonic.Push &&
          instruction.op0Kind === OpKind.Register &&
          RegisterExt.isSegmentRegister(instruction.op0Register),
      );
      if (!isPush || made.input.code.includes(0x66) === (made.input.codeSize === 32)) return made;
      const gpr = made.input.gpr.slice();
      gpr[4] = gpr[4]! & ~3n;
      const { base, is32 } = made.input.selectors ? extentOf(made.input.selectors[1]!) : { base: 0n, is32: true };
      const top = BigInt.asUintN(is32 ? 32 : 16, gpr[4] - 4n);
      const offset = Number(BigInt.asIntN(32, base + top - DATA_BASE));
      if (offset < 0 || offset + 4 > DATA_SIZE) return withInput(made, { gpr });
      return withInput(made, { gpr, patches: [...made.input.patches, { offset, bytes: new Uint8Array(4) }] });
    },
  },
];

const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

/** The whole explicit memory operand lies in the window. */
function operandIsInWindow({ operand }: GeneratedCase): boolean {
  if (operand === null) return false;
  const offset = operand.address - DATA_BASE;
  return offset >= 0n && offset + BigInt(operand.sizeBytes) <= BigInt(DATA_SIZE);
}

const AMD: Vendor = { name: "AuthenticAMD", adaptations: AMD_ADAPTATIONS, differences: AMD_DIFFERENCES };
const INTEL: Vendor = { name: "GenuineIntel", adaptations: [], differences: SEGMENT_DIFFERENCES };

/** Vendors whose CPUs the model can be compared with, by what CPUID says. */
export const VENDORS: ReadonlyMap<string, Vendor> = new Map([INTEL, AMD].map((vendor) => [vendor.name, vendor]));

/** A case as a vendor's CPUs can be asked it. */
export function adapted(made: GeneratedCase, { adaptations }: Vendor): GeneratedCase | null {
  return adaptations.reduce<GeneratedCase | null>((each, { adapt }) => each && adapt(each), made);
}

export function differencesOf({ differences }: Vendor, mnemonic: string): readonly VendorDifference[] {
  return differences.filter(({ mnemonics }) =>
    mnemonics instanceof RegExp ? mnemonics.test(mnemonic) : mnemonics.includes(mnemonic),
  );
}
