/**
 * Builds statements and expressions of the intermediate language.
 *
 * Rules that the builder enforces, so that a record cannot be wrong in these ways:
 * - an expression with operators in it is used once (`keep` binds it to a local first);
 * - an expression over a variable is used before the variable is next assigned;
 * - operand types agree.
 */
import type { LazyFlags } from "../cpu/flags.ts";
import { OPS } from "./ops.ts";
import {
  type AddressTable,
  type AtomicOp,
  IrError,
  type Label,
  type Local,
  type Node,
  type Routine,
  type Space,
  type Statement,
  type ValueType,
} from "./types.ts";

export type Operand = Expr | number | bigint;

const LOAD_WIDTHS: Readonly<Record<string, string>> = {
  i32: "i32.load",
  i64: "i64.load",
  f32: "f32.load",
  f64: "f64.load",
  v128: "v128.load",
};

/** A typed expression. Methods are WebAssembly's operators for the expression's own type. */
export class Expr {
  readonly node: Node;
  #used = false;

  constructor(node: Node) {
    this.node = node;
  }

  get type(): ValueType {
    return this.node.type;
  }

  /** The node, for one use. */
  take(): Node {
    if (this.node.kind === "op" || this.node.kind === "select") {
      if (this.#used)
        throw new IrError(
          `expression ${this.node.kind === "op" ? this.node.op : "select"} used twice: bind it with keep()`,
        );
      this.#used = true;
    }
    checkVersions(this.node);
    return this.node;
  }

  /** This expression if it is a constant: its value. */
  get constant(): bigint | undefined {
    return this.node.kind === "const" ? BigInt(this.node.value) : undefined;
  }

  #bin(name: string, other: Operand): Expr {
    return binary(operatorName(this.type, name), this, other);
  }
  #un(name: string): Expr {
    return unary(operatorName(this.type, name), this);
  }

  add(o: Operand): Expr {
    return this.#bin("add", o);
  }
  sub(o: Operand): Expr {
    return this.#bin("sub", o);
  }
  mul(o: Operand): Expr {
    return this.#bin("mul", o);
  }
  divS(o: Operand): Expr {
    return this.#bin("div_s", o);
  }
  divU(o: Operand): Expr {
    return this.#bin("div_u", o);
  }
  remS(o: Operand): Expr {
    return this.#bin("rem_s", o);
  }
  remU(o: Operand): Expr {
    return this.#bin("rem_u", o);
  }
  and(o: Operand): Expr {
    return this.#bin("and", o);
  }
  or(o: Operand): Expr {
    return this.#bin("or", o);
  }
  xor(o: Operand): Expr {
    return this.#bin("xor", o);
  }
  /** Bitwise complement. */
  not(): Expr {
    return this.#bin("xor", -1);
  }
  neg(): Expr {
    return op(`${this.type}.sub`, constant(this.type, 0), this);
  }
  shl(o: Operand): Expr {
    return this.#bin("shl", o);
  }
  shrS(o: Operand): Expr {
    return this.#bin("shr_s", o);
  }
  shrU(o: Operand): Expr {
    return this.#bin("shr_u", o);
  }
  rotl(o: Operand): Expr {
    return this.#bin("rotl", o);
  }
  rotr(o: Operand): Expr {
    return this.#bin("rotr", o);
  }
  eq(o: Operand): Expr {
    return this.#bin("eq", o);
  }
  ne(o: Operand): Expr {
    return this.#bin("ne", o);
  }
  ltS(o: Operand): Expr {
    return this.#bin("lt_s", o);
  }
  ltU(o: Operand): Expr {
    return this.#bin("lt_u", o);
  }
  gtS(o: Operand): Expr {
    return this.#bin("gt_s", o);
  }
  gtU(o: Operand): Expr {
    return this.#bin("gt_u", o);
  }
  leS(o: Operand): Expr {
    return this.#bin("le_s", o);
  }
  leU(o: Operand): Expr {
    return this.#bin("le_u", o);
  }
  geS(o: Operand): Expr {
    return this.#bin("ge_s", o);
  }
  geU(o: Operand): Expr {
    return this.#bin("ge_u", o);
  }
  eqz(): Expr {
    return this.#un("eqz");
  }
  /** 0 or 1 (i32): whether the value is not zero. */
  nez(): Expr {
    return this.#bin("ne", 0);
  }
  clz(): Expr {
    return this.#un("clz");
  }
  ctz(): Expr {
    return this.#un("ctz");
  }
  popcnt(): Expr {
    return this.#un("popcnt");
  }
  extend8S(): Expr {
    return this.#un("extend8_s");
  }
  extend16S(): Expr {
    return this.#un("extend16_s");
  }
  /** i64: sign-extends the low 32 bits. */
  extend32S(): Expr {
    return this.#un("extend32_s");
  }
  /** To i64, zero-extended; an i64 stays. */
  u64(): Expr {
    return this.type === "i64" ? this : unary("i64.extend_i32_u", this);
  }
  /** To i64, sign-extended; an i64 stays. */
  s64(): Expr {
    return this.type === "i64" ? this : unary("i64.extend_i32_s", this);
  }
  /** To i32, the low half; an i32 stays. */
  lo32(): Expr {
    return this.type === "i32" ? this : unary("i32.wrap_i64", this);
  }
}

const operatorNames: Record<ValueType, Record<string, string>> = { i32: {}, i64: {}, f32: {}, f64: {}, v128: {} };
/** "i32", "add" -> "i32.add": the same string each time, which is quick to look up. */
function operatorName(type: ValueType, name: string): string {
  const known = operatorNames[type];
  const found = known[name];
  if (found) return found;
  const made = `${type}.${name}`;
  known[name] = made;
  return made;
}

function checkVersions(node: Node): void {
  if (node.kind === "local" && node.version !== node.local.version)
    throw new IrError("expression reads a variable that was assigned since");
}

/** Constants that are used over and over: -16 to 255. */
const SMALL_FROM = -16;
const SMALL_TO = 255;
const smallConstants: Readonly<Record<"i32" | "i64", readonly Expr[]>> = {
  i32: smalls((value) => ({ kind: "const", type: "i32", value })),
  i64: smalls((value) => ({ kind: "const", type: "i64", value: BigInt(value) })),
};
function smalls(make: (value: number) => Node): Expr[] {
  return Array.from({ length: SMALL_TO - SMALL_FROM + 1 }, (_, i) => new Expr(make(SMALL_FROM + i)));
}

export function constant(type: ValueType, value: number | bigint): Expr {
  if ((type === "i32" || type === "i64") && value >= SMALL_FROM && value <= SMALL_TO) {
    const known = smallConstants[type][Number(value) - SMALL_FROM];
    if (known) return known;
  }
  if (type === "i32")
    return new Expr({
      kind: "const",
      type,
      value: typeof value === "number" ? value | 0 : Number(BigInt.asIntN(32, value)),
    });
  if (type === "i64") return new Expr({ kind: "const", type, value: BigInt.asIntN(64, BigInt(value)) });
  if (type === "v128") return new Expr({ kind: "const", type, value: BigInt.asUintN(128, BigInt(value)) });
  throw new IrError(`constants of type ${type} are made from bits: reinterpret an integer`);
}
export const i32 = (value: number | bigint): Expr => constant("i32", value);
export const i64 = (value: number | bigint): Expr => constant("i64", value);
export const v128 = (bits: bigint): Expr => constant("v128", bits);

/** Address of a table that each vCPU has its own of, by the first one's: other vCPUs' modules have it elsewhere. */
export const own = (address: number): Expr => new Expr({ kind: "own", type: "i32", value: address });

/** Any WebAssembly operator by its name, with its lane or shuffle immediate where it has one. Constants fold when the evaluator can. */
export function op(name: string, ...args: (Operand | undefined)[]): Expr {
  return opWith(name, undefined, ...args);
}

export function opWith(name: string, immediate: number | bigint | undefined, ...args: (Operand | undefined)[]): Expr {
  const spec = OPS[name];
  if (!spec) throw new IrError(`no operator ${name}`);
  const nodes = spec.params.map((type, i) => {
    const given = args[i];
    if (given === undefined) throw new IrError(`${name} takes ${spec.params.length} operands`);
    const expr = given instanceof Expr ? given : constant(type, given);
    if (expr.type !== type) throw new IrError(`${name}: operand ${i} is ${expr.type}, not ${type}`);
    return expr;
  });
  if (spec.evaluate && spec.foldable && nodes.every((n) => n.node.kind === "const")) {
    const values = nodes.map((n) => (n.node as { value: number | bigint }).value);
    const unsigned = values.map((v, i) => (spec.params[i] === "i64" ? BigInt.asUintN(64, v as bigint) : v));
    return constant(spec.result, spec.evaluate(...(unsigned as never[])) as number | bigint);
  }
  const same = immediate === undefined ? neutral(name, nodes[0], nodes[1]) : undefined;
  if (same) return same;
  return new Expr({
    kind: "op",
    type: spec.result,
    op: name,
    args: nodes.map((n) => n.take()),
    ...(immediate === undefined ? {} : { immediate }),
  });
}

/** Operators of integers with one or two operands and no immediate: by far the most. */
function unary(name: string, a: Expr): Expr {
  const spec = OPS[name];
  if (!spec || a.node.kind === "const" || a.type !== spec.params[0]) return op(name, a);
  return new Expr({ kind: "op", type: spec.result, op: name, args: [a.take()] });
}
function binary(name: string, a: Expr, other: Operand): Expr {
  const spec = OPS[name];
  if (spec?.params.length !== 2) return op(name, a, other);
  const type = spec.params[1] as ValueType;
  const b = other instanceof Expr ? other : constant(type, other);
  if (a.type !== spec.params[0] || b.type !== type || (a.node.kind === "const" && b.node.kind === "const"))
    return op(name, a, b);
  const same = neutral(name, a, b);
  if (same) return same;
  return new Expr({ kind: "op", type: spec.result, op: name, args: [a.take(), b.take()] });
}

/** Operators for which a second operand of zero changes nothing, and whether a first one does neither. */
const NEUTRAL_ZERO = new Map<string, boolean>();
for (const type of ["i32", "i64"])
  for (const name of ["add", "sub", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr"])
    NEUTRAL_ZERO.set(`${type}.${name}`, name === "add" || name === "or" || name === "xor");

const isZero = ({ node }: Expr): boolean => node.kind === "const" && (node.value === 0 || node.value === 0n);

/** The other operand, if one of two changes nothing: x + 0. */
function neutral(name: string, a: Expr | undefined, c: Expr | undefined): Expr | undefined {
  if (!a || !c || (a.node.kind !== "const" && c.node.kind !== "const")) return undefined;
  const isSymmetric = NEUTRAL_ZERO.get(name);
  if (isSymmetric === undefined) return undefined;
  if (isZero(c)) return a;
  return isSymmetric && isZero(a) ? c : undefined;
}

/** `condition` is i32; both values are computed. */
export function select(condition: Expr, yes: Expr, no: Operand): Expr {
  const other = no instanceof Expr ? no : constant(yes.type, no);
  if (condition.type !== "i32" || yes.type !== other.type) throw new IrError("select: types differ");
  if (condition.constant !== undefined) return condition.constant !== 0n ? yes : other;
  return new Expr({ kind: "select", type: yes.type, condition: condition.take(), yes: yes.take(), no: other.take() });
}

/** A local that may be assigned again. */
export class Variable {
  readonly local: Local;
  readonly #builder: Builder;
  /** The value between two assignments. */
  #value: Expr | undefined;

  constructor(builder: Builder, local: Local) {
    this.#builder = builder;
    this.local = local;
  }
  get(): Expr {
    this.#value ??= new Expr({ kind: "local", type: this.local.type, local: this.local, version: this.local.version });
    return this.#value;
  }
  set(value: Operand): void {
    const expr = value instanceof Expr ? value : constant(this.local.type, value);
    if (expr.type !== this.local.type) throw new IrError(`variable is ${this.local.type}, value ${expr.type}`);
    const node = expr.take();
    this.local.version++;
    this.#value = undefined;
    this.#builder.emit({ kind: "let", local: this.local, value: node });
  }
}

export interface Field {
  readonly offset: number;
  readonly type: "i32" | "i64" | "v128";
  /** Stored width in bits: 8, 16, 32, 64, 128. */
  readonly bits: number;
}

export class Builder {
  readonly parameters: Local[] = [];
  /** Where the back-end keeps flags in a form of its own. */
  lazyFlags: LazyFlags | undefined;
  #list: Statement[] = [];

  /** Appends a statement; for back-ends and lowering only. */
  emit(statement: Statement): void {
    this.#list.push(statement);
  }
  finish(): Statement[] {
    return this.#list;
  }
  parameter(type: ValueType): Expr {
    const local: Local = { type, mutable: false, version: 0, index: -1 };
    this.parameters.push(local);
    return new Expr({ kind: "local", type, local, version: 0 });
  }
  #fresh(type: ValueType): { local: Local; expr: Expr } {
    const local: Local = { type, mutable: false, version: 0, index: -1 };
    return { local, expr: new Expr({ kind: "local", type, local, version: 0 }) };
  }

  /** Binds an expression to a name, so that it can be used more than once. Leaves stay as they are. */
  keep(value: Expr): Expr {
    const node = value.node;
    if (node.kind === "const" || node.kind === "own" || (node.kind === "local" && !node.local.mutable)) return value;
    const { local, expr } = this.#fresh(value.type);
    this.emit({ kind: "let", local, value: value.take() });
    return expr;
  }
  variable(initial: Expr): Variable {
    const local: Local = { type: initial.type, mutable: true, version: 0, index: -1 };
    this.emit({ kind: "let", local, value: initial.take() });
    return new Variable(this, local);
  }

  /** Reads linear memory. `op` is a WebAssembly load, e.g. "i32.load8_u". */
  load(op: string, space: Space, address: Operand, offset = 0): Expr {
    const spec = OPS[op];
    if (!spec) throw new IrError(`no load ${op}`);
    const { local, expr } = this.#fresh(spec.result);
    this.emit({ kind: "load", local, op, space, address: asI32(address), offset });
    return expr;
  }
  store(op: string, space: Space, address: Operand, value: Expr, offset = 0): void {
    const spec = OPS[op];
    if (!spec || spec.params[1] !== value.type) throw new IrError(`${op} does not store ${value.type}`);
    this.emit({ kind: "store", op, space, address: asI32(address), offset, value: value.take() });
  }
  /** Reads a field of the vCPU's state block. */
  get(field: Field): Expr {
    return this.load(loadOp(field.type, field.bits), "cpu", 0, field.offset);
  }
  put(field: Field, value: Operand): void {
    const expr = value instanceof Expr ? value : constant(field.type, value);
    this.store(storeOp(field.type, field.bits), "cpu", 0, expr, field.offset);
  }

  call(routine: Routine, ...args: Operand[]): Expr {
    const nodes = routine.params.map((type, i) => {
      const given = args[i];
      if (given === undefined) throw new IrError(`${routine.name} takes ${routine.params.length} arguments`);
      const expr = given instanceof Expr ? given : constant(type, given);
      if (expr.type !== type) throw new IrError(`${routine.name}: argument ${i} is ${expr.type}, not ${type}`);
      return expr.take();
    });
    if (!routine.result) {
      this.emit({ kind: "call", routine, args: nodes, local: undefined });
      return i32(0);
    }
    const { local, expr } = this.#fresh(routine.result);
    this.emit({ kind: "call", routine, args: nodes, local });
    return expr;
  }
  callTable(index: Expr, ...args: Expr[]): Expr {
    const { local, expr } = this.#fresh("i32");
    this.emit({ kind: "callTable", index: index.take(), args: args.map((a) => a.take()), local });
    return expr;
  }

  /** Host address of an access: see the statement of this kind in ir/types.ts. */
  access(
    layout: AddressTable,
    table: Expr,
    address: Expr,
    how: { readonly bytes: number; readonly slow: Routine; readonly failed: () => void },
  ): Expr {
    const { local, expr } = this.#fresh("i32");
    const [at, from] = [this.keep(address).take(), this.keep(table).take()];
    const failed = this.nested(how.failed);
    const { bytes, slow } = how;
    this.emit({ kind: "access", local, layout, table: from, address: at, bytes, slow, failed });
    return expr;
  }

  /** `likely`: a hint for code layout. */
  if(condition: Expr, then: () => void, otherwise?: () => void, likely?: boolean): void {
    if (condition.type !== "i32") throw new IrError("a condition is i32");
    if (condition.constant !== undefined) {
      if (condition.constant !== 0n) then();
      else otherwise?.();
      return;
    }
    const node = condition.take();
    const yes = this.nested(then);
    const no = otherwise ? this.nested(otherwise) : [];
    this.emit({ kind: "if", condition: node, likely, yes, no });
  }
  nested(build: () => void): Statement[] {
    const outer = this.#list;
    const inner: Statement[] = [];
    this.#list = inner;
    build();
    this.#list = outer;
    return inner;
  }
  /** Branching to the label leaves the block. */
  block(build: (label: Label) => void): void {
    const label: Label = { kind: "block" };
    this.emit({ kind: "block", label, body: this.nested(() => build(label)) });
  }
  /** Branching to the label starts the next round; falling off the end leaves the loop. */
  loop(build: (label: Label) => void): void {
    const label: Label = { kind: "loop" };
    this.emit({ kind: "block", label, body: this.nested(() => build(label)) });
  }
  /** `condition` may emit statements; it runs before each round. */
  while(condition: () => Expr, body: () => void): void {
    this.block((done) => {
      this.loop((again) => {
        this.br(done, condition().eqz());
        body();
        this.br(again);
      });
    });
  }
  br(label: Label, condition?: Expr): void {
    this.emit({ kind: "br", label, condition: condition?.take() });
  }
  switch(index: Expr, cases: readonly (() => void)[], otherwise: () => void): void {
    const node = index.take();
    this.emit({
      kind: "switch",
      index: node,
      cases: cases.map((c) => this.nested(c)),
      otherwise: this.nested(otherwise),
    });
  }
  return(value?: Operand): void {
    const expr = typeof value === "number" || typeof value === "bigint" ? i32(value) : value;
    this.emit({ kind: "return", value: expr?.take() });
  }
  /** An atomic operation; undefined without a result. */
  atomic(name: AtomicOp, result: "i32" | "i64" | undefined, ...args: Expr[]): Expr {
    const taken = args.map((arg) => arg.take());
    if (!result) {
      this.emit({ kind: "atomic", local: undefined, op: name, args: taken });
      return i32(0);
    }
    const { local, expr } = this.#fresh(result);
    this.emit({ kind: "atomic", local, op: name, args: taken });
    return expr;
  }
  /** memory.copy between host addresses. */
  copy(to: Expr, from: Expr, bytes: Expr): void {
    this.emit({ kind: "copy", to: to.take(), from: from.take(), bytes: bytes.take() });
  }
  fill(to: Expr, value: Expr, bytes: Expr): void {
    this.emit({ kind: "fill", to: to.take(), value: value.take(), bytes: bytes.take() });
  }
}

function asI32(value: Operand): Node {
  const expr = value instanceof Expr ? value : i32(value);
  if (expr.type !== "i32") throw new IrError("an address is i32");
  return expr.take();
}

/** The load that zero-extends `bits` of memory to `type`. */
export function loadOp(type: ValueType, bits: number): string {
  const full = LOAD_WIDTHS[type] ?? "";
  return bits === sizeOf(type) ? full : `${full}${bits}_u`;
}
export function storeOp(type: ValueType, bits: number): string {
  return bits === sizeOf(type) ? `${type}.store` : `${type}.store${bits}`;
}
const sizeOf = (type: ValueType): number => ({ i32: 32, i64: 64, f32: 32, f64: 64, v128: 128 })[type];
