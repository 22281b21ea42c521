/**
 * The x86 instruction decoder (SDM vol. 2, chapter 2): prefixes, REX, VEX, opcode maps, ModRM, SIB, displacements and
 * immediates, driven by the records' forms. One mutable result, since it runs for every new block: nothing is
 * allocated once each opcode's choice of forms was seen.
 * Left out: VEX encodings of vectors (L = 1, VSIB) and EVEX, which are invalid here.
 */
import * as L from "../cpu/layout.ts";
import * as F from "./form.ts";
import { type Form, type OperandSpec, parseForm, shapeIndex } from "./form.ts";
import type { Feature, InstructionRecord } from "./record.ts";

export type CodeSize = 16 | 32 | 64;
/** "short": more bytes are needed than were given. "long": over 15 bytes, which is #GP(0). */
export type DecodeStatus = "ok" | "invalid" | "short" | "long";

export const MAX_INSTRUCTION_BYTES = 15;
const NO_REGISTER = -1;
export const RIP_REGISTER = 16;

const BASES_16 = [3, 3, 5, 5, 6, 7, 5, 3] as const;
const INDICES_16 = [6, 7, 6, 7, NO_REGISTER, NO_REGISTER, NO_REGISTER, NO_REGISTER] as const;
/** CR0, CR2, CR3, CR4, CR8. */
const CONTROL_REGISTERS = 0x11d;
/** Opcode maps behind VEX prefixes come after the others. */
const VEX_MAPS = 4;
const VEX_3 = 0xc4;
const VEX_2 = 0xc5;
const PREFIX_NAMES = ["NP", "66", "F3", "F2"] as const;

/** The forms of one opcode byte, the narrower claim first, and which of them prefixes and ModRM select. */
class Opcode {
  readonly forms: Form[];
  /** Forms of other features are invalid, though their length counts; undefined: all are valid. */
  readonly #features: ReadonlySet<Feature> | undefined;
  modrm = false;
  /** By mandatory prefix, REX.W, REX.B, 64-bit mode and ModRM; undefined: not asked yet, null: invalid. */
  readonly #selected: (Form | null | undefined)[] = [];
  /** Some form wants one ModRM byte; otherwise reg and mod decide. */
  #wholeModrm = false;

  constructor(forms: Form[] = [], features?: ReadonlySet<Feature>) {
    this.forms = forms;
    this.#features = features;
    this.modrm = forms[0]?.modrm ?? false;
    this.#wholeModrm = forms.some((form) => form.fixedModrm !== undefined);
  }

  limitedTo(features: ReadonlySet<Feature>): Opcode {
    return this.forms.every((form) => features.has(form.record.feature)) ? this : new Opcode(this.forms, features);
  }

  add(form: Form): void {
    if (this.forms.length > 0 && this.modrm !== form.modrm) throw new Error(`"${form.text}": ModRM or not?`);
    this.modrm = form.modrm;
    if (form.fixedModrm !== undefined) this.#wholeModrm = true;
    this.forms.push(form);
    const rank = (f: Form): number =>
      (f.fixedModrm !== undefined ? 0 : 16) +
      (f.reg !== undefined ? 0 : 8) +
      (f.prefix ? 0 : 4) +
      (f.w !== undefined || f.noB ? 0 : 2) +
      (f.mod ? 0 : 1);
    this.forms.sort((x, y) => rank(x) - rank(y));
  }

  select(prefix: number, rex: number, mode64: boolean, modrm: number): Form | null {
    const of = this.#wholeModrm ? modrm : ((modrm >> 3) & 7) | (modrm >= 0xc0 ? 8 : 0);
    const key = (((of * 4 + prefix) * 2 + (mode64 ? 1 : 0)) * 2 + ((rex >> 3) & 1)) * 2 + (rex & 1);
    const known = this.#selected[key];
    if (known !== undefined) return known;
    const name = PREFIX_NAMES[prefix] ?? "NP";
    const isThere = (f: Form): boolean => this.#features?.has(f.record.feature) ?? true;
    const found = this.forms.find((f) => isThere(f) && matches(f, name, rex, mode64, modrm)) ?? null;
    this.#selected[key] = found;
    return found;
  }
}

function matches(f: Form, prefix: Form["prefix"], rex: number, mode64: boolean, modrm: number): boolean {
  const isNeither = f.prefix === "NFx" && (prefix === "NP" || prefix === "66");
  if (f.prefix !== undefined && f.prefix !== prefix && !isNeither) return false;
  if (mode64 ? f.not64 : f.only64) return false;
  if (f.w !== undefined && f.w !== ((rex >> 3) & 1)) return false;
  if (f.noB && rex & 1) return false;
  if (!f.modrm) return true;
  if (f.fixedModrm !== undefined) return f.fixedModrm === modrm;
  if (f.reg !== undefined && f.reg !== ((modrm >> 3) & 7)) return false;
  if (f.mod === "memory") return modrm < 0xc0;
  return f.mod !== "register" || modrm >= 0xc0 || f.anyMod;
}

export class Decoder {
  readonly #opcodes: (Opcode | undefined)[] = [];

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
  #vvvv = 0;
  #isProtected = true;
  #isRefused = false;
  /** LOCK makes another shape. */
  readonly #hasLocks: boolean;

  constructor(records: readonly InstructionRecord[], hasLocks = false) {
    this.#hasLocks = hasLocks;
    const names = new Set<string>();
    for (const record of records) {
      if (names.has(record.name)) throw new Error(`two records are named ${record.name}`);
      names.add(record.name);
      for (const text of record.forms) this.#add(parseForm(record, text));
    }
  }

  #add(form: Form): void {
    const last = form.opcodeRegister ? form.opcode + 7 : form.opcode;
    const map = form.vex ? VEX_MAPS + form.map : form.map;
    for (let byte = form.opcode; byte <= last; byte++) {
      const opcode = this.#opcodes[map * 256 + byte] ?? new Opcode();
      this.#opcodes[map * 256 + byte] = opcode;
      opcode.add(form);
    }
  }

  /** The decoder of a CPU that has no other features than these. The forms are shared. */
  limitedTo(features: ReadonlySet<Feature>): Decoder {
    const decoder = new Decoder([], this.#hasLocks);
    for (const [at, opcode] of this.#opcodes.entries()) decoder.#opcodes[at] = opcode?.limitedTo(features);
    return decoder;
  }

  /** All forms, each once. */
  *forms(): Iterable<Form> {
    const seen = new Set<Form>();
    for (const opcode of this.#opcodes) for (const form of opcode?.forms ?? []) seen.add(form);
    yield* seen;
  }

  /**
   * Decodes at `at`; bytes from `limit` on are not there. At most 15 bytes are looked at. `isProtected`: neither real nor
   * virtual-8086 mode, which have no VEX prefixes.
   */
  decode(bytes: Uint8Array, at: number, limit: number, codeSize: CodeSize, isProtected = true): DecodeStatus {
    this.#isProtected = isProtected;
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
    this.#isRefused = false;
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

  /**
   * C4 or C5 is a VEX prefix: outside 64-bit mode only where LDS and LES would name a register. Behind REX processors
   * fetch an LDS or LES, which 64-bit mode does not have.
   */
  #isVex(first: number): boolean {
    if (first !== VEX_2 && first !== VEX_3) return false;
    if (this.mode64) return this.#rex === 0;
    return this.#isProtected && this.#at < this.#limit && (this.#bytes[this.#at] ?? 0) >= 0xc0;
  }

  #vex(first: number, segment: number, codeSize: CodeSize): DecodeStatus {
    const b = this.#bytes;
    const bytes = first === VEX_2 ? 2 : 3;
    if (this.#at + bytes > this.#limit) {
      this.#at = this.#limit;
      return "short";
    }
    // SDM vol. 2, 2.3: none of these may come before. What is refused is fetched to its end all the same.
    this.#isRefused = this.prefix66 || this.rep !== 0 || this.lock;
    const inverted = b[this.#at++] ?? 0;
    const last = first === VEX_2 ? inverted : (b[this.#at++] ?? 0);
    const map = first === VEX_2 ? 1 : inverted & 0x1f;
    const rxb = first === VEX_2 ? (~inverted >> 5) & 4 : (~inverted >> 5) & 7;
    const w = first === VEX_2 ? 0 : (last >> 4) & 8;
    this.#vvvv = (~last >> 3) & 15;
    if (last & 4) this.#isRefused = true;
    if (this.mode64) this.#rex = 0x40 | w | rxb;
    else {
      // Registers 8 to 15 and 64-bit operands are not there; the bits that would say so are ignored.
      this.#rex = 0;
      this.#vvvv &= 7;
    }
    const opcode = b[this.#at++] ?? 0;
    const entry = map < 1 || map > 3 ? undefined : this.#opcodes[(VEX_MAPS + map) * 256 + opcode];
    return entry ? this.#operation(entry, opcode, last & 3, segment, codeSize) : "invalid";
  }

  #opcode(first: number, segment: number, codeSize: CodeSize): DecodeStatus {
    if (this.#isVex(first)) return this.#vex(first, segment, codeSize);
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
    const entry = this.#opcodes[map * 256 + opcode];
    if (!entry) return "invalid";
    const prefix = this.rep === 1 ? 2 : this.rep === 2 ? 3 : this.prefix66 ? 1 : 0;
    return this.#operation(entry, opcode, prefix, segment, codeSize);
  }

  /** From ModRM on. `prefix`: an index of PREFIX_NAMES. */
  #operation(entry: Opcode, opcode: number, prefix: number, segment: number, codeSize: CodeSize): DecodeStatus {
    const b = this.#bytes;
    let modrm = 0;
    if (entry.modrm) {
      if (this.#at >= this.#limit) return "short";
      modrm = b[this.#at++] ?? 0;
    }
    const selected = entry.select(prefix, this.#rex, this.mode64, modrm);
    // Also an invalid instruction is fetched to its end: that may be a page fault, or #GP for too many bytes.
    const form = selected ?? entry.forms[0];
    if (!form) return "invalid";
    this.form = selected ?? undefined;
    // Prefixes that select the form do not also set the operand size.
    const has66 = this.prefix66 && form.prefix !== "66";
    const w = this.#rex & 8;
    if (codeSize === 64) {
      const base = has66 ? 0 : 1;
      this.osz = form.force64 ? 2 : form.default64 ? (has66 && !w ? 0 : 2) : w ? 2 : base;
    } else this.osz = form.vex || (codeSize === 16) === has66 ? 1 : 0;
    this.asz = codeSize === 64 ? (this.prefix67 ? 1 : 2) : (codeSize === 16) === this.prefix67 ? 1 : 0;
    this.memory = form.modrm && modrm < 0xc0 && (form.mod !== "register" || !selected);
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
    const status = this.#operands(form, modrm, opcode);
    if (form.vex && !form.usesVvvv && this.#vvvv !== 0) this.#isRefused = true;
    const isInvalid = !selected || this.#isRefused || (this.lock && !(form.lock && this.memory));
    return status === "ok" && isInvalid ? "invalid" : status;
  }

  #address16(modrm: number, segment: number): DecodeStatus {
    const mod = modrm >> 6;
    const rm = modrm & 7;
    this.base = BASES_16[rm] ?? NO_REGISTER;
    this.index = INDICES_16[rm] ?? NO_REGISTER;
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
    const { plan } = form;
    const reg = ((modrm >> 3) & 7) | ((rex & 4) << 1);
    const rm = (modrm & 7) | ((rex & 1) << 3);
    for (let i = 0; i < plan.length; i++) {
      const operand = plan[i];
      if (!operand) break;
      let register = 0;
      switch (operand.source) {
        case F.FROM_REG:
          register = reg;
          break;
        case F.FROM_REG_LOW:
          register = reg & 7;
          break;
        case F.FROM_RM:
          register = rm;
          break;
        case F.FROM_RM_LOW:
          register = rm & 7;
          break;
        case F.FROM_VVVV:
          register = this.#vvvv;
          break;
        case F.FROM_OPCODE:
          register = (opcode & 7) | ((rex & 1) << 3);
          break;
        case F.FROM_FIXED:
          register = operand.spec.fixed?.index ?? 0;
          break;
        case F.FROM_ONE:
          this.immediateLow = 1;
          break;
        case F.FROM_SEGMENT:
          register = reg & 7;
          if (register > L.GS || (i === 0 && register === L.CS)) return "invalid";
          break;
        case F.FROM_CONTROL:
          register = reg;
          if (!((CONTROL_REGISTERS >> reg) & 1)) return "invalid";
          break;
        case F.FROM_DEBUG:
          register = reg;
          if (reg > 7) return "invalid";
          break;
        default:
          if (!this.#immediate(operand.spec, operand.isSecond)) return "short";
      }
      const isHigh = operand.mayBeHigh && !rex && register >= 4 && !(this.memory && operand.source === F.FROM_RM);
      this.registers[i] = isHigh ? register - 4 : register;
      this.high[i] = isHigh ? 1 : 0;
    }
    return "ok";
  }

  #immediate(spec: OperandSpec, isSecond: boolean): boolean {
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
    if (isSecond) {
      this.immediateHigh = this.#signed(1) & 0xff;
      return true;
    }
    const low = this.#signed(Math.min(bytes, 4));
    const unsigned = (spec.size === "b" || spec.size === "w") && spec.type === "I";
    this.immediateLow =
      unsigned || spec.type === "O" ? (bytes === 1 ? low & 0xff : bytes === 2 ? low & 0xffff : low) : low;
    this.immediateHigh = bytes === 8 ? this.#signed(4) : unsigned || spec.type === "O" ? 0 : low >> 31;
    return true;
  }

  /** Shape index of the last result, for `form.handlers`. */
  shape(): number {
    return shapeIndex(this.osz, this.asz, this.mode64, this.memory, this.rep, this.#hasLocks && this.lock);
  }
}
