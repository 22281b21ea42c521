// Instructions of a program's straight parts, made from the instruction records: a form by chance, its operands in
// registers that the program may spoil and in its data pages, all encodings and sizes. What the decoder does not take for
// that very form is drawn again. Left out: what jumps, needs privilege, or would mostly fault (CANNOT).

import { Decoder } from "../../packages/core/src/isa/decoder.ts";
import type { Form, OperandSpec } from "../../packages/core/src/isa/form.ts";
import "../../packages/core/src/isa/records/index.ts";
import { RECORDS } from "../../packages/core/src/isa/record.ts";
import type { Random } from "../cpu/random.ts";
import type { Assembler, CodeMode } from "./assembler.ts";
import { DATA, DATA_BYTES, DATA_POINTER_OFFSET } from "./guest-layout.ts";

/** RSP is the stack, RBP points to data, RSI counts loops. */
const KEPT: ReadonlySet<number> = new Set([4, 5, 6]);
const RBP = 5;
/** An operand's type letters that a form may have. */
const OPERAND_TYPES = /^(E|G|B|M|R|V|W|U|P|Q|N|Z|I|F|fixed)$/;
/** Records by name that do not go into straight code. */
const CANNOT = new RegExp(
  `^(${[
    ...["div", "idiv", "xlatb", "leave", "enter", "push.*", "pop", "pop_.*", "popa", "std", "rdpmc", "bound", "arpl"],
    ...["s[gil]dt", "str", "l[gil]dt", "ltr", "smsw", "invd", "wbinvd", "lar", "lsl", "ver[rw]", "swapgs", "monitor"],
    ...["mwait", "clac", "stac", "[rw]d[fg]sbase", "rdpid", "fldcw", "ldmxcsr", "maskmov.*", "f?xrstor.*", "f?xsave.*"],
    ...["xsaveopt.*", "x[gs]etbv", "rdrand", "rdseed", "mov_from_.*", "frstor", "fldenv", "fnsave", "fnstenv"],
  ].join("|")})$`,
);
const BIT_TESTS = /^bt[srcb]?$/;

export type Family = "integer" | "flags" | "vector" | "x87" | "any";
const FLAG_USERS = /^(set|cmov|adc|sbb|rcl|rcr|lahf|cmc|salc|adcx|adox|daa|das|aaa|aas)/;
const VECTORS: ReadonlySet<string> = new Set([
  ...["sse", "sse2", "sse3", "ssse3", "sse4.1", "sse4.2", "aes", "pclmulqdq", "sha"],
]);

const decoder = new Decoder(RECORDS);

function usable(form: Form): boolean {
  const { record, operands } = form;
  if (record.ends || CANNOT.test(record.name)) return false;
  return operands.every(
    ({ type, size, fixed }) =>
      OPERAND_TYPES.test(type) && fixed?.file !== "segment" && !(size === "s" && type !== "F" && record.name !== "lea"),
  );
}

function isOf(form: Form, family: Family): boolean {
  const { feature, name } = form.record;
  switch (family) {
    case "x87":
      return feature === "fpu" || feature === "mmx";
    case "vector":
      return VECTORS.has(feature);
    case "flags":
      return FLAG_USERS.test(name);
    case "integer":
      return feature !== "fpu" && feature !== "mmx" && !VECTORS.has(feature);
    default:
      return true;
  }
}

const lists = new Map<string, readonly Form[]>();

function formsOf(family: Family, mode: CodeMode): readonly Form[] {
  const key = `${family} ${mode}`;
  let list = lists.get(key);
  if (!list) {
    list = [...decoder.forms()].filter(
      (form) => usable(form) && isOf(form, family) && !(mode === 64 ? form.not64 : form.only64),
    );
    lists.set(key, list);
  }
  return list;
}

export interface InstructionChoice {
  readonly family: Family;
  /** Registers besides the kept ones that stay as they are. */
  readonly spare?: readonly number[];
  /** Operands in memory where the form can have them. */
  readonly memory?: boolean;
}

/** Appends one instruction, and now and then another before it that makes its index register small. */
export function recordInstruction(code: Assembler, random: Random, choice: InstructionChoice): void {
  for (let attempt = 0; attempt < 200; attempt++) {
    const form = random.pick(formsOf(choice.family, code.mode));
    const made = encode(form, code, random, choice);
    if (!made) continue;
    const bytes = Uint8Array.from(made.bytes);
    const status = decoder.decode(bytes, 0, bytes.length, code.mode);
    if (status !== "ok" || decoder.form !== form || decoder.length !== bytes.length) continue;
    code.emit(...made.before, ...bytes);
    return;
  }
  code.emit(0x90);
}

interface Encoded {
  readonly before: readonly number[];
  readonly bytes: readonly number[];
}

const MODRM_REG = /^[GVP]$/;
const MODRM_RM = /^[EMRWUQNF]$/;

function encode(form: Form, code: Assembler, random: Random, choice: InstructionChoice): Encoded | undefined {
  const { mode } = code;
  const { operands } = form;
  const sized = operands.some(({ size }) => size === "v" || size === "z" || size === "y");
  const isWide = form.w === 1 || (form.w === undefined && mode === 64 && sized && random.oneIn(2));
  const isNarrow = !form.vex && (form.prefix ?? "NFx") === "NFx" && sized && !isWide && random.oneIn(4);
  const width = isWide ? 64 : isNarrow ? 16 : 32;
  const allowed = (spec: OperandSpec, number: number, hasRex: boolean): boolean => {
    if (!isGeneral(spec)) return true;
    const full = spec.size === "b" && !hasRex ? number & 3 : number;
    return !KEPT.has(full) && !choice.spare?.includes(full);
  };
  const hasRex = mode === 64 && (isWide || random.oneIn(2));
  const most = hasRex ? 16 : 8;
  const draw = (spec: OperandSpec | undefined, limit = most): number | undefined => {
    const small = spec && (spec.type === "P" || spec.type === "Q" || spec.type === "N" || spec.type === "F");
    for (let i = 0; i < 40; i++) {
      const number = random.below(small ? 8 : limit);
      if (!spec || allowed(spec, number, hasRex)) return number;
    }
    return undefined;
  };
  if (operands.some((spec) => spec.fixed?.file === "gpr" && choice.spare?.includes(spec.fixed.index))) return undefined;
  const regSpec = operands.find(({ type }) => MODRM_REG.test(type));
  const rmSpec = operands.find(({ type }) => MODRM_RM.test(type));
  const vvvvSpec = operands.find(({ type }) => type === "B");
  const opcodeSpec = operands.find(({ type }) => type === "Z");
  const reg = form.reg ?? draw(regSpec);
  const inOpcode = opcodeSpec ? draw(opcodeSpec, form.noB ? 8 : most) : 0;
  const vvvv = vvvvSpec ? draw(vvvvSpec) : 0;
  if (reg === undefined || inOpcode === undefined || vvvv === undefined) return undefined;
  const canBeMemory =
    form.modrm && form.mod !== "register" && rmSpec !== undefined && !BIT_TESTS.test(form.record.name);
  const isMemory = form.mod === "memory" || (canBeMemory && (choice.memory === true || random.oneIn(2)));
  if (form.mod === "memory" && !canBeMemory) return undefined;

  let rex = (isWide ? 8 : 0) | (reg & 8 ? 4 : 0);
  let before: readonly number[] = [];
  const tail: number[] = [];
  let rm = 0;
  const prefixes: number[] = [];
  const immediates = operands.filter(({ type }) => type === "I").flatMap((spec) => immediate(spec, width, random));
  let ripAt = -1;
  if (form.fixedModrm !== undefined) tail.push(form.fixedModrm);
  else if (form.modrm) {
    if (isMemory && rmSpec) {
      const spare = choice.spare ?? [];
      const operand = memoryOperand(reg & 7, operandBytes(rmSpec, width), mode, random, spare);
      before = operand.before;
      tail.push(...operand.bytes);
      ripAt = operand.isRelative ? tail.length - 4 : -1;
      if (random.oneIn(12)) prefixes.push(random.pick([0x64, 0x65, 0x3e, 0x2e]));
      if (mode === 64 && ripAt < 0 && random.oneIn(16)) prefixes.push(0x67);
      if (form.lock && random.oneIn(5)) prefixes.push(0xf0);
    } else {
      const drawn = draw(rmSpec);
      if (drawn === undefined) return undefined;
      rm = drawn;
      if (rm & 8) rex |= 1;
      tail.push(0xc0 | ((reg & 7) << 3) | (rm & 7));
    }
  }
  if (inOpcode & 8) rex |= 1;
  tail.push(...immediates);
  if (isNarrow) prefixes.push(0x66);
  const bytes = form.vex
    ? [...prefixes.filter((byte) => byte !== 0xf0), ...vexPrefix(form, rex, vvvv, isWide), form.opcode, ...tail]
    : [
        ...prefixes,
        ...mandatory(form),
        ...(mode === 64 && (rex || hasRex) ? [0x40 | rex] : []),
        ...[[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]][form.map]!,
        form.opcode | (form.opcodeRegister ? inOpcode & 7 : 0),
        ...tail,
      ];
  if (ripAt >= 0) relativeToRip(bytes, bytes.length - (tail.length - ripAt), code.here + before.length);
  return { before, bytes };
}

const isGeneral = ({ type }: OperandSpec): boolean => /^[EGBRZM]$/.test(type);

function mandatory(form: Form): number[] {
  const byte = { "66": 0x66, F3: 0xf3, F2: 0xf2 }[form.prefix as string];
  return byte === undefined ? [] : [byte];
}

function vexPrefix(form: Form, rex: number, vvvv: number, isWide: boolean): number[] {
  const pp = { "66": 1, F3: 2, F2: 3 }[form.prefix as string] ?? 0;
  const encoded = form.usesVvvv ? ~vvvv & 15 : 15;
  return [0xc4, ((~rex & 7) << 5) | form.map, (isWide ? 0x80 : 0) | (encoded << 3) | pp];
}

function immediate({ size }: OperandSpec, width: number, random: Random): number[] {
  const bytes = size === "b" || size === "bs" ? 1 : size === "w" ? 2 : size === "d" ? 4 : width === 16 ? 2 : 4;
  const count = size === "v" && width === 64 ? 8 : bytes;
  const fill = random.pick([0, 0xff, random.below(256)]);
  return Array.from({ length: count }, (_, i) => (i === 0 || random.oneIn(2) ? random.below(256) : fill));
}

function operandBytes({ size }: OperandSpec, width: number): number {
  const fixed = { b: 1, w: 2, d: 4, q: 8, x: 16, t: 10 }[size as string];
  return fixed ?? width / 8;
}

/** An offset in the data pages: anywhere, aligned or not, or over a page's end. */
function dataOffset(bytes: number, random: Random): number {
  if (bytes === 16 && !random.oneIn(60)) return random.below((DATA_BYTES - 16) / 16) * 16;
  if (bytes > 1 && bytes < 16 && random.oneIn(8))
    return 4096 * (1 + random.below(DATA_BYTES / 4096 - 1)) - 1 - random.below(bytes - 1);
  const offset = random.below(DATA_BYTES - 32);
  return random.oneIn(4) ? offset : offset & -bytes & ~(bytes > 8 ? 15 : 0);
}

interface MemoryOperand {
  readonly before: readonly number[];
  readonly bytes: readonly number[];
  readonly isRelative: boolean;
}

const le32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >> shift) & 0xff);

function memoryOperand(
  reg: number,
  bytes: number,
  mode: CodeMode,
  random: Random,
  spare: readonly number[],
): MemoryOperand {
  const offset = dataOffset(bytes, random);
  const kind = random.below(10);
  if (mode === 64 && kind === 0) return { before: [], bytes: [(reg << 3) | 5, ...le32(offset)], isRelative: true };
  const index = random.pick([0, 1, 2, 3].filter((number) => !spare.includes(number)));
  if (kind < 3 && index !== undefined && bytes < 16) {
    // movzx index, index's low byte
    const scale = random.below(4);
    const displacement = Math.min(offset, DATA_BYTES - 255 * 8 - 32) - DATA_POINTER_OFFSET;
    const sib = (scale << 6) | (index << 3) | RBP;
    return {
      before: [0x0f, 0xb6, 0xc0 | (index << 3) | index],
      bytes: [0x80 | (reg << 3) | 4, sib, ...le32(displacement)],
      isRelative: false,
    };
  }
  const displacement = kind < 5 ? random.below(bytes === 16 ? 12 : 190) - 64 : offset - DATA_POINTER_OFFSET;
  const aligned = bytes === 16 ? displacement & -16 : displacement;
  if (aligned >= -128 && aligned < 128)
    return { before: [], bytes: [0x40 | (reg << 3) | RBP, aligned & 0xff], isRelative: false };
  return { before: [], bytes: [0x80 | (reg << 3) | RBP, ...le32(aligned)], isRelative: false };
}

/** Turns an offset in the data pages at `at` into the distance from the instruction's end. */
function relativeToRip(bytes: number[], at: number, address: number): void {
  const offset = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  bytes.splice(at, 4, ...le32(DATA + offset - (address + bytes.length)));
}
