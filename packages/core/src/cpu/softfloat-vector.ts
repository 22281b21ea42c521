/**
 * Vectors of binary32 or binary64: lanes, the exact operation on every lane, and the vector form of the quick path's
 * tests (cpu/mxcsr.ts).
 */
import { type Expr, op, opWith, v128 } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import { FLOAT_FLAGS } from "./mxcsr.ts";
import type { FloatFormat } from "./softfloat.ts";

export const laneCount = (f: FloatFormat): number => 128 / f.bits;

/** Lane `i` as the bits that softfloat routines take. */
export function extractLane(f: FloatFormat, vector: Expr, i: number): Expr {
  return f.name === "f64" ? opWith("i64x2.extract_lane", i, vector) : opWith("i32x4.extract_lane", i, vector).u64();
}
export function replaceLane(f: FloatFormat, vector: Expr, i: number, bits: Expr): Expr {
  return f.name === "f64"
    ? opWith("i64x2.replace_lane", i, vector, bits)
    : opWith("i32x4.replace_lane", i, vector, bits.lo32());
}
/** The vector with `bits` in every lane. */
export function everyLane(f: FloatFormat, bits: bigint): Expr {
  let all = 0n;
  for (let i = 0; i < laneCount(f); i++) all |= bits << BigInt(i * f.bits);
  return v128(all);
}

/** A routine on two vectors that applies `lane` to each pair of lanes, with FLOAT_FLAGS cleared before. */
export function onLanes(f: FloatFormat, lane: Routine): Routine {
  const found = vectorRoutines.get(lane);
  if (found) return found;
  const made = makeOnLanes(f, lane);
  vectorRoutines.set(lane, made);
  return made;
}
const vectorRoutines = new Map<Routine, Routine>();

function makeOnLanes(f: FloatFormat, lane: Routine): Routine {
  return routine(`${lane.name}x${laneCount(f)}`, ["v128", "v128"], "v128", (b, x, y) => {
    b.put(FLOAT_FLAGS, 0);
    let result = x;
    for (let i = 0; i < laneCount(f); i++) {
      const args = lane.params.length === 1 ? [extractLane(f, y, i)] : [extractLane(f, x, i), extractLane(f, y, i)];
      result = b.keep(replaceLane(f, result, i, b.call(lane, ...args)));
    }
    b.return(result);
  });
}

const shapeOf = (f: FloatFormat): string => (f.name === "f64" ? "i64x2" : "i32x4");
/** Magnitudes compare as signed integers, since they have no sign bit. */
const above = (f: FloatFormat, x: Expr, y: Expr): Expr => op(`${shapeOf(f)}.gt_s`, x, y);

export const magnitudes = (f: FloatFormat, vector: Expr): Expr => op("v128.and", vector, everyLane(f, f.magnitude));

/** Ones in the lanes that are denormal. `m`: kept magnitudes. */
export function denormalLanes(f: FloatFormat, m: Expr): Expr {
  return op("v128.and", above(f, everyLane(f, f.minNormal), m), above(f, m, v128(0n)));
}
export const nanLanes = (f: FloatFormat, m: Expr): Expr => above(f, m, everyLane(f, f.infinity));

/** Ones in the lanes whose result may have set a flag other than PE. `zeroIsExact`: a zero result cannot have. */
export function doubtfulResults(f: FloatFormat, m: Expr, zeroIsExact: boolean): Expr {
  const small = above(f, everyLane(f, f.minNormal + 1n), m);
  return op(
    "v128.or",
    above(f, m, everyLane(f, f.infinity - 1n)),
    zeroIsExact ? op("v128.and", small, above(f, m, v128(0n))) : small,
  );
}
