/**
 * Text of a decoded instruction, made from its record and the decoder's result: Intel's operand order, lower case, one
 * regular form. tests/cpu/README.md has the rules ("Text of the disassembler").
 */
import * as L from "../cpu/layout.ts";
import { type Decoder, RIP_REGISTER } from "./decoder.ts";
import { FROM_ONE, type OperandPlan } from "./form.ts";
import { memoryBytes, mnemonicOf, RSI, shownWidth, stringOperands, x87Operands } from "./notation.ts";
import { operandShape } from "./operand.ts";

const LEGACY = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"] as const;
const LOW_BYTES = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"] as const;
const HIGH_BYTES = ["ah", "ch", "dh", "bh"] as const;
const SEGMENT_NAMES = ["es", "cs", "ss", "ds", "fs", "gs"] as const;
const SIZE_NAMES: Readonly<Record<number, string>> = {
  1: "byte",
  2: "word",
  4: "dword",
  6: "fword",
  8: "qword",
  10: "tbyte",
  16: "xmmword",
};
const NUMBER_SUFFIX: Readonly<Record<number, string>> = { 8: "b", 16: "w", 32: "d", 64: "" };

const hex = (value: bigint, bits: number): string => `0x${BigInt.asUintN(bits, value).toString(16)}`;

/** "+0x10", "-0x10", or nothing for zero. */
function signed(value: number): string {
  if (value === 0) return "";
  return value < 0 ? `-0x${(-value).toString(16)}` : `+0x${value.toString(16)}`;
}

export function registerName(number: number, width: number, isHigh = false): string {
  if (isHigh) return HIGH_BYTES[number] ?? "?";
  if (number >= 8) return `r${number}${NUMBER_SUFFIX[width] ?? "?"}`;
  if (width === 8) return LOW_BYTES[number] ?? "?";
  const prefix = width === 64 ? "r" : width === 32 ? "e" : "";
  return prefix + (LEGACY[number] ?? "?");
}

const bitsOf = (size: number): number => 16 << size;

/** The decoder's last result as text. `ip`: address of its first byte. Precondition: its status is "ok". */
export function disassemble(d: Decoder, ip: bigint): string {
  const form = d.form;
  if (!form) throw new Error("nothing decoded");
  const mnemonic = mnemonicOf(form.record, d.osz, d.asz);
  const strings = form.plan.length === 0 ? stringOperands(mnemonic) : undefined;
  const words: string[] = [];
  if (d.lock) words.push("lock");
  if (strings && d.rep !== 0 && mnemonic !== "xlatb") words.push(d.rep === 1 ? "rep" : "repne");
  words.push(mnemonic);
  let operands = form.plan.map((operand, i) => operandText(d, operand, i, ip));
  if (strings) operands = strings.map((o) => (typeof o === "number" ? stringMemory(d, mnemonic, o) : o));
  if (mnemonic === "maskmovdqu" || mnemonic === "maskmovq")
    operands.unshift(sizedMemory(d, mnemonic === "maskmovq" ? 8 : 16, `[${registerName(7, bitsOf(d.asz))}]`, false));
  if (form.record.feature === "fpu") operands = x87Operands(form, d.registers[0] ?? 0, operands);
  return operands.length > 0 ? `${words.join(" ")} ${operands.join(", ")}` : words.join(" ");
}

function stringMemory(d: Decoder, mnemonic: string, register: number): string {
  if (mnemonic === "xlatb") return sizedMemory(d, 1, `[${registerName(3, bitsOf(d.asz))}+al]`, false);
  const bytes = { b: 1, w: 2, d: 4, q: 8 }[mnemonic.at(-1) ?? "b"] ?? 1;
  return sizedMemory(d, bytes, `[${registerName(register, bitsOf(d.asz))}]`, register !== RSI);
}

function sizedMemory(d: Decoder, bytes: number, address: string, isExtra: boolean): string {
  const size = bytes === 0 ? "" : `${SIZE_NAMES[bytes] ?? `bytes${bytes}`} ptr `;
  const segment = isExtra ? L.ES : d.segment;
  const isShown = !d.mode64 || (!isExtra && d.segmentPrefix && segment >= L.FS);
  return `${size}${isShown ? `${SEGMENT_NAMES[segment] ?? "?"}:` : ""}${address}`;
}

function operandText(d: Decoder, operand: OperandPlan, i: number, ip: bigint): string {
  const { spec, source } = operand;
  const osz = bitsOf(d.osz);
  const number = d.registers[i] ?? 0;
  const { kind, width } = operandShape(spec, osz, d.memory);
  if (spec.type === "O") return offsetText(d, spec.size === "b" ? 1 : osz / 8);
  if (spec.type === "A")
    return `${hex(BigInt(d.immediateHigh), 16)}:${hex(BigInt(d.immediateLow), osz === 16 ? 16 : 32)}`;
  switch (kind) {
    case "r":
      return registerName(number, d.form ? shownWidth(d.form.record, width, osz) : width, d.high[i] === 1);
    case "x":
      return `xmm${number}`;
    case "p":
      return `mm${number}`;
    case "s":
      return SEGMENT_NAMES[number] ?? "?";
    case "c":
      return `cr${number}`;
    case "d":
      return `dr${number}`;
    case "f":
      return `st${number}`;
    case "j":
      return hex(ip + BigInt(d.length) + BigInt(d.immediateLow), d.mode64 ? 64 : osz === 16 ? 16 : 32);
    case "m":
      return sizedMemory(d, memoryBytes(d, width / 8), `[${addressText(d)}]`, false);
    default:
      if (source === FROM_ONE) return "0x1";
      if (operand.isSecond) return hex(BigInt(d.immediateHigh), 8);
      return hex((BigInt(d.immediateHigh) << 32n) | BigInt(d.immediateLow >>> 0), width);
  }
}

/** A moffs operand. */
function offsetText(d: Decoder, bytes: number): string {
  const address = (BigInt(d.immediateHigh) << 32n) | BigInt(d.immediateLow >>> 0);
  return sizedMemory(d, bytes, `[${hex(address, bitsOf(d.asz))}]`, false);
}

function addressText(d: Decoder): string {
  const width = bitsOf(d.asz);
  if (d.base === RIP_REGISTER) return `${width === 64 ? "rip" : "eip"}${signed(d.displacement)}`;
  const terms: string[] = [];
  if (d.base >= 0) terms.push(registerName(d.base, width));
  if (d.index >= 0) terms.push(registerName(d.index, width) + (d.scale > 0 ? `*${1 << d.scale}` : ""));
  if (terms.length === 0) return hex(BigInt(d.displacement), width);
  return terms.join("+") + signed(d.displacement);
}
