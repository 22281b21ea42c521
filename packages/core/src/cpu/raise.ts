/** Exception vectors (SDM vol. 3, table 6-1) and how an instruction raises one. */
import type { Builder, Expr } from "../ir/builder.ts";
import { EXC_ERROR, EXC_VECTOR } from "./layout.ts";

export const EXC_DE = 0;
export const EXC_DB = 1;
export const EXC_NMI = 2;
export const EXC_BP = 3;
export const EXC_OF = 4;
export const EXC_BR = 5;
export const EXC_UD = 6;
export const EXC_NM = 7;
export const EXC_DF = 8;
export const EXC_TS = 10;
export const EXC_NP = 11;
export const EXC_SS = 12;
export const EXC_GP = 13;
export const EXC_PF = 14;
export const EXC_MF = 16;
export const EXC_AC = 17;
export const EXC_XM = 19;

/** No vector: the instruction waits for an interrupt, as if it had not begun. */
export const EXC_WAIT = 0x100;

/** Notes a pending exception; the caller then fails its instruction. `error` undefined: the vector has no error code. */
export function raise(b: Builder, vector: number | Expr, error?: number | Expr): void {
  b.put(EXC_VECTOR, vector);
  b.put(EXC_ERROR, error ?? -1);
}
