/**
 * The builder in which records' semantics become part of a region: fields of the micro-op are constants, registers and
 * flags are locals, and what translated code must not do is refused (Untranslatable), so that such an instruction is left
 * to the interpreter.
 */
import { COMPARE_EXCHANGE, fence } from "../cpu/atomics.ts";
import * as L from "../cpu/layout.ts";
import {
  constant,
  type Expr,
  type Field,
  i32,
  i64,
  loadOp,
  type Operand,
  storeOp,
  type Variable,
} from "../ir/builder.ts";
import { OPS } from "../ir/ops.ts";
import type { Local, Routine, Space, Statement } from "../ir/types.ts";
import { effectiveAddress, effectiveOffset } from "../isa/effective-address.ts";
import { AddressOrigins } from "./address-origins.ts";
import { DividingBuilder } from "./dividing-builder.ts";
import { effectsOf, isX87State, mayWrite } from "./effects.ts";
import { laneOf, partOf, withLane, withPart } from "./register-parts.ts";
import {
  type FieldSet,
  FLAGS_FIELD,
  fieldAt,
  fieldBit,
  fieldsOf,
  GENERAL_FIELDS,
  offsetOf,
  typeOf,
} from "./registers.ts";
import {
  ITSELF,
  regionCarry,
  regionFlags,
  regionRead,
  regionWrite,
  runRegions,
  stackRange,
  stackRead,
  stackWrite,
  unparkFlags,
  writableRange,
} from "./routines.ts";
import { Untranslatable } from "./untranslatable.ts";
import { leaveRegion, worldRest } from "./world.ts";

/** Segments that have no bases under MODE_FLAT. */
export const UNBASED: readonly number[] = [L.ES, L.SS, L.DS];
const UNBASED_AT: ReadonlySet<number> = new Set(UNBASED.map((segment) => L.segBase(segment).offset));

/** Stands for the running micro-op's address. No address of the memory is near it. */
const MICRO_OP = 0x7fff_0000;
export const microOpAddress = (): Expr => i32(MICRO_OP);

/** Routines of the core that region code calls by itself: they leave registers and flags alone. */
const OWN: ReadonlySet<Routine> = new Set([
  ...[regionRead, regionWrite, writableRange, stackRead, stackWrite, stackRange, runRegions, regionFlags, regionCarry],
  ...[unparkFlags, ITSELF, fence],
  ...Object.values(COMPARE_EXCHANGE),
  ...[leaveRegion, worldRest],
]);

/** What a region keeps in locals: one for each field but the flags, and what the flags are made of. */
export interface RegionState {
  readonly registers: readonly Variable[];
  /** RIP of the region's offset 0, and the TLB set: they stay while the region runs. */
  readonly ripBase: Expr;
  readonly tlbSet: Expr;
  /** REMAINING when the running instruction is done, as if its block ended there. */
  remaining: () => Expr;
  /** RIP when the region is left. */
  readonly rip: Variable;
}

export class RegionBuilder extends DividingBuilder {
  microOp: DataView = new DataView(new ArrayBuffer(L.UOP_BYTES));
  state!: RegionState;
  /** Fields read or written so far. */
  used: FieldSet = 0n;
  /** Fields that the state block gets behind the region only. */
  written: FieldSet = 0n;
  /** Fields that the state block gets while the region runs, soon after they are written: general registers, or none. */
  readonly through: FieldSet;
  /** Of the running block: fields read before they were written, and fields written on every way through it. */
  needed: FieldSet = 0n;
  defined: FieldSet = 0n;
  usesFpu = false;
  /** Called in front of whatever reads or writes x87 state by its place: the state block must have it. */
  beforeX87: () => void = () => {};
  /** XMM registers as whole values: read, and written; `whole` undefined: in part. */
  onVectorRead: (field: number, whole: Expr) => void = () => {};
  onVectorWrite: (field: number, whole: Expr | undefined) => void = () => {};
  /** Behind each write of MXCSR in line. */
  onMxcsr: () => void = () => {};
  #isOnState = false;

  /**
   * Builds an instruction that ends its region, when everything is in the state block: it works there, as in the
   * interpreter, and may do whatever routines of the core do.
   */
  onState(build: () => void): void {
    const { lazyFlags } = this;
    this.lazyFlags = undefined;
    this.#isOnState = true;
    build();
    this.#isOnState = false;
    this.lazyFlags = lazyFlags;
  }

  /** Where addresses come from. */
  readonly origins: AddressOrigins;
  override keep(value: Expr): Expr {
    const kept = super.keep(value);
    this.origins.note(kept, value);
    return kept;
  }

  /** Bases of UNBASED segments are 0. */
  readonly #isUnbased: boolean;

  constructor(through: FieldSet = GENERAL_FIELDS, isUnbased = false) {
    super();
    this.through = through;
    this.#isUnbased = isUnbased;
    const fieldOf = (local: Local): number => this.state.registers.findIndex((register) => register.local === local);
    this.origins = new AddressOrigins(fieldOf, isUnbased);
  }
  /** A linear address, cut to 32 bits under MODE_FLAT. */
  wrapped(address: Expr): Expr {
    return this.#isUnbased ? address.and(0xffffffffn) : address;
  }
  /** Told of loads and stores at host addresses that are locals. */
  onHostAccess: (statement: Statement & { kind: "load" | "store" }, address: Local) => void = () => {};
  override emit(statement: Statement): void {
    super.emit(statement);
    if ((statement.kind === "load" || statement.kind === "store") && statement.space === "host")
      if (statement.address.kind === "local") this.onHostAccess(statement, statement.address.local);
  }

  noteRead(offset: number): void {
    const bit = fieldBit(fieldAt(offset) ?? FLAGS_FIELD);
    this.used |= bit;
    this.needed |= bit & ~this.defined;
  }
  noteWrite(offset: number): void {
    const bit = fieldBit(fieldAt(offset) ?? FLAGS_FIELD);
    this.used |= bit;
    this.written |= bit & ~this.through;
    if (!this.isConditional) this.defined |= bit;
  }
  register(field: number): Variable {
    const found = this.state.registers[field];
    if (!found) throw new Untranslatable(`field ${field}`);
    return found;
  }

  override load(name: string, space: Space, address: Operand, offset = 0): Expr {
    const at = constantOf(address);
    if (space === "cpu" && isX87State((at ?? 0) + offset)) this.beforeX87();
    if (space === "host")
      return at === MICRO_OP ? this.#microOpField(name, offset) : super.load(name, space, address, offset);
    if (at === undefined) {
      // Registers by numbers known at run time are x87's only.
      if (this.#isOnState || (offset >= L.X87 && offset < L.MXCSR.offset))
        return super.load(name, space, address, offset);
      throw new Untranslatable("a register by number");
    }
    return this.#loadState(name, at + offset);
  }

  #microOpField(name: string, offset: number): Expr {
    const view = this.microOp;
    const type = OPS[name]?.result ?? "i32";
    const value = ((): number | bigint => {
      switch (name.slice(4)) {
        case "load8_u":
          return view.getUint8(offset);
        case "load16_u":
          return view.getUint16(offset, true);
        case "load32_s":
          return view.getInt32(offset, true);
        case "load32_u":
          return view.getUint32(offset, true);
        case "load":
          return type === "i64" ? view.getBigInt64(offset, true) : view.getInt32(offset, true);
        default:
          throw new Untranslatable(`${name} of a micro-op`);
      }
    })();
    return constant(type, value);
  }

  #loadState(name: string, at: number): Expr {
    const type = OPS[name]?.result ?? "i32";
    if (this.#isOnState && at !== L.BLOCK_RIP.offset && at !== L.QUARTER_GIB.offset)
      return super.load(name, "cpu", 0, at);
    const field = fieldAt(at);
    if (field === FLAGS_FIELD) return at === L.FLAG_AUX.offset ? this.flags.readAux() : this.flags.readResult();
    if (field !== undefined) {
      this.noteRead(at);
      if (field < 16) return this.keep(partOf(this.register(field).get(), name, at & 7));
      const value = this.keep(laneOf(this.register(field).get(), name, at & 15));
      if (name === "v128.load") this.onVectorRead(field, value);
      return value;
    }
    if (at >= L.ZERO && at < L.BLOCK_RIP.offset) return constant(type, 0);
    if (this.#isUnbased && UNBASED_AT.has(at)) return constant(type, 0);
    if (at === L.BLOCK_RIP.offset) return this.state.ripBase;
    if (at === L.TLB_CURRENT.offset) return this.state.tlbSet;
    if (at === L.QUARTER_GIB.offset) return i64(1n << 28n);
    if (at === L.FPU_BLOCKED.offset) {
      this.usesFpu = true;
      return i32(0);
    }
    if (at === L.REMAINING.offset) return this.keep(this.state.remaining());
    if (at === L.RIP.offset) throw new Untranslatable("RIP as a value");
    return super.load(name, "cpu", 0, at);
  }

  override store(name: string, space: Space, address: Operand, value: Expr, offset = 0): void {
    if (space === "host") {
      super.store(name, space, address, value, offset);
      return;
    }
    const at = constantOf(address);
    if (isX87State((at ?? 0) + offset)) this.beforeX87();
    if (this.#isOnState) {
      // There is no micro-op. Nothing of a block is behind the instruction.
      super.store(name, space, address, at === 0 && offset === L.CURRENT_UOP.offset ? i32(0) : value, offset);
      return;
    }
    if (at === undefined) {
      if (offset < L.X87 || offset >= L.MXCSR.offset) throw new Untranslatable("a register by number");
      super.store(name, space, address, value, offset);
      return;
    }
    this.#storeState(name, at + offset, value);
  }

  #storeState(name: string, at: number, value: Expr): void {
    const field = fieldAt(at);
    if (field === FLAGS_FIELD) {
      if (at === L.FLAG_AUX.offset) this.flags.writeAux(value);
      else this.flags.writeResult(value);
    } else if (field !== undefined) {
      const register = this.register(field);
      const kept = this.keep(value);
      if (name !== `${typeOf(field)}.store`) this.noteRead(at);
      register.set(field < 16 ? withPart(register, name, at & 7, kept) : withLane(register, name, at & 15, kept));
      if (name === "i64.store" && field < 16 && !this.isConditional)
        this.origins.noteRegister(field, register.local.version, kept);
      if (field >= 16) this.onVectorWrite(field, name === "v128.store" ? kept : undefined);
      this.noteWrite(at);
      if ((this.through & fieldBit(field)) === 0n) return;
      if (this.isConditional) this.#storeGeneral(field);
      else this.#pending.set(field, 0);
    } else if (at === L.RIP.offset) this.state.rip.set(value);
    else if (at === L.CURRENT_UOP.offset || at === L.EXC_VECTOR.offset || at === L.EXC_ERROR.offset) this.keep(value);
    else if (mayWrite(at)) {
      super.store(name, "cpu", 0, value, at);
      if (at === L.MXCSR.offset) this.onMxcsr();
    } else throw new Untranslatable(`a write to the state at ${at}`);
  }

  override call(routine: Routine, ...args: Operand[]): Expr {
    if (constantOf(args[0] ?? 1) === MICRO_OP) return this.#address(routine, args);
    if (this.#isOnState) {
      if (!routine.body) throw new Untranslatable(routine.name);
      return super.call(routine, ...args);
    }
    const effects = effectsOf(routine);
    if (!OWN.has(routine)) {
      if (effects.isForbidden) throw new Untranslatable(routine.name);
      if (effects.touchesX87) this.beforeX87();
      const values = args.map((a) => (typeof a === "object" ? this.keep(a) : a));
      this.storeFields(effects.reads | effects.writes);
      const result = super.call(routine, ...values);
      this.loadFields(effects.writes);
      return result;
    }
    return super.call(routine, ...args);
  }

  /** A field of the state block as it is in memory. */
  fromState(field: Field): Expr {
    return super.load(loadOp(field.type, field.bits), "cpu", 0, field.offset);
  }
  toState(field: Field, value: Expr): void {
    super.store(storeOp(field.type, field.bits), "cpu", 0, value, field.offset);
  }

  /** The same for x87 registers, at an address in the state block. */
  fromX87(name: string, address: Expr, offset: number): Expr {
    return super.load(name, "cpu", address, offset);
  }
  toX87(name: string, address: Expr, offset: number, value: Expr): void {
    super.store(name, "cpu", address, value, offset);
  }

  /** General registers whose values the state block does not have yet, and how many accesses of memory came since. */
  readonly #pending = new Map<number, number>();

  startBlock(): void {
    this.origins.startBlock();
    this.#pending.clear();
    this.needed = 0n;
    this.defined = 0n;
  }
  #storeGeneral(field: number): void {
    super.store("i64.store", "cpu", 0, this.register(field).get(), offsetOf(field));
  }
  /** Stores general registers that are still to be stored. */
  storePending(fields: FieldSet = this.through): void {
    for (const field of this.#pending.keys()) {
      if ((fields & fieldBit(field)) === 0n) continue;
      this.#storeGeneral(field);
      if (!this.isConditional) this.#pending.delete(field);
    }
  }
  /** Stores them on a way that leaves this list of statements for good. */
  storePendingHere(): void {
    for (const field of this.#pending.keys()) this.#storeGeneral(field);
  }
  /**
   * In front of an access, which may leave the region. What is written again soon is stored on that way only; what stays
   * is stored once.
   */
  agePending(): void {
    if (this.isConditional) return;
    for (const [field, age] of this.#pending) {
      if (age < 1) this.#pending.set(field, age + 1);
      else this.storePending(fieldBit(field));
    }
  }

  /** From locals to the state block; `parks` flags as other regions take them, or makes them for all others. */
  storeFields(fields: FieldSet, parks = false): void {
    this.used |= fields;
    this.storePending(fields);
    for (const field of fieldsOf(fields & ~this.through)) {
      if (field === FLAGS_FIELD) {
        if (parks) this.flags.park();
        else this.flags.toState();
      } else {
        const type = typeOf(field);
        super.store(`${type}.store`, "cpu", 0, this.register(field).get(), offsetOf(field));
      }
    }
  }
  /** From the state block to locals; flags as another region left them, or as routines leave them. */
  loadFields(fields: FieldSet, areParked = false): void {
    this.used |= fields;
    this.written |= fields & ~this.through;
    if (!this.isConditional) this.defined |= fields;
    for (const field of fieldsOf(fields)) {
      if (field === FLAGS_FIELD) {
        if (areParked) this.flags.unpark();
        else this.flags.fromState();
      } else {
        const type = typeOf(field);
        this.register(field).set(super.load(`${type}.load`, "cpu", 0, offsetOf(field)));
        if (type === "v128") this.onVectorWrite(field, undefined);
      }
    }
  }

  /** Effective addresses, whose shape is known. */
  #address(routine: Routine, args: readonly Operand[]): Expr {
    const isLinear = routine === effectiveAddress;
    if (!isLinear && routine !== effectiveOffset) throw new Untranslatable(`${routine.name} of a micro-op`);
    const m = this.microOp;
    const how = m.getUint8(L.UOP_ADDRESS);
    const register = (at: number): Expr => this.load("i64.load", "cpu", m.getUint16(at, true));
    let offset = register(L.UOP_BASE)
      .add(register(L.UOP_INDEX).shl(how & 3))
      .add(m.getInt32(L.UOP_DISPLACEMENT, true));
    const wrap = how & L.ADDRESS_16 ? 0xffffn : how & L.ADDRESS_32 ? 0xffffffffn : undefined;
    if (wrap) offset = offset.and(wrap);
    if (!isLinear) return this.keep(offset);
    const delta = constantOf(args[1] ?? 0);
    if (delta === undefined) throw new Untranslatable("an address with a computed part");
    if (delta) offset = wrap ? offset.add(delta).and(wrap) : offset.add(delta);
    const linear = offset.add(register(L.UOP_SEGMENT_BASE));
    return this.keep(how & L.ADDRESS_LEGACY ? linear.and(0xffffffffn) : linear);
  }
}

function constantOf(value: Operand): number | undefined {
  if (typeof value !== "object") return Number(value);
  return value.node.kind === "const" ? Number(value.node.value) : undefined;
}
