/**
 * Conversions between MMX and XMM registers (SDM vol. 2): CVTPI2PS, CVTPI2PD, CVTPS2PI, CVTPD2PI and the truncating
 * ones. With a memory source, CVTPI2PS and CVTPI2PD neither look at the x87 state nor change it; the others change it
 * even when they end in #XM.
 */
import { FLOAT_FLAGS, floatStatus, ROUND_ZERO } from "../../cpu/mxcsr.ts";
import { F32, F64, type FloatFormat } from "../../cpu/softfloat.ts";
import { floatToInteger, integerToFloat, roundingMode } from "../../cpu/softfloat-convert.ts";
import { extractLane } from "../../cpu/softfloat-vector.ts";
import { type Expr, i32, op } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import { enterMmx, joined, vector, writeMmx } from "./mmx-form.ts";
import { readVector } from "./sse-form.ts";
import { checkPending } from "./x87-form.ts";

const lowDword = (pair: Expr): Expr => pair.extend32S();
const highDword = (pair: Expr): Expr => pair.shrS(32);

const pairToSingles: Routine = routine("pair_to_singles", ["i64"], "i64", (b, pair) => {
  b.put(FLOAT_FLAGS, 0);
  const low = b.call(integerToFloat.f32, lowDword(pair));
  const high = b.call(integerToFloat.f32, highDword(pair));
  b.return(low.or(high.shl(32)));
});

define({
  name: "cvtpi2ps",
  feature: "sse",
  forms: ["NP 0F 2A /r | Vq,Qq"],
  semantics: (s) => {
    if (!s.isMemory(1)) checkPending(s);
    const source = s.read(1);
    if (!s.isMemory(1)) enterMmx(s);
    s.commit();
    const result = s.b.call(pairToSingles, source);
    s.check(s.b.call(floatStatus));
    s.write(0, result);
  },
});

define({
  name: "cvtpi2pd",
  feature: "sse2",
  forms: ["66 0F 2A /r | Vx,Qq"],
  semantics: (s) => {
    if (!s.isMemory(1)) checkPending(s);
    const source = s.read(1);
    if (!s.isMemory(1)) enterMmx(s);
    const double = (value: Expr): Expr => op("i64.reinterpret_f64", op("f64.convert_i64_s", value));
    s.write(0, joined(double(lowDword(source)), double(highDword(source))));
  },
});

/** The two low lanes of `f` as integers of 32 bits. */
function makePair(f: FloatFormat): Routine {
  return routine(`${f.name}_pair_to_integers`, ["v128", "i32"], "i64", (b, source, mode) => {
    b.put(FLOAT_FLAGS, 0);
    const lane = (i: number): Expr => b.call(floatToInteger[f.name][32], extractLane(f, source, i), mode);
    const low = lane(0);
    const high = lane(1);
    b.return(low.and(0xffffffffn).or(high.shl(32)));
  });
}

function toIntegers(name: string, prefix: string, opcode: string, f: FloatFormat, truncates: boolean): void {
  const pair = f === F32 ? singlePair : doublePair;
  define({
    name,
    feature: f === F32 ? "sse" : "sse2",
    forms: [`${prefix} 0F ${opcode} /r | Pq,${f === F32 ? "Wq" : "Wx"}`],
    semantics: (s) => {
      checkPending(s);
      const source = f === F32 ? vector(s.read(1)) : readVector(s, 1);
      const kept = s.b.keep(source);
      enterMmx(s);
      const result = s.b.call(pair, kept, truncates ? i32(ROUND_ZERO) : s.b.call(roundingMode));
      s.check(s.b.call(floatStatus));
      writeMmx(s, 0, result);
    },
  });
}
const singlePair: Routine = makePair(F32);
const doublePair: Routine = makePair(F64);
toIntegers("cvtps2pi", "NP", "2D", F32, false);
toIntegers("cvttps2pi", "NP", "2C", F32, true);
toIntegers("cvtpd2pi", "66", "2D", F64, false);
toIntegers("cvttpd2pi", "66", "2C", F64, true);
