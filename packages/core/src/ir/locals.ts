/**
 * Which WebAssembly local holds each local of a routine. A place is free again behind the last use of what it holds, so
 * that functions of thousands of values have few: V8's first compiler gives each a place in the frame, and works for each
 * where ways meet. What nobody uses, and can be left out, gets no place.
 *
 * While a function is compiled, `Local.index` is the local's number here.
 */
import { IrError, type Local, type Node, type Statement, type ValueType } from "./types.ts";

const TYPES: readonly ValueType[] = ["i32", "i64", "f32", "f64", "v128"];
const NOWHERE = -1;

type Pools = Record<ValueType, number[]>;
const pools = (): Pools => ({ i32: [], i64: [], f32: [], f64: [], v128: [] });

/** Statements inside of a statement. */
function* listsOf(s: Statement): Iterable<readonly Statement[]> {
  if (s.kind === "block") yield s.body;
  else if (s.kind === "if") {
    yield s.yes;
    yield s.no;
  } else if (s.kind === "switch") {
    yield* s.cases;
    yield s.otherwise;
  }
}

const assigned = (s: Statement): Local | undefined => ("local" in s ? s.local : undefined);

export class Locals {
  /** Types of the WebAssembly locals, parameters first. */
  readonly types: ValueType[];
  readonly #all: Local[];
  /** By number: the list that the local belongs to; how many are around it; where in it the local is used last. */
  readonly #owners: (readonly Statement[])[];
  readonly #depths: number[];
  readonly #lasts: number[];
  readonly #uses: number[];
  readonly #places: number[];
  /** The statement that is looked at, by depth: its list, and where in it. */
  readonly #lists: (readonly Statement[])[] = [];
  readonly #at: number[] = [];
  /** Free places: of the outermost list, and of all others; all that those others ever had. */
  readonly #outer = pools();
  #inner = pools();
  readonly #made = pools();

  constructor(params: readonly Local[], statements: readonly Statement[]) {
    this.#all = [...params];
    this.types = params.map((p) => p.type);
    this.#places = params.map((_, i) => i);
    for (const [i, p] of params.entries()) p.index = i;
    this.#owners = params.map(() => statements);
    this.#depths = params.map(() => 1);
    this.#lasts = params.map(() => 0);
    this.#uses = params.map(() => 0);
    this.#find(statements, 1);
    this.#trace(statements, 1);
    this.#settle(statements, 1);
  }
  /** Locals belong to no function any more. */
  release(): void {
    for (const local of this.#all) local.index = NOWHERE;
  }

  /** Place of a local; -1 of one that is not used. */
  placeOf(local: Local): number {
    const place = this.#places[local.index];
    if (place === undefined) throw new IrError("use of a local that is out of scope");
    return place;
  }
  isUsedOnce(local: Local): boolean {
    return this.#uses[local.index] === 1;
  }

  #find(statements: readonly Statement[], depth: number): void {
    for (const s of statements) {
      const local = assigned(s);
      if (local && local.index < 0) {
        local.index = this.#all.push(local) - 1;
        this.#owners.push(statements);
        this.#depths.push(depth);
        this.#lasts.push(NOWHERE);
        this.#uses.push(0);
        this.#places.push(NOWHERE);
      }
      for (const list of listsOf(s)) this.#find(list, depth + 1);
    }
  }

  /** Finds last uses: from the end on. */
  #trace(statements: readonly Statement[], depth: number): void {
    this.#lists[depth] = statements;
    for (let i = statements.length - 1; i >= 0; i--) {
      const s = statements[i] as Statement;
      this.#at[depth] = i;
      for (const list of listsOf(s)) this.#trace(list, depth + 1);
      this.#traceOwn(s);
    }
  }
  #traceOwn(s: Statement): void {
    switch (s.kind) {
      case "let":
        if (this.#isLeftOut(s)) return;
        if (s.local.mutable) this.#use(s.local);
        this.#node(s.value);
        return;
      case "load":
        this.#node(s.address);
        return;
      case "store":
        this.#node(s.value);
        this.#node(s.address);
        return;
      case "call":
        for (const a of s.args) this.#node(a);
        return;
      case "callTable":
        this.#node(s.index);
        for (const a of s.args) this.#node(a);
        return;
      case "if":
        this.#node(s.condition);
        return;
      case "br":
        if (s.condition) this.#node(s.condition);
        return;
      case "switch":
        this.#node(s.index);
        return;
      case "return":
        if (s.value) this.#node(s.value);
        return;
      case "copy":
        for (const n of [s.to, s.from, s.bytes]) this.#node(n);
        return;
      case "fill":
        for (const n of [s.to, s.value, s.bytes]) this.#node(n);
        return;
      default:
    }
  }
  #node(n: Node): void {
    if (n.kind === "local") this.#use(n.local);
    else if (n.kind === "op") for (const a of n.args) this.#node(a);
    else if (n.kind === "select") {
      this.#node(n.condition);
      this.#node(n.yes);
      this.#node(n.no);
    }
  }
  #use({ index }: Local): void {
    const depth = this.#depths[index];
    if (depth === undefined || this.#lists[depth] !== this.#owners[index])
      throw new IrError("use of a local that is out of scope");
    this.#uses[index] = (this.#uses[index] ?? 0) + 1;
    if (this.#lasts[index] === NOWHERE) this.#lasts[index] = this.#at[depth] ?? 0;
  }
  /** Nobody wants the value, and making it does nothing else. */
  #isLeftOut(s: Statement): boolean {
    return s.kind === "let" && !s.local.mutable && this.#lasts[s.local.index] === NOWHERE;
  }

  #settle(statements: readonly Statement[], depth: number): void {
    const ends = new Map<number, Local[]>();
    for (const [i, s] of statements.entries()) {
      if (s.kind === "block" && s.isIsolated) this.#isolated(s.body, depth);
      else for (const list of listsOf(s)) this.#settle(list, depth + 1);
      for (const local of ends.get(i) ?? []) this.#free(local, depth);
      const local = assigned(s);
      if (!local || this.#places[local.index] !== NOWHERE) continue;
      const last = this.#lasts[local.index] ?? NOWHERE;
      if (last === NOWHERE) continue;
      this.#places[local.index] = this.#take(local.type, depth);
      if (last <= i) this.#free(local, depth);
      else if (ends.get(last)?.push(local) === undefined) ends.set(last, [local]);
    }
  }
  /** Control does not come back from here: what places hold is for other ways than this one, but the outermost list's. */
  #isolated(body: readonly Statement[], depth: number): void {
    const before = this.#inner;
    const counts = TYPES.map((type) => this.#made[type].length);
    this.#inner = pools();
    for (const type of TYPES) this.#inner[type] = this.#made[type].slice();
    this.#settle(body, depth + 1);
    for (const [i, type] of TYPES.entries()) before[type].push(...this.#made[type].slice(counts[i]));
    this.#inner = before;
  }
  #take(type: ValueType, depth: number): number {
    const free = (depth > 1 ? this.#inner : this.#outer)[type].pop();
    if (free !== undefined) return free;
    const place = this.types.push(type) - 1;
    if (depth > 1) this.#made[type].push(place);
    return place;
  }
  #free(local: Local, depth: number): void {
    (depth > 1 ? this.#inner : this.#outer)[local.type].push(this.#places[local.index] ?? 0);
  }
}
