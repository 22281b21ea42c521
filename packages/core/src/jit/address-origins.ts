/**
 * Which registers, at which time, an address is the sum of, and at what constant distance: two addresses of one origin lie
 * at a fixed distance from each other. Under MODE_FLAT all of that is modulo 2^32.
 *
 * A register that is set to a sum of others is known by those for the rest of its block: behind a push or `mov ebp, esp`
 * the stack is still found from where it was.
 */
import type { Expr } from "../ir/builder.ts";
import type { Local, Node } from "../ir/types.ts";

export interface Origin {
  /** Names the registers and their versions, and how they are scaled. */
  readonly key: string;
  /** To be added: a whole number below 2^31 in size. */
  readonly offset: number;
}

const LIMIT = 2 ** 31;

export class AddressOrigins {
  readonly #known = new WeakMap<Local, Origin>();
  /** By field and version, of the running block. */
  readonly #registers = new Map<string, Origin>();
  /** The field that a mutable local stands for, if below 16 a general register; negative: something else. */
  readonly #fieldOf: (local: Local) => number;
  readonly #is32: boolean;

  constructor(fieldOf: (local: Local) => number, is32: boolean) {
    this.#fieldOf = fieldOf;
    this.#is32 = is32;
  }

  startBlock(): void {
    this.#registers.clear();
  }
  /** `kept` has the value of `value`. */
  note(kept: Expr, value: Expr): void {
    const origin = this.#of(value.node);
    if (origin && kept.node.kind === "local") this.#known.set(kept.node.local, origin);
  }
  /** Register `field` has the value of `value` since it has this version, whichever way control took in its instruction. */
  noteRegister(field: number, version: number, value: Expr): void {
    const origin = this.#of(value.node);
    if (origin) this.#registers.set(`${field}.${version}`, origin);
  }

  of({ node }: Expr): Origin | undefined {
    return this.#of(node);
  }
  #of(node: Node): Origin | undefined {
    if (node.kind === "local") {
      if (!node.local.mutable) return this.#known.get(node.local);
      const field = this.#fieldOf(node.local);
      if (field < 0 || field >= 16) return undefined;
      const key = `${field}.${node.version}`;
      return this.#registers.get(key) ?? { key, offset: 0 };
    }
    if (node.kind !== "op") return undefined;
    const [a, c] = node.args;
    const first = a && this.#of(a);
    if (!first) return undefined;
    if (!c) return this.#is32 && (node.op === "i64.extend_i32_u" || node.op === "i32.wrap_i64") ? first : undefined;
    const { op } = node;
    const isAdd = op === "i64.add" || (this.#is32 && op === "i32.add");
    if (c.kind !== "const") {
      const second = isAdd ? this.#of(c) : undefined;
      return second && this.#origin(`${first.key}+${second.key}`, first.offset + second.offset);
    }
    const value = Number(c.value);
    if (isAdd) return this.#origin(first.key, first.offset + value);
    if (op === "i64.sub" || (this.#is32 && op === "i32.sub")) return this.#origin(first.key, first.offset - value);
    if (op === "i64.shl" || (this.#is32 && op === "i32.shl"))
      return this.#origin(`(${first.key}<<${value})`, first.offset * 2 ** value);
    return this.#is32 && op === "i64.and" && c.value === 0xffffffffn ? first : undefined;
  }
  #origin(key: string, offset: number): Origin | undefined {
    const small = this.#is32 ? offset | 0 : offset;
    return Math.abs(small) < LIMIT ? { key, offset: small } : undefined;
  }
}
