/**
 * DPPS and DPPD (SDM vol. 2): products of the lanes that the immediate's upper half chooses, zeros for the others, then
 * sums in pairs. MXCSR is brought up to date after the products and after each level of sums, where an unmasked
 * exception ends the instruction.
 */
import { type Builder, type Expr, type Field, i64 } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { FLOAT_FLAGS, floatStatus } from "./mxcsr.ts";
import { F32, F64, type FloatFormat } from "./softfloat.ts";
import { softArithmetic } from "./softfloat-arithmetic.ts";
import { extractLane, laneCount } from "./softfloat-vector.ts";

/** Where the routines leave the sum's bits. */
export const DOT_PRODUCT: Field = L.result(0);

/** Ends the routine with 1 if what was met so far is not masked. */
function endStep(b: Builder): void {
  b.if(b.call(floatStatus), () => b.return(1));
  b.put(FLOAT_FLAGS, 0);
}

function makeDot(f: FloatFormat): Routine {
  const { mul, add } = softArithmetic;
  return routine(`dot_${f.name}`, ["v128", "v128", "i32"], "i32", (b, x, y, how) => {
    b.put(FLOAT_FLAGS, 0);
    const products = Array.from({ length: laneCount(f) }, (_, i) => {
      const product = b.variable(i64(0));
      b.if(how.and(16 << i), () => {
        product.set(b.call(mul[f.name], extractLane(f, x, i), extractLane(f, y, i)));
      });
      return b.keep(product.get());
    });
    endStep(b);
    let terms: Expr[] = products;
    while (terms.length > 1) {
      const sums: Expr[] = [];
      for (let i = 0; i < terms.length; i += 2) sums.push(b.call(add[f.name], terms[i] as Expr, terms[i + 1] as Expr));
      terms = sums;
      endStep(b);
    }
    b.put(DOT_PRODUCT, terms[0] as Expr);
    b.return(0);
  });
}

/** (first operand, second, immediate) -> 1 if an exception is pending; else the sum is in DOT_PRODUCT. */
export const dotProduct: Readonly<Record<FloatFormat["name"], Routine>> = { f32: makeDot(F32), f64: makeDot(F64) };
