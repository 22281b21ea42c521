/**
 * Comparisons, minimum and maximum of binary32 and binary64 (see softfloat.ts). A relation is 0 equal, 1 less,
 * 2 greater, 3 unordered.
 */
import { type Expr, i32, op, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { MXCSR_IE, noteFlags } from "./mxcsr.ts";
import { F32, F64, type FloatFormat, isNan, isSignaling, noteDenormals, squash } from "./softfloat.ts";

type FormatName = FloatFormat["name"];

export const UNORDERED = 3;

/** WebAssembly's own number with these bits. */
export function asFloat(f: FloatFormat, bits: Expr): Expr {
  if (f.name === "f64") return op("f64.reinterpret_i64", bits);
  return op("f32.reinterpret_i32", bits.lo32());
}
/** Its bits, as an i64 for binary64 and an i32 for binary32. */
export const bitsOf = (f: FloatFormat, value: Expr): Expr =>
  op(f.name === "f64" ? "i64.reinterpret_f64" : "i32.reinterpret_f32", value);

/** 0, 1 or 2: the relation of numbers that are not NaNs. `x` and `y` are used twice. */
export function orderedRelation(f: FloatFormat, x: Expr, y: Expr): Expr {
  const less = op(`${f.name}.lt`, asFloat(f, x), asFloat(f, y));
  const equal = op(`${f.name}.eq`, asFloat(f, x), asFloat(f, y));
  return i32(2).sub(less).sub(equal.shl(1));
}

function makeCompare(f: FloatFormat): Routine {
  return routine(`compare_${f.name}`, ["i64", "i64", "i32"], "i32", (b, first, second, quietIsInvalid) => {
    b.if(isNan(f, first).or(isNan(f, second)), () => {
      const signaling = isSignaling(f, first).or(isSignaling(f, second));
      noteFlags(b, signaling.or(quietIsInvalid));
      b.return(UNORDERED);
    });
    const x = squash(b, f, first);
    const y = squash(b, f, second);
    noteDenormals(b, f, x, y);
    b.return(orderedRelation(f, x, y));
  });
}

/** (first, second, 1 if a quiet NaN is invalid too) -> the relation. */
export const softCompare: Readonly<Record<FormatName, Routine>> = { f32: makeCompare(F32), f64: makeCompare(F64) };

/** The second operand unless the first is less (greater): so it is for two zeros and for NaNs, which are invalid. */
function makeExtreme(f: FloatFormat, name: "min" | "max"): Routine {
  return routine(`${name}_${f.name}`, ["i64", "i64"], "i64", (b, first, second) => {
    const x = squash(b, f, first);
    const y = squash(b, f, second);
    b.if(isNan(f, x).or(isNan(f, y)), () => {
      noteFlags(b, MXCSR_IE);
      b.return(y);
    });
    noteDenormals(b, f, x, y);
    b.return(select(op(`${f.name}.${name === "min" ? "lt" : "gt"}`, asFloat(f, x), asFloat(f, y)), x, y));
  });
}

export const softExtreme: Readonly<Record<"min" | "max", Readonly<Record<FormatName, Routine>>>> = {
  min: { f32: makeExtreme(F32, "min"), f64: makeExtreme(F64, "min") },
  max: { f32: makeExtreme(F32, "max"), f64: makeExtreme(F64, "max") },
};
