/**
 * The reference evaluator: runs routines of the intermediate language directly, over the same memory layout as the
 * compiled module. It exists to find mistakes of the back-ends; it proves nothing about fidelity to the real CPU.
 *
 * Each node becomes a closure once; values are those of ops.ts.
 */
import { OPS } from "./ops.ts";
import type { Routine } from "./routine.ts";
import { IrError, type Label, type Local, type Node, type Space, type Statement, type ValueType } from "./types.ts";

export type Value = number | bigint;
type Env = Value[];
type Eval = (env: Env) => Value;
/** Undefined: fell through. A label: branch there. RETURN: the function ended, its value in env[0]. */
type Exec = (env: Env) => Label | typeof RETURN | undefined;
const RETURN = { kind: "return" } as const;

export interface EvaluatorHost {
  readonly memory: DataView;
  readonly cpuBase: number;
  /** Host routines by name. */
  readonly imports: Readonly<Record<string, (...args: never[]) => unknown>>;
  readonly table: readonly Routine[];
}

export class Evaluator {
  readonly #host: EvaluatorHost;
  readonly #compiled = new Map<Routine, (args: Value[]) => Value>();

  constructor(host: EvaluatorHost) {
    this.#host = host;
  }

  call(routine: Routine, ...args: Value[]): Value {
    return this.#function(routine)(args);
  }

  #function(r: Routine): (args: Value[]) => Value {
    const known = this.#compiled.get(r);
    if (known) return known;
    if (!r.body) {
      const imported = this.#host.imports[r.name] as ((...args: Value[]) => unknown) | undefined;
      if (!imported) throw new IrError(`no import ${r.name}`);
      // Hosts see what WebAssembly would give them: signed integers, floats as numbers.
      const { params, result } = r;
      const f = (args: Value[]): Value =>
        fromHost(imported(...args.map((a, i) => toHost(a, params[i]))) as Value | undefined, result);
      this.#compiled.set(r, f);
      return f;
    }
    let run: Exec | undefined;
    let slots = 0;
    const f = (args: Value[]): Value => {
      if (!run) {
        const body = r.body?.();
        if (!body) throw new IrError(r.name);
        const scope = new Scope();
        for (const p of body.locals) scope.slot(p);
        run = this.#list(body.statements, scope);
        slots = scope.size;
      }
      const env: Env = new Array(slots).fill(0);
      for (let i = 0; i < args.length; i++) env[i + 1] = args[i] ?? 0;
      run(env);
      return env[0] ?? 0;
    };
    this.#compiled.set(r, f);
    return f;
  }

  #list(statements: readonly Statement[], scope: Scope): Exec {
    const steps = statements.map((s) => this.#statement(s, scope));
    return (env) => {
      for (const step of steps) {
        const to = step(env);
        if (to) return to;
      }
      return undefined;
    };
  }

  #address(node: Node, space: Space, offset: number, scope: Scope): (env: Env) => number {
    const base = offset + (space === "cpu" ? this.#host.cpuBase : 0);
    if (node.kind === "const") {
      const fixed = Number(node.value) + base;
      return () => fixed;
    }
    const f = this.#node(node, scope);
    return (env) => ((f(env) as number) >>> 0) + base;
  }

  #statement(s: Statement, scope: Scope): Exec {
    switch (s.kind) {
      case "let": {
        const value = this.#node(s.value, scope);
        const slot = scope.slot(s.local);
        return (env) => {
          env[slot] = value(env);
          return undefined;
        };
      }
      case "load": {
        const address = this.#address(s.address, s.space, s.offset, scope);
        const load = loader(this.#host.memory, s.op);
        const slot = scope.slot(s.local);
        return (env) => {
          env[slot] = load(address(env));
          return undefined;
        };
      }
      case "store": {
        const address = this.#address(s.address, s.space, s.offset, scope);
        const value = this.#node(s.value, scope);
        const store = storer(this.#host.memory, s.op);
        return (env) => {
          store(address(env), value(env));
          return undefined;
        };
      }
      case "call": {
        const args = s.args.map((a) => this.#node(a, scope));
        const f = this.#function(s.routine);
        const slot = s.local ? scope.slot(s.local) : -1;
        return (env) => {
          const r = f(args.map((a) => a(env)));
          if (slot >= 0) env[slot] = r;
          return undefined;
        };
      }
      case "atomic":
        throw new IrError("an atomic operation is for vCPUs in parallel");
      case "access":
        throw new IrError("an access by a table is translated code's");
      case "callTable": {
        const args = s.args.map((a) => this.#node(a, scope));
        const index = this.#node(s.index, scope);
        const slot = scope.slot(s.local);
        return (env) => {
          const r = this.#host.table[Number(index(env))];
          if (!r) throw new IrError("table index out of range");
          env[slot] = this.#function(r)(args.map((a) => a(env)));
          return undefined;
        };
      }
      case "if": {
        const condition = this.#node(s.condition, scope);
        const yes = this.#list(s.yes, scope);
        const no = this.#list(s.no, scope);
        return (env) => (condition(env) ? yes(env) : no(env));
      }
      case "block": {
        const body = this.#list(s.body, scope);
        const { label } = s;
        if (label.kind === "block")
          return (env) => {
            const to = body(env);
            return to === label ? undefined : to;
          };
        return (env) => {
          for (;;) {
            const to = body(env);
            if (to !== label) return to;
          }
        };
      }
      case "br": {
        const { label } = s;
        if (!s.condition) return () => label;
        const condition = this.#node(s.condition, scope);
        return (env) => (condition(env) ? label : undefined);
      }
      case "switch": {
        const index = this.#node(s.index, scope);
        const cases = s.cases.map((c) => this.#list(c, scope));
        const otherwise = this.#list(s.otherwise, scope);
        return (env) => (cases[(index(env) as number) >>> 0] ?? otherwise)(env);
      }
      case "return": {
        const value = s.value && this.#node(s.value, scope);
        return (env) => {
          if (value) env[0] = value(env);
          return RETURN;
        };
      }
      case "copy": {
        const [to, from, bytes] = [s.to, s.from, s.bytes].map((n) => this.#node(n, scope)) as [Eval, Eval, Eval];
        const all = new Uint8Array(this.#host.memory.buffer);
        return (env) => {
          const start = Number(from(env)) >>> 0;
          all.copyWithin(Number(to(env)) >>> 0, start, start + (Number(bytes(env)) >>> 0));
          return undefined;
        };
      }
      case "fill": {
        const [to, value, bytes] = [s.to, s.value, s.bytes].map((n) => this.#node(n, scope)) as [Eval, Eval, Eval];
        const all = new Uint8Array(this.#host.memory.buffer);
        return (env) => {
          const start = Number(to(env)) >>> 0;
          all.fill(Number(value(env)) & 0xff, start, start + (Number(bytes(env)) >>> 0));
          return undefined;
        };
      }
    }
  }

  #node(n: Node, scope: Scope): Eval {
    if (n.kind === "own") return () => n.value;
    if (n.kind === "const") {
      const value = n.type === "i64" ? BigInt.asUintN(64, BigInt(n.value)) : n.value;
      return () => value;
    }
    if (n.kind === "local") {
      const slot = scope.slot(n.local);
      return (env) => env[slot] as Value;
    }
    if (n.kind === "select") {
      const [c, y, no] = [n.condition, n.yes, n.no].map((x) => this.#node(x, scope)) as [Eval, Eval, Eval];
      return (env) => {
        const yes = y(env);
        const other = no(env);
        return c(env) ? yes : other;
      };
    }
    const f = OPS[n.op]?.evaluate as ((...args: Value[]) => Value) | undefined;
    if (!f) throw new IrError(`operator ${n.op} cannot be evaluated`);
    const args = n.args.map((a) => this.#node(a, scope));
    const [a, b, c] = args as [Eval, Eval, Eval];
    if (n.immediate !== undefined) {
      const { immediate } = n;
      return (env) => f(...args.map((x) => x(env)), immediate);
    }
    if (args.length === 3) return (env) => f(a(env), b(env), c(env));
    return args.length === 1 ? (env) => f(a(env)) : (env) => f(a(env), b(env));
  }
}

const bits = new DataView(new ArrayBuffer(8));

function toHost(value: Value, type: ValueType | undefined): Value {
  if (type === "i64") return BigInt.asIntN(64, value as bigint);
  if (type !== "f64") return (value as number) | 0;
  bits.setBigUint64(0, value as bigint);
  return bits.getFloat64(0);
}

function fromHost(value: Value | undefined, type: ValueType | undefined): Value {
  return type === "i64" ? BigInt.asUintN(64, value as bigint) : ((value ?? 0) as number) | 0;
}

class Scope {
  size = 1;
  readonly #slots = new Map<Local, number>();
  slot(local: Local): number {
    const known = this.#slots.get(local);
    if (known !== undefined) return known;
    this.#slots.set(local, this.size);
    return this.size++;
  }
}

function loader(m: DataView, op: string): (at: number) => Value {
  const wide = op.startsWith("i64");
  const widen = (f: (at: number) => number): ((at: number) => Value) =>
    wide ? (at) => BigInt.asUintN(64, BigInt(f(at))) : f;
  switch (op.slice(4)) {
    case "load8_u":
      return widen((at) => m.getUint8(at));
    case "load8_s":
      return widen((at) => m.getInt8(at));
    case "load16_u":
      return widen((at) => m.getUint16(at, true));
    case "load16_s":
      return widen((at) => m.getInt16(at, true));
    case "load32_u":
      return widen((at) => m.getUint32(at, true));
    case "load32_s":
      return widen((at) => m.getInt32(at, true));
  }
  if (op === "i32.load") return (at) => m.getInt32(at, true);
  if (op === "f32.load") return (at) => m.getUint32(at, true);
  if (op === "v128.load") return (at) => m.getBigUint64(at, true) | (m.getBigUint64(at + 8, true) << 64n);
  return (at) => m.getBigUint64(at, true);
}

function storer(m: DataView, op: string): (at: number, v: Value) => void {
  switch (op) {
    case "i32.store8":
    case "i64.store8":
      return (at, v) => m.setUint8(at, Number(BigInt.asUintN(8, BigInt(v))));
    case "i32.store16":
    case "i64.store16":
      return (at, v) => m.setUint16(at, Number(BigInt.asUintN(16, BigInt(v))), true);
    case "i64.store32":
      return (at, v) => m.setUint32(at, Number(BigInt.asUintN(32, v as bigint)), true);
    case "i32.store":
    case "f32.store":
      return (at, v) => m.setInt32(at, (v as number) | 0, true);
    case "v128.store":
      return (at, v) => {
        m.setBigUint64(at, BigInt.asUintN(64, v as bigint), true);
        m.setBigUint64(at + 8, (v as bigint) >> 64n, true);
      };
    default:
      return (at, v) => m.setBigUint64(at, BigInt.asUintN(64, v as bigint), true);
  }
}
