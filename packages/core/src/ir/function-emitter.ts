/**
 * The code of one function, from statements: stack code, in one go.
 *
 * `likely` on an `if` becomes an entry of the `metadata.code.branch_hint` section (WebAssembly branch hinting proposal).
 */
import { Locals } from "./locals.ts";
import { OPS } from "./ops.ts";
import type { Routine, RoutineBody } from "./routine.ts";
import { type AtomicOp, IrError, type Label, type Local, type Node, type Statement, type ValueType } from "./types.ts";
import { WasmWriter } from "./wasm-writer.ts";

export const TYPE_CODE: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

/** Code, and alignment and offset of the access (threads proposal). */
const ATOMIC_CODE: Readonly<Record<AtomicOp, readonly number[]>> = {
  "atomic.fence": [0xfe, 0x03, 0],
  "i32.atomic.rmw.cmpxchg": [0xfe, 0x48, 2, 0],
  "i64.atomic.rmw.cmpxchg": [0xfe, 0x49, 3, 0],
  "i32.atomic.rmw8.cmpxchg_u": [0xfe, 0x4a, 0, 0],
  "i32.atomic.rmw16.cmpxchg_u": [0xfe, 0x4b, 1, 0],
};

/** What code says about the module that it is part of. */
export interface CodePlaces {
  /** Where the vCPU's state block starts in memory. */
  readonly cpuBase: number;
  /** What is added to addresses of tables that each vCPU has its own of. */
  readonly ownShift: number;
  tableType: () => number;
  writeIndex: (out: WasmWriter, routine: Routine) => void;
}

export interface FunctionHint {
  readonly offset: number;
  readonly likely: boolean;
}

/** A call in a function's body, whose index, two bytes, stands at `offset`. */
export interface FunctionCall {
  readonly offset: number;
  readonly routine: Pick<Routine, "name" | "params" | "result">;
}

/** A function that can be put into any module: what it calls is known by name. */
export interface CompiledFunction {
  /** Local declarations and code. */
  readonly code: Uint8Array;
  readonly hints: readonly FunctionHint[];
  readonly calls: readonly FunctionCall[];
}

/** Code of the function that is being compiled: one for all, since memory outside of the heap is dear to get. */
const scratch = new WasmWriter(1 << 16);

export class FunctionEmitter {
  readonly out = scratch;
  readonly hints: FunctionHint[] = [];
  readonly calls: FunctionCall[] = [];
  readonly #labels: (Label | undefined)[] = [];
  readonly #module: CodePlaces;
  readonly #locals: Locals;
  readonly #paramCount: number;
  readonly #late: RoutineBody["late"];
  #lateAt: number | undefined;
  /** The assignment that was written last: where it starts and ends, and what it assigned. */
  #assignedFrom = 0;
  #assignedTo = 0;
  #assignedPlace = -1;

  constructor(module: CodePlaces, body: RoutineBody) {
    this.#module = module;
    this.#paramCount = body.locals.length;
    this.#locals = new Locals(body.locals, body.statements);
    this.#late = body.late;
    scratch.length = 0;
  }

  /** The function's body, local declarations first; hint offsets count from its start. */
  finish(): WasmWriter {
    if (this.#late && this.#lateAt !== undefined)
      this.out.patchNumber(this.#lateAt, this.#late.value(this.#locals.types));
    const body = new WasmWriter(this.out.length + 256);
    const groups: [number, ValueType][] = [];
    for (const type of this.#locals.types.slice(this.#paramCount)) {
      const last = groups.at(-1);
      if (last && last[1] === type) last[0]++;
      else groups.push([1, type]);
    }
    body.u32(groups.length);
    for (const [count, type] of groups) {
      body.u32(count);
      body.byte(TYPE_CODE[type]);
    }
    const shift = body.length;
    for (const [i, hint] of this.hints.entries()) this.hints[i] = { ...hint, offset: hint.offset + shift };
    for (const [i, call] of this.calls.entries()) this.calls[i] = { ...call, offset: call.offset + shift };
    body.append(this.out);
    body.byte(0x0b);
    return body;
  }

  release(): void {
    this.#locals.release();
  }

  list(statements: readonly Statement[], isLoop = false): void {
    this.#locals.begin(isLoop);
    for (const s of statements) this.#statement(s);
    this.#locals.end(isLoop);
  }

  /** Leaves the statement's value on the stack. */
  #effect(s: Statement): void {
    const out = this.out;
    if (s.kind === "load") {
      this.node(s.address);
      this.#memory(s.op, s.space, s.offset);
    } else if (s.kind === "call") {
      for (const a of s.args) this.node(a);
      this.#call(s.routine);
    } else if (s.kind === "callTable") {
      for (const a of s.args) this.node(a);
      this.node(s.index);
      out.byte(0x11);
      out.u32(this.#module.tableType());
      out.byte(0);
    }
  }

  #call(routine: Routine): void {
    this.out.byte(0x10);
    this.calls.push({ offset: this.out.length, routine });
    this.#module.writeIndex(this.out, routine);
  }

  #access(s: Statement & { kind: "access" }): void {
    const { out } = this;
    const { layout, bytes } = s;
    const entry = this.#locals.borrow("i32");
    const i64Constant = (value: number): void => {
      out.byte(0x42);
      out.s32(value);
    };
    this.node(s.table);
    this.node(s.address);
    i64Constant(layout.shift);
    // i64.shr_u, i32.wrap_i64, i32.const
    out.bytes([0x88, 0xa7, 0x41]);
    out.s32(layout.mask);
    // i32.and, i32.add, local.tee
    out.bytes([0x71, 0x6a, 0x22]);
    out.u32(entry);
    this.#memory("i64.load", "host", layout.tag);
    this.node(s.address);
    if (bytes > 1) {
      i64Constant(bytes - 1);
      out.byte(0x7c);
    }
    i64Constant(layout.pageBits);
    // i64.shr_u, i64.eq
    out.bytes([0x88, 0x51]);
    this.hints.push({ offset: out.length, likely: true });
    out.bytes([0x04, TYPE_CODE.i32]);
    this.#labels.push(undefined);
    out.byte(0x20);
    out.u32(entry);
    this.#memory("i32.load", "host", layout.addend);
    // else
    out.byte(0x05);
    this.node(s.address);
    out.byte(0x41);
    out.s32(bytes);
    this.#call(s.slow);
    out.byte(0x22);
    out.u32(entry);
    // i32.eqz, if
    out.bytes([0x45, 0x04, 0x40]);
    this.#labels.push(undefined);
    this.list(s.failed);
    this.#labels.pop();
    // What is added to the address comes from both ways: V8 knows of a sum that its upper half is empty.
    out.bytes([0x0b, 0x20]);
    out.u32(entry);
    this.node(s.address);
    // i32.wrap_i64, i32.sub, end
    out.bytes([0xa7, 0x6b, 0x0b]);
    this.#labels.pop();
    this.node(s.address);
    // i32.wrap_i64, i32.add
    out.bytes([0xa7, 0x6a]);
    this.#locals.giveBack("i32", entry);
    this.#setLocal(s.local);
  }

  #memory(name: string, space: string, offset: number): void {
    const spec = OPS[name];
    if (!spec) throw new IrError(`no operator ${name}`);
    if (spec.code.length === 1) this.out.byte(spec.code[0] ?? 0);
    else this.out.bytes(spec.code);
    this.out.u32(spec.align);
    this.out.u32(offset + (space === "cpu" ? this.#module.cpuBase : 0));
  }

  #statement(s: Statement): void {
    const out = this.out;
    switch (s.kind) {
      case "let":
        if (this.#locals.isUnused(s.local)) {
          this.#locals.leaveOut(s.value);
          return;
        }
        this.node(s.value);
        this.#setLocal(s.local);
        return;
      case "load":
      case "callTable":
        this.#effect(s);
        this.#setLocal(s.local);
        return;
      case "access":
        this.#access(s);
        return;
      case "call":
        this.#effect(s);
        if (s.local) this.#setLocal(s.local);
        return;
      case "store":
        this.node(s.address);
        this.node(s.value);
        this.#memory(s.op, s.space, s.offset);
        return;
      case "if":
        this.node(s.condition);
        if (s.likely !== undefined) this.hints.push({ offset: out.length, likely: s.likely });
        out.bytes([0x04, 0x40]);
        this.#labels.push(undefined);
        this.list(s.yes);
        if (s.no.length) {
          out.byte(0x05);
          this.list(s.no);
        }
        this.#labels.pop();
        out.byte(0x0b);
        return;
      case "block":
        if (s.body.length === 0) return;
        if (s.isIsolated) {
          this.#isolated(s.body);
          return;
        }
        out.bytes([s.label.kind === "loop" ? 0x03 : 0x02, 0x40]);
        this.#labels.push(s.label);
        this.list(s.body, s.label.kind === "loop");
        this.#labels.pop();
        out.byte(0x0b);
        return;
      case "br": {
        if (s.condition) this.node(s.condition);
        const at = this.#labels.lastIndexOf(s.label);
        if (at < 0) throw new IrError("branch to a label that is not around it");
        out.byte(s.condition ? 0x0d : 0x0c);
        out.u32(this.#labels.length - 1 - at);
        return;
      }
      case "switch":
        this.#switch(s);
        return;
      case "return":
        if (s.value) this.node(s.value);
        out.byte(0x0f);
        return;
      case "copy":
        this.node(s.to);
        this.node(s.from);
        this.node(s.bytes);
        out.bytes([0xfc, 0x0a, 0, 0]);
        return;
      case "fill":
        this.node(s.to);
        this.node(s.value);
        this.node(s.bytes);
        out.bytes([0xfc, 0x0b, 0]);
        return;
      case "atomic":
        for (const arg of s.args) this.node(arg);
        out.bytes(ATOMIC_CODE[s.op]);
        if (s.local) this.#setLocal(s.local);
        return;
    }
  }

  #switch(s: Statement & { kind: "switch" }): void {
    const out = this.out;
    const n = s.cases.length;
    for (let i = 0; i < n + 2; i++) {
      out.bytes([0x02, 0x40]);
      this.#labels.push(undefined);
    }
    this.node(s.index);
    out.byte(0x0e);
    out.u32(n);
    for (let i = 0; i <= n; i++) out.u32(i);
    for (const [i, body] of [...s.cases, s.otherwise].entries()) {
      this.#labels.pop();
      out.byte(0x0b);
      this.list(body);
      const last = body.at(-1);
      if (i < n && !(last?.kind === "return" || (last?.kind === "br" && !last.condition))) {
        out.byte(0x0c);
        out.u32(n - i);
      }
    }
    this.#labels.pop();
    out.byte(0x0b);
  }

  #isolated(body: readonly Statement[]): void {
    this.#locals.isolated(() => this.list(body));
  }

  #setLocal(local: Local): void {
    const { out } = this;
    const place = this.#locals.placeToAssign(local);
    const from = out.length;
    out.byte(place < 0 ? 0x1a : 0x21);
    if (place >= 0) out.u32(place);
    this.#assignedFrom = from;
    this.#assignedTo = out.length;
    this.#assignedPlace = place;
  }
  #getLocal(local: Local): void {
    const { out } = this;
    const from = this.#assignedFrom;
    if (this.#assignedTo === out.length && this.#assignedPlace === this.#locals.placeOf(local)) {
      // The value is at hand: it stays on the stack, and is kept only for others that want it.
      if (!local.mutable && this.#locals.isUsedOnce(local)) out.length = from;
      else out.patch(from, 0x22);
      this.#assignedPlace = -1;
      this.#locals.placeToUse(local);
      return;
    }
    out.byte(0x20);
    out.u32(this.#locals.placeToUse(local));
  }

  node(n: Node): void {
    const out = this.out;
    switch (n.kind) {
      case "const":
        if (n.type === "i32") {
          out.byte(0x41);
          if (n === this.#late?.node) {
            this.#lateAt = out.length;
            out.bytes([0, 0, 0]);
          } else out.s32(Number(n.value));
        } else if (n.type === "i64") {
          out.byte(0x42);
          out.s64(BigInt(n.value));
        } else {
          out.bytes([0xfd, 0x0c]);
          this.#bytes16(BigInt(n.value));
        }
        return;
      case "own":
        out.byte(0x41);
        out.s32(n.value + this.#module.ownShift);
        return;
      case "local":
        this.#getLocal(n.local);
        return;
      case "select":
        this.node(n.yes);
        this.node(n.no);
        this.node(n.condition);
        if (n.type === "v128") out.bytes([0x1c, 0x01, TYPE_CODE.v128]);
        else out.byte(0x1b);
        return;
      case "op": {
        for (const a of n.args) this.node(a);
        const spec = OPS[n.op];
        if (!spec) throw new IrError(`no operator ${n.op}`);
        if (spec.code.length === 1) out.byte(spec.code[0] ?? 0);
        else out.bytes(spec.code);
        if (spec.immediate === "lane") out.byte(Number(n.immediate ?? 0));
        else if (spec.immediate === "shuffle") this.#bytes16(BigInt(n.immediate ?? 0));
        return;
      }
    }
  }
  #bytes16(bits: bigint): void {
    for (let i = 0n; i < 16n; i++) this.out.byte(Number((bits >> (8n * i)) & 0xffn));
  }
}
