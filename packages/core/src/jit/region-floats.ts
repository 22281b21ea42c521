/**
 * What a region knows of SSE's floating point: whether MXCSR lets the host's operators stand for the guest's
 * (cpu/mxcsr.ts), as a limit that results are compared with, and of the running block which XMM registers have no denormal
 * number in their low lane, because it was looked at or is a result.
 */
import * as L from "../cpu/layout.ts";
import { resultLimit } from "../cpu/mxcsr.ts";
import type { FloatFormat } from "../cpu/softfloat.ts";
import type { Expr, Variable } from "../ir/builder.ts";
import type { Local } from "../ir/types.ts";
import type { FloatKnowledge } from "../isa/semantics.ts";
import type { RegionBuilder } from "./region-builder.ts";
import { FLAGS_FIELD, fieldAt } from "./registers.ts";

type Name = FloatFormat["name"];

export class RegionFloats implements FloatKnowledge {
  readonly #b: RegionBuilder;
  readonly #limits: Readonly<Record<Name, { readonly variable: Variable; isUsed: boolean; readonly f: FloatFormat }>>;
  /** By XMM register: what its low lane holds that is no denormal. */
  readonly #plain = new Map<number, Name>();
  /** Values of whole registers, of which the same holds. */
  #copies = new WeakMap<Local, Name>();

  constructor(b: RegionBuilder, formats: readonly FloatFormat[], newVariable: (type: "i32" | "i64") => Variable) {
    this.#b = b;
    this.#limits = Object.fromEntries(
      formats.map((f) => [f.name, { variable: newVariable(f.bits === 64 ? "i64" : "i32"), isUsed: false, f }]),
    ) as Record<Name, { variable: Variable; isUsed: boolean; f: FloatFormat }>;
    b.onVectorRead = (field, whole) => {
      const name = this.#plain.get(field);
      if (name && whole.node.kind === "local") this.#copies.set(whole.node.local, name);
    };
    b.onVectorWrite = (field, whole) => {
      const name = whole?.node.kind === "local" ? this.#copies.get(whole.node.local) : undefined;
      if (name && !b.isConditional) this.#plain.set(field, name);
      else this.#plain.delete(field);
    };
    // Blocks that are built later may come before, or behind.
    b.onMxcsr = () => {
      for (const limit of Object.values(this.#limits)) limit.isUsed = true;
      this.reload();
    };
  }

  startBlock(): void {
    this.#plain.clear();
    this.#copies = new WeakMap();
  }
  /** The limits that the region uses, as MXCSR is now: where it is entered. */
  get used(): readonly { readonly variable: Variable; readonly value: () => Expr }[] {
    return Object.values(this.#limits)
      .filter(({ isUsed }) => isUsed)
      .map(({ variable, f }) => ({ variable, value: () => resultLimit(f, this.#b.fromState(L.MXCSR)) }));
  }
  /** MXCSR may have changed. */
  reload(): void {
    for (const { variable, value } of this.used) variable.set(value());
  }

  limit(f: FloatFormat): Expr {
    const known = this.#limits[f.name];
    known.isUsed = true;
    return known.variable.get();
  }
  isPlain(place: number, f: FloatFormat): boolean {
    return this.#plain.get(fieldAt(place) ?? FLAGS_FIELD) === f.name;
  }
  notePlain(place: number, f: FloatFormat): void {
    if (!this.#b.isConditional) this.#plain.set(fieldAt(place) ?? FLAGS_FIELD, f.name);
  }
}
