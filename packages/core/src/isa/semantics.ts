/**
 * What a record's semantics are written in: reads and writes of its operands, memory, flags, faults and jumps, on top
 * of the builder language. One instance builds one handler: a record with a given shape of operands.
 *
 * Operands are found through the running micro-op (cpu/layout.ts, UOP_*), whose address is `up`; a back-end that knows
 * the instruction gives constants instead (`field`).
 *
 * Enforced: no access that can fault after the first change of architectural state (`commit`).
 */
import {
  commitSlow,
  commitStore,
  cpuAddress,
  readLinear,
  readSlow,
  writeLinear,
  writeProbed,
  writeSlow,
} from "../cpu/access.ts";
import { endExclusive } from "../cpu/atomics.ts";
import type { Width } from "../cpu/flags.ts";
import * as flags from "../cpu/flags.ts";
import * as L from "../cpu/layout.ts";
import { EXC_GP, EXC_UD, raise } from "../cpu/raise.ts";
import type { FloatFormat } from "../cpu/softfloat.ts";
import { legacyStackAddress, movedPointer } from "../cpu/stack-frame.ts";
import { type Builder, type Expr, i32, loadOp, type Operand, select, storeOp } from "../ir/builder.ts";
import { IrError, type ValueType } from "../ir/types.ts";
import { effectiveAddress, effectiveOffset } from "./effective-address.ts";
import { Lock } from "./lock.ts";
import { hostThroughTlb, type Probe } from "./tlb-access.ts";
import type { FloatKnowledge, Translation, X87Stack } from "./translation.ts";

/** r general register, x XMM, p MMX, s segment, c control, d debug register, f ST(i), m memory, i immediate, j branch target. */
export type OperandKind = "r" | "x" | "p" | "s" | "c" | "d" | "f" | "m" | "i" | "j";

export interface OperandShape {
  readonly kind: OperandKind;
  /** Bits; 0 where the semantics decide (areas of memory, LEA). */
  readonly width: number;
  /** An immediate that is not one of 32 bits, sign-extended. */
  readonly isWide?: boolean;
}

export interface Shape {
  readonly operands: readonly OperandShape[];
  readonly osz: 16 | 32 | 64;
  readonly asz: 16 | 32 | 64;
  readonly mode64: boolean;
  /** "" , "rep" (F3) or "repne" (F2). */
  readonly rep: "" | "rep" | "repne";
  /** With LOCK, or as if: of vCPUs that run in parallel only. */
  readonly lock?: boolean;
  /** Its micro-ops have both parts (UOP_BYTES). */
  readonly isLong: boolean;
}

/** What a handler answers: go on, a fault is pending, RIP is set, leave `run` with EXIT_REASON. */
export const NEXT = 0;
export const FAULT = 1;
export const BRANCH = 2;
export const LEAVE = 3;

export interface Binding {
  /** Ends the handler with one of the codes above. */
  leave(code: number): void;
  /** Accesses hit the TLB in line (hot handlers), or through routines. */
  readonly inlineAccess: boolean;
  /**
   * "plain": 64-bit addressing without prefixes only. "flat": of 32 bits, without prefixes but of segments without bases.
   * In 32-bit code of "any" addressing, SS may have a base.
   */
  readonly addressing: "any" | "plain" | "flat";
  /** The instruction is being translated into a region (jit/): its micro-op is constant. */
  readonly translation?: Translation;
}

export class Semantics {
  readonly b: Builder;
  readonly shape: Shape;
  readonly #up: Expr;
  #binding: Binding;
  #committed = false;
  #lock: Lock | undefined;
  #accessesMemory = false;
  #probe: Probe | undefined;
  #linear: Expr | undefined;

  constructor(b: Builder, shape: Shape, up: Expr, binding: Binding) {
    this.b = b;
    this.shape = shape;
    this.#up = up;
    this.#binding = binding;
  }

  get osz(): 16 | 32 | 64 {
    return this.shape.osz;
  }
  get asz(): 16 | 32 | 64 {
    return this.shape.asz;
  }
  get mode64(): boolean {
    return this.shape.mode64;
  }
  /** Runs under MODE_FLAT only. */
  get isFlat(): boolean {
    return this.#binding.addressing === "flat";
  }
  /** Part of a region: neither single steps nor breakpoints happen there. */
  get isTranslated(): boolean {
    return this.#binding.translation !== undefined;
  }
  /** The x87 registers of a translated block. */
  get x87(): X87Stack | undefined {
    return this.#binding.translation?.x87;
  }
  /** What a translated region knows of floating point. */
  get floats(): FloatKnowledge | undefined {
    return this.#binding.translation?.floats;
  }
  /** Width of operand `i` as one of the integer widths. */
  width(i: number): Width {
    return this.operand(i).width as Width;
  }
  operand(i: number): OperandShape {
    const o = this.shape.operands[i];
    if (!o) throw new IrError(`no operand ${i}`);
    return o;
  }
  isMemory(i: number): boolean {
    return this.shape.operands[i]?.kind === "m";
  }
  /** The type that values of a width have: i32 up to 32 bits, i64, v128. */
  static type(width: number): ValueType {
    return width === 128 ? "v128" : width === 64 ? "i64" : "i32";
  }
  /** The running micro-op's address. */
  get up(): Expr {
    return this.#up;
  }

  #field(op: string, offset: number): Expr {
    return this.b.load(op, "host", this.#up, offset);
  }
  /** Offset of register operand `i` in the state block. */
  register(i: number): Expr {
    return this.#field("i32.load16_u", L.UOP_OPERAND + 2 * i);
  }
  /** The immediate, sign-extended; of a width: masked. */
  immediate(width: number): Expr {
    if (width === 64) return this.#wideImmediate();
    const value = this.#field("i32.load", L.UOP_IMMEDIATE);
    return width === 32 ? value : this.b.keep(this.mask(width as Width, value));
  }
  #wideImmediate(): Expr {
    return this.#field(this.shape.isLong ? "i64.load" : "i64.load32_s", L.UOP_IMMEDIATE);
  }
  /** The second immediate or the selector of a far pointer: bits 32-47 of the immediate field. */
  secondImmediate(): Expr {
    return this.#field("i32.load16_u", L.UOP_IMMEDIATE + 4);
  }

  /** An i32 value without the bits above `width`; i64 stays. */
  mask(width: Width, value: Expr): Expr {
    return width === 8 ? value.and(0xff) : width === 16 ? value.and(0xffff) : value;
  }

  /** Effective address without segment base (LEA), i64. */
  offset(): Expr {
    const { addressing, translation } = this.#binding;
    if (addressing === "any" || translation) return this.b.call(effectiveOffset, this.#up);
    return addressing === "flat" ? this.#flatOffset() : this.#plainOffset();
  }
  #flatOffset(): Expr {
    const b = this.b;
    const base = b.load("i32.load", "cpu", this.#field("i32.load16_u", L.UOP_BASE));
    const index = b.load("i32.load", "cpu", this.#field("i32.load16_u", L.UOP_INDEX));
    const scale = this.#field("i32.load8_u", L.UOP_ADDRESS);
    const disp = this.#field("i32.load", L.UOP_DISPLACEMENT);
    return b.keep(base.add(index.shl(scale)).add(disp).u64());
  }
  #plainOffset(): Expr {
    const b = this.b;
    const base = b.load("i64.load", "cpu", this.#field("i32.load16_u", L.UOP_BASE));
    const index = b.load("i64.load", "cpu", this.#field("i32.load16_u", L.UOP_INDEX));
    const scale = this.#field("i64.load8_u", L.UOP_ADDRESS);
    const disp = this.#field("i64.load32_s", L.UOP_DISPLACEMENT);
    return b.keep(base.add(index.shl(scale)).add(disp));
  }
  /** Linear address of the memory operand, i64; of its byte `delta`, which wraps with the address size. */
  address(delta = 0): Expr {
    if (delta) return this.b.call(effectiveAddress, this.#up, delta);
    if (!this.#linear) {
      const { addressing, translation } = this.#binding;
      if (addressing === "flat" && !translation) this.#linear = this.#flatOffset();
      else if (addressing === "plain") {
        const segment = this.b.load("i64.load", "cpu", this.#field("i32.load16_u", L.UOP_SEGMENT_BASE));
        this.#linear = this.b.keep(this.#plainOffset().add(segment));
      } else this.#linear = this.b.call(effectiveAddress, this.#up, 0);
    }
    return this.#linear;
  }
  /** Segment register number of the memory operand, i32. */
  segment(): Expr {
    return this.#field("i32.load8_u", L.UOP_SEGMENT);
  }

  /** For one of two branches: what it changes does not count against the other. */
  uncommitted(build: () => void): void {
    const before = this.#committed;
    build();
    this.#committed = before;
  }
  /** Builds a locked instruction (lock.ts). */
  locked(build: () => void): void {
    const { b } = this;
    if (this.isTranslated) {
      this.#lock = new Lock(b, this.#fail);
      build();
      return;
    }
    const binding = this.#binding;
    const exclusive = b.variable(i32(0));
    this.#binding = {
      ...binding,
      leave: (code) => {
        b.if(exclusive.get(), () => b.call(endExclusive));
        binding.leave(code);
      },
    };
    b.loop((again) => {
      this.#lock = new Lock(b, this.#fail, { exclusive, again });
      build();
    });
    this.#binding = binding;
  }

  /** Whether a load or store was built. */
  get accessesMemory(): boolean {
    return this.#accessesMemory;
  }
  /** In front of each load and store. */
  #faultable(): void {
    this.#accessesMemory = true;
    if (this.#committed) throw new IrError("an access that can fault after state was changed");
  }
  /** State changes from here on; called by everything that writes. */
  commit(): void {
    this.#committed = true;
  }

  /** Host address of `bytes` (1 to 16, a power of two) to read at a linear address. */
  readHost(address: Expr, bytes: number, segment: Expr | number): Expr {
    this.#faultable();
    const b = this.b;
    const seg = typeof segment === "number" ? i32(segment) : segment;
    if (!this.#binding.inlineAccess) {
      const host = b.call(readLinear, address, bytes, seg, 0);
      b.if(host.eqz(), this.#fail, undefined, false);
      return host;
    }
    const { translation } = this.#binding;
    if (translation) return translation.host(address, bytes, false, this.#fail);
    const slow = (va: Expr): Expr => b.call(readSlow, va, bytes, seg);
    return hostThroughTlb(b, address, { bytes, way: L.TLB_READ, up: this.#up, slow, fail: this.#fail });
  }
  /** Reads `width` bits at a linear address: i32 (zero-extended), i64 or v128. */
  load(width: number, address: Expr, segment: Expr | number = L.DS): Expr {
    const host = this.readHost(address, width / 8, segment);
    return this.b.load(loadOp(Semantics.type(width), width), "host", host);
  }
  /** Probes a store: all its faults happen here. `readsToo`: a read-modify-write, whose old value is at `probe.host`. */
  probe(width: number, address: Expr, segment: Expr | number = L.DS, readsToo = false): Probe {
    this.#faultable();
    const b = this.b;
    const bytes = width / 8;
    const seg = typeof segment === "number" ? i32(segment) : segment;
    if (!this.#binding.inlineAccess) {
      const host = b.call(writeLinear, address, bytes, seg, readsToo ? 1 : 0);
      b.if(host.eqz(), this.#fail, undefined, false);
      this.#lock?.check(host, bytes);
      return { width, host };
    }
    const { translation } = this.#binding;
    if (translation && this.#lock) {
      const host = b.keep(translation.hostAlone(address, bytes, this.#fail));
      this.#lock.check(host, bytes);
      return { width, host };
    }
    if (translation) return { width, host: translation.host(address, bytes, true, this.#fail) };
    const slow = (va: Expr): Expr => b.call(writeSlow, va, bytes, seg, readsToo ? 1 : 0);
    return {
      width,
      host: hostThroughTlb(b, address, { bytes, way: L.TLB_WRITE, up: this.#up, slow, fail: this.#fail }),
    };
  }
  /** A load or store of a range that earlier probes showed to be accessible: allowed after state has changed. */
  loadCertain(width: number, address: Expr, segment: number): Expr {
    const host = this.b.call(readLinear, address, width / 8, segment, 0);
    return this.b.load(loadOp(Semantics.type(width), width), "host", host);
  }
  storeCertain(width: number, address: Expr, value: Expr, segment: number | Expr): void {
    this.commit();
    const kept = this.b.keep(value);
    const host = this.b.call(writeProbed, address, width / 8, segment);
    this.b.store(storeOp(kept.type, width), "host", host, kept);
    this.b.call(commitStore, host);
  }
  /** The old value under a read-modify-write probe. */
  probed(probe: Probe): Expr {
    const old = this.b.load(loadOp(Semantics.type(probe.width), probe.width), "host", probe.host);
    this.#lock?.hasRead(old);
    return old;
  }
  /** Stores through a probe. Cannot fault. */
  store(probe: Probe, value: Expr): void {
    const width = probe.width;
    if (this.#lock) {
      if (this.#committed) throw new IrError("a locked store behind other changes");
      this.#lock.store(probe, value);
      this.commit();
      return;
    }
    this.b.store(storeOp(value.type, width), "host", probe.host, value);
    if (this.isTranslated) {
      // Always RAM: anything else was left to the interpreter.
    } else if (this.#binding.inlineAccess)
      this.b.if(probe.host.eq(cpuAddress(L.SCRATCH_WRITE)), () => this.b.call(commitSlow), undefined, false);
    else this.b.call(commitStore, probe.host);
    this.commit();
  }

  /** Reads operand `i`. */
  read(i: number): Expr {
    const { kind, width } = this.operand(i);
    switch (kind) {
      case "i":
        return this.immediate(width);
      case "m":
        return this.load(width, this.address(), this.segment());
      default:
        return this.b.load(loadOp(Semantics.type(width), width), "cpu", this.register(i));
    }
  }
  /** Reads operand `i` as a WebAssembly number of a format, bits and all. */
  readFloat(i: number, f: FloatFormat): Expr {
    const load = `${f.name}.load`;
    if (!this.isMemory(i)) return this.b.load(load, "cpu", this.register(i));
    return this.b.load(load, "host", this.readHost(this.address(), f.bits / 8, this.segment()));
  }
  /** Writes the low lane of XMM operand `i`. */
  writeFloat(i: number, value: Expr): void {
    this.commit();
    this.b.store(`${value.type}.store`, "cpu", this.register(i), value);
  }
  /** Reads operand `i`, which `write` will then store to: a memory operand is probed for both. */
  readModify(i: number): Expr {
    const { kind, width } = this.operand(i);
    if (kind !== "m") return this.read(i);
    this.#probe = this.probe(width, this.address(), this.segment(), true);
    return this.probed(this.#probe);
  }
  /** Probes memory operand `i` before other faultable work; `write` then stores through it. */
  probeWrite(i: number): void {
    if (this.isMemory(i)) this.#probe = this.probe(this.operand(i).width, this.address(), this.segment());
  }
  /** Writes operand `i`. A 32-bit general register is zero-extended; bits of the value above the width are ignored. */
  write(i: number, value: Expr): void {
    const { kind, width } = this.operand(i);
    const b = this.b;
    if (kind === "m") {
      const kept = b.keep(value);
      const probe = this.#probe ?? this.probe(width, this.address(), this.segment());
      this.store(probe, kept);
      return;
    }
    this.commit();
    if (kind === "r" && width === 32) b.store("i64.store", "cpu", this.register(i), value.u64());
    else b.store(storeOp(value.type, width), "cpu", this.register(i), value);
  }
  /** Reads or writes a field of the state. */
  get(field: Parameters<Builder["get"]>[0]): Expr {
    return this.b.get(field);
  }
  put(field: Parameters<Builder["get"]>[0], value: Operand): void {
    this.commit();
    this.b.put(field, value);
  }
  /** General register `index` at a width (8: the low byte). */
  gpr(index: number, width: number): Expr {
    return this.b.load(loadOp(Semantics.type(width), width), "cpu", 0, L.GPR + index * 8);
  }
  putGpr(index: number, width: number, value: Expr): void {
    this.commit();
    if (width === 32) this.b.put(L.gpr(index), value.u64());
    else this.b.store(storeOp(value.type, width), "cpu", 0, value, L.GPR + index * 8);
  }

  /** Flags of `a + c = result`; with a carry in, `carried`. */
  addFlags(width: Width, a: Expr, c: Expr, result: Expr, carried = false): void {
    this.commit();
    flags.setFlagsAdd(this.b, width, a, c, result, carried);
  }
  /** Flags of `a - c = result`; with a borrow in, `carried`. */
  subFlags(width: Width, a: Expr, c: Expr, result: Expr, carried = false): void {
    this.commit();
    flags.setFlagsSub(this.b, width, a, c, result, carried);
  }
  /** Flags of `a - c`, a difference that nobody wants. */
  compareFlags(width: Width, a: Expr, c: Expr): void {
    this.commit();
    flags.setFlagsCompare(this.b, width, a, c);
  }
  /** INC, DEC: CF stays. */
  stepFlags(operation: "inc" | "dec", width: Width, result: Expr): void {
    this.commit();
    flags.setFlagsStep(this.b, operation, width, result);
  }
  /** SHL, SHR, SAR by a count that is not zero. */
  shiftFlags(operation: "shl" | "shr" | "sar", width: Width, value: Expr, count: Expr, result: Expr): void {
    this.commit();
    flags.setFlagsShift(this.b, operation, width, value, count, result);
  }
  /** MUL, IMUL of operands with the product's low half; `lost`: whether that is not all of it (i32). */
  productFlags(isSigned: boolean, width: Width, operands: { a: Expr; c: Expr; low: Expr }, lost: () => Expr): void {
    this.commit();
    flags.setFlagsProduct(this.b, isSigned, width, operands, lost);
  }
  logicFlags(width: Width, result: Expr): void {
    this.commit();
    flags.setFlagsLogic(this.b, width, result);
  }
  resultFlags(width: Width, result: Expr, cf: Expr, of: Expr, af?: Expr): void {
    this.commit();
    flags.setFlagsResult(this.b, width, result, cf, of, af);
  }
  setFlags(changes: Parameters<typeof flags.setFlags>[1]): void {
    this.commit();
    flags.setFlags(this.b, changes);
  }
  condition(cc: number): Expr {
    return flags.condition(this.b, cc);
  }

  /** A fault is pending, or the interpreter begins the instruction again. */
  readonly #fail = (): void => this.#binding.leave(FAULT);

  /** Ends the handler early, as if done. */
  finish(): void {
    this.#binding.leave(NEXT);
  }
  leave(code: number): void {
    this.#binding.leave(code);
  }
  /** Raises an exception. */
  fault(vector: number, error?: number | Expr): void {
    raise(this.b, vector, error);
    this.#binding.leave(FAULT);
  }
  faultIf(condition: Expr, vector: number, error?: number | Expr): void {
    this.b.if(condition, () => this.fault(vector, error), undefined, false);
  }
  /** #UD in real and virtual-8086 mode. */
  protectedOnly(): void {
    this.faultIf(this.get(L.MODE).and(L.MODE_PROTECTED).eqz(), EXC_UD);
  }
  /** #GP(0) unless CPL is 0. */
  privileged(): void {
    this.faultIf(this.get(L.CPL).nez(), EXC_GP, 0);
  }
  undefined(): void {
    this.fault(EXC_UD);
  }
  /** A routine that answers non-zero when a fault is pending: passes the fault on. */
  check(status: Expr): void {
    this.b.if(status, this.#fail, undefined, false);
  }

  /** Address of the next instruction, i64. */
  nextRip(): Expr {
    const start = this.#field("i64.load16_u", L.UOP_START);
    const length = this.#field("i64.load8_u", L.UOP_LENGTH);
    return this.#wrap(this.get(L.BLOCK_RIP).add(start).add(length));
  }
  /** Address of this instruction, i64. */
  thisRip(): Expr {
    return this.#wrap(this.get(L.BLOCK_RIP).add(this.#field("i64.load16_u", L.UOP_START)));
  }
  /** Address of this instruction in whichever mode runs, i64. */
  anyRip(): Expr {
    const rip = this.b.keep(this.get(L.BLOCK_RIP).add(this.#field("i64.load16_u", L.UOP_START)));
    return select(this.get(L.MODE).and(L.MODE_64), rip, rip.and(0xffffffffn));
  }
  /** Target of a relative branch, i64. */
  target(): Expr {
    const sum = this.get(L.BLOCK_RIP).add(this.#wideImmediate());
    if (this.mode64) return sum;
    return this.osz === 16 ? sum.and(0xffff) : sum.and(0xffffffffn);
  }
  #wrap(rip: Expr): Expr {
    return this.mode64 ? rip : rip.and(0xffffffffn);
  }
  /** #GP(0) if a branch target is not canonical in 64-bit mode, or beyond CS's limit elsewhere. Targets are kept values. */
  checkTarget(target: Expr): void {
    if (this.mode64) this.faultIf(target.shl(16).shrS(16).ne(target), EXC_GP, 0);
    else if (!this.isFlat) this.faultIf(target.gtU(this.get(L.segLimit(L.CS)).u64()), EXC_GP, 0);
  }
  /** A relative jump: always to a canonical address in 64-bit mode's reach, or checked when it is fetched. */
  jumpRelative(): void {
    if (this.#goTo("target")) return;
    const target = this.b.keep(this.target());
    if (!this.mode64) this.checkTarget(target);
    this.jump(target);
  }
  /** Sets RIP and ends the block. */
  jump(target: Expr, isReturn = false): void {
    this.put(L.RIP, target);
    if (this.#binding.translation) this.#binding.translation.jump(isReturn);
    else this.#binding.leave(BRANCH);
  }
  /** A near return to a popped address. */
  returnTo(target: Expr): void {
    this.jump(target, true);
  }
  /** A near call whose return address was pushed. */
  callTo(target: Expr): void {
    this.commit();
    const { translation } = this.#binding;
    if (translation) translation.call(this.operand(0).kind === "j" ? undefined : target);
    else this.jump(target);
  }
  fallThrough(): void {
    if (!this.#goTo("next")) this.jump(this.nextRip());
  }
  /** Runs this instruction again: a repeated one that is not done. */
  repeat(): void {
    if (!this.#goTo("again")) this.jump(this.thisRip());
  }
  /** In a region: STI holds interrupts back for one instruction. */
  shadowNext(): void {
    this.#binding.translation?.shadow();
  }
  /** Within a region: true. */
  #goTo(where: Parameters<Translation["goTo"]>[0]): boolean {
    if (!this.#binding.translation) return false;
    this.commit();
    this.#binding.translation.goTo(where);
    return true;
  }
  /** Ends the block through the next instruction and leaves `run`. */
  exit(reason: number): void {
    this.put(L.RIP, this.nextRip());
    this.put(L.EXIT_REASON, reason);
    this.#binding.leave(LEAVE);
  }

  /** Linear address of a stack offset (i64). */
  stackAddress(rsp: Expr): Expr {
    if (this.mode64) return rsp;
    if (this.isFlat) return rsp.and(0xffffffffn);
    return this.b.call(legacyStackAddress, rsp);
  }
  /** RSP moved by `bytes`, wrapped as the stack's size says. */
  movedStack(rsp: Expr, bytes: number | Expr): Expr {
    if (this.mode64) return rsp.add(bytes);
    if (this.isFlat) return rsp.add(bytes).and(0xffffffffn);
    return this.b.call(movedPointer, rsp, bytes, this.get(L.MODE).and(L.MODE_STACK32).nez());
  }
  /** Pushes one value of `width` bits. */
  push(width: 16 | 32 | 64, value: Expr): void {
    const kept = this.b.keep(value);
    const rsp = this.b.keep(this.movedStack(this.get(L.RSP), -width / 8));
    const probe = this.probe(width, this.stackAddress(rsp), L.SS);
    this.store(probe, kept);
    this.put(L.RSP, rsp);
  }
  /** Reads the top of the stack, or what lies `skipBytes` above it. */
  top(width: 16 | 32 | 64, skipBytes = 0): Expr {
    const at = skipBytes ? this.b.keep(this.movedStack(this.get(L.RSP), skipBytes)) : this.get(L.RSP);
    return this.load(width, this.stackAddress(at), L.SS);
  }
  drop(bytes: number): void {
    this.put(L.RSP, this.movedStack(this.get(L.RSP), bytes));
  }
}
