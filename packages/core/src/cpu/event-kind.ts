/** How an event came about: bit 0 of error codes (EXT), the DPL check of gates and the pushed RF depend on it. */
import type { Expr } from "../ir/builder.ts";
import { EXC_BP, EXC_DB, EXC_OF } from "./raise.ts";

export const BY_EXCEPTION = 0;
export const BY_SOFTWARE = 1;
export const BY_HARDWARE = 2;

/** An exception of the fault class (i32, 0 or 1): the pushed image has RF set (SDM vol. 3, 17.3.1.1). */
export function isFaultVector(kind: Expr, vector: Expr): Expr {
  return kind.eq(BY_EXCEPTION).and(vector.ne(EXC_DB)).and(vector.ne(EXC_BP)).and(vector.ne(EXC_OF));
}
