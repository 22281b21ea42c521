/** Parses the forms of records (see record.ts) into what the decoder matches and reads. */
import { operandShape, registerPlace } from "./operand.ts";
import type { InstructionRecord } from "./record.ts";

export type OperandSize = "b" | "w" | "d" | "q" | "v" | "z" | "y" | "x" | "t" | "s" | "bs" | "p";

export interface OperandSpec {
  readonly type:
    | "E"
    | "G"
    | "B"
    | "M"
    | "R"
    | "V"
    | "W"
    | "U"
    | "P"
    | "Q"
    | "N"
    | "S"
    | "C"
    | "D"
    | "Z"
    | "I"
    | "J"
    | "O"
    | "A"
    | "F"
    | "fixed";
  readonly size: OperandSize;
  /** Number of a fixed general register, or of a fixed segment register, or the fixed immediate. */
  readonly fixed?: { readonly file: "gpr" | "segment" | "one"; readonly index: number };
}

/** Where an operand's register number comes from, or that it is read after ModRM: what the decoder switches on. */
export const FROM_REG = 0;
export const FROM_REG_LOW = 1;
export const FROM_RM = 2;
export const FROM_RM_LOW = 3;
export const FROM_OPCODE = 4;
export const FROM_FIXED = 5;
export const FROM_ONE = 6;
export const FROM_IMMEDIATE = 7;
export const FROM_SEGMENT = 8;
export const FROM_CONTROL = 9;
export const FROM_DEBUG = 10;
export const FROM_VVVV = 11;

const SOURCES: Readonly<Record<OperandSpec["type"], number>> = {
  G: FROM_REG,
  V: FROM_REG,
  P: FROM_REG_LOW,
  E: FROM_RM,
  R: FROM_RM,
  W: FROM_RM,
  U: FROM_RM,
  M: FROM_RM,
  Q: FROM_RM_LOW,
  N: FROM_RM_LOW,
  F: FROM_RM_LOW,
  B: FROM_VVVV,
  Z: FROM_OPCODE,
  fixed: FROM_FIXED,
  S: FROM_SEGMENT,
  C: FROM_CONTROL,
  D: FROM_DEBUG,
  I: FROM_IMMEDIATE,
  J: FROM_IMMEDIATE,
  O: FROM_IMMEDIATE,
  A: FROM_IMMEDIATE,
};

/** An operand as the decoder reads it. */
export interface OperandPlan {
  readonly spec: OperandSpec;
  readonly source: number;
  /** An 8-bit general register named by encoding: numbers 4 to 7 mean AH to BH without REX. */
  readonly mayBeHigh: boolean;
  /** Register's place in the state block: first + number * stride. Index 1: ModRM names memory. */
  readonly first: readonly [number, number];
  readonly stride: readonly [number, number];
  /** The second immediate of ENTER. */
  readonly isSecond: boolean;
}

export interface Form {
  readonly record: InstructionRecord;
  readonly text: string;
  /** With a VEX prefix, whose pp, W and mmmmm are `prefix`, `w` and `map`, and whose L is 0. */
  readonly vex: boolean;
  /** Has an operand in VEX.vvvv, which is 1111b otherwise. */
  readonly usesVvvv: boolean;
  readonly prefix: "NP" | "NFx" | "66" | "F3" | "F2" | undefined;
  readonly w: 0 | 1 | undefined;
  /** 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A. */
  readonly map: 0 | 1 | 2 | 3;
  readonly opcode: number;
  readonly opcodeRegister: boolean;
  readonly modrm: boolean;
  readonly reg: number | undefined;
  readonly fixedModrm: number | undefined;
  /** What mod must be: "register" 3, "memory" not 3. */
  readonly mod: "register" | "memory" | undefined;
  readonly operands: readonly OperandSpec[];
  readonly plan: readonly OperandPlan[];
  /** Names a control or debug register: mod is not looked at. */
  readonly anyMod: boolean;
  /** The immediate is a branch's displacement. */
  readonly relative: boolean;
  readonly only64: boolean;
  readonly not64: boolean;
  readonly default64: boolean;
  readonly force64: boolean;
  readonly lock: boolean;
  /** With a memory destination it is locked without being told. */
  readonly locks: boolean;
  /** Only without REX.B. */
  readonly noB: boolean;
  /**
   * Handler numbers by shape index (`shapeIndex`): for any addressing; in line, for registers alone and plain 64-bit
   * addressing; in line, for 32-bit addressing under MODE_FLAT. Filled by handlers.ts.
   */
  readonly handlers: Int32Array;
  readonly hotHandlers: Int32Array;
  readonly flatHandlers: Int32Array;
}

/** Those with LOCK are behind them. */
export const UNLOCKED_SHAPES = 108;
/**
 * One number for all that a handler may depend on besides the form. `osz`, `asz`: 0 16-bit, 1 32-bit, 2 64-bit; `rep`: 0 none, 1 F3,
 * 2 F2; `lock`: of vCPUs that run in parallel.
 */
export function shapeIndex(
  osz: number,
  asz: number,
  mode64: boolean,
  memory: boolean,
  rep: number,
  lock = false,
): number {
  const unlocked = (((osz * 3 + asz) * 2 + (mode64 ? 1 : 0)) * 2 + (memory ? 1 : 0)) * 3 + rep;
  return lock ? UNLOCKED_SHAPES + unlocked : unlocked;
}

const FIXED: Readonly<Record<string, [OperandSize, "gpr" | "segment" | "one", number]>> = {
  AL: ["b", "gpr", 0],
  CL: ["b", "gpr", 1],
  AX: ["w", "gpr", 0],
  DX: ["w", "gpr", 2],
  rAX: ["v", "gpr", 0],
  zAX: ["z", "gpr", 0],
  "1": ["b", "one", 1],
  ES: ["w", "segment", 0],
  CS: ["w", "segment", 1],
  SS: ["w", "segment", 2],
  DS: ["w", "segment", 3],
  FS: ["w", "segment", 4],
  GS: ["w", "segment", 5],
};

function parseOperand(text: string): OperandSpec {
  const fixed = FIXED[text];
  if (fixed) return { type: "fixed", size: fixed[0], fixed: { file: fixed[1], index: fixed[2] } };
  return { type: text[0] as OperandSpec["type"], size: (text.slice(1) || "s") as OperandSize };
}

function planOperand(spec: OperandSpec, index: number, all: readonly OperandSpec[]): OperandPlan {
  const inRegister = registerPlace(operandShape(spec, 32, false).kind);
  const inMemory = registerPlace(operandShape(spec, 32, true).kind);
  return {
    spec,
    source: spec.fixed?.file === "one" ? FROM_ONE : SOURCES[spec.type],
    mayBeHigh: spec.size === "b" && (spec.type === "G" || spec.type === "E" || spec.type === "R" || spec.type === "Z"),
    first: [inRegister.first, inMemory.first],
    stride: [inRegister.stride, inMemory.stride],
    isSecond: spec.type === "I" && all.slice(0, index).some((o) => o.type === "I"),
  };
}

export function parseForm(record: InstructionRecord, text: string): Form {
  const [encoding = "", operandText = "", attributeText = ""] = text.split("|").map((part) => part.trim());
  const attributes = attributeText.split(/\s+/);
  const operands = operandText ? operandText.split(",").map((o) => parseOperand(o.trim())) : [];
  let prefix: Form["prefix"];
  let vex = false;
  let w: Form["w"];
  let reg: number | undefined;
  let fixedModrm: number | undefined;
  let modrm = false;
  let opcodeRegister = false;
  const bytes: number[] = [];
  for (const token of encoding.split(/\s+/)) {
    const maybePrefix = bytes.length === 0 && prefix === undefined && encoding !== token;
    if (token === "VEX") vex = true;
    else if (token === "NP" || token === "NFx" || (maybePrefix && (token === "66" || token === "F2" || token === "F3")))
      prefix = token as "NP";
    else if (token === "W0" || token === "W1") w = token === "W1" ? 1 : 0;
    else if (token === "/r") modrm = true;
    else if (token.startsWith("/")) {
      modrm = true;
      reg = Number(token.slice(1));
    } else if (token.startsWith("=")) {
      modrm = true;
      fixedModrm = Number.parseInt(token.slice(1), 16);
    } else if (token === "+r") opcodeRegister = true;
    else bytes.push(Number.parseInt(token, 16));
  }
  let map: Form["map"] = 0;
  if (bytes.length > 1 && bytes.shift() === 0x0f) {
    map = 1;
    if (bytes.length > 1) map = bytes.shift() === 0x38 ? 2 : 3;
  }
  if (bytes.length !== 1) throw new Error(`${record.name}: cannot parse "${text}"`);
  const types = operands.map((o) => o.type);
  const isMemory = types.includes("M");
  const isRegister = types.some((t) => t === "R" || t === "U" || t === "N" || t === "F") || fixedModrm !== undefined;
  return {
    record,
    text,
    vex,
    usesVvvv: types.includes("B"),
    prefix,
    w,
    map,
    opcode: bytes[0] ?? 0,
    opcodeRegister,
    modrm,
    reg,
    fixedModrm,
    mod: isMemory ? "memory" : isRegister ? "register" : undefined,
    operands,
    plan: operands.map(planOperand),
    anyMod: types.includes("C") || types.includes("D"),
    relative: types.includes("J"),
    only64: attributes.includes("o64"),
    not64: attributes.includes("i64"),
    default64: attributes.includes("d64"),
    force64: attributes.includes("f64"),
    lock: attributes.includes("lock"),
    locks: attributes.includes("locks"),
    noB: attributes.includes("nob"),
    handlers: new Int32Array(2 * UNLOCKED_SHAPES).fill(-1),
    hotHandlers: new Int32Array(2 * UNLOCKED_SHAPES).fill(-1),
    flatHandlers: new Int32Array(2 * UNLOCKED_SHAPES).fill(-1),
  };
}
