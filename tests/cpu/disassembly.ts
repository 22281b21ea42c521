// The text in which two decoders are compared: one regular form made from iced's operands, without the exceptions
// that real syntaxes have. README.md in this folder states the rules; the CPU's own disassembler follows them.

import * as iced from "iced-x86";

const { Decoder, DecoderOptions, MemorySizeExt, Mnemonic, OpKind, Register, RegisterExt } = iced;

export type CpuMode = 16 | 32 | 64;

const SIZE_NAMES: ReadonlyMap<number, string> = new Map([
  [1, "byte"],
  [2, "word"],
  [4, "dword"],
  [6, "fword"],
  [8, "qword"],
  [10, "tbyte"],
  [16, "xmmword"],
]);

const hex = (value: bigint, bits: number): string => `0x${BigInt.asUintN(bits, value).toString(16)}`;

const REGISTER_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Register)
    .filter((entry): entry is [string, number] => typeof entry[1] === "number")
    .map(([name, value]) => [value, name.toLowerCase().replace(/^(r\d+)l$/, "$1b")]),
);
const registerName = (register: number): string => REGISTER_NAMES.get(register) ?? "?";

/** Intel has one name for both sizes of the lengths. */
export const intelMnemonic = (name: string): string => name.replace(/^(pcmpestr[im])64$/, "$1");

const MNEMONICS: ReadonlyMap<number, string> = new Map(
  Object.entries(Mnemonic)
    .filter((entry): entry is [string, number] => typeof entry[1] === "number")
    .map(([name, value]) => [value, name === "Reservednop" ? "nop" : intelMnemonic(name.toLowerCase())]),
);

/** RSI/ESI/SI or RDI/EDI/DI of the string instructions, and whether the segment is fixed to ES. */
const STRING_OPERANDS: ReadonlyMap<number, readonly [string, boolean]> = new Map([
  [OpKind.MemorySegSI, ["si", false]],
  [OpKind.MemorySegESI, ["esi", false]],
  [OpKind.MemorySegRSI, ["rsi", false]],
  [OpKind.MemorySegDI, ["di", false]],
  [OpKind.MemorySegEDI, ["edi", false]],
  [OpKind.MemorySegRDI, ["rdi", false]],
  [OpKind.MemoryESDI, ["di", true]],
  [OpKind.MemoryESEDI, ["edi", true]],
  [OpKind.MemoryESRDI, ["rdi", true]],
]);
const IMMEDIATE_BITS: ReadonlyMap<number, number> = new Map([
  [OpKind.Immediate8, 8],
  [OpKind.Immediate8_2nd, 8],
  [OpKind.Immediate16, 16],
  [OpKind.Immediate8to16, 16],
  [OpKind.Immediate32, 32],
  [OpKind.Immediate8to32, 32],
  [OpKind.Immediate64, 64],
  [OpKind.Immediate8to64, 64],
  [OpKind.Immediate32to64, 64],
]);

export function formatInstruction(instruction: iced.Instruction, mode: CpuMode): string {
  const words: string[] = [];
  if (instruction.hasLockPrefix) words.push("lock");
  if (instruction.isStringInstruction) {
    if (instruction.hasRepPrefix) words.push("rep");
    else if (instruction.hasRepnePrefix) words.push("repne");
  }
  words.push(MNEMONICS.get(instruction.mnemonic) ?? "?");
  const operands: string[] = [];
  for (let i = 0; i < instruction.opCount; i++) operands.push(formatOperand(instruction, i, mode));
  return operands.length === 0 ? words.join(" ") : `${words.join(" ")} ${operands.join(", ")}`;
}

function formatOperand(instruction: iced.Instruction, operand: number, mode: CpuMode): string {
  const kind = instruction.opKind(operand);
  switch (kind) {
    case OpKind.Register:
      return registerName(instruction.opRegister(operand));
    case OpKind.NearBranch16:
      return hex(instruction.nearBranchTarget, 16);
    case OpKind.NearBranch32:
      return hex(instruction.nearBranchTarget, 32);
    case OpKind.NearBranch64:
      return hex(instruction.nearBranchTarget, 64);
    case OpKind.FarBranch16:
      return `${hex(BigInt(instruction.farBranchSelector), 16)}:${hex(BigInt(instruction.farBranch16), 16)}`;
    case OpKind.FarBranch32:
      return `${hex(BigInt(instruction.farBranchSelector), 16)}:${hex(BigInt(instruction.farBranch32), 32)}`;
    case OpKind.Memory:
      return `${sizeWord(instruction)}${segmentWord(instruction.memorySegment, mode)}[${formatAddress(instruction)}]`;
  }
  const bits = IMMEDIATE_BITS.get(kind);
  if (bits !== undefined) return hex(instruction.immediate(operand), bits);
  const [register, isEs] = STRING_OPERANDS.get(kind) ?? ["?", false];
  const segment = isEs ? Register.ES : instruction.memorySegment;
  return `${sizeWord(instruction)}${segmentWord(segment, mode)}[${register}]`;
}

function sizeWord(instruction: iced.Instruction): string {
  const size = MemorySizeExt.size(instruction.memorySize);
  return size === 0 ? "" : `${SIZE_NAMES.get(size) ?? `bytes${size}`} ptr `;
}

function segmentWord(segment: number, mode: CpuMode): string {
  return mode < 64 || segment === Register.FS || segment === Register.GS ? `${registerName(segment)}:` : "";
}

function formatAddress(instruction: iced.Instruction): string {
  const { memoryBase: base, memoryIndex: index, memoryDisplacement: displacement } = instruction;
  if (instruction.isIpRelMemoryOperand) {
    return registerName(base) + signed(displacement - instruction.nextIP, 32);
  }
  const terms: string[] = [];
  if (base !== Register.None) terms.push(registerName(base));
  if (index !== Register.None) {
    const scale = instruction.memoryIndexScale;
    terms.push(scale === 1 ? registerName(index) : `${registerName(index)}*${scale}`);
  }
  if (terms.length === 0) return hex(displacement, 8 * instruction.memoryDisplSize);
  const bits = 8 * RegisterExt.size(base === Register.None ? index : base);
  return terms.join("+") + signed(displacement, bits);
}

/** "+0x10", "-0x10", or nothing for zero. */
function signed(value: bigint, bits: number): string {
  const number = BigInt.asIntN(bits, value);
  if (number === 0n) return "";
  return number < 0n ? `-0x${(-number).toString(16)}` : `+0x${number.toString(16)}`;
}

/** One 64-bit instruction's text, for reports. */
export function disassemble(code: Uint8Array, rip: bigint, codeSize: 16 | 32 | 64 = 64): string {
  const decoder = new Decoder(codeSize, code, DecoderOptions.None);
  decoder.ip = rip;
  const instruction = decoder.decode();
  const text = instruction.isInvalid ? "(invalid)" : formatInstruction(instruction, codeSize);
  instruction.free();
  decoder.free();
  return text;
}
