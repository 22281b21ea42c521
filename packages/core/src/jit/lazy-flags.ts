/**
 * Flags inside a region. What the last instruction that set them was, and two words of its operands, are in three
 * locals when control leaves the block; flags are made of them where somebody asks, or behind the region. Inside a block
 * not even the locals are written before it ends: what flags would be is known here (`Pending`), and written on those
 * ways only that leave. A condition right behind a comparison becomes that comparison.
 */
import {
  auxOf,
  auxOfFlags,
  carryOf,
  FLAG_OPERATIONS,
  FLAG_WIDTHS,
  type FlagOperands,
  type FlagOperation,
  isUnordered,
  operandsOf,
  overflowOf,
  relationOf,
  resultOf,
  type Width,
  wordsOf,
} from "../cpu/flag-operations.ts";
import { type FlagName, type LazyFlags, signExtend } from "../cpu/flags.ts";
import * as L from "../cpu/layout.ts";
import { type Expr, i32, i64, type Variable } from "../ir/builder.ts";
import type { RegionBuilder } from "./region-builder.ts";
import { regionCarry, regionFlags } from "./routines.ts";

interface Known {
  readonly operation: FlagOperation;
  readonly width: Width;
}

/** How the locals hold flags at a place of the code: "aux" as FLAG_RESULT and FLAG_AUX; undefined: it depends. */
export type FlagKind = "aux" | Known | undefined;

export function sameKind(a: FlagKind, b: FlagKind): FlagKind {
  if (a === b) return a;
  if (typeof a !== "object" || typeof b !== "object") return undefined;
  return a.operation === b.operation && a.width === b.width ? a : undefined;
}

export const KIND_AUX = 0;
export const kindNumber = ({ operation, width }: Known): number =>
  1 + FLAG_OPERATIONS.indexOf(operation) * 4 + FLAG_WIDTHS.indexOf(width);

/** Flags of an instruction of this block: values that the block still has. */
type Pending =
  | {
      readonly is: "operation";
      readonly operands: FlagOperands;
      readonly second: (() => Expr) | undefined;
      readonly below?: FlagState;
    }
  | { readonly is: "words"; readonly result: Expr; readonly aux: Expr }
  | { readonly is: "carry"; readonly below: FlagState; readonly cf: () => Expr; readonly of: (() => Expr) | undefined };

export interface FlagState {
  /** What the locals hold, or will. */
  readonly kind: FlagKind;
  readonly pending?: Pending;
  /** The locals hold it already. */
  readonly isWritten: boolean;
}

/** The three locals, in the outermost list of the region. */
export interface FlagLocals {
  readonly kind: Variable;
  readonly x: Variable;
  readonly y: Variable;
}

export class RegionFlags implements LazyFlags {
  readonly #b: RegionBuilder;
  readonly locals: FlagLocals;
  state: FlagState = { kind: "aux", isWritten: true };

  constructor(b: RegionBuilder, locals: FlagLocals) {
    this.#b = b;
    this.locals = locals;
  }

  get kind(): FlagKind {
    return this.state.kind;
  }
  /** The locals hold flags of this kind. */
  begin(kind: FlagKind): void {
    this.state = { kind, isWritten: true };
  }

  set(operation: FlagOperation, width: Width, operands: FlagOperands, carries?: () => Expr): void {
    const below = this.state;
    this.#b.noteWrite(L.FLAG_RESULT.offset);
    const keepsCarry = operation === "inc" || operation === "dec";
    const second = carries ?? (keepsCarry ? (): Expr => this.#carry(below) : undefined);
    const pending: Pending = { is: "operation", operands, second, ...(keepsCarry ? { below } : {}) };
    this.state = { kind: { operation, width }, pending, isWritten: false };
  }
  put(result: Expr, aux: Expr): void {
    this.#b.noteWrite(L.FLAG_RESULT.offset);
    this.state = { kind: "aux", pending: { is: "words", result, aux }, isWritten: false };
  }
  setCarry(cf: () => Expr, of?: () => Expr): void {
    this.#b.noteWrite(L.FLAG_RESULT.offset);
    this.state = { kind: "aux", pending: { is: "carry", below: this.state, cf, of }, isWritten: false };
  }

  /** Writes the locals; what is known of the operands stays known. */
  write(): void {
    if (this.state.isWritten) return;
    this.state = this.#emit(this.state);
  }
  /** Whether what is pending is made from the locals' present values: it has to be written before others are. */
  get dependsOnLocals(): boolean {
    let { state } = this;
    while (!state.isWritten) {
      const { pending } = state;
      if (!pending || pending.is === "words" || !pending.below) return false;
      state = pending.below;
    }
    return state !== this.state && state.pending === undefined;
  }
  /** Writes the locals on a way that leaves this list of statements for good. */
  writeHere(): void {
    if (!this.state.isWritten) this.#emit(this.state);
  }
  /** Writes the locals, and forgets what the statements of an inner list know. */
  settle(): void {
    this.write();
    this.begin(this.state.kind);
  }

  #emit(state: FlagState): FlagState {
    const b = this.#b;
    const { kind, pending } = state;
    if (!pending) return state;
    b.noteWrite(L.FLAG_RESULT.offset);
    if (pending.is === "operation" && typeof kind === "object") {
      const operands = this.#operands(state);
      const [x, y] = wordsOf(kind.operation, operands);
      this.#put(x, operands.c ? y : undefined, kindNumber(kind));
      return { kind, pending: { is: "operation", operands, second: undefined }, isWritten: true };
    }
    const [result, aux] = this.#words(state);
    this.#put(result, aux.u64(), KIND_AUX);
    return { kind: "aux", pending: { is: "words", result, aux }, isWritten: true };
  }
  #put(x: Expr, y: Expr | undefined, kind: number): void {
    const { locals } = this;
    locals.x.set(x);
    if (y) locals.y.set(y);
    locals.kind.set(i32(kind));
  }

  /** Of a state with a known operation. */
  #operands({ kind, pending }: FlagState): FlagOperands {
    const b = this.#b;
    if (typeof kind !== "object") throw new Error("no operation");
    if (pending?.is === "operation")
      return pending.second ? { ...pending.operands, c: b.keep(pending.second()) } : pending.operands;
    b.noteRead(L.FLAG_RESULT.offset);
    return operandsOf(b, kind.operation, kind.width, b.keep(this.locals.x.get()), b.keep(this.locals.y.get()));
  }
  /** Sign-extended result and auxiliary word, kept. */
  #words(state: FlagState): readonly [Expr, Expr] {
    const b = this.#b;
    const { kind, pending } = state;
    const { x, y } = this.locals;
    b.noteRead(L.FLAG_RESULT.offset);
    if (pending?.is === "words") return [pending.result, pending.aux];
    if (pending?.is === "carry") {
      const cf = b.keep(pending.cf());
      const of = pending.of && b.keep(pending.of());
      const [result, before] = this.#words(pending.below);
      const overflow = of ?? before.xor(before.shl(1)).shrU(31);
      return [result, b.keep(before.and(0x3fffffff).or(auxOfFlags(cf, overflow)))];
    }
    if (kind === "aux") return [b.keep(x.get()), b.keep(y.get().lo32())];
    if (kind) {
      const operands = this.#operands(state);
      const result = resultOf(b, kind.operation, kind.width, operands);
      return [
        b.keep(signExtend(kind.width, result)),
        b.keep(auxOf(b, kind.operation, kind.width, { ...operands, result })),
      ];
    }
    b.call(regionFlags, b.keep(this.locals.kind.get()), b.keep(x.get()), b.keep(y.get()));
    return [b.fromState(L.FLAG_RESULT), b.fromState(L.FLAG_AUX)];
  }

  /** FLAG_RESULT and FLAG_AUX are made, and written to the locals. */
  materialise(): void {
    if (this.state.kind === "aux" && this.state.isWritten) return;
    const [result, aux] = this.#words(this.state);
    this.#put(result, aux.u64(), KIND_AUX);
    this.state = { kind: "aux", pending: { is: "words", result, aux }, isWritten: true };
  }
  /** To the state block. */
  toState(): void {
    const b = this.#b;
    const { x, y, kind } = this.locals;
    b.noteRead(L.FLAG_RESULT.offset);
    if (this.state.kind === undefined) {
      b.call(regionFlags, b.keep(kind.get()), b.keep(x.get()), b.keep(y.get()));
      return;
    }
    const [result, aux] = this.#words(this.state);
    b.toState(L.FLAG_RESULT, result);
    b.toState(L.FLAG_AUX, aux);
  }
  /** To the state block, as they are: for another region, or whoever wants them behind all of them. */
  park(): void {
    const b = this.#b;
    const { x, y, kind } = this.locals;
    b.noteRead(L.FLAG_RESULT.offset);
    this.write();
    b.toState(L.FLAG_KIND, kind.get());
    b.toState(L.FLAG_X, x.get());
    b.toState(L.FLAG_Y, y.get());
  }
  unpark(): void {
    const b = this.#b;
    b.noteWrite(L.FLAG_RESULT.offset);
    const { x, y, kind } = this.locals;
    kind.set(b.fromState(L.FLAG_KIND));
    x.set(b.fromState(L.FLAG_X));
    y.set(b.fromState(L.FLAG_Y));
    this.begin(undefined);
  }
  fromState(): void {
    const b = this.#b;
    b.noteWrite(L.FLAG_RESULT.offset);
    this.#put(b.fromState(L.FLAG_RESULT), b.fromState(L.FLAG_AUX).u64(), KIND_AUX);
    this.begin("aux");
  }

  readResult(): Expr {
    const { state } = this;
    if (state.kind === undefined || state.pending?.is === "carry") this.materialise();
    return this.#result(this.state);
  }
  readAux(): Expr {
    this.#b.noteRead(L.FLAG_RESULT.offset);
    this.materialise();
    const { pending } = this.state;
    return pending?.is === "words" ? pending.aux : this.#b.keep(this.locals.y.get().lo32());
  }
  writeResult(value: Expr): void {
    const kept = this.#b.keep(value);
    this.put(kept, this.readAux());
  }
  writeAux(value: Expr): void {
    const kept = this.#b.keep(value);
    this.put(this.readResult(), kept);
  }

  #result(state: FlagState): Expr {
    const b = this.#b;
    b.noteRead(L.FLAG_RESULT.offset);
    if (state.pending?.is === "words") return state.pending.result;
    if (state.pending?.is === "carry") return this.#result(state.pending.below);
    if (typeof state.kind !== "object") return b.keep(this.locals.x.get());
    const { operation, width } = state.kind;
    const operands = this.#operands(state.pending?.is === "operation" ? withoutSecond(state) : state);
    return b.keep(signExtend(width, resultOf(b, operation, width, operands)));
  }

  /** CF, i32: of any state. */
  #carry(state: FlagState): Expr {
    const b = this.#b;
    const { kind, pending } = state;
    if (pending?.is === "carry") return pending.cf();
    if (pending?.is === "words") return pending.aux.shrU(31);
    if (typeof kind === "object") return carryOf(b, kind.operation, kind.width, this.#operands(state));
    const { x, y } = this.locals;
    b.noteRead(L.FLAG_RESULT.offset);
    if (kind === "aux") return y.get().lo32().shrU(31);
    const first = kindNumber({ operation: "inc", width: 8 });
    const cf = b.variable(y.get().lo32());
    const isKept = this.locals.kind.get().sub(first).ltU(8);
    b.plainIf(isKept.eqz(), () =>
      cf.set(b.call(regionCarry, b.keep(this.locals.kind.get()), b.keep(x.get()), b.keep(y.get()))),
    );
    return cf.get();
  }

  flag(name: FlagName): Expr | undefined {
    return this.#flag(this.state, name);
  }
  #flag(state: FlagState, name: FlagName): Expr | undefined {
    const b = this.#b;
    const { kind, pending } = state;
    if (name === "cf" && kind !== undefined) return this.#carry(state);
    if (pending?.is === "carry") {
      if (name === "cf") return pending.cf();
      return name === "of" && pending.of ? pending.of() : this.#flag(pending.below, name);
    }
    if (typeof kind !== "object") return undefined;
    if (name === "of") return overflowOf(b, kind.operation, kind.width, this.#operands(state));
    if (name === "af") return undefined;
    const result = this.#result(state);
    if (name === "zf") return result.eqz();
    if (name === "sf") return result.ltS(0);
    if (kind.operation === "float") return isUnordered(kind.width, this.#operands(state));
    return result.lo32().and(0xff).popcnt().and(1).xor(1);
  }

  condition(cc: number): Expr | undefined {
    const { state } = this;
    const { kind } = state;
    if (typeof kind !== "object" || kind.operation === "carries") return undefined;
    const not = (positive: Expr): Expr => (cc & 1 ? positive.eqz() : positive);
    const { operation, width } = kind;
    const what = cc >> 1;
    if (operation === "float") return this.#floatCondition(state, width, cc);
    if (what === 2) return cc & 1 ? this.#result(state).nez() : this.#result(state).eqz();
    if (operation === "logic") {
      if (what <= 1) return i32(cc & 1);
      const result = this.#result(state);
      if (what === 3) return cc & 1 ? result.nez() : result.eqz();
      if (what === 4 || what === 6) return not(result.ltS(0));
      if (what === 7) return cc & 1 ? result.gtS(0) : result.leS(0);
      return undefined;
    }
    if (operation === "sub" || operation === "cmp" || operation === "dec") {
      const signed = (x: Expr): Expr => (width === 8 ? x.extend8S() : width === 16 ? x.extend16S() : x);
      const [a, c] = this.#compared(state, operation, width);
      switch (what) {
        case 1:
          return operation === "dec" ? not(this.#carry(state)) : cc & 1 ? a.geU(c) : a.ltU(c);
        case 3:
          if (operation === "dec") return undefined;
          return cc & 1 ? a.gtU(c) : a.leU(c);
        case 6:
          return cc & 1 ? signed(a).geS(signed(c)) : signed(a).ltS(signed(c));
        case 7:
          return cc & 1 ? signed(a).gtS(signed(c)) : signed(a).leS(signed(c));
        default:
      }
    }
    if (what === 1) return not(this.#carry(state));
    if (what === 4) return not(this.#result(state).ltS(0));
    return undefined;
  }
  /** After a comparison of numbers: OF and SF are 0. */
  #floatCondition(state: FlagState, width: Width, cc: number): Expr {
    const operands = this.#operands(state);
    const of = (relation: "lt" | "gt" | "ge"): Expr => relationOf(width, operands, relation);
    const isNegated = (cc & 1) !== 0;
    switch (cc >> 1) {
      case 1:
        return isNegated ? of("ge") : of("ge").eqz();
      case 2:
      case 7: {
        const differs = of("lt").or(of("gt"));
        return isNegated ? differs : differs.eqz();
      }
      case 3:
        return isNegated ? of("gt") : of("gt").eqz();
      case 5: {
        const unordered = isUnordered(width, operands);
        return isNegated ? unordered.eqz() : unordered;
      }
      default:
        return i32(isNegated ? 1 : 0);
    }
  }
  /** What a subtraction compared, kept. */
  #compared(state: FlagState, operation: "sub" | "cmp" | "dec", width: Width): readonly [Expr, Expr] {
    const b = this.#b;
    const one = width === 64 ? i64(1) : i32(1);
    const operands = this.#operands(operation === "dec" && state.pending ? withoutSecond(state) : state);
    const c = operation === "dec" ? one : (operands.c ?? one);
    if (operands.a) return [operands.a, c];
    const sum = (operands.result ?? one).add(c);
    return [b.keep(width === 8 ? sum.and(0xff) : width === 16 ? sum.and(0xffff) : sum), c];
  }
}

/** For readers of the result alone. */
function withoutSecond(state: FlagState): FlagState {
  return state.pending?.is === "operation" ? { ...state, pending: { ...state.pending, second: undefined } } : state;
}
