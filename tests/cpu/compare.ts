// Compares two results of one case field by field, under the masks, and says what differs.
//
// The masked share is counted as (case, field) pairs that a mask covered over all pairs, and beside it as the share
// of cases in which a mask covered anything. A pair that a mask covers but whose values agree counts as masked too.

import * as iced from "iced-x86";
import { decodeCase } from "./decoded.ts";
import { disassemble } from "./disassembly.ts";
import { FIELDS, type Field, SEGMENT_FIELDS } from "./fields.ts";
import type { GeneratedCase } from "./generate.ts";
import { type MaskContext, masksOf } from "./masks.ts";
import { type CpuCase, type CpuResult, FLAG, FXSAVE, initialWindow } from "./subject.ts";
import { differencesOf, type Vendor } from "./vendors.ts";

const { MemorySizeExt, OpKind, RegisterExt } = iced;

export interface Difference {
  readonly field: string;
  readonly host: string;
  readonly subject: string;
}

export interface MaskStatistics {
  pairs: number;
  maskedPairs: number;
  cases: number;
  casesWithMask: number;
  readonly byField: Map<string, number>;
}

export function newMaskStatistics(): MaskStatistics {
  return { pairs: 0, maskedPairs: 0, cases: 0, casesWithMask: 0, byField: new Map() };
}

/** Whether two values that differ may do so. */
type Acceptance = (host: bigint | string, subject: bigint | string) => boolean;

/** The masks and the vendor's differences that hold for a case, by field name. */
export function maskedFields(made: GeneratedCase, host: CpuResult, vendor: Vendor): Map<string, Acceptance> {
  const masked = new Map<string, Acceptance>();
  const context = contextOf(made, host);
  const { mnemonic } = context;
  if ((made.form !== null || made.input.selectors !== undefined) && host.exception === null)
    for (const mask of masksOf(mnemonic)) {
      if (mask.when !== undefined && !mask.when(context)) continue;
      for (const name of mask.fields) {
        const operand = /^operand (\d)$/.exec(name);
        const field = operand === null ? name : context.operandField(Number(operand[1]));
        if (field === null) continue;
        masked.set(field, (expected, actual) => mask.accept?.(expected, actual, context) ?? true);
      }
    }
  for (const difference of differencesOf(vendor, mnemonic)) {
    if (!difference.when(context)) continue;
    for (const field of difference.fields)
      if (!masked.has(field))
        masked.set(field, (expected, actual) => difference.accept(expected, actual, context, field));
  }
  return masked;
}

function contextOf({ form, input }: GeneratedCase, host: CpuResult): MaskContext {
  const decoded: MaskContext["decoded"] = (read) => decodeCase(input, read);
  return {
    mnemonic:
      form?.mnemonic ??
      (input.codeSize !== undefined ? decoded(({ mnemonic }) => (iced.Mnemonic[mnemonic] ?? "").toLowerCase()) : ""),
    codeName: form?.name ?? "",
    input,
    host,
    decoded,
    operandBits: () =>
      decoded((instruction) =>
        instruction.op0Kind === OpKind.Register
          ? 8 * RegisterExt.size(instruction.op0Register)
          : 8 * MemorySizeExt.size(instruction.memorySize),
      ),
    count: () =>
      decoded((instruction) => {
        const last = instruction.opCount - 1;
        return instruction.opKind(last) === OpKind.Register
          ? Number(input.gpr[1]! & 0xffn)
          : Number(instruction.immediate(last)) & 0xff;
      }),
    operandField: (n) =>
      decoded((instruction) => {
        if (n >= instruction.opCount || instruction.opKind(n) !== OpKind.Register) return null;
        const register = instruction.opRegister(n);
        return iced.Register[RegisterExt.isGPR(register) ? RegisterExt.fullRegister(register) : register] ?? null;
      }),
  };
}

const show = (value: bigint | string): string =>
  typeof value === "bigint" ? `0x${value.toString(16)}` : value || "none";

/** What differs, masks applied; empty when the subject did what the host did. */
export function compare(
  made: GeneratedCase,
  host: CpuResult,
  subject: CpuResult,
  statistics: MaskStatistics,
  vendor: Vendor,
): Difference[] {
  if (host.unobserved !== undefined) {
    return [{ field: "the host", host: host.unobserved, subject: "not compared" }];
  }
  const masked = maskedFields(made, host, vendor);
  statistics.cases++;
  const fields = made.input.selectors === undefined ? FIELDS : [...FIELDS, ...SEGMENT_FIELDS];
  statistics.pairs += fields.length;
  statistics.maskedPairs += masked.size;
  if (masked.size > 0) {
    statistics.casesWithMask++;
    for (const name of masked.keys()) statistics.byField.set(name, (statistics.byField.get(name) ?? 0) + 1);
  }
  const differences: Difference[] = [];
  for (const field of fields) {
    const difference = compareField(field, host, subject, masked.get(field.name));
    if (difference !== null) differences.push(difference);
  }
  return differences;
}

function compareField(
  field: Field,
  host: CpuResult,
  subject: CpuResult,
  isAcceptable: Acceptance | undefined,
): Difference | null {
  const [expected, actual] = [field.read(host), field.read(subject)];
  if (expected === actual) return null;
  if (isAcceptable?.(expected, actual)) return null;
  return { field: field.name, host: show(expected), subject: show(actual) };
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

/** Everything needed to look into a difference by hand. */
export function describeMismatch(made: GeneratedCase, name: string, differences: readonly Difference[]): string {
  const { input, form } = made;
  const flags = Object.entries(FLAG).flatMap(([flag, bit]) => ((input.rflags & bit) === 0n ? [] : [flag]));
  const view = new DataView(input.fxsave.buffer, input.fxsave.byteOffset, 512);
  const registers = Array.from(
    input.gpr,
    (value, i) => `${i.toString().padStart(2)}:${value.toString(16).padStart(16, "0")}`,
  );
  const lines = [
    `${disassemble(input.code, input.rip, input.codeSize)}    [${hex(input.code)}]  ${form?.name ?? "invalid or truncated"}  (${input.origin})`,
    `  in   ${registers.slice(0, 8).join(" ")}`,
    `       ${registers.slice(8).join(" ")}`,
    `       rip ${input.rip.toString(16)} flags ${flags.join(" ")} mxcsr ${view.getUint32(FXSAVE.MXCSR, true).toString(16)} fcw ${view.getUint16(FXSAVE.FCW, true).toString(16)} fsw ${view.getUint16(FXSAVE.FSW, true).toString(16)} ftw ${view.getUint8(FXSAVE.FTW).toString(16)}${input.untilDone ? " until done" : ""}`,
    ...(input.selectors === undefined
      ? []
      : [`       selectors ${input.selectors.map((each) => each.toString(16)).join(" ")}`]),
    ...vectorInputs(input),
    ...memoryInputs(input),
  ];
  const width = Math.max(...differences.map(({ field }) => field.length));
  for (const { field, host, subject } of differences) {
    lines.push(`  ${field.padEnd(width)}  host ${host}`, `  ${" ".repeat(width)}  ${name} ${subject}`);
  }
  return lines.join("\n");
}

/** The XMM registers that the disassembly names. */
function vectorInputs(input: CpuCase): string[] {
  const text = disassemble(input.code, input.rip);
  const numbers = new Set(Array.from(text.matchAll(/\bx?mm(\d+)/g), (match) => Number(match[1])));
  return [...numbers].map((n) => {
    const isMmx = !text.includes(`xmm${n}`);
    const at = isMmx ? FXSAVE.ST + 16 * n : FXSAVE.XMM + 16 * n;
    return `       ${isMmx ? "image slot " : "xmm"}${n} ${hex(input.fxsave.slice(at, at + (isMmx ? 10 : 16)).reverse())}`;
  });
}

function memoryInputs(input: CpuCase): string[] {
  if (input.patches.length === 0) return [];
  const window = initialWindow(input);
  return input.patches.map(
    ({ offset, bytes }) =>
      `       window +${offset.toString(16)}: ${hex(window.subarray(offset, offset + Math.min(32, bytes.length)))}`,
  );
}
