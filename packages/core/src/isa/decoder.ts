/**
 * The x86 instruction decoder (SDM vol. 2, chapter 2): prefixes, REX, opcode maps, ModRM, SIB, displacements and
 * immediates, driven by the records' forms. One mutable result, since it runs for every new block.
 * Left out: VEX and EVEX encodings, which are invalid here.
 */
import * as L from "../cpu/layout.ts";
import type { Form, OperandSpec } from "./form.ts";
import { parseForm, shapeIndex } from "./form.ts";
import type { InstructionRecord } from "./record.ts";
import type { OperandKind, OperandShape } from "./semantics.ts";

export type CodeSize = 16 | 32 | 64;
/** "short": more bytes are needed than were given. "long": over 15 bytes, which is #GP(0). */
export type DecodeStatus = "ok" | "invalid" | "short" | "long";

export const MAX_INSTRUCTION_BYTES = 15;
const NO_REGISTER = -1;
const RIP_REGISTER = 16;

/** Operand width in bits, from its size letter and the operand size. */
export function operandWidth(spec: OperandSpec, osz: number): number {
  switch (spec.size) {
    case "b":
      return 8;
    case "w":
      return 16;
    case "d":
      return 32;
    case "q":
      return 64;
    case "y":
      return osz === 64 ? 64 : 32;
    case "x":
      return 128;
    case "t":
      return 80;
    case "z":
      return spec.type === "I" ? osz : Math.min(osz, 32);
    case "v":
    case "bs":
      return osz;
    default:
      return 0;
  }
}

const KINDS: Readonly<Record<string, OperandKind>> = { G: "r", R: "r", Z: "r", V: "x", U: "x", P: "p", N: "p", S: "s", C: "c", D: "d", I: "i", J: "j", O: "i", A: "i", F: "f", M: "m" };

export function operandShape(spec: OperandSpec, osz: number, memory: boolean): OperandShape {
  const width = operandWidth(spec, osz);
  switch (spec.type) {
    case "E":
      return { kind: memory ? "m" : "r", width };
    case "W":
      return { kind: memory ? "m" : "x", width };
    case "Q":
      return { kind: memory ? "m" : "p", width };
    case "J":
    case "A":
      return { kind: spec.type === "J" ? "j" : "i", width: 0 };
    case "O":
      return { kind: "i", width: 64 };
    case "fixed":
      if (spec.fixed?.file === "segment") return { kind: "s", width };
      return { kind: spec.fixed?.file === "one" ? "i" : "r", width };
    default:
      return { kind: KINDS[spec.type] ?? "r", width };
  }
}

export class Decoder {
  readonly #maps: (Form[] | undefined)[][] = [[], [], [], []];

  // The result of the last `decode`.
  status: DecodeStatus = "ok";
  form: Form | undefined;
  length = 0;
  osz = 1;
  asz = 1;
  /** 0 none, 1 F3, 2 F2: the last of them. */
  rep = 0;
  lock = false;
  mode64 = false;
  memory = false;
  /** Register number (with REX bit) by operand; segment, control and ST numbers likewise. */
  readonly registers: Int32Array = new Int32Array(4);
  /** An 8-bit register operand means AH-BH. */
  readonly high: Uint8Array = new Uint8Array(4);
  base = NO_REGISTER;
  index = NO_REGISTER;
  scale = 0;
  displacement = 0;
  /** Segment register number of the memory operand, and whether a prefix named it. */
  segment: number = L.DS;
  segmentPrefix = false;
  immediateLow = 0;
  immediateHigh = 0;
  /** For the disassembler. */
  prefix66 = false;
  prefix67 = false;
  hasDisplacement = false;

  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #limit = 0;
  #rex = 0;

  constructor(records: readonly InstructionRecord[]) {
    const names = new Set<string>();
    for (const record of records) {
      if (names.has(record.name)) throw new Error(`two records are named ${record.name}`);
      names.add(record.name);
      for (const text of record.forms) this.#add(parseForm(record, text));
    }
  }

  #add(form: Form): void {
    const map = this.#maps[form.map] ?? [];
    const last = form.opcodeRegister ? form.opcode + 7 : form.opcode;
    for (let opcode = form.opcode; opcode <= last; opcode++) {
      const list = map[opcode] ?? [];
      map[opcode] = list;
      list.push(form);
      // The narrower claim first: fixed ModRM, then a reg field, then mandatory prefixes, then REX.W.
      const rank = (f: Form): number => (f.fixedModrm !== undefined ? 0 : 16) + (f.reg !== undefined ? 0 : 8) + (f.prefix ? 0 : 4) + (f.w !== undefined ? 0 : 2) + (f.mod ? 0 : 1);
      list.sort((x, y) => rank(x) - rank(y));
    }
  }

  /** All forms, each once. */
  *forms(): Iterable<Form> {
    const seen = new Set<Form>();
    for (const map of this.#maps)
      for (const list of map)
        for (const form of list ?? []) {
          if (seen.has(form)) continue;
          seen.add(form);
          yield form;
        }
  }

  /** Decodes at `at`; bytes from `limit` on are not there. At most 15 bytes are looked at. */
  decode(bytes: Uint8Array, at: number, limit: number, codeSize: CodeSize): DecodeStatus {
    this.#bytes = bytes;
    this.#at = at;
    this.#limit = Math.min(limit, at + MAX_INSTRUCTION_BYTES);
    this.status = "ok";
    this.form = undefined;
    const result = this.#decode(codeSize);
    this.length = this.#at - at;
    if (result === "short" && limit - at >= MAX_INSTRUCTION_BYTES) {
      this.status = "long";
    } else this.status = result;
    return this.status;
  }

  #decode(codeSize: CodeSize): DecodeStatus {
    const b = this.#bytes;
    this.mode64 = codeSize === 64;
    this.#rex = 0;
    this.rep = 0;
    this.lock = false;
    this.segmentPrefix = false;
    this.prefix66 = false;
    this.prefix67 = false;
    let segment = -1;
    let opcode = 0;
    for (;;) {
      if (this.#at >= this.#limit) return "short";
      opcode = b[this.#at++] ?? 0;
      if (this.mode64 && (opcode & 0xf0) === 0x40) {
        this.#rex = opcode;
        continue;
      }
      switch (opcode) {
        case 0x66:
          this.prefix66 = true;
          break;
        case 0x67:
          this.prefix67 = true;
          break;
        case 0xf0:
          this.lock = true;
          break;
        case 0xf2:
          this.rep = 2;
          break;
        case 0xf3:
          this.rep = 1;
          break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
          if (!this.mode64) segment = (opcode >> 3) & 3;
          break;
        case 0x64:
        case 0x65:
          segment = opcode - 0x60;
          break;
        default:
          return this.#opcode(opcode, segment, codeSize);
      }
      // A REX prefix counts only right before the opcode.
      this.#rex = 0;
    }
  }

  #opcode(first: number, segment: number, codeSize: CodeSize): DecodeStatus {
    const b = this.#bytes;
    let opcode = first;
    let map = 0;
    if (opcode === 0x0f) {
      if (this.#at >= this.#limit) return "short";
      opcode = b[this.#at++] ?? 0;
      map = 1;
      if (opcode === 0x38 || opcode === 0x3a) {
        map = opcode === 0x38 ? 2 : 3;
        if (this.#at >= this.#limit) return "short";
        opcode = b[this.#at++] ?? 0;
      }
    }
    const list = this.#maps[map]?.[opcode];
    if (!list) return "invalid";
    let modrm = -1;
    if (list[0]?.modrm) {
      if (this.#at >= this.#limit) return "short";
      modrm = b[this.#at++] ?? 0;
    }
    const form = this.#select(list, modrm);
    if (!form) return "invalid";
    this.form = form;
    // Prefixes that select the form do not also set the operand size.
    const has66 = this.prefix66 && form.prefix !== "66";
    const w = this.#rex & 8;
    if (codeSize === 64) {
      const base = has66 ? 0 : 1;
      this.osz = form.force64 ? 2 : form.default64 ? (has66 && !w ? 0 : 2) : w ? 2 : base;
    } else this.osz = (codeSize === 16) === has66 ? 1 : 0;
    this.asz = codeSize === 64 ? (this.prefix67 ? 1 : 2) : (codeSize === 16) === this.prefix67 ? 1 : 0;
    this.memory = modrm >= 0 && modrm < 0xc0 && form.fixedModrm === undefined && form.mod !== "register";
    this.segment = segment >= 0 ? segment : L.DS;
    this.segmentPrefix = segment >= 0;
    this.base = NO_REGISTER;
    this.index = NO_REGISTER;
    this.scale = 0;
    this.displacement = 0;
    this.hasDisplacement = false;
    this.immediateLow = 0;
    this.immediateHigh = 0;
    if (this.memory) {
      const status = this.asz === 0 ? this.#address16(modrm, segment) : this.#address32(modrm, segment);
      if (status !== "ok") return status;
    }
    const first8 = form.operands[0];
    if (this.lock && !(form.lock && this.memory && first8)) return "invalid";
    return this.#operands(form, modrm, opcode);
  }

  #select(list: readonly Form[], modrm: number): Form | undefined {
    const wanted = this.rep === 1 ? "F3" : this.rep === 2 ? "F2" : this.prefix66 ? "66" : "NP";
    for (const f of list) {
      if (f.prefix !== undefined && f.prefix !== wanted) continue;
      if (f.only64 && !this.mode64) continue;
      if (f.not64 && this.mode64) continue;
      if (f.w !== undefined && f.w !== (this.#rex & 8 ? 1 : 0)) continue;
      if (modrm >= 0) {
        if (f.fixedModrm !== undefined && f.fixedModrm !== modrm) continue;
        if (f.reg !== undefined && f.reg !== ((modrm >> 3) & 7)) continue;
        const isControl = f.operands.some((o) => o.type === "C" || o.type === "D");
        if (f.mod === "memory" && modrm >= 0xc0) continue;
        if (f.mod === "register" && modrm < 0xc0 && !isControl) continue;
      }
      return f;
    }
    return undefined;
  }

  #address16(modrm: number, segment: number): DecodeStatus {
    const mod = modrm >> 6;
    const rm = modrm & 7;
    const bases = [3, 3, 5, 5, NO_REGISTER, NO_REGISTER, 5, 3];
    const indices = [6, 7, 6, 7, 6, 7, NO_REGISTER, NO_REGISTER];
    this.base = bases[rm] ?? NO_REGISTER;
    this.index = indices[rm] ?? NO_REGISTER;
    if (rm === 4 || rm === 5) {
      this.base = this.index;
      this.index = NO_REGISTER;
    }
    if (mod === 0 && rm === 6) {
      this.base = NO_REGISTER;
      return this.#displacement(2);
    }
    if (segment < 0 && this.base === 5) this.segment = L.SS;
    return mod === 1 ? this.#displacement(1) : mod === 2 ? this.#displacement(2) : "ok";
  }

  #address32(modrm: number, segment: number): DecodeStatus {
    const mod = modrm >> 6;
    let base = modrm & 7;
    let rexBase = (this.#rex & 1) << 3;
    if (base === 4) {
      if (this.#at >= this.#limit) return "short";
      const sib = this.#bytes[this.#at++] ?? 0;
      base = sib & 7;
      const index = ((sib >> 3) & 7) | ((this.#rex & 2) << 2);
      if (index !== 4) {
        this.index = index;
        this.scale = sib >> 6;
      }
      if (base === 5 && mod === 0) return this.#displacement(4);
    } else if (base === 5 && mod === 0) {
      if (this.mode64) this.base = RIP_REGISTER;
      rexBase = 0;
      return this.#displacement(4);
    }
    this.base = base | rexBase;
    if (segment < 0 && (this.base === 4 || this.base === 5)) this.segment = L.SS;
    return mod === 1 ? this.#displacement(1) : mod === 2 ? this.#displacement(4) : "ok";
  }

  #displacement(bytes: number): DecodeStatus {
    if (this.#at + bytes > this.#limit) {
      this.#at = this.#limit;
      return "short";
    }
    this.displacement = this.#signed(bytes);
    this.hasDisplacement = true;
    return "ok";
  }

  #signed(bytes: number): number {
    const b = this.#bytes;
    const at = this.#at;
    this.#at += bytes;
    if (bytes === 1) return ((b[at] ?? 0) << 24) >> 24;
    if (bytes === 2) return (((b[at] ?? 0) | ((b[at + 1] ?? 0) << 8)) << 16) >> 16;
    return (b[at] ?? 0) | ((b[at + 1] ?? 0) << 8) | ((b[at + 2] ?? 0) << 16) | ((b[at + 3] ?? 0) << 24);
  }

  #operands(form: Form, modrm: number, opcode: number): DecodeStatus {
    const rex = this.#rex;
    for (const [i, spec] of form.operands.entries()) {
      let register = 0;
      switch (spec.type) {
        case "G":
        case "V":
          register = ((modrm >> 3) & 7) | ((rex & 4) << 1);
          break;
        case "P":
          register = (modrm >> 3) & 7;
          break;
        case "S":
          register = (modrm >> 3) & 7;
          if (register > 5) return "invalid";
          break;
        case "C":
          register = ((modrm >> 3) & 7) | ((rex & 4) << 1);
          if (![0, 2, 3, 4, 8].includes(register)) return "invalid";
          break;
        case "D":
          register = ((modrm >> 3) & 7) | ((rex & 4) << 1);
          if (register > 7) return "invalid";
          break;
        case "E":
        case "R":
        case "W":
        case "U":
          register = (modrm & 7) | ((rex & 1) << 3);
          break;
        case "Q":
        case "N":
        case "F":
          register = modrm & 7;
          break;
        case "Z":
          register = (opcode & 7) | ((rex & 1) << 3);
          break;
        case "fixed":
          register = spec.fixed?.index ?? 0;
          if (spec.fixed?.file === "one") this.immediateLow = 1;
          break;
        case "I":
        case "J":
        case "O":
        case "A":
          if (!this.#immediate(spec)) return "short";
          break;
      }
      this.registers[i] = register;
      this.high[i] = 0;
      if (spec.size === "b" && !rex && register >= 4 && register < 8 && ["G", "E", "R", "Z"].includes(spec.type)) {
        this.registers[i] = register - 4;
        this.high[i] = 1;
      }
    }
    return "ok";
  }

  #immediate(spec: OperandSpec): boolean {
    let bytes = 0;
    if (spec.type === "O") bytes = this.asz === 2 ? 8 : this.asz === 1 ? 4 : 2;
    else if (spec.type === "A") bytes = this.osz === 0 ? 2 : 4;
    else if (spec.size === "b" || spec.size === "bs") bytes = 1;
    else if (spec.size === "w") bytes = 2;
    else if (spec.size === "v") bytes = this.osz === 2 ? 8 : this.osz === 1 ? 4 : 2;
    else bytes = this.osz === 0 ? 2 : 4;
    const total = bytes + (spec.type === "A" ? 2 : 0);
    if (this.#at + total > this.#limit) {
      this.#at = this.#limit;
      return false;
    }
    if (spec.type === "A") {
      const offset = this.#signed(bytes);
      this.immediateLow = bytes === 2 ? offset & 0xffff : offset;
      this.immediateHigh = this.#signed(2) & 0xffff;
      return true;
    }
    // A second immediate (ENTER) goes to the high half.
    if (spec.type === "I" && spec.size === "b" && this.form?.operands.some((o) => o.type === "I" && o.size === "w")) {
      this.immediateHigh = this.#signed(1) & 0xff;
      return true;
    }
    const low = this.#signed(Math.min(bytes, 4));
    const unsigned = (spec.size === "b" || spec.size === "w") && spec.type === "I";
    this.immediateLow = unsigned || spec.type === "O" ? (bytes === 1 ? low & 0xff : bytes === 2 ? low & 0xffff : low) : low;
    this.immediateHigh = bytes === 8 ? this.#signed(4) : unsigned || spec.type === "O" ? 0 : low >> 31;
    return true;
  }

  /** Shape index of the last result, for `form.handlers`. */
  shape(): number {
    return shapeIndex(this.osz, this.asz, this.mode64, this.memory, this.rep);
  }
}

/** State-block offset of a register operand; for control, debug and ST registers: their number. */
export function registerOffset(kind: OperandKind, register: number, high: boolean): number {
  switch (kind) {
    case "x":
      return L.XMM + register * 16;
    case "p":
      return L.X87 + register * 16;
    case "s":
      return L.SEGMENTS + register * 32;
    case "r":
      return L.GPR + register * 8 + (high ? 1 : 0);
    default:
      return register;
  }
}

/** Writes the last result as a micro-op. `start`: of the instruction in its block; `left`: instructions after it. */
export function encodeMicroOp(d: Decoder, out: DataView, at: number, start: number, left: number): void {
  const form = d.form;
  if (!form) throw new Error("nothing decoded");
  const plain = d.memory && d.asz === 2;
  const shape = d.shape();
  const hot = plain || !d.memory ? (form.hotHandlers[shape] ?? -1) : -1;
  out.setUint16(at + L.UOP_HANDLER, hot >= 0 ? hot : (form.handlers[shape] ?? 0), true);
  for (let i = 0; i < 3; i++) {
    const spec = form.operands[i];
    const offset = spec ? registerOffset(operandShape(spec, 16 << d.osz, d.memory).kind, d.registers[i] ?? 0, d.high[i] === 1) : 0;
    out.setUint16(at + L.UOP_OPERAND + 2 * i, offset, true);
  }
  const legacySegment = L.SEGMENTS + d.segment * 32 + 8;
  const segmentBase = d.mode64 ? (d.segment >= L.FS && d.segmentPrefix ? legacySegment : L.ZERO) : legacySegment;
  out.setUint8(at + L.UOP_SEGMENT, d.segment);
  const how = (d.asz === 1 ? L.ADDRESS_32 : d.asz === 0 ? L.ADDRESS_16 : 0) | (d.mode64 ? 0 : L.ADDRESS_LEGACY);
  out.setUint8(at + L.UOP_ADDRESS, d.scale | how);
  const relative = d.base === RIP_REGISTER;
  out.setUint16(at + L.UOP_BASE, relative ? L.BLOCK_RIP.offset : d.base < 0 ? L.ZERO : L.GPR + d.base * 8, true);
  out.setUint16(at + L.UOP_INDEX, d.index < 0 ? L.ZERO : L.GPR + d.index * 8, true);
  out.setUint16(at + L.UOP_SEGMENT_BASE, segmentBase, true);
  out.setInt32(at + L.UOP_DISPLACEMENT, d.displacement + (relative ? start + d.length : 0), true);
  out.setUint16(at + L.UOP_START, start, true);
  out.setUint8(at + L.UOP_LEFT, left);
  out.setUint8(at + L.UOP_LENGTH, d.length);
  let low = d.immediateLow;
  let high = d.immediateHigh;
  if (form.operands.some((o) => o.type === "J")) {
    const target = low + start + d.length;
    low = target | 0;
    high = target < 0 ? -1 : 0;
  }
  out.setInt32(at + L.UOP_IMMEDIATE, low, true);
  out.setInt32(at + L.UOP_IMMEDIATE + 4, high, true);
}
