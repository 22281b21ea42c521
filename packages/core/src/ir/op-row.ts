/** One row of the operator table: see ops.ts. */
import type { ValueType } from "./types.ts";

export interface OpSpec {
  readonly params: readonly ValueType[];
  readonly result: ValueType;
  /** Opcode bytes as they stand in a module, without immediates. */
  readonly code: readonly number[];
  /** What follows the opcode: nothing, a memory argument (natural alignment exponent), one lane byte, 16 shuffle bytes. */
  readonly immediate: "none" | "memory" | "lane" | "shuffle";
  readonly align: number;
  /** Undefined for loads and stores. The immediate, where there is one, comes last. */
  readonly evaluate: ((...args: never[]) => number | bigint) | undefined;
  /** May be computed while building (cannot trap, integers only). */
  readonly foldable: boolean;
}

const T: Readonly<Record<string, ValueType>> = { i: "i32", l: "i64", f: "f32", d: "f64", v: "v128" };
export type Evaluate = (...args: never[]) => number | bigint;

/** `signature`: parameter letters, ">", result letter; i l f d v = i32 i64 f32 f64 v128. */
export function row(
  code: readonly number[],
  signature: string,
  evaluate?: Evaluate,
  immediate: OpSpec["immediate"] = "none",
  align = 0,
): OpSpec {
  const [params, result] = signature.split(">");
  const type = T[result || "i"] ?? "i32";
  return {
    params: [...(params ?? "")].map((c) => T[c] ?? "i32"),
    result: type,
    code,
    immediate,
    align,
    evaluate,
    foldable: evaluate !== undefined && /^[il]*>[il]$/.test(signature),
  };
}
