/**
 * The builder in which records' semantics become part of a region: fields of the micro-op are constants, registers and
 * flags are locals, and what translated code must not do is refused (Untranslatable), so that such an instruction is left
 * to the interpreter.
 */
import * as L from "../cpu/layout.ts";
import {
  Builder,
  constant,
  type Expr,
  type Field,
  i32,
  i64,
  loadOp,
  type Operand,
  opWith,
  storeOp,
  type Variable,
} from "../ir/builder.ts";
import { OPS } from "../ir/ops.ts";
import type { AddressTable, Label, Local, Node, Routine, Space, Statement } from "../ir/types.ts";
import { effectiveAddress, effectiveOffset } from "../isa/semantics.ts";
import { effectsOf, mayWrite } from "./effects.ts";
import { type FlagState, type RegionFlags, sameKind } from "./lazy-flags.ts";
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
import { regionCarry, regionFlags, regionRead, regionWrite, runRegions, stackRead, stackWrite } from "./routines.ts";
import { leaveRegion, worldRest } from "./world.ts";

/** The instruction does something that a region does not do. */
export class Untranslatable extends Error {
  readonly code = "untranslatable";
}

/** Segments that 32-bit operating systems give no bases. */
export const UNBASED: readonly number[] = [L.ES, L.SS, L.DS];
const UNBASED_AT: ReadonlySet<number> = new Set(UNBASED.map((segment) => L.segBase(segment).offset));

/** Stands for the running micro-op's address. No address of the memory is near it. */
const MICRO_OP = 0x7fff_0000;
export const microOpAddress = (): Expr => i32(MICRO_OP);

/** Routines of the core that region code calls by itself: they leave registers and flags alone. */
const OWN: ReadonlySet<Routine> = new Set([
  ...[regionRead, regionWrite, stackRead, stackWrite, runRegions, regionFlags, regionCarry],
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

export class RegionBuilder extends Builder {
  microOp: DataView = new DataView(new ArrayBuffer(L.UOP_BYTES));
  state!: RegionState;
  flags!: RegionFlags;
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

  /** What kept values are made of: registers at one time, by sums and scales. */
  readonly #origins = new WeakMap<Local, string>();
  /** Depth of ways that control may not take, inside the running instruction. */
  #branches = 0;
  /** The instruction may have ended early. */
  mayHaveEnded = false;

  /** What is emitted now may be left out when the instruction runs. */
  get isConditional(): boolean {
    return this.#branches > 0 || this.mayHaveEnded;
  }

  /** Names the registers, and their versions, that an address is the sum of but for a constant; undefined: something else. */
  originOf({ node }: Expr): string | undefined {
    return this.#origin(node);
  }
  #origin(node: Node): string | undefined {
    if (node.kind === "local") {
      if (!node.local.mutable) return this.#origins.get(node.local);
      const field = this.state.registers.findIndex(({ local }) => local === node.local);
      return field >= 0 && field < 16 ? `${field}.${node.version}` : undefined;
    }
    if (node.kind !== "op") return undefined;
    const [a, c] = node.args;
    if (!a || !c) return undefined;
    const first = this.#origin(a);
    if (first === undefined) return undefined;
    if (c.kind === "const") {
      if (node.op === "i64.add" || node.op === "i64.sub") return first;
      // As 32-bit addresses wrap.
      if (node.op === "i64.and" && c.value === 0xffffffffn) return first;
      return node.op === "i64.shl" ? `(${first}<<${c.value})` : undefined;
    }
    const second = node.op === "i64.add" ? this.#origin(c) : undefined;
    return second && `${first}+${second}`;
  }
  override keep(value: Expr): Expr {
    const origin = this.#origin(value.node);
    const kept = super.keep(value);
    if (origin !== undefined && kept.node.kind === "local") this.#origins.set(kept.node.local, origin);
    return kept;
  }

  /** Bases of UNBASED segments are 0: it was looked at on entry. */
  readonly #isUnbased: boolean;

  constructor(through: FieldSet = GENERAL_FIELDS, isUnbased = false) {
    super();
    this.through = through;
    this.#isUnbased = isUnbased;
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
      return this.keep(
        field < 16 ? partOf(this.register(field).get(), name, at & 7) : this.#lane(field, name, at & 15),
      );
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

  #lane(field: number, name: string, at: number): Expr {
    const whole = this.register(field).get();
    switch (name) {
      case "v128.load":
        return whole;
      case "i64.load":
        return opWith("i64x2.extract_lane", lane(at, 8), whole);
      case "i32.load":
        return opWith("i32x4.extract_lane", lane(at, 4), whole);
      case "i32.load16_u":
        return opWith("i16x8.extract_lane_u", lane(at, 2), whole);
      case "i32.load8_u":
        return opWith("i8x16.extract_lane_u", at, whole);
      case "i64.load32_u":
        return opWith("i32x4.extract_lane", lane(at, 4), whole).u64();
      default:
        throw new Untranslatable(`${name} of an XMM register`);
    }
  }

  override store(name: string, space: Space, address: Operand, value: Expr, offset = 0): void {
    if (space === "host") {
      super.store(name, space, address, value, offset);
      return;
    }
    const at = constantOf(address);
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
      this.noteWrite(at);
      if ((this.through & fieldBit(field)) === 0n) return;
      if (this.isConditional) this.#storeGeneral(field);
      else this.#pending.set(field, 0);
    } else if (at === L.RIP.offset) this.state.rip.set(value);
    else if (at === L.CURRENT_UOP.offset || at === L.EXC_VECTOR.offset || at === L.EXC_ERROR.offset) this.keep(value);
    else if (mayWrite(at)) super.store(name, "cpu", 0, value, at);
    else throw new Untranslatable(`a write to the state at ${at}`);
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

  /** An `if` neither of whose ways changes flags. */
  plainIf(condition: Expr, then: () => void): void {
    super.if(condition, then, undefined, false);
  }
  override access(
    layout: AddressTable,
    table: Expr,
    address: Expr,
    how: { readonly bytes: number; readonly slow: Routine; readonly failed: () => void },
  ): Expr {
    const failed = (): void => {
      this.#branches++;
      how.failed();
      this.#branches--;
    };
    return super.access(layout, table, address, { ...how, failed });
  }
  /** How flags are kept depends on the way that control took. */
  override if(condition: Expr, then: () => void, otherwise?: () => void, likely?: boolean): void {
    if (condition.constant !== undefined) {
      super.if(condition, then, otherwise, likely);
      return;
    }
    const node = this.#beforeWays(condition).take();
    const [yes = [], no = []] = this.#ways([then, otherwise ?? ((): void => {})]);
    this.emit({ kind: "if", condition: node, likely, yes, no });
  }
  override switch(index: Expr, cases: readonly (() => void)[], otherwise: () => void): void {
    const node = this.#beforeWays(index).take();
    const lists = this.#ways([...cases, otherwise]);
    this.emit({ kind: "switch", index: node, cases: lists.slice(0, -1), otherwise: lists.at(-1) ?? [] });
  }
  #beforeWays(value: Expr): Expr {
    if (!this.flags.dependsOnLocals) return value;
    const kept = this.keep(value);
    this.flags.write();
    return kept;
  }
  /** Lists of which one runs; flags are the same behind all of them. */
  #ways(builds: readonly (() => void)[]): Statement[][] {
    const { flags } = this;
    const before = flags.state;
    const ends: FlagState[] = [];
    const lists = builds.map((build) => {
      flags.state = before;
      this.#branches++;
      const list = this.nested(build);
      this.#branches--;
      ends.push(flags.state);
      return list;
    });
    flags.state = before;
    const through = ends.filter((_, i) => fallsThrough(lists[i] ?? []));
    if (through.every((state) => state === before)) return lists;
    flags.write();
    for (const [i, list] of lists.entries()) {
      const end = ends[i];
      if (!end || end === before || !fallsThrough(list)) continue;
      flags.state = end;
      list.push(...this.nested(() => flags.write()));
    }
    flags.begin(through.map((state) => state.kind).reduce(sameKind));
    return lists;
  }

  /** Flags where labels' blocks begin, and on the ways out of them, or round. */
  readonly #labels = new Map<Label, { readonly before: FlagState; readonly ways: FlagState[] }>();
  override block(build: (label: Label) => void): void {
    const { flags } = this;
    if (flags.dependsOnLocals) flags.write();
    const label: Label = { kind: "block" };
    const before = flags.state;
    const ways: FlagState[] = [];
    this.#labels.set(label, { before, ways });
    const body = this.nested(() => {
      build(label);
      if (flags.state !== before) flags.write();
    });
    if (fallsThrough(body)) ways.push(flags.state);
    flags.state = before;
    if (ways.some((state) => state !== before)) {
      flags.write();
      flags.begin(ways.map((state) => state.kind).reduce(sameKind));
    }
    this.emit({ kind: "block", label, body });
  }
  override loop(build: (label: Label) => void): void {
    const { flags } = this;
    flags.settle();
    const label: Label = { kind: "loop" };
    const before = flags.state;
    const ways: FlagState[] = [];
    this.#labels.set(label, { before, ways });
    this.#branches++;
    const body = this.nested(() => {
      build(label);
      flags.settle();
    });
    this.#branches--;
    if (ways.some(({ kind }) => sameKind(kind, before.kind) !== before.kind))
      throw new Untranslatable("flags that a loop changes");
    this.emit({ kind: "block", label, body });
  }
  override br(label: Label, condition?: Expr): void {
    const { flags } = this;
    const known = this.#labels.get(label);
    let on = condition;
    if (known && known.before !== flags.state) {
      if (on && !flags.state.isWritten) on = this.keep(on);
      flags.write();
    }
    known?.ways.push(flags.state);
    super.br(label, on);
  }

  /** General registers whose values the state block does not have yet, and how many accesses of memory came since. */
  readonly #pending = new Map<number, number>();

  startBlock(): void {
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

  /** From locals to the state block. */
  storeFields(fields: FieldSet): void {
    this.used |= fields;
    this.storePending(fields);
    for (const field of fieldsOf(fields & ~this.through)) {
      if (field === FLAGS_FIELD) {
        this.flags.toState();
      } else {
        const type = typeOf(field);
        super.store(`${type}.store`, "cpu", 0, this.register(field).get(), offsetOf(field));
      }
    }
  }
  /** From the state block to locals. */
  loadFields(fields: FieldSet): void {
    this.used |= fields;
    this.written |= fields & ~this.through;
    if (!this.isConditional) this.defined |= fields;
    for (const field of fieldsOf(fields)) {
      if (field === FLAGS_FIELD) {
        this.flags.fromState();
      } else {
        const type = typeOf(field);
        this.register(field).set(super.load(`${type}.load`, "cpu", 0, offsetOf(field)));
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

function fallsThrough(list: readonly Statement[]): boolean {
  const last = list.at(-1);
  return !(last?.kind === "return" || (last?.kind === "br" && !last.condition));
}

function constantOf(value: Operand): number | undefined {
  if (typeof value !== "object") return Number(value);
  return value.node.kind === "const" ? Number(value.node.value) : undefined;
}
function lane(at: number, bytes: number): number {
  if (at % bytes) throw new Untranslatable("a part of an XMM register that is no lane");
  return at / bytes;
}

/** Part of a general register that starts at byte `at`. */
function partOf(whole: Expr, load: string, at: number): Expr {
  const moved = whole.shrU(8 * at);
  switch (load) {
    case "i64.load":
      if (at) break;
      return whole;
    case "i32.load":
      return moved.lo32();
    case "i32.load16_u":
      return moved.lo32().and(0xffff);
    case "i32.load8_u":
      return moved.lo32().and(0xff);
    case "i64.load8_u":
      return moved.and(0xff);
    case "i64.load16_u":
      return moved.and(0xffff);
    case "i64.load32_u":
      return moved.and(0xffffffffn);
    case "i64.load32_s":
      return moved.extend32S();
    default:
  }
  throw new Untranslatable(`${load} of a general register`);
}

/** A general register with `value` in its bytes from `at` on. */
function withPart(register: Variable, store: string, at: number, value: Expr): Expr {
  if (store === "i64.store" && at === 0) return value;
  const bits = { store: 32, store8: 8, store16: 16, store32: 32 }[store.slice(4)];
  if (!bits || store === "i64.store") throw new Untranslatable(`${store} to a general register`);
  const mask = ((1n << BigInt(bits)) - 1n) << BigInt(8 * at);
  const part = value
    .u64()
    .shl(8 * at)
    .and(mask);
  return register.get().and(~mask).or(part);
}

function withLane(register: Variable, store: string, at: number, value: Expr): Expr {
  const whole = register.get();
  switch (store) {
    case "v128.store":
      return value;
    case "i64.store":
      return opWith("i64x2.replace_lane", lane(at, 8), whole, value);
    case "i32.store":
      return opWith("i32x4.replace_lane", lane(at, 4), whole, value);
    case "i32.store16":
      return opWith("i16x8.replace_lane", lane(at, 2), whole, value);
    case "i32.store8":
      return opWith("i8x16.replace_lane", at, whole, value);
    default:
      throw new Untranslatable(`${store} to an XMM register`);
  }
}
