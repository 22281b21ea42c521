/**
 * Flags inside a region: the operands and the result of the last instruction that set them, in locals, and what that
 * instruction was. A condition right behind a comparison becomes that comparison. FLAG_AUX is made where somebody asks
 * for it, or when the region is left.
 */
import { type LazyFlags, signExtend, type Width } from "../cpu/flags.ts";
import * as L from "../cpu/layout.ts";
import { type Expr, i32, type Variable } from "../ir/builder.ts";
import type { RegionBuilder } from "./region-builder.ts";
import { auxOf, FLAG_OPERATIONS, FLAG_WIDTHS, regionFlags } from "./routines.ts";

type Operation = (typeof FLAG_OPERATIONS)[number];

/** What is known at a place of the code about how flags are kept: "aux" in FLAG_AUX's form; undefined: it depends. */
export type FlagKind = "aux" | { readonly operation: Operation; readonly width: Width } | undefined;

export function sameKind(a: FlagKind, b: FlagKind): FlagKind {
  if (a === b) return a;
  if (typeof a !== "object" || typeof b !== "object") return undefined;
  return a.operation === b.operation && a.width === b.width ? a : undefined;
}

const KIND_AUX = 0;
const kindNumber = (operation: Operation, width: Width): number =>
  1 + FLAG_OPERATIONS.indexOf(operation) * 4 + FLAG_WIDTHS.indexOf(width);

/** The five locals, in the outermost list of the region. */
export interface FlagLocals {
  readonly kind: Variable;
  readonly a: Variable;
  readonly c: Variable;
  readonly result: Variable;
  readonly aux: Variable;
}

export class RegionFlags implements LazyFlags {
  readonly #b: RegionBuilder;
  readonly locals: FlagLocals;
  kind: FlagKind = "aux";

  constructor(b: RegionBuilder, locals: FlagLocals) {
    this.#b = b;
    this.locals = locals;
  }

  set(operation: Operation, width: Width, a: Expr, c: Expr, result: Expr): void {
    const { locals } = this;
    this.#b.noteWrite(L.FLAG_RESULT.offset);
    // What is read below must not be one of these locals' own new values.
    locals.result.set(signExtend(width, result));
    if (operation !== "logic") {
      locals.a.set(a.u64());
      locals.c.set(c.u64());
    }
    locals.kind.set(i32(kindNumber(operation, width)));
    this.kind = { operation, width };
  }

  /** FLAG_AUX is made: from here on flags are kept as the state block keeps them. */
  materialise(): void {
    const { locals } = this;
    const b = this.#b;
    b.noteRead(L.FLAG_RESULT.offset);
    if (this.kind === "aux") return;
    const [a, c, result] = [b.keep(locals.a.get()), b.keep(locals.c.get()), b.keep(locals.result.get())] as const;
    if (!this.kind)
      b.if(locals.kind.get(), () => locals.aux.set(b.call(regionFlags, b.keep(locals.kind.get()), a, c, result)));
    else if (this.kind.operation === "logic") locals.aux.set(i32(0));
    else locals.aux.set(auxOf(b, this.kind.operation, this.kind.width, a, c, result));
    locals.kind.set(i32(KIND_AUX));
    this.kind = "aux";
  }

  readResult(): Expr {
    this.#b.noteRead(L.FLAG_RESULT.offset);
    return this.#b.keep(this.locals.result.get());
  }
  writeResult(value: Expr): void {
    this.materialise();
    this.#b.noteWrite(L.FLAG_RESULT.offset);
    this.locals.result.set(value);
  }
  readAux(): Expr {
    this.materialise();
    return this.#b.keep(this.locals.aux.get());
  }
  writeAux(value: Expr): void {
    const kept = this.#b.keep(value);
    this.#b.noteWrite(L.FLAG_RESULT.offset);
    this.locals.aux.set(kept);
    this.locals.kind.set(i32(KIND_AUX));
    this.kind = "aux";
  }

  #operands(width: Width): readonly [Expr, Expr] {
    const b = this.#b;
    b.noteRead(L.FLAG_RESULT.offset);
    const [a, c] = [b.keep(this.locals.a.get()), b.keep(this.locals.c.get())] as const;
    return width === 64 ? [a, c] : [b.keep(a.lo32()), b.keep(c.lo32())];
  }

  flag(name: "cf" | "of" | "sf"): Expr | undefined {
    const kind = this.kind;
    if (typeof kind !== "object") return undefined;
    const result = this.readResult();
    if (name === "sf") return result.ltS(0);
    if (kind.operation === "logic") return i32(0);
    if (name === "of") return undefined;
    const [a, c] = this.#operands(kind.width);
    if (kind.operation === "sub") return a.ltU(c);
    const narrow = kind.width === 64 ? result : result.lo32();
    const sum = kind.width < 32 ? narrow.and(kind.width === 8 ? 0xff : 0xffff) : narrow;
    return sum.ltU(a);
  }

  condition(cc: number): Expr | undefined {
    const kind = this.kind;
    if (typeof kind !== "object") return undefined;
    const not = (positive: Expr | undefined): Expr | undefined =>
      cc & 1 && positive ? (positive.type === "i32" ? positive.eqz() : positive) : positive;
    const result = this.readResult();
    switch (cc >> 1) {
      case 1:
        return not(this.flag("cf"));
      case 2:
        return cc & 1 ? result.nez() : result.eqz();
      case 4:
        return not(result.ltS(0));
      default:
    }
    if (kind.operation === "logic") {
      if (cc >> 1 === 0) return i32(cc & 1);
      if (cc >> 1 === 3) return cc & 1 ? result.nez() : result.eqz();
      if (cc >> 1 === 6) return not(result.ltS(0));
      return cc >> 1 === 7 ? (cc & 1 ? result.gtS(0) : result.leS(0)) : undefined;
    }
    if (kind.operation !== "sub") return undefined;
    const [a, c] = this.#operands(kind.width);
    if (cc >> 1 === 3) return cc & 1 ? a.gtU(c) : a.leU(c);
    const signed = (x: Expr): Expr => (kind.width === 8 ? x.extend8S() : kind.width === 16 ? x.extend16S() : x);
    if (cc >> 1 === 6) return cc & 1 ? signed(a).geS(signed(c)) : signed(a).ltS(signed(c));
    if (cc >> 1 === 7) return cc & 1 ? signed(a).gtS(signed(c)) : signed(a).leS(signed(c));
    return undefined;
  }
}
