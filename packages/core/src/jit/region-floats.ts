/**
 * What a region knows of SSE's floating point: whether MXCSR lets the host's operators stand for the guest's
 * (cpu/mxcsr.ts), as a limit that results are compared with, and of the running block which XMM registers have no denormal
 * number in their low lane, or in any, because it was looked at or is a result.
 */
import * as L from "../cpu/layout.ts";
import { resultLimit, vectorLimit } from "../cpu/mxcsr.ts";
import { F32, F64, type FloatFormat } from "../cpu/softfloat.ts";
import { type Expr, type Variable, v128 } from "../ir/builder.ts";
import type { Local, ValueType } from "../ir/types.ts";
import type { FloatKnowledge, Lanes } from "../isa/translation.ts";
import type { RegionBuilder } from "./region-builder.ts";
import { FLAGS_FIELD, fieldAt } from "./registers.ts";

interface Limit {
  readonly variable: Variable;
  readonly value: (mxcsr: Expr) => Expr;
  isUsed: boolean;
}
/** Format, and lanes: "f64 all". */
type Plain = `${FloatFormat["name"]} ${Lanes}`;

export class RegionFloats implements FloatKnowledge {
  readonly #b: RegionBuilder;
  readonly #newVariable: (type: ValueType) => Variable;
  readonly #limits: ReadonlyMap<string, Limit>;
  readonly #constants = new Map<bigint, Variable>();
  /** By XMM register: what it holds that is no denormal. */
  readonly #plain = new Map<number, Plain>();
  /** Values of whole registers, of which the same holds. */
  #copies = new WeakMap<Local, Plain>();

  constructor(b: RegionBuilder, newVariable: (type: ValueType) => Variable) {
    this.#b = b;
    this.#newVariable = newVariable;
    const limits = [F32, F64].flatMap((f): [string, Limit][] => {
      const scalar = newVariable(f.bits === 64 ? "i64" : "i32");
      return [
        [f.name, { variable: scalar, value: (mxcsr) => resultLimit(f, mxcsr), isUsed: false }],
        [`${f.name} all`, { variable: newVariable("v128"), value: (mxcsr) => vectorLimit(f, mxcsr), isUsed: false }],
      ];
    });
    this.#limits = new Map(limits);
    b.onVectorRead = (field, whole) => {
      const plain = this.#plain.get(field);
      if (plain && whole.node.kind === "local") this.#copies.set(whole.node.local, plain);
    };
    b.onVectorWrite = (field, whole) => {
      const plain = whole?.node.kind === "local" ? this.#copies.get(whole.node.local) : undefined;
      if (plain && !b.isConditional) this.#plain.set(field, plain);
      else this.#plain.delete(field);
    };
    // Blocks that are built later may come before, or behind.
    b.onMxcsr = () => {
      for (const limit of limits) limit[1].isUsed = true;
      this.reload();
    };
  }

  startBlock(): void {
    this.#plain.clear();
    this.#copies = new WeakMap();
  }
  /** First values of what the region uses: MXCSR's, and constants. */
  get first(): readonly { readonly variable: Variable; readonly value: Expr }[] {
    const constants = [...this.#constants].map(([bits, variable]) => ({ variable, value: v128(bits) }));
    return [...constants, ...this.#now()];
  }
  #now(): { readonly variable: Variable; readonly value: Expr }[] {
    return [...this.#limits.values()]
      .filter(({ isUsed }) => isUsed)
      .map(({ variable, value }) => ({ variable, value: value(this.#b.fromState(L.MXCSR)) }));
  }
  /** MXCSR may have changed. */
  reload(): void {
    for (const { variable, value } of this.#now()) variable.set(value);
  }

  #limit(name: string): Expr {
    const limit = this.#limits.get(name);
    if (!limit) throw new Error(`no limit ${name}`);
    limit.isUsed = true;
    return limit.variable.get();
  }
  limit(f: FloatFormat): Expr {
    return this.#limit(f.name);
  }
  vectorLimit(f: FloatFormat): Expr {
    return this.#limit(`${f.name} all`);
  }
  constant(bits: bigint): Expr {
    const known = this.#constants.get(bits) ?? this.#newVariable("v128");
    this.#constants.set(bits, known);
    return known.get();
  }
  isPlain(place: number, f: FloatFormat, lanes: Lanes): boolean {
    const plain = this.#plain.get(fieldAt(place) ?? FLAGS_FIELD);
    return plain === `${f.name} all` || plain === `${f.name} ${lanes}`;
  }
  notePlain(place: number, f: FloatFormat, lanes: Lanes): void {
    if (this.#b.isConditional || this.isPlain(place, f, lanes)) return;
    this.#plain.set(fieldAt(place) ?? FLAGS_FIELD, `${f.name} ${lanes}`);
  }
}
