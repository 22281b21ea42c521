/**
 * Which registers, at which time, an address is the sum of but for a constant: two addresses of one origin lie at a fixed
 * distance, so one is likely to be in the other's page.
 */
import type { Expr } from "../ir/builder.ts";
import type { Local, Node } from "../ir/types.ts";

export class AddressOrigins {
  /** What kept values are made of: registers at one time, by sums and scales. */
  readonly #known = new WeakMap<Local, string>();
  /** The field that a mutable local stands for, if below 16 a general register; negative: something else. */
  readonly #fieldOf: (local: Local) => number;

  constructor(fieldOf: (local: Local) => number) {
    this.#fieldOf = fieldOf;
  }

  /** `kept` has the value of `value`. */
  note(kept: Expr, value: Expr): void {
    const origin = this.#of(value.node);
    if (origin !== undefined && kept.node.kind === "local") this.#known.set(kept.node.local, origin);
  }

  /** Names the registers and their versions, and how they are scaled; undefined: something else. */
  of({ node }: Expr): string | undefined {
    return this.#of(node);
  }
  #of(node: Node): string | undefined {
    if (node.kind === "local") {
      if (!node.local.mutable) return this.#known.get(node.local);
      const field = this.#fieldOf(node.local);
      return field >= 0 && field < 16 ? `${field}.${node.version}` : undefined;
    }
    if (node.kind !== "op") return undefined;
    const [a, c] = node.args;
    if (!a || !c) return undefined;
    const first = this.#of(a);
    if (first === undefined) return undefined;
    if (c.kind === "const") {
      if (node.op === "i64.add" || node.op === "i64.sub") return first;
      // As 32-bit addresses wrap.
      if (node.op === "i64.and" && c.value === 0xffffffffn) return first;
      return node.op === "i64.shl" ? `(${first}<<${c.value})` : undefined;
    }
    const second = node.op === "i64.add" ? this.#of(c) : undefined;
    return second && `${first}+${second}`;
  }
}
