/**
 * SSE3 on XMM registers (SDM vol. 2): ADDSUBPS/PD, HADDPS/PD, HSUBPS/PD, LDDQU, MOVDDUP, MOVSHDUP, MOVSLDUP. FISTTP is
 * with the x87 records; MONITOR and MWAIT have a feature of their own.
 */
import { FLOAT_FLAGS } from "../../cpu/mxcsr.ts";
import { F32, F64, type FloatFormat } from "../../cpu/softfloat.ts";
import { softArithmetic } from "../../cpu/softfloat-arithmetic.ts";
import { extractLane, laneCount, onLanes, replaceLane } from "../../cpu/softfloat-vector.ts";
import { type Expr, op, v128 } from "../../ir/builder.ts";
import { type Routine, routine } from "../../ir/routine.ts";
import { define } from "../record.ts";
import { packedArithmetic } from "./sse-float.ts";
import { byteLanes, readVector, shuffle, writeXmm } from "./sse-form.ts";

const FORMATS = [
  { suffix: "pd", prefix: "66", format: F64, bytes: 8, even: [0, 2], odd: [1, 3] },
  { suffix: "ps", prefix: "F2", format: F32, bytes: 4, even: [0, 2, 4, 6], odd: [1, 3, 5, 7] },
] as const;

/** Even lanes subtract, odd lanes add. */
function makeAddSub(f: FloatFormat): Routine {
  return routine(`addsub_${f.name}`, ["v128", "v128"], "v128", (b, x, y) => {
    b.put(FLOAT_FLAGS, 0);
    let result = x;
    for (let i = 0; i < laneCount(f); i++) {
      const lane = softArithmetic[i & 1 ? "add" : "sub"][f.name];
      result = b.keep(replaceLane(f, result, i, b.call(lane, extractLane(f, x, i), extractLane(f, y, i))));
    }
    b.return(result);
  });
}

/** The signs of the even lanes. */
function evenSigns(f: FloatFormat): Expr {
  let signs = 0n;
  for (let i = 0; i < laneCount(f); i += 2) signs |= f.sign << BigInt(i * f.bits);
  return v128(signs);
}

for (const { suffix, prefix, format, bytes, even, odd } of FORMATS) {
  const exact = makeAddSub(format);
  define({
    name: `addsub${suffix}`,
    feature: "sse3",
    forms: [`${prefix} 0F D0 /r | Vx,Wx`],
    semantics: (s) => {
      const source = readVector(s, 1);
      const target = s.read(0);
      // What the sign does to a NaN does not matter: it is not the quick way's result.
      const negated = s.b.keep(op("v128.xor", source, evenSigns(format)));
      packedArithmetic(s, format, "add", target, negated, () => s.b.call(exact, target, source));
    },
  });
  for (const [operation, opcode] of [
    ["add", "7C"],
    ["sub", "7D"],
  ] as const) {
    const lanes = onLanes(format, softArithmetic[operation][format.name]);
    define({
      name: `h${operation}${suffix}`,
      feature: "sse3",
      forms: [`${prefix} 0F ${opcode} /r | Vx,Wx`],
      semantics: (s) => {
        const source = readVector(s, 1);
        const target = s.read(0);
        const low = s.b.keep(shuffle(byteLanes(bytes, even), target, source));
        const high = s.b.keep(shuffle(byteLanes(bytes, odd), target, source));
        packedArithmetic(s, format, operation, low, high, () => s.b.call(lanes, low, high));
      },
    });
  }
}

define({
  name: "lddqu",
  feature: "sse3",
  forms: ["F2 0F F0 /r | Vx,Mx"],
  semantics: (s) => s.write(0, s.read(1)),
});
define({
  name: "movddup",
  feature: "sse3",
  forms: ["F2 0F 12 /r | Vx,Wq"],
  semantics: (s) => writeXmm(s, op("i64x2.splat", s.read(1))),
});
for (const [name, opcode, lanes] of [
  ["movsldup", "12", [0, 0, 2, 2]],
  ["movshdup", "16", [1, 1, 3, 3]],
] as const) {
  define({
    name,
    feature: "sse3",
    forms: [`F3 0F ${opcode} /r | Vx,Wx`],
    semantics: (s) => {
      const source = readVector(s, 1);
      s.write(0, shuffle(byteLanes(4, lanes), source, source));
    },
  });
}
