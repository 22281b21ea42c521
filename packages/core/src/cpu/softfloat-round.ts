/**
 * ROUNDPS and its kin (SDM vol. 2): rounding to an integer in the same format, exactly as softfloat.ts does the rest.
 * Denormal operands raise no DE; DAZ makes zeros of them.
 */
import { type Expr, i32, op, select } from "../ir/builder.ts";
import { type Routine, routine } from "../ir/routine.ts";
import * as L from "./layout.ts";
import { FLOAT_FLAGS, MXCSR_PE, MXCSR_RC_SHIFT, noteFlags } from "./mxcsr.ts";
import { F32, F64, type FloatFormat, isNan, isSignaling, squash } from "./softfloat.ts";
import { asFloat, bitsOf } from "./softfloat-compare.ts";
import { extractLane, laneCount, replaceLane } from "./softfloat-vector.ts";

type FormatName = FloatFormat["name"];

/** Bit 2 of the immediate: MXCSR's rounding mode counts, not bits 1:0. Bit 3: PE is not reported. */
const USE_MXCSR = 4;
const NO_PRECISION = 8;

function makeRound(f: FloatFormat): Routine {
  return routine(`round_${f.name}`, ["i64", "i32"], "i64", (b, operand, how) => {
    b.if(isNan(f, operand), () => {
      noteFlags(b, isSignaling(f, operand));
      b.return(operand.or(f.quiet));
    });
    const x = squash(b, f, operand);
    const mode = b.keep(select(how.and(USE_MXCSR), b.get(L.MXCSR).shrU(MXCSR_RC_SHIFT), how).and(3));
    const result = b.variable(x);
    const round = (name: string) => (): void => {
      const bits = bitsOf(f, op(`${f.name}.${name}`, asFloat(f, x)));
      result.set(bits.u64());
    };
    b.switch(mode, [round("nearest"), round("floor"), round("ceil")], round("trunc"));
    const rounded = b.keep(result.get());
    const isInexact = rounded.ne(x).and(how.and(NO_PRECISION).eqz());
    noteFlags(b, select(isInexact, i32(MXCSR_PE), i32(0)));
    b.return(rounded);
  });
}

/** (bits, immediate) -> bits. */
export const roundToIntegral: Readonly<Record<FormatName, Routine>> = { f32: makeRound(F32), f64: makeRound(F64) };

function makeLanes(f: FloatFormat): Routine {
  return routine(`round_${f.name}x${laneCount(f)}`, ["v128", "i32"], "v128", (b, x, how) => {
    b.put(FLOAT_FLAGS, 0);
    let result: Expr = x;
    for (let i = 0; i < laneCount(f); i++)
      result = b.keep(replaceLane(f, result, i, b.call(roundToIntegral[f.name], extractLane(f, x, i), how)));
    b.return(result);
  });
}
export const roundLanes: Readonly<Record<FormatName, Routine>> = { f32: makeLanes(F32), f64: makeLanes(F64) };
