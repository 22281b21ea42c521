/**
 * What the disassembler cannot read off a record's operands: mnemonics that depend on a size, operands that the
 * manual's syntax shows although the encoding has none, sizes of memory areas.
 */
import type { Decoder } from "./decoder.ts";
import type { Form } from "./form.ts";
import type { InstructionRecord } from "./record.ts";

/** Instructions whose name goes by the address size. */
const NAMED_BY_ADDRESS: ReadonlySet<string> = new Set(["jcxz"]);

/** `osz`, `asz`: 0 16-bit, 1 32-bit, 2 64-bit. */
export function mnemonicOf(record: InstructionRecord, osz: number, asz: number): string {
  return record.names?.[NAMED_BY_ADDRESS.has(record.name) ? asz : osz] ?? record.name;
}

/** Every mnemonic a record can show. */
export function mnemonicsOf(record: InstructionRecord): readonly string[] {
  return record.names ?? [record.name];
}

export const RSI = 6;
const RDI = 7;
const ACCUMULATORS: Readonly<Record<string, string>> = { b: "al", w: "ax", d: "eax", q: "rax" };

/** Operands of the string instructions and XLATB: text, or the register that holds the address. */
export function stringOperands(mnemonic: string): readonly (string | number)[] | undefined {
  if (mnemonic === "xlatb") return [RSI];
  const match = /^(movs|cmps|stos|lods|scas|ins|outs)([bwdq])$/.exec(mnemonic);
  const accumulator = ACCUMULATORS[match?.[2] ?? ""] ?? "";
  switch (match?.[1]) {
    case "movs":
      return [RDI, RSI];
    case "cmps":
      return [RSI, RDI];
    case "stos":
      return [RDI, accumulator];
    case "lods":
      return [accumulator, RSI];
    case "scas":
      return [accumulator, RDI];
    case "ins":
      return [RDI, "dx"];
    case "outs":
      return ["dx", RSI];
    default:
      return undefined;
  }
}

/** Bytes of memory operands that have no size letter, or another size in memory than in a register, by record. */
const MEMORY_BYTES: Readonly<Record<string, (osz: number, mode64: boolean) => number>> = {
  ...each(["lgdt", "lidt", "sgdt", "sidt"], (_, mode64) => (mode64 ? 10 : 6)),
  ...each(["sldt", "str", "smsw", "mov_from_sreg", "mov_sreg"], () => 2),
  ...each(["jmp_far", "call_far", "lss", "lfs", "lgs", "les", "lds"], (osz) => [4, 6, 10][osz] ?? 0),
  ...each(["bound"], (osz) => (osz === 0 ? 4 : 8)),
  ...each(["fxsave", "fxrstor", "fxsave64", "fxrstor64"], () => 512),
  ...each(["invpcid"], () => 16),
  ...each(["fldenv", "fnstenv"], (osz) => (osz === 0 ? 14 : 28)),
  ...each(["frstor", "fnsave"], (osz) => (osz === 0 ? 94 : 108)),
  ...each(["prefetchnta", "prefetcht0", "prefetcht1", "prefetcht2", "clflush", "clflushopt"], () => 1),
};

function each<T>(names: readonly string[], value: T): Record<string, T> {
  return Object.fromEntries(names.map((name) => [name, value]));
}

export function memoryBytes(d: Decoder, operandBytes: number): number {
  const own = MEMORY_BYTES[d.form?.record.name ?? ""];
  return own ? own(d.osz, d.mode64) : operandBytes;
}

/** Records whose 16-bit register operand is shown at the operand size. */
const SHOWN_WIDE: ReadonlySet<string> = new Set([
  "arpl",
  "lldt",
  "ltr",
  "lmsw",
  "mov_sreg",
  "verr",
  "verw",
  "lar",
  "lsl",
]);

export function shownWidth(record: InstructionRecord, width: number, osz: number): number {
  return width === 0 || (width === 16 && SHOWN_WIDE.has(record.name)) ? osz : width;
}

/** FST, FSTP, FFREE and the like show ST(i) alone; the exchanges and comparisons show ST(0) first. */
const ALONE = /^(fld|fst|fstp|fstpnce|fstpnce|ffree|ffreep)$/;

/** Operands of an x87 instruction between registers: those of the record, completed by ST(0). */
export function x87Operands(form: Form, number: number, operands: readonly string[]): string[] {
  const only = operands[0] ?? "";
  if (operands.length !== 1 || form.operands[0]?.type !== "F" || ALONE.test(form.record.name)) return [...operands];
  // DC and DE: the result goes to ST(i).
  const toRegister = (form.opcode === 0xdc || form.opcode === 0xde) && !form.record.name.startsWith("fcom");
  return toRegister ? [`st${number}`, "st0"] : ["st0", only];
}
